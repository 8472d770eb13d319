import { describe, expect, expectTypeOf, it } from 'vitest';
import { Bug } from './bug.js';
import { type Chooser, ExhaustiveChooser, firstChooser, RecordingChooser } from './choose.js';
import { type Task, type TaskHandle, TaskSet, WaitQueue } from './task.js';

/** Always the last of the runnable tasks. */
const lastChooser: Chooser = { choose: (n) => n - 1 };

const runAll = (set: TaskSet, chooser: Chooser = firstChooser): void => {
  while (set.step(chooser));
};

/** A task that notes each of its steps, and yields between them. */
function* steps(log: string[], name: string, count: number): Task {
  for (let i = 1; i <= count; i++) {
    if (i > 1) yield `${name}${i}`;
    log.push(`${name}${i}`);
  }
}

/** Sleeps once on `queue`; notes that, and being woken, and what its `finally` block does. */
function* sleeper(log: string[], name: string, queue: WaitQueue): Task {
  try {
    log.push(`${name} sleeps`);
    yield queue;
    log.push(`${name} wakes`);
  } finally {
    log.push(`${name} tidies up`);
  }
}

const names = (set: TaskSet): string[] => set.tasks.map(({ name }) => name);

describe('a step', () => {
  it('runs one task to its next yield', () => {
    const set = new TaskSet();
    const log: string[] = [];
    set.spawn('a', steps(log, 'a', 2));
    expect(log).toEqual([]);
    expect(set.step(firstChooser)).toBe(true);
    expect(log).toEqual(['a1']);
    expect(set.step(firstChooser)).toBe(true);
    expect(log).toEqual(['a1', 'a2']);
    expect(set.step(firstChooser)).toBe(false);
  });

  it('asks the chooser for one of the runnable tasks', () => {
    const set = new TaskSet();
    const log: string[] = [];
    for (const name of ['a', 'b', 'c']) set.spawn(name, steps(log, name, 2));
    const recording = new RecordingChooser(lastChooser);
    runAll(set, recording);
    expect(log).toEqual(['c1', 'c2', 'b1', 'b2', 'a1', 'a2']);
    expect(recording.choices.map(({ n, what }) => `${what} ${n}`)).toEqual([
      'task 3',
      'task 3',
      'task 2',
      'task 2',
    ]);
  });

  it('keeps the order in which tasks became runnable: one that yields does not lose its place', () => {
    const set = new TaskSet();
    const log: string[] = [];
    for (const name of ['a', 'b']) set.spawn(name, steps(log, name, 2));
    runAll(set);
    expect(log).toEqual(['a1', 'a2', 'b1', 'b2']);
  });

  it('takes a chooser that picks no task for a Bug', () => {
    const set = new TaskSet();
    set.spawn('a', steps([], 'a', 1));
    expect(() => set.step({ choose: () => 1 })).toThrow(new Bug('task 1 of 1'));
  });

  it('within a step of the same set is a Bug; another set may step', () => {
    const inner = new TaskSet();
    const log: string[] = [];
    inner.spawn('inner', steps(log, 'inner', 1));
    const set = new TaskSet();
    set.spawn(
      'nested',
      (function* (): Task {
        inner.step(firstChooser);
        set.step(firstChooser);
        yield 'not reached';
      })(),
    );
    expect(() => set.step(firstChooser)).toThrow(new Bug('a step within a step of the same set'));
    expect(log).toEqual(['inner1']);
  });
});

describe('schedules', () => {
  /** Every order in which tasks of so many steps can run. */
  const schedules = (...counts: readonly number[]): string[] => {
    const chooser = new ExhaustiveChooser();
    const found: string[] = [];
    do {
      const set = new TaskSet();
      const log: string[] = [];
      for (const [i, count] of counts.entries()) set.spawn('t', steps(log, 'abc'.charAt(i), count));
      runAll(set, chooser);
      found.push(log.join(' '));
      expect(found.length).toBeLessThanOrEqual(100);
    } while (chooser.advance());
    return found;
  };

  it('of two tasks of two steps are six: the end of a task is no choice', () => {
    expect(schedules(2, 2)).toEqual([
      'a1 a2 b1 b2',
      'a1 b1 a2 b2',
      'a1 b1 b2 a2',
      'b1 a1 a2 b2',
      'b1 a1 b2 a2',
      'b1 b2 a1 a2',
    ]);
  });

  // (n1 + n2 + …)! / (n1! n2! …)
  it.each([
    [[1], 1],
    [[1, 1], 2],
    [[3, 3], 20],
    [[1, 1, 1], 6],
    [[2, 2, 2], 90],
    [[4, 1], 5],
  ])('of tasks of %j steps are %d', (counts, count) => {
    const found = schedules(...counts);
    expect(found).toHaveLength(count);
    expect(new Set(found).size).toBe(count);
  });
});

