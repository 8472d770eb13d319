/**
 * `npm run bench [-- suite…]`: runs the suites named, or all, and prints what they reached. Exit code 1 if a
 * target was missed, 2 for a suite that there is not.
 */
import { dsa } from './dsa.js';
import { guest } from './guest.js';
import { type Line, machine, measure, type Suite, table } from './harness.js';
import { inspect } from './inspect.js';
import { ioasid } from './ioasid.js';
import { layouts } from './layouts.js';
import { machineSuite } from './machine.js';
import { manyVms } from './many-vms.js';
import { memory } from './memory.js';
import { vdcm } from './vdcm.js';
import { vtd } from './vtd.js';

const SUITES: readonly Suite[] = [
  layouts,
  memory,
  inspect,
  ioasid,
  vtd,
  dsa,
  guest,
  vdcm,
  machineSuite,
  manyVms,
];

const names = process.argv.slice(2);
const unknown = names.filter((name) => !SUITES.some((suite) => suite.name === name));
if (unknown.length > 0) {
  console.error(`no suite ${unknown.join(', ')}; there are ${SUITES.map(({ name }) => name).join(', ')}`);
  process.exitCode = 2;
} else {
  console.log(machine());
  let missed = 0;
  for (const suite of SUITES) {
    if (names.length > 0 && !names.includes(suite.name)) continue;
    const lines: Line[] = [];
    for (const each of suite.cases()) lines.push(await measure(each));
    missed += lines.filter(({ verdict }) => verdict === 'MISSED').length;
    console.log(`\n${suite.name}\n${table(lines)}`);
  }
  if (missed > 0) process.exitCode = 1;
}
