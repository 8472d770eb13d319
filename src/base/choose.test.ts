import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bug } from './bug.js';
import {
  type Choice,
  type Chooser,
  ExhaustiveChooser,
  firstChooser,
  RandomChooser,
  RecordingChooser,
  ReplayChooser,
  ReplayMismatch,
} from './choose.js';
import { Random } from './random.js';

/** Answers a list, one after the other. */
const answering = (...answers: readonly number[]): Chooser => {
  const left = [...answers];
  return { choose: () => left.shift() ?? 0 };
};

/** The result of every run that `chooser` leads through; more than there can be are an error, not a hang. */
function everyRun<T>(run: (chooser: Chooser) => T, chooser = new ExhaustiveChooser()): T[] {
  const results: T[] = [];
  do {
    results.push(run(chooser));
    expect(results.length).toBeLessThanOrEqual(5000);
  } while (chooser.advance());
  return results;
}

const permutation = (chooser: Chooser, letters: string): string => {
  const left = [...letters];
  return [...letters].map(() => left.splice(chooser.choose(left.length, 'letter'), 1).join('')).join('');
};

/** How a run may go: how many ways each of its choices has. */
const aRun = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 30 });
const follow = (chooser: Chooser, ways: readonly number[]): number[] =>
  ways.map((n, i) => chooser.choose(n, `choice ${i}`));

describe.each<[string, () => Chooser]>([
  ['first', () => firstChooser],
  ['random', () => new RandomChooser(new Random(1))],
  ['recording', () => new RecordingChooser(firstChooser)],
  ['replay', () => new ReplayChooser([])],
  ['exhaustive', () => new ExhaustiveChooser()],
])('the %s chooser', (_name, make) => {
  it.each([0, -1, 1.5, Number.NaN])('takes a choice of %d for a Bug', (n) => {
    expect(() => make().choose(n, 'frob')).toThrow(new Bug(`a choice of ${n}: frob`));
  });

  it('answers 0 where there is one way', () => {
    const chooser = make();
    expect([chooser.choose(1, 'a'), chooser.choose(1, 'b')]).toEqual([0, 0]);
  });
});

describe('firstChooser', () => {
  it('takes the first way', () => {
    expect(follow(firstChooser, [1, 2, 3, 1000])).toEqual([0, 0, 0, 0]);
  });
});

describe('RandomChooser', () => {
  it('answers what its generator gives', () => {
    const random = new Random(42);
    const chooser = new RandomChooser(new Random(42));
    const ways = [6, 2, 1000, 3, 7];
    expect(follow(chooser, ways)).toEqual(ways.map((n) => random.below(n)));
  });

  it('draws nothing for what is no choice', () => {
    const picks = (ways: readonly number[]): number[] =>
      follow(new RandomChooser(new Random(5)), ways).filter((_, i) => ways[i] !== 1);
    expect(picks([1, 9, 1, 1, 9, 1, 9])).toEqual(picks([9, 9, 9]));
  });

  it('comes to every way', () => {
    const chooser = new RandomChooser(new Random(8));
    expect(new Set(follow(chooser, new Array(100).fill(5)))).toEqual(new Set([0, 1, 2, 3, 4]));
  });
});

describe('RecordingChooser', () => {
  it('passes answers on, and keeps those of real choices', () => {
    const chooser = new RecordingChooser(answering(2, 0, 1));
    expect([chooser.choose(3, 'a'), chooser.choose(1, 'b'), chooser.choose(2, 'c')]).toEqual([2, 0, 1]);
    expect(chooser.choices).toEqual([
      { n: 3, what: 'a', picked: 2 },
      { n: 2, what: 'c', picked: 1 },
    ]);
  });

  it('forgets all but the first choices', () => {
    const chooser = new RecordingChooser(firstChooser);
    follow(chooser, [2, 3, 4]);
    chooser.truncate(5);
    expect(chooser.choices.map(({ n }) => n)).toEqual([2, 3, 4]);
    chooser.truncate(1);
    expect(chooser.choices.map(({ n }) => n)).toEqual([2]);
    chooser.truncate(0);
    expect(chooser.choices).toEqual([]);
  });

  it.each([-1, 3, 0.5, Number.NaN])('takes the answer %d of 3 for a Bug', (answer) => {
    const chooser = new RecordingChooser(answering(answer));
    expect(() => chooser.choose(3, 'frob')).toThrow(new Bug(`${answer} picked of 3: frob`));
    expect(chooser.choices).toEqual([]);
  });
});

