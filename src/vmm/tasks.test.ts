import { describe, expect, test } from 'vitest';
import { firstChooser, type Task, TaskSet, WaitQueue } from '../base/index.js';
import { GuestTasks } from './tasks.js';

interface Rig {
  readonly set: TaskSet;
  readonly cpu: { isInInstruction: boolean };
  readonly tasks: GuestTasks;
  readonly log: string[];
  all(): void;
}

function rig(): Rig {
  const set = new TaskSet();
  const cpu = { isInInstruction: false };
  const tasks = new GuestTasks('vm1', set, [cpu]);
  const all = (): void => {
    while (set.step(firstChooser));
  };
  return { set, cpu, tasks, log: [], all };
}

describe("a guest's tasks", () => {
  test("are some of the host's, and end by themselves", () => {
    const { set, tasks, log, all } = rig();
    const code = function* (): Task {
      yield 'here';
      log.push('done');
    };
    tasks.spawn('boot', code());
    expect(set.tasks.map(({ name }) => name)).toEqual(['vm1: boot']);
    all();
    expect([log, set.tasks]).toEqual([['done'], []]);
  });

  test('stand still when the guest is stopped, and are dropped without another line', () => {
    const { set, tasks, log, all } = rig();
    const queue = new WaitQueue('something');
    const code = function* (): Task {
      try {
        yield 'first';
        log.push('went on');
        yield queue;
      } finally {
        log.push('tidied up');
      }
    };
    tasks.spawn('one', code());
    tasks.spawn('two', code());
    set.step(firstChooser);
    tasks.stop();
    all();
    expect([log, tasks.isRunning, set.tasks.length]).toEqual([[], false, 2]);
    tasks.drop();
    all();
    expect([log, set.tasks.length]).toEqual([[], 0]);
  });

  test('that are paused stand where they are, also when woken, and go on there', () => {
    const { set, tasks, log, all } = rig();
    const queue = new WaitQueue('something');
    const code = function* (name: string): Task {
      yield 'first';
      log.push(name);
      yield queue;
      log.push(`${name} woke`);
    };
    tasks.spawn('one', code('one'));
    all();
    tasks.pause();
    tasks.spawn('two', code('two'));
    queue.wakeAll();
    all();
    expect([log, tasks.isRunning, tasks.isLive]).toEqual([['one'], false, true]);
    tasks.resume();
    all();
    expect(log.toSorted()).toEqual(['one', 'one woke', 'two']);
    // The end comes to those too that are paused.
    tasks.pause();
    tasks.stop();
    tasks.resume();
    queue.wakeAll();
    all();
    tasks.drop();
    expect([log.length, set.tasks.length]).toEqual([3, 0]);
  });

  test('come to the end of the instruction that a vCPU is in, and no further', () => {
    const { set, cpu, tasks, log, all } = rig();
    const code = function* (): Task {
      yield 'user mode';
      cpu.isInInstruction = true;
      for (const part of ['translates', 'departs', 'arrives']) {
        log.push(part);
        yield part;
      }
      cpu.isInInstruction = false;
      log.push('end');
      yield 'next instruction';
      log.push('next');
    };
    tasks.spawn('enqcmd', code());
    for (let i = 0; i < 2; i++) set.step(firstChooser);
    expect(log).toEqual(['translates']);
    tasks.stop();
    all();
    expect(log).toEqual(['translates', 'departs', 'arrives', 'end']);
  });

  test('are put back with the set', () => {
    const { set, tasks, log, all } = rig();
    for (const each of [set, tasks]) each.mark();
    tasks.stop();
    tasks.drop();
    for (const each of [set, tasks]) each.restore();
    const code = function* (): Task {
      yield 'a step';
      log.push('runs');
    };
    tasks.spawn('again', code());
    all();
    expect(log).toEqual(['runs']);
  });
});