describe('a task handle', () => {
  it('tells where a task stands, by the queue and by whose it is', () => {
    const set = new TaskSet();
    const of = { name: 'alice' };
    const queue = new WaitQueue('end of', of);
    const task = set.spawn('waiter', sleeper([], 'waiter', queue));
    expect(task.at).toBe('start');
    while (set.step(firstChooser));
    expect([task.at, queue.name, new WaitQueue('end').name]).toEqual(['end of alice', 'end of alice', 'end']);
  });

  it('tells where the task stands', () => {
    const set = new TaskSet();
    const queue = new WaitQueue('drained');
    const handle = set.spawn(
      'worker',
      (function* (): Task {
        yield 'entry half written';
        yield queue;
      })(),
    );
    const seen: string[] = [];
    const look = () => seen.push(`${handle.state} at ${handle.at}`);
    look();
    for (let i = 0; i < 2; i++) {
      set.step(firstChooser);
      look();
    }
    queue.wakeAll();
    look();
    set.step(firstChooser);
    look();
    expect(seen).toEqual([
      'runnable at start',
      'runnable at entry half written',
      'sleeping at drained',
      'runnable at drained',
      'ended at drained',
    ]);
  });

  it('has a number of its own in its set, counted from 1', () => {
    const set = new TaskSet();
    const spawn = () => set.spawn('t', steps([], 't', 1)).id;
    expect([spawn(), spawn()]).toEqual([1, 2]);
    runAll(set);
    expect(spawn()).toBe(3);
  });

  it('stands among the tasks of the set until it has ended, oldest first', () => {
    const set = new TaskSet();
    const queue = new WaitQueue('q');
    set.spawn('a', sleeper([], 'a', queue));
    set.spawn('b', steps([], 'b', 2));
    set.step(firstChooser);
    expect(names(set)).toEqual(['a', 'b']);
    expect(set.runnable).toBe(1);
    runAll(set);
    expect(names(set)).toEqual(['a']);
    expect(set.runnable).toBe(0);
  });
});

describe('a wait queue', () => {
  it('keeps its sleepers from running until it is woken', () => {
    const set = new TaskSet();
    const queue = new WaitQueue('q');
    const log: string[] = [];
    set.spawn('a', sleeper(log, 'a', queue));
    expect(set.step(firstChooser)).toBe(true);
    expect(set.step(firstChooser)).toBe(false);
    expect(queue.length).toBe(1);
    queue.wakeAll();
    expect(queue.length).toBe(0);
    runAll(set);
    expect(log).toEqual(['a sleeps', 'a wakes', 'a tidies up']);
  });

  it('wakes all, in the order in which they fell asleep, behind those that are runnable', () => {
    const set = new TaskSet();
    const queue = new WaitQueue('q');
    const log: string[] = [];
    for (const name of ['a', 'b', 'c']) set.spawn(name, sleeper(log, name, queue));
    runAll(set, lastChooser);
    set.spawn('d', steps(log, 'd', 1));
    queue.wakeAll();
    log.length = 0;
    runAll(set);
    expect(log.filter((line) => !line.endsWith('up'))).toEqual(['d1', 'c wakes', 'b wakes', 'a wakes']);
  });

  it('is slept on again by a task whose condition does not hold yet', () => {
    const set = new TaskSet();
    const queue = new WaitQueue('q');
    let free = 0;
    const handle = set.spawn(
      'a',
      (function* (): Task {
        while (free === 0) yield queue;
      })(),
    );
    set.step(firstChooser);
    queue.wakeAll();
    set.step(firstChooser);
    expect(handle.state).toBe('sleeping');
    expect(queue.length).toBe(1);
    free = 1;
    queue.wakeAll();
    set.step(firstChooser);
    expect(handle.state).toBe('ended');
  });

  it('serves tasks of several sets: each goes back to its own', () => {
    const [one, two] = [new TaskSet(), new TaskSet()];
    const queue = new WaitQueue('q');
    one.spawn('a', sleeper([], 'a', queue));
    two.spawn('b', sleeper([], 'b', queue));
    one.step(firstChooser);
    two.step(firstChooser);
    expect([one.runnable, two.runnable, queue.length]).toEqual([0, 0, 2]);
    queue.wakeAll();
    expect([one.runnable, two.runnable, queue.length]).toEqual([1, 1, 0]);
  });

  it('may be woken when nobody sleeps', () => {
    const queue = new WaitQueue('q');
    queue.wakeAll();
    expect(queue.length).toBe(0);
  });
});

