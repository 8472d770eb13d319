import { describe, expect, test } from 'vitest';
import { linuxMemory, linuxUnit } from '../../test/vtd/linux-image.js';
import { ABSENT, FRAME_BYTES, FRAME_LIMIT } from '../hardware/index.js';
import { type Source, settle } from './sources/source.js';
import { surveyUnit } from './survey.js';
import { TableMemory } from './table-memory.js';

const frameOf = (byte: number): Uint8Array => new Uint8Array(FRAME_BYTES).fill(byte);
const firstWord = (memory: TableMemory, frame: number): number => memory.words[memory.at(frame, 0)] ?? 0;

describe('a frame', () => {
  test('is missing from when it is asked for until it is read', () => {
    const memory = new TableMemory();
    expect([memory.at(5, 0), memory.at(5, 0), memory.at(7, 0)]).toEqual([ABSENT, ABSENT, ABSENT]);
    expect([...memory.missing]).toEqual([5, 7]);
    expect(memory.learn(5, frameOf(1))).toBe(false);
    expect([...memory.missing]).toEqual([7]);
    expect(firstWord(memory, 5)).toBe(0x0101_0101);
    expect(memory.readFrames).toEqual([5]);
  });

  test('that is not there is absent, and not missing again', () => {
    const memory = new TableMemory();
    memory.at(5, 0);
    expect(memory.learn(5, undefined)).toBe(false);
    expect([memory.at(5, 0), memory.missing.size]).toEqual([ABSENT, 0]);
  });

  test('that is all zero is there', () => {
    const memory = new TableMemory();
    memory.learn(5, frameOf(0));
    expect(memory.at(5, 0)).not.toBe(ABSENT);
    expect([firstWord(memory, 5), memory.missing.size]).toEqual([0, 0]);
  });

  test('beyond physical addresses is absent, and never missing', () => {
    const memory = new TableMemory();
    expect([memory.at(FRAME_LIMIT, 0), memory.missing.size]).toEqual([ABSENT, 0]);
  });

  test.each([
    { what: 'the same', again: frameOf(1), changed: false, word: 0x0101_0101 },
    { what: 'other bytes', again: frameOf(2), changed: true, word: 0x0202_0202 },
    { what: 'one other byte', again: frameOf(1).fill(9, 4095), changed: true, word: 0x0101_0101 },
  ])('read again with $what', ({ again, changed, word }) => {
    const memory = new TableMemory();
    memory.learn(5, frameOf(1));
    expect(memory.learn(5, again)).toBe(changed);
    expect(firstWord(memory, 5)).toBe(word);
  });

  test('that goes has changed, and so has one that comes, which is read then', () => {
    const memory = new TableMemory();
    memory.learn(5, frameOf(1));
    expect(memory.learn(5, undefined)).toBe(true);
    expect(memory.at(5, 0)).toBe(ABSENT);
    expect(memory.learn(5, frameOf(3))).toBe(true);
    expect(firstWord(memory, 5)).toBe(0x0303_0303);
    memory.learn(6, undefined);
    expect(memory.learn(6, frameOf(4))).toBe(true);
    expect(firstWord(memory, 6)).toBe(0x0404_0404);
  });

  test('may begin at any byte of a buffer', () => {
    const memory = new TableMemory();
    const buffer = new Uint8Array(FRAME_BYTES + 8).fill(7);
    for (const offset of [1, 2, 3, 4]) {
      memory.learn(offset, buffer.subarray(offset, offset + FRAME_BYTES));
      expect(firstWord(memory, offset)).toBe(0x0707_0707);
    }
  });
});

test('a survey finds all its tables in rounds, one for each step down', async () => {
  const whole = linuxMemory();
  const unit = linuxUnit();
  let rounds = 0;
  let read = 0;
  const source: Source = {
    name: 'an image, frame by frame',
    registers: unit.registers,
    memory: new TableMemory(),
    async readMissing() {
      rounds++;
      for (const frame of source.memory.missing) {
        read++;
        const bytes = new Uint8Array(FRAME_BYTES);
        source.memory.learn(frame, whole.read(frame * FRAME_BYTES, bytes) ? bytes : undefined);
      }
    },
    async close() {},
  };
  const survey = await settle(source, () => surveyUnit(unit, source.memory));
  expect(survey).toEqual(surveyUnit(unit, whole));
  // Root, contexts, PASID directories, PASID tables, and four levels of paging structures.
  expect(rounds).toBe(8);
  expect(read).toBe(source.memory.readFrames.length);
  expect([...survey.tables.keys()].toSorted((a, b) => a - b)).toEqual(source.memory.readFrames);
});
