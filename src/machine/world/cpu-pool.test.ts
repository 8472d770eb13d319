import { describe, expect, test } from 'vitest';
import { Bus, Memory, Vmcs } from '../../hardware/index.js';
import { CpuPool } from './cpu-pool.js';

function pool() {
  const memory = new Memory([{ first: 0, last: 15 }]);
  return new CpuPool({ memory, bus: new Bus(memory, { mapped: [] }) }, []);
}

const LINE = new Int32Array(16).fill(5);

describe('a pool of CPUs', () => {
  test('makes as many as are taken, and gives the first free one out again', () => {
    const cpus = pool();
    const [first, second] = [cpus.take('a'), cpus.take('b')];
    expect([first.index, second.index, cpus.every]).toEqual([0, 1, [first, second]]);
    cpus.give(first);
    expect(cpus.taken).toEqual([{ cpu: second, owner: 'b' }]);
    expect(cpus.take('c')).toBe(first);
    expect(() => cpus.give(pool().take('other'))).toThrow('nobody has it');
  });

  test('lets posted writes of any of its CPUs land, and has nothing to do without', () => {
    const cpus = pool();
    const taken = [cpus.take('a'), cpus.take('b')];
    expect(cpus.engines.ready).toBe(0);
    for (const [i, { posted }] of taken.entries()) posted.post(i * 64, LINE);
    expect(cpus.engines.ready).toBe(2);
    cpus.engines.stepReady(1);
    expect([taken[0]?.posted.length, taken[1]?.posted.length, cpus.engines.ready]).toEqual([1, 0, 1]);
  });

  test('goes back to who had which CPU, and what was on its way; a CPU that came later is free', () => {
    const cpus = pool();
    const first = cpus.take('a');
    first.vmcs = new Vmcs();
    first.posted.post(0, LINE);
    cpus.mark();
    const { vmcs } = first;
    cpus.take('b').posted.post(64, LINE);
    cpus.give(first);
    cpus.restore();
    expect(cpus.taken).toEqual([{ cpu: first, owner: 'a' }]);
    expect([first.vmcs, first.posted.length, cpus.engines.ready]).toEqual([vmcs, 1, 1]);
    expect(cpus.take('c').posted.length).toBe(0);
  });
});
