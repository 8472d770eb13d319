import { describe, expect, it } from 'vitest';
import {
  type Chooser,
  ExhaustiveChooser,
  firstChooser,
  type Task,
  TaskSet,
  WaitQueue,
} from '../../base/index.js';
import { type Engine, Engines } from '../../hardware/index.js';
import { Scheduler } from './scheduler.js';

/** An engine that has so many steps to do. */
class Counting implements Engine {
  readonly name: string;
  readonly #log: string[];
  #left: number;

  constructor(name: string, steps: number, log: string[]) {
    this.name = name;
    this.#left = steps;
    this.#log = log;
  }

  get isReady(): boolean {
    return this.#left > 0;
  }

  step(): void {
    this.#left--;
    this.#log.push(this.name);
  }
}

function* steps(name: string, count: number, log: string[]): Task {
  for (let i = 1; i <= count; i++) {
    if (i > 1) yield name;
    log.push(name);
  }
}

/** Every order in which tasks a, b, … and engines x, y, … of so many steps can go. */
function orders(tasks: readonly number[], engines: readonly number[]): string[] {
  const chooser = new ExhaustiveChooser();
  const found: string[] = [];
  do {
    const log: string[] = [];
    const set = new TaskSet();
    const parts = new Engines();
    for (const [i, count] of tasks.entries()) set.spawn('task', steps('abc'.charAt(i), count, log));
    for (const [i, count] of engines.entries()) parts.add(new Counting('xyz'.charAt(i), count, log));
    const scheduler = new Scheduler(set, parts);
    while (scheduler.step(chooser));
    found.push(log.join(''));
  } while (chooser.advance());
  return found;
}

describe('the scheduler', () => {
  it('comes to every order of a task and an engine of two steps: six', () => {
    expect(orders([2], [2])).toEqual(['aaxx', 'axax', 'axxa', 'xaax', 'xaxa', 'xxaa']);
  });

  // (n1 + n2 + …)! / (n1! n2! …)
  it.each([
    [[1], [1], 2],
    [[2, 2], [], 6],
    [[], [2, 2], 6],
    [[2], [1, 1], 12],
    [[2, 2], [2], 90],
    [[3], [3], 20],
  ])('of tasks of %j and engines of %j steps comes to %d orders, each once', (tasks, engines, count) => {
    const found = orders(tasks, engines);
    expect(found).toHaveLength(count);
    expect(new Set(found).size).toBe(count);
  });

  it('asks once a step, for the tasks first', () => {
    const asked: string[] = [];
    const last: Chooser = {
      choose(n, what) {
        asked.push(`${what} of ${n}`);
        return n - 1;
      },
    };
    const log: string[] = [];
    const set = new TaskSet();
    set.spawn('a', steps('a', 2, log));
    const engines = new Engines();
    engines.add(new Counting('x', 1, log));
    const scheduler = new Scheduler(set, engines);
    while (scheduler.step(last));
    expect(log).toEqual(['x', 'a', 'a']);
    expect(asked).toEqual(['next of 2', 'next of 1', 'next of 1']);
  });

  it('stops where all sleep and no engine is ready', () => {
    const set = new TaskSet();
    const queue = new WaitQueue('q');
    set.spawn(
      'sleeper',
      (function* (): Task {
        yield queue;
      })(),
    );
    const scheduler = new Scheduler(set, new Engines());
    expect(scheduler.step(firstChooser)).toBe(true);
    expect(scheduler.step(firstChooser)).toBe(false);
    expect(set.tasks.map(({ at }) => at)).toEqual(['q']);
  });
});
