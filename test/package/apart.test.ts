/** A machine that is too large to be recorded, in a thread of its own: what comes of it is what would come of it here. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runApart } from '#src/cli/large/apart.js';
import { parseScenario, type Scenario, seededChooser, World } from '#src/machine/index.js';

function few(change: (text: string) => string = (text) => text): Scenario {
  const file = new URL('../../scenarios/many-vms.yaml', import.meta.url);
  const text = readFileSync(file, 'utf8')
    .replace('count: 1000', 'count: 2')
    .replace('count: 100 ', 'count: 3 ');
  const scenario = parseScenario(change(text));
  if (Array.isArray(scenario)) throw new Error(`${scenario.length} faults`);
  return scenario;
}

describe('a run apart', () => {
  it('comes to what a run here comes to, and says how far it is', async () => {
    const scenario = few();
    const said: string[] = [];
    const result = await runApart({ named: { name: 'few', scenario }, seed: 3 }, (what) => said.push(what));
    expect(result).toEqual(new World(scenario, { isForOneRun: true }).run(seededChooser(3)));
    expect(result).toMatchObject({ end: 'ended', mostPasids: 6, findings: [] });
    expect(said).toContain('virtual machine 2 of 2 boots');
  });

  it('tells of an error of ours, and where it came from', async () => {
    const scenario = few();
    const machine: Scenario['machine'] = { ...scenario.machine, memory: '4 KiB' };
    const run = runApart(
      { named: { name: 'few', scenario: { ...scenario, machine } }, seed: 1 },
      () => undefined,
    );
    await expect(run).rejects.toThrow('ioasis run few --seed 1 came upon a bug of ioasis');
  });
});
