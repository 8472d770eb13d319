import { expect, it } from 'vitest';
import { Random, RandomChooser, type Task, TaskSet } from '../../base/index.js';
import { type Seat, Turns } from './turns.js';

/** Asks, has its turn for some steps, and gives it back. */
function* acting(seat: Seat, log: string[], name: string): Task {
  seat.ask();
  yield* seat.wait();
  log.push(`${name} begins`);
  for (let i = 0; i < 3; i++) yield 'acts';
  log.push(`${name} ends`);
  seat.leave();
}

it('as many act at once as may, and the others after them, first come first served', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const tasks = new TaskSet();
    const turns = new Turns(2);
    const log: string[] = [];
    const names = Array.from({ length: 9 }, (_, i) => `${i}`);
    for (const name of names) tasks.spawn(name, acting(turns.seat(), log, name));
    const chooser = new RandomChooser(new Random(seed));
    let [now, most] = [0, 0];
    let seen = 0;
    while (tasks.step(chooser)) {
      for (; seen < log.length; seen++) now += log[seen]?.endsWith('begins') === true ? 1 : -1;
      most = Math.max(most, now);
    }
    expect([most, now, log.length]).toEqual([2, 0, 18]);
  }
});

it('a seat that is left without a turn gives none', () => {
  const turns = new Turns(1);
  const [first, second, third] = [turns.seat(), turns.seat(), turns.seat()];
  first.ask();
  third.leave();
  second.ask();
  expect(second.wait().next().done).toBe(false);
  first.leave();
  expect(second.wait().next().done).toBe(true);
});