describe('a task may', () => {
  it('call another by yield*, and get its answer', () => {
    const set = new TaskSet();
    const log: string[] = [];
    function* inner(): Task<number> {
      yield 'inner';
      return 42;
    }
    function* outer(): Task {
      yield 'outer';
      const answer = yield* inner();
      expectTypeOf(answer).toEqualTypeOf<number>();
      log.push(`answer ${answer}`);
    }
    const handle = set.spawn('outer', outer());
    const at: string[] = [];
    while (set.step(firstChooser)) at.push(handle.at);
    expect(at).toEqual(['outer', 'inner', 'inner']);
    expect(log).toEqual(['answer 42']);
  });

  it('spawn another, which stands behind it', () => {
    const set = new TaskSet();
    const log: string[] = [];
    set.spawn(
      'parent',
      (function* (): Task {
        set.spawn('child', steps(log, 'child', 1));
        yield 'forked';
        log.push('parent');
      })(),
    );
    set.step(firstChooser);
    expect(names(set)).toEqual(['parent', 'child']);
    runAll(set);
    expect(log).toEqual(['parent', 'child1']);
  });

  it('spawn another and end', () => {
    const set = new TaskSet();
    const log: string[] = [];
    set.spawn(
      'parent',
      (function* (): Task {
        yield 'first';
        set.spawn('child', steps(log, 'child', 1));
      })(),
    );
    set.step(firstChooser);
    set.step(firstChooser);
    expect(names(set)).toEqual(['child']);
    runAll(set);
    expect(log).toEqual(['child1']);
  });

  it('wake others, and kill those before and behind it', () => {
    const set = new TaskSet();
    const queue = new WaitQueue('q');
    const log: string[] = [];
    const handles: TaskHandle[] = [];
    handles.push(set.spawn('asleep', sleeper(log, 'asleep', queue)));
    set.step(firstChooser);
    handles.push(set.spawn('before', steps(log, 'before', 2)));
    set.spawn(
      'killer',
      (function* (): Task {
        queue.wakeAll();
        for (const handle of handles) set.kill(handle);
        yield 'killed';
        log.push('killer');
      })(),
    );
    handles.push(set.spawn('behind', steps(log, 'behind', 2)));
    set.step({ choose: () => 1 });
    expect(names(set)).toEqual(['killer']);
    runAll(set);
    expect(log).toEqual(['asleep sleeps', 'asleep tidies up', 'killer']);
  });
});

describe('the runnable tasks stay the right ones', () => {
  it('when a task kills one before it and falls asleep in the same step', () => {
    const set = new TaskSet();
    const queue = new WaitQueue('q');
    const log: string[] = [];
    const before = set.spawn('before', steps(log, 'before', 2));
    set.spawn(
      'killer',
      (function* (): Task {
        set.kill(before);
        yield queue;
      })(),
    );
    set.spawn('behind', steps(log, 'behind', 1));
    set.step({ choose: () => 1 });
    expect(set.runnable).toBe(1);
    runAll(set);
    expect(log).toEqual(['behind1']);
    expect(names(set)).toEqual(['killer']);
  });

  it('when one that sleeps is killed', () => {
    const set = new TaskSet();
    const log: string[] = [];
    const asleep = set.spawn('asleep', sleeper(log, 'asleep', new WaitQueue('q')));
    set.step(firstChooser);
    set.spawn('a', steps(log, 'a', 1));
    set.kill(asleep);
    expect(set.runnable).toBe(1);
    runAll(set);
    expect(log).toEqual(['asleep sleeps', 'asleep tidies up', 'a1']);
  });
});

describe('what a task throws', () => {
  function* failing(log: string[]): Task {
    try {
      yield 'before';
      throw new Bug('entry written twice');
    } finally {
      log.push('tidies up');
    }
  }

  it('comes out of the step, and the task has ended; the others go on', () => {
    const set = new TaskSet();
    const log: string[] = [];
    const handle = set.spawn('a', failing(log));
    set.spawn('b', steps(log, 'b', 1));
    set.step(firstChooser);
    expect(() => set.step(firstChooser)).toThrow(new Bug('entry written twice'));
    expect(log).toEqual(['tidies up']);
    expect(handle.state).toBe('ended');
    expect(names(set)).toEqual(['b']);
    expect(set.runnable).toBe(1);
    runAll(set);
    expect(log).toEqual(['tidies up', 'b1']);
  });

  it('can be caught by the task that called it with yield*', () => {
    const set = new TaskSet();
    const log: string[] = [];
    set.spawn(
      'a',
      (function* (): Task {
        try {
          yield* failing(log);
        } catch (thrown) {
          log.push(String(thrown));
        }
      })(),
    );
    runAll(set);
    expect(log).toEqual(['tidies up', 'Bug: entry written twice']);
  });
});
