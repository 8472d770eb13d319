// How tasks end from outside: killed one by one, or dropped all together when a run is put back.
import { describe, expect, it } from 'vitest';
import { Bug } from './bug.js';
import { firstChooser } from './choose.js';
import { type Task, TaskSet, WaitQueue } from './task.js';

const runAll = (set: TaskSet): void => {
  while (set.step(firstChooser));
};

/** Pauses once, at `pause`; its `finally` block notes that it ran, and does `last`. */
function* pausing(log: string[], pause: string | WaitQueue, last: () => void = () => {}): Task {
  try {
    log.push('begins');
    yield pause;
    log.push('goes on');
  } finally {
    log.push('tidies up');
    last();
  }
}

describe('kill', () => {
  it('of a task that has not begun runs nothing of it', () => {
    const set = new TaskSet();
    const log: string[] = [];
    const handle = set.spawn('a', pausing(log, 'here'));
    set.kill(handle);
    expect(handle.state).toBe('ended');
    expect(set.tasks).toEqual([]);
    expect(set.step(firstChooser)).toBe(false);
    expect(log).toEqual([]);
  });

  it('of a runnable task runs its finally block, and no more', () => {
    const set = new TaskSet();
    const log: string[] = [];
    const handle = set.spawn('a', pausing(log, 'here'));
    set.step(firstChooser);
    set.kill(handle);
    expect(handle.state).toBe('ended');
    expect(handle.at).toBe('here');
    expect([set.runnable, set.tasks.length]).toEqual([0, 0]);
    runAll(set);
    expect(log).toEqual(['begins', 'tidies up']);
  });

  it('of a sleeping task takes it from its queue, and leaves the others there', () => {
    const set = new TaskSet();
    const queue = new WaitQueue('q');
    const log: string[] = [];
    const handles = ['a', 'b', 'c'].map((name) =>
      set.spawn(
        name,
        pausing([], queue, () => log.push(name)),
      ),
    );
    runAll(set);
    const [, middle] = handles;
    if (middle !== undefined) set.kill(middle);
    expect(log).toEqual(['b']);
    expect(queue.length).toBe(2);
    queue.wakeAll();
    expect(set.runnable).toBe(2);
    runAll(set);
    expect(log).toEqual(['b', 'a', 'c']);
  });

  it('of a task that was woken keeps it from running', () => {
    const set = new TaskSet();
    const queue = new WaitQueue('q');
    const log: string[] = [];
    const handle = set.spawn('a', pausing(log, queue));
    set.step(firstChooser);
    queue.wakeAll();
    set.kill(handle);
    expect(set.step(firstChooser)).toBe(false);
    expect(log).toEqual(['begins', 'tidies up']);
  });

  it('of a task that has ended does nothing', () => {
    const set = new TaskSet();
    const log: string[] = [];
    const handle = set.spawn('a', pausing(log, 'here'));
    runAll(set);
    set.kill(handle);
    expect(log).toEqual(['begins', 'goes on', 'tidies up']);
  });

  it('from within the finally block of the killed task does nothing more', () => {
    const set = new TaskSet();
    const log: string[] = [];
    const handle = set.spawn(
      'a',
      pausing(log, 'here', () => set.kill(handle)),
    );
    set.step(firstChooser);
    set.kill(handle);
    expect(log).toEqual(['begins', 'tidies up']);
  });

  it('from within a finally block ends the other task too', () => {
    const set = new TaskSet();
    const log: string[] = [];
    const child = set.spawn(
      'child',
      pausing(log, 'here', () => log.push('child')),
    );
    const parent = set.spawn(
      'parent',
      pausing(log, 'here', () => set.kill(child)),
    );
    set.step(firstChooser);
    set.step({ choose: () => 1 });
    set.kill(parent);
    expect(log).toEqual(['begins', 'begins', 'tidies up', 'tidies up', 'child']);
    expect(set.tasks).toEqual([]);
  });

  it('lets a finally block wake others', () => {
    const set = new TaskSet();
    const queue = new WaitQueue('q');
    const log: string[] = [];
    set.spawn('waiter', pausing(log, queue));
    const holder = set.spawn(
      'holder',
      pausing([], 'holds', () => queue.wakeAll()),
    );
    set.step(firstChooser);
    set.step(firstChooser);
    set.kill(holder);
    runAll(set);
    expect(log).toEqual(['begins', 'goes on', 'tidies up']);
  });

  it('runs the finally blocks of nested tasks, inner first', () => {
    const set = new TaskSet();
    const log: string[] = [];
    const handle = set.spawn(
      'a',
      (function* (): Task {
        try {
          yield* pausing(log, 'inner');
        } finally {
          log.push('outer tidies up');
        }
      })(),
    );
    set.step(firstChooser);
    set.kill(handle);
    expect(log).toEqual(['begins', 'tidies up', 'outer tidies up']);
  });

  it('passes on what a finally block throws; the task is gone all the same', () => {
    const set = new TaskSet();
    const throwing = () => {
      throw new Error('no way');
    };
    const handle = set.spawn('a', pausing([], 'here', throwing));
    set.step(firstChooser);
    expect(() => set.kill(handle)).toThrow('no way');
    expect([handle.state, set.runnable, set.tasks.length]).toEqual(['ended', 0, 0]);
  });

  it('takes a finally block that yields for a Bug', () => {
    const set = new TaskSet();
    const handle = set.spawn(
      'a',
      (function* (): Task {
        try {
          yield 'here';
        } finally {
          yield 'once more';
        }
      })(),
    );
    set.step(firstChooser);
    expect(() => set.kill(handle)).toThrow(new Bug('a yields while it is killed'));
    expect(set.tasks).toEqual([]);
  });

  it('takes a task that kills itself for a Bug', () => {
    const set = new TaskSet();
    const log: string[] = [];
    const handle = set.spawn(
      'a',
      (function* (): Task {
        expect(() => set.kill(handle)).toThrow(new Bug('a task kills itself'));
        yield 'still here';
        log.push('goes on');
      })(),
    );
    runAll(set);
    expect(log).toEqual(['goes on']);
  });

  it('takes a task of another set for a Bug, though its number is the same', () => {
    const [one, two] = [new TaskSet(), new TaskSet()];
    const theirs = one.spawn('theirs', pausing([], 'here'));
    expect(() => two.kill(theirs)).toThrow(new Bug('a task of another set is killed'));
    const ours = two.spawn('ours', pausing([], 'here'));
    expect(() => two.kill(theirs)).toThrow(new Bug('a task of another set is killed'));
    expect([theirs.state, ours.state]).toEqual(['runnable', 'runnable']);
  });
});

