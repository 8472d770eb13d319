import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bug } from './bug.js';
import { Words } from './words.js';

const contents = (words: Words): number[] => [...words.words.subarray(0, words.length)];

/** What a model of {@link Words} holds: the same in plain arrays, copied whole. */
interface Model {
  now: number[];
  marked: number[] | undefined;
}

const CHUNK = 4;

/** Applies one operation to both, and compares. */
class Operation implements fc.Command<Model, Words> {
  readonly #text: string;
  readonly #apply: (model: Model, words: Words) => void;

  constructor(text: string, apply: (model: Model, words: Words) => void) {
    this.#text = text;
    this.#apply = apply;
  }

  check(): boolean {
    return true;
  }

  run(model: Model, words: Words): void {
    this.#apply(model, words);
    expect(contents(words)).toEqual(model.now);
    expect(words.length).toBe(model.now.length);
  }

  toString(): string {
    return this.#text;
  }
}

const anOperation = [
  fc.tuple(fc.nat(), fc.integer()).map(
    ([where, value]) =>
      new Operation(`set(${where}, ${value})`, (model, words) => {
        const index = where % model.now.length;
        words.set(index, value);
        model.now[index] = value | 0;
      }),
  ),
  // What a caller does who stores several words of one chunk.
  fc.tuple(fc.nat(), fc.integer()).map(
    ([where, value]) =>
      new Operation(`touch(${where}) and store ${value}`, (model, words) => {
        const index = where % model.now.length;
        const first = index - (index % CHUNK);
        words.touch(index);
        words.words.fill(value, first, first + CHUNK);
        model.now.fill(value, first, first + CHUNK);
      }),
  ),
  fc.integer({ min: -10, max: 30 }).map(
    (by) =>
      new Operation(`grow by ${by}`, (model, words) => {
        words.grow(words.length + by);
        while (by > 0 && model.now.length < words.length) model.now.push(0);
      }),
  ),
  fc.tuple(fc.integer({ min: -10, max: 30 }), fc.nat(100)).map(
    ([by, more]) =>
      new Operation(`grow by ${by}, with room for ${more} more`, (model, words) => {
        words.grow(words.length + by, words.length + Math.max(0, by) + more);
        while (by > 0 && model.now.length < words.length) model.now.push(0);
      }),
  ),
  fc.constant(
    new Operation('mark', (model, words) => {
      words.mark();
      model.marked = [...model.now];
      expect(words.dirtyChunks).toBe(0);
    }),
  ),
  fc.constant(
    new Operation('restore', (model, words) => {
      if (model.marked === undefined) {
        expect(() => words.restore()).toThrow(Bug);
        return;
      }
      words.restore();
      model.now = model.now.map((_, i) => model.marked?.[i] ?? 0);
      expect(words.dirtyChunks).toBe(0);
    }),
  ),
];

describe('words', () => {
  it('behave as plain arrays that are copied whole', () => {
    fc.assert(
      fc.property(fc.commands(anOperation, { maxCommands: 60 }), (operations) => {
        const setup = () => {
          const words = new Words(3 * CHUNK, CHUNK);
          const model: Model = { now: contents(words), marked: undefined };
          return { model, real: words };
        };
        fc.modelRun(setup, operations);
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    [0, 64, 0],
    [1, 64, 64],
    [64, 64, 64],
    [65, 64, 128],
    [5, 1, 5],
    [5, 2, 6],
  ])('%d words in chunks of %d are %d, all zero', (length, chunkWords, rounded) => {
    const words = new Words(length, chunkWords);
    expect(words.length).toBe(rounded);
    expect(contents(words)).toEqual(new Array(rounded).fill(0));
  });

  it('have chunks of 64 words unless told otherwise', () => {
    expect(new Words(1).length).toBe(64);
  });

  it.each([0, -4, 3, 6, 0.5, 4.5, 2 ** 31, Number.NaN])('have no chunks of %d words', (chunkWords) => {
    expect(() => new Words(8, chunkWords)).toThrow(new Bug(`a chunk of ${chunkWords} words`));
  });

  it('hold the low 32 bits, signed', () => {
    const words = new Words(4, 4);
    words.set(0, 0xffff_ffff);
    words.set(1, 2 ** 32 + 5);
    expect(contents(words)).toEqual([-1, 5, 0, 0]);
  });

  it.each([-1, 8, 100])('have no word %d of 8', (index) => {
    const words = new Words(8, 4);
    for (const state of ['unmarked', 'marked']) {
      expect(() => words.set(index, 1), state).toThrow(Bug);
      expect(() => words.touch(index), state).toThrow(Bug);
      words.mark();
    }
  });
});

describe('a restore', () => {
  it('needs a mark', () => {
    expect(() => new Words(4).restore()).toThrow(new Bug('restore without a mark'));
  });

  it('goes back to the last mark, as often as wanted', () => {
    const words = new Words(2, 1);
    words.mark();
    words.set(0, 1);
    words.mark();
    for (const value of [7, 8, 9]) {
      words.set(0, value);
      words.set(1, value);
      words.restore();
      expect(contents(words)).toEqual([1, 0]);
    }
  });

  it('copies a chunk once, however often it changes', () => {
    const words = new Words(1024, 64);
    words.mark();
    for (let i = 0; i < 64; i++) words.set(128 + i, i);
    expect(words.dirtyChunks).toBe(1);
    words.set(127, 1);
    words.set(192, 1);
    expect(words.dirtyChunks).toBe(3);
  });

  it('costs nothing before the first mark: nothing is copied aside', () => {
    const words = new Words(1024, 64);
    words.set(5, 5);
    expect(words.dirtyChunks).toBe(0);
  });

  it('costs what has changed since, of however much there is', () => {
    const words = new Words(1 << 20, 64);
    words.mark();
    for (let round = 0; round < 3; round++) {
      words.set(0, 1);
      words.set(1 << 19, 1);
      expect(words.dirtyChunks).toBe(2);
      words.restore();
      expect(words.dirtyChunks).toBe(0);
    }
  });

  it('keeps many chunks aside', () => {
    const words = new Words(200, 1);
    const marked = Array.from({ length: 200 }, (_, i) => i + 1);
    for (const [index, value] of marked.entries()) words.set(index, value);
    words.mark();
    for (let index = 199; index >= 0; index--) words.set(index, -1);
    expect(words.dirtyChunks).toBe(200);
    words.restore();
    expect(contents(words)).toEqual(marked);
  });
});

describe('growth', () => {
  it('keeps the words, and never shrinks', () => {
    const words = new Words(4, 4);
    words.set(3, 3);
    words.grow(5);
    expect(contents(words)).toEqual([0, 0, 0, 3, 0, 0, 0, 0]);
    const before = words.words;
    words.grow(8);
    words.grow(0);
    expect(words.words).toBe(before);
  });

  it('after a mark is cleared by the first restore, and part of the mark from then on', () => {
    const words = new Words(4, 4);
    words.set(0, 5);
    words.mark();
    words.grow(12);
    words.set(8, 8);
    expect(words.dirtyChunks).toBe(0);
    words.restore();
    expect(contents(words)).toEqual([5, ...new Array(11).fill(0)]);
    words.set(8, 9);
    expect(words.dirtyChunks).toBe(1);
    words.restore();
    expect(contents(words)).toEqual([5, ...new Array(11).fill(0)]);
  });
});
