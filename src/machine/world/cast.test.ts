/** Those who act, and what they hear of kernels. */
import { readFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { parseScenario } from '../scenario/parse.js';
import { seededChooser } from './seeded-chooser.js';
import { World } from './world.js';

function shipped(name: string): World {
  const text = readFileSync(new URL(`../../../scenarios/${name}.yaml`, import.meta.url), 'utf8');
  const scenario = parseScenario(text);
  if (Array.isArray(scenario)) throw new Error(`${name} has ${scenario.length} faults`);
  return new World(scenario);
}

test('rules are told when a part is let go of by the default PASID of its machine', () => {
  const world = shipped('aux-domain');
  const told = vi.spyOn(world.judge, 'tell');
  expect(world.run(seededChooser(1)).findings).toEqual([]);
  const unbound = told.mock.calls.flatMap(([kind, fact]) => (kind === 'unbound' ? [fact] : []));
  expect(unbound).toContainEqual({ device: 'dsa0', mm: 'vm1/kernel', pasid: expect.any(Number) });
});