describe('ReplayChooser', () => {
  const RECORDED: readonly Choice[] = [
    { n: 3, what: 'task', picked: 2 },
    { n: 2, what: 'evict', picked: 1 },
  ];

  it('answers as it was recorded, and says when it has answered all', () => {
    const chooser = new ReplayChooser(RECORDED);
    expect(chooser.done).toBe(false);
    expect(chooser.choose(3, 'task')).toBe(2);
    expect(chooser.choose(1, 'no choice')).toBe(0);
    expect(chooser.done).toBe(false);
    expect(chooser.choose(2, 'evict')).toBe(1);
    expect(chooser.done).toBe(true);
  });

  it('is done at once when nothing was recorded', () => {
    expect(new ReplayChooser([]).done).toBe(true);
  });

  it.each([
    ['more ways', 4, 'task', 'choice 0 is task (4 ways); recorded was task (3 ways)'],
    ['fewer ways', 2, 'task', 'choice 0 is task (2 ways); recorded was task (3 ways)'],
    ['another thing', 3, 'evict', 'choice 0 is evict (3 ways); recorded was task (3 ways)'],
  ])('says so when the run asks for %s', (_how, n, what, message) => {
    const chooser = new ReplayChooser(RECORDED);
    expect(() => chooser.choose(n, what)).toThrow(new ReplayMismatch(message));
    expect(chooser.done).toBe(false);
  });

  it('says so when the run goes on after the end of the record', () => {
    const chooser = new ReplayChooser(RECORDED);
    chooser.choose(3, 'task');
    chooser.choose(2, 'evict');
    expect(() => chooser.choose(2, 'evict')).toThrow(
      new ReplayMismatch('choice 2 (evict, 2 ways) comes after the last that was recorded'),
    );
  });

  it('takes a record that no run can have made for a Bug', () => {
    const chooser = new ReplayChooser([{ n: 2, what: 'task', picked: 2 }]);
    expect(() => chooser.choose(2, 'task')).toThrow(new Bug('2 picked of 2: task'));
  });

  it('has an error with a name of its own', () => {
    expect(String(new ReplayMismatch('x'))).toBe('ReplayMismatch: x');
    expect(new ReplayMismatch('x')).not.toBeInstanceOf(Bug);
  });

  it('repeats every recorded run', () => {
    fc.assert(
      fc.property(aRun, fc.maxSafeNat(), (ways, seed) => {
        const recording = new RecordingChooser(new RandomChooser(new Random(seed)));
        const answers = follow(recording, ways);
        const replay = new ReplayChooser(recording.choices);
        expect(follow(replay, ways)).toEqual(answers);
        expect(replay.done).toBe(true);
      }),
    );
  });
});

describe('ExhaustiveChooser', () => {
  it.each([
    [0, 1],
    [1, 1],
    [2, 2],
    [3, 6],
    [4, 24],
    [5, 120],
  ])('runs through the permutations of %d letters: %d', (length, count) => {
    const words = everyRun((chooser) => permutation(chooser, 'abcde'.slice(0, length)));
    expect(words).toHaveLength(count);
    expect(new Set(words).size).toBe(count);
    expect(words).toEqual(words.toSorted());
  });

  it('goes through sequences of different length, each once, in lexical order', () => {
    const runs = everyRun((chooser) => {
      const path = [chooser.choose(2, 'go on')];
      if (path[0] === 1) path.push(chooser.choose(3, 'where'));
      return path.join('');
    });
    expect(runs).toEqual(['0', '10', '11', '12']);
  });

  it('makes exactly the product of the ways in runs', () => {
    const few = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 5 });
    fc.assert(
      fc.property(few, (ways) => {
        const runs = everyRun((chooser) => follow(chooser, ways).join(''));
        expect(runs).toHaveLength(ways.reduce((product, n) => product * n, 1));
        expect(new Set(runs).size).toBe(runs.length);
      }),
    );
  });

  it('begins again after the last', () => {
    const chooser = new ExhaustiveChooser();
    const all = () => everyRun((each) => each.choose(3, 'a'), chooser);
    expect(all()).toEqual([0, 1, 2]);
    expect(all()).toEqual([0, 1, 2]);
  });

  it('does not follow what is no choice: that may come and go', () => {
    const chooser = new ExhaustiveChooser();
    follow(chooser, [2]);
    chooser.advance();
    expect([chooser.choose(1, 'alone'), chooser.choose(2, 'choice 0')]).toEqual([0, 1]);
    expect(chooser.advance()).toBe(false);
  });

  describe('says so when a run', () => {
    const afterOneRun = (): ExhaustiveChooser => {
      const chooser = new ExhaustiveChooser();
      follow(chooser, [2, 2]);
      expect(chooser.advance()).toBe(true);
      return chooser;
    };

    it.each([
      [
        'has other ways',
        3,
        'choice 0',
        'choice 0 is choice 0 (3 ways); in the run before it was choice 0 (2 ways)',
      ],
      [
        'asks for another thing',
        2,
        'x',
        'choice 0 is x (2 ways); in the run before it was choice 0 (2 ways)',
      ],
    ])('%s than the run before', (_how, n, what, message) => {
      expect(() => afterOneRun().choose(n, what)).toThrow(new ReplayMismatch(message));
    });

    it('ends before the choice that is to be decided otherwise', () => {
      const chooser = afterOneRun();
      chooser.choose(2, 'choice 0');
      expect(() => chooser.advance()).toThrow(new ReplayMismatch('the run ended before choice 1, choice 1'));
    });
  });
});