describe('a restore', () => {
  it('drops every task where it stands, without another line of it', () => {
    const set = new TaskSet();
    const queue = new WaitQueue('q');
    const log: string[] = [];
    set.mark();
    const handles = [
      set.spawn('asleep', pausing(log, queue)),
      set.spawn('paused', pausing(log, 'here')),
      set.spawn('new', pausing(log, 'here')),
    ];
    set.step(firstChooser);
    set.step(firstChooser);
    set.restore();
    expect(handles.map(({ state }) => state)).toEqual(['ended', 'ended', 'ended']);
    expect([set.runnable, set.tasks.length, queue.length]).toEqual([0, 0, 0]);
    expect(set.step(firstChooser)).toBe(false);
    expect(log).toEqual(['begins', 'begins']);
  });

  it('numbers tasks from where it was marked, each time', () => {
    const set = new TaskSet();
    const spawn = () => set.spawn('a', pausing([], 'here')).id;
    spawn();
    runAll(set);
    set.mark();
    for (let round = 0; round < 3; round++) {
      expect([spawn(), spawn()]).toEqual([2, 3]);
      set.restore();
    }
  });

  it('goes on after a step that threw', () => {
    const set = new TaskSet();
    set.mark();
    const fail = () => {
      throw new Error('stop');
    };
    set.spawn('a', pausing([], 'here', fail));
    expect(() => runAll(set)).toThrow('stop');
    set.restore();
    expect(set.spawn('b', pausing([], 'here')).id).toBe(1);
    expect(set.step(firstChooser)).toBe(true);
  });

  it('needs a mark, and a mark needs an empty set', () => {
    const set = new TaskSet();
    expect(() => set.restore()).toThrow(new Bug('restore without a mark'));
    set.spawn('a', pausing([], 'here'));
    expect(() => set.mark()).toThrow(new Bug('a mark while there are tasks'));
  });

  it('within a step is a Bug', () => {
    const set = new TaskSet();
    set.mark();
    set.spawn(
      'a',
      pausing([], 'here', () => set.restore()),
    );
    expect(() => runAll(set)).toThrow(new Bug('restore within a step'));
  });
});
