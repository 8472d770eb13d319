/** Engines: who is ready, who steps, and when it is asked. */
import { expect, test } from 'vitest';
import { type Engine, Engines, QuietEngines, Readiness } from './engine.js';

/** An engine with so many steps to do. */
class Counter implements Engine {
  readonly name: string;
  left: number;

  constructor(name: string, left: number) {
    this.name = name;
    this.left = left;
  }

  get isReady(): boolean {
    return this.left > 0;
  }

  step(): void {
    this.left--;
  }
}

/** Three engines with 1, 0 and 2 steps to do. */
function three() {
  const counters = [1, 0, 2].map((left, i) => new Counter(`engine ${i}`, left));
  const engines = new Engines();
  for (const each of counters) engines.add(each);
  return { engines, left: () => counters.map(({ left }) => left) };
}

test('those that are ready step by their place among them', () => {
  const { engines, left } = three();
  expect(engines.ready).toBe(2);
  engines.stepReady(1);
  expect(left()).toEqual([1, 0, 1]);
  engines.stepReady(0);
  expect([left(), engines.ready]).toEqual([[0, 0, 1], 1]);
  engines.stepReady(1);
  expect(left()).toEqual([0, 0, 1]);
});

test('between two stores none steps or one, by choice; nothing is asked where none is ready', () => {
  for (const [picked, expected] of [
    [0, [1, 0, 2]],
    [1, [0, 0, 2]],
    [2, [1, 0, 1]],
  ] as const) {
    const { engines, left } = three();
    const asked: [n: number, what: string][] = [];
    const choose = (...choice: [n: number, what: string]): number => {
      asked.push(choice);
      return picked;
    };
    engines.maybeStep({ choose }, 'store');
    expect([left(), asked]).toEqual([expected, [[3, 'store']]]);
  }
  new Engines().maybeStep({ choose: () => expect.fail('there is no choice') }, 'store');
});

test('one that tells of what may change its readiness is asked only then', () => {
  let asked = 0;
  let isReady = false;
  const engine = {
    ...{ name: 'one that tells', readiness: new Readiness(), step: () => {} },
    get isReady() {
      asked++;
      return isReady;
    },
  };
  const engines = new Engines();
  const others = new Engines();
  for (const each of [engines, others]) each.add(engine);
  expect([engines.ready, others.ready, engines.ready, asked]).toEqual([0, 0, 0, 1]);
  isReady = true;
  expect([engines.ready, asked]).toEqual([0, 1]);
  engine.readiness.stir();
  expect([engines.ready, others.ready, asked]).toEqual([1, 1, 2]);
});

test('quiet ones count when they have said so, after those that stand alone, in the order of being added', () => {
  const { engines, left } = three();
  const quiet = new QuietEngines();
  const counters = ['a', 'b', 'c'].map((name) => new Counter(name, 0));
  for (const each of counters) quiet.add(each);
  engines.addGroup(quiet);
  const [a, b, c] = counters;
  if (a === undefined || b === undefined || c === undefined) throw new Error('three');
  for (const each of [c, a]) {
    each.left = 1;
    quiet.changed(each);
    quiet.changed(each);
  }
  expect([quiet.ready, engines.ready]).toEqual([2, 4]);
  engines.stepReady(2);
  expect([a.left, c.left, left()]).toEqual([0, 1, [1, 0, 2]]);
  quiet.changed(a);
  engines.stepReady(2);
  quiet.changed(c);
  expect([c.left, quiet.ready, engines.ready]).toEqual([0, 0, 2]);
});
