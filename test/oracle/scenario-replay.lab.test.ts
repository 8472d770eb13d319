/**
 * A scenario of `scenarios/`, run by `src/machine` in an order that a seed says, and all that its kernel did to its
 * tables and its unit played again on QEMU.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { INVALIDATION } from '../../src/spec/index.js';
import { findLab } from '../lab/machines.js';
import { DEVICES, KINDS, OracleMachine } from './machine.js';
import type { Recorded } from './recorded-host.js';
import { PAGE_REQUEST_REGISTERS, REGISTERS, Replay } from './replay.js';
import { judgeScenario } from './scenario-judge.js';
import { recordScenario } from './scenario-run.js';

const lab = findLab();
const SEED = Number(process.env['IOASIS_ORACLE_SEED'] ?? 1);
const SEEDS = [SEED, SEED + 1, SEED + 2];
const KIND = KINDS.find(({ options }) => options.includes('svm=on'));
const IQA = 0xfed9_0090;
const SLOT_BYTES = 32;
const registers = [...REGISTERS, ...PAGE_REQUEST_REGISTERS];

const placeOf = (index: number): string => {
  const { rid = 0 } = DEVICES[index] ?? {};
  return `00:${(rid >> 3).toString(16).padStart(2, '0')}.${rid & 7}`;
};

/** The accelerators stand where QEMU has devices, and the unit has what QEMU's has. */
const CHANGES = [
  ['6a:01.0', placeOf(0)],
  ['6f:01.0', placeOf(1)],
  ['    kind: vtd\n', '    kind: vtd\n    snoops-tables: false\n    largest-page: 2 MiB\n'],
] as const;

/** The first device-TLB invalidation with a PASID names a physical function, which ECAP.DIT does not ask for. */
function withPhysicalFunction(recording: readonly Recorded[]): Recorded[] {
  const queue = recording.find((each) => each.did === 'write' && each.address === IQA);
  const page = queue?.did === 'write' ? Number(queue.value >> 12n) : -1;
  const at = recording.findIndex(
    (each) =>
      each.did === 'store' &&
      Math.floor(each.address / 4096) === page &&
      each.address % SLOT_BYTES === 0 &&
      ((each.data[0] ?? 0) & 0xf) === INVALIDATION.PASID_DEVICE_TLB,
  );
  return recording.map((each, i) => {
    if (i !== at || each.did !== 'store') return each;
    return { ...each, data: each.data.map((byte, place) => (place === 1 ? byte | 0x80 : byte)) };
  });
}

let machine: OracleMachine | undefined;
afterEach(() => machine?.end());

const title = 'missing' in lab ? `native-sva (skipped: ${lab.missing})` : 'native-sva';

describe.skipIf('missing' in lab)(`${title} leaves in QEMU what it leaves in the model`, () => {
  test.each(SEEDS)('seed %i', async (seed) => {
    if ('missing' in lab || KIND === undefined) throw new Error('there is no lab');
    machine = await OracleMachine.start(lab.folder, `scenario-${process.pid}-${seed}`, KIND);
    const { recording, end } = recordScenario('native-sva', seed, { changes: CHANGES, registers });
    const { reasons, others } = judgeScenario(recording, await new Replay(machine).run(recording, end));
    expect(others.slice(0, 10)).toEqual([]);
    const told = [...reasons].map(([reason, count]) => `${reason} ${count}`).join(', ');
    console.log(`seed ${seed}: ${recording.length} accesses, ${end.frames.size} frames; ${told}`);
  });

  test('but not if an invalidation has a bit that the unit keeps reserved', async () => {
    if ('missing' in lab || KIND === undefined) throw new Error('there is no lab');
    machine = await OracleMachine.start(lab.folder, `scenario-${process.pid}`, KIND);
    const { recording, end } = recordScenario('native-sva', 1, { changes: CHANGES, registers });
    const altered = withPhysicalFunction(recording);
    const { others } = judgeScenario(altered, await new Replay(machine).run(altered, end));
    expect(others.find(({ what }) => what === 'FSTS, read')).toMatchObject({ ours: '0x0', theirs: '0x10' });
  });
});
