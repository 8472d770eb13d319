/** Seeds on several threads: what is told is what one thread tells, in the same order. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { jobsFor, type Listener, runHere, runOnThreads } from '#src/cli/seeds/many.js';
import type { Failing, Named } from '#src/cli/seeds/one.js';
import { parseScenario, type Scenario } from '#src/machine/index.js';

function shipped(name: string, change: (text: string) => string = (text) => text): Named {
  const file = new URL(`../../scenarios/${name}.yaml`, import.meta.url);
  const scenario = parseScenario(change(readFileSync(file, 'utf8')));
  if (Array.isArray(scenario)) throw new Error(`${name} has ${scenario.length} faults`);
  return { name, scenario };
}

/** Some orders take fewer steps than that, others more. */
const FAILS_AT_TIMES = shipped('smallest', (text) => `${text}\nchoices: { step-limit: 31 }\n`);
const SEEDS = { first: 5, last: 34 };

async function told(run: (listener: Listener) => Promise<void>): Promise<Failing[]> {
  const failing: Failing[] = [];
  await run({ say: () => undefined, failed: (each) => failing.push(each) });
  return failing;
}

describe('seeds on threads', () => {
  it('tell what one thread tells, whatever their number', async () => {
    const expected = await told((listener) => runHere(FAILS_AT_TIMES, SEEDS, listener));
    expect(expected.length).toBeGreaterThan(0);
    expect(expected.length).toBeLessThan(30);
    for (const jobs of [2, 3]) {
      const found = await told((listener) => runOnThreads(FAILS_AT_TIMES, { ...SEEDS, jobs }, listener));
      expect(found).toEqual(expected);
    }
  });

  it('tell of an error of ours as one thread does', async () => {
    const { name, scenario } = shipped('smallest');
    const machine: Scenario['machine'] = { ...scenario.machine, memory: '4 KiB' };
    const named = { name, scenario: { ...scenario, machine } };
    const message = 'ioasis run smallest came upon a bug of ioasis';
    await expect(told((listener) => runHere(named, SEEDS, listener))).rejects.toThrow(message);
    const onThreads = told((listener) => runOnThreads(named, { ...SEEDS, jobs: 2 }, listener));
    await expect(onThreads).rejects.toThrow(message);
  });

  it('are not worth it for few seeds, nor for a machine that is large', () => {
    expect(jobsFor(shipped('smallest'), { first: 1, last: 20 })).toBe(1);
    expect(jobsFor(shipped('many-vms'), { first: 1, last: 1000 })).toBe(1);
  });
});
