/** Delta records against models that are a loop: created and applied, they make the second source of the first. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BASE, frameOf, memory, prepare, rig } from '../../../test/dsa/pages.js';
import { descriptor, RECORD } from '../../../test/dsa/rig.js';
import {
  DSA_APPLY_DELTA,
  DSA_CREATE_DELTA,
  DSA_DELTA_RECORD,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';

/** Where the sources and the delta record lie, so that each crosses a page. */
const FIRST = 4096 - 64;
const SECOND = 3 * 4096 - 24;
const DELTA = 5 * 4096 - 16;
const RECORDED = FLAG.CRAV | FLAG.RCR;

const deltaSize = (): number =>
  DSA_DELTA_RECORD.DELTA_SIZE.get(new Int32Array(rig.bytes(RECORD, 32).buffer), 0);

/** Writes to the buffers' memory, where it lies. */
function put(at: number, bytes: Uint8Array): void {
  bytes.forEach((byte, i) => {
    const place = at + i;
    rig.memory.write(frameOf(place >> 12) * 4096 + (place & 4095), Uint8Array.of(byte));
  });
}

/** The delta record that the loop makes. */
function slowDelta(first: Uint8Array, second: Uint8Array): Uint8Array {
  const out: number[] = [];
  for (let unit = 0; unit < first.length / 8; unit++) {
    const [a, b] = [first, second].map((all) => all.subarray(unit * 8, unit * 8 + 8));
    if (a === undefined || b === undefined || Buffer.compare(a, b) === 0) continue;
    out.push(unit & 255, unit >> 8, ...b);
  }
  return Uint8Array.from(out);
}

const create = (fields = {}): Int32Array =>
  descriptor(DSA_CREATE_DELTA, {
    ...{ OPCODE: OP.CREATE_DELTA, SRC1: BASE + FIRST, SRC2: BASE + SECOND, DELTA: BASE + DELTA },
    ...{ XFER_SIZE: 1024, MAX_DELTA_SIZE: 1280, ...fields },
  });

/** Two sources of so many units, which differ in these. */
function sources(units: number, differing: readonly number[]): Uint8Array {
  const first = memory().slice(FIRST, FIRST + units * 8);
  const second = first.slice();
  for (const unit of differing) second[(unit % units) * 8 + (unit & 7)] = 0xa5;
  put(SECOND, second);
  return second;
}

const differences = fc.record({
  units: fc.integer({ min: 1, max: 200 }),
  differing: fc.array(fc.nat(200), { maxLength: 12 }),
  seed: fc.integer(),
});

test('a delta record, applied to the first source, makes the second', () => {
  fc.assert(
    fc.property(differences, ({ units, differing, seed }) => {
      prepare(undefined, seed);
      const second = sources(units, differing);
      const expected = slowDelta(memory().slice(FIRST, FIRST + units * 8), second);
      rig.submit(create({ XFER_SIZE: units * 8 }));
      rig.run();
      expect([rig.status, Number(rig.recordField('RESULT'))]).toEqual([
        STATUS.SUCCESS,
        expected.length > 0 ? 1 : 0,
      ]);
      expect(deltaSize()).toBe(expected.length);
      expect(memory().slice(DELTA, DELTA + expected.length)).toEqual(expected);
      if (expected.length === 0) return;
      rig.submit(
        descriptor(DSA_APPLY_DELTA, {
          ...{ OPCODE: OP.APPLY_DELTA, DELTA: BASE + DELTA, DST: BASE + FIRST },
          ...{ XFER_SIZE: units * 8, DELTA_SIZE: expected.length },
        }),
      );
      rig.run();
      expect(rig.status).toBe(STATUS.SUCCESS);
      expect(memory().slice(FIRST, FIRST + units * 8)).toEqual(second);
    }),
    { numRuns: 60 },
  );
});

test('one that finds no room ends before the first entry that does not fit', () => {
  prepare(undefined, 5);
  sources(100, [1, 3, 5, 7, 9, 11, 13, 15, 17]);
  rig.submit(create({ XFER_SIZE: 800, MAX_DELTA_SIZE: 80 }));
  rig.run();
  expect([rig.status, Number(rig.recordField('RESULT')), deltaSize()]).toEqual([STATUS.SUCCESS, 2, 80]);
  expect(Number(rig.recordField('COMPLETED'))).toBe(17 * 8);
});

describe('check result: the mask has a bit for each', () => {
  test.each([
    { mask: 0b001, differing: [], status: STATUS.SUCCESS },
    { mask: 0b110, differing: [], status: STATUS.FALSE_PREDICATE },
    { mask: 0b010, differing: [3], status: STATUS.SUCCESS },
    { mask: 0b101, differing: [3], status: STATUS.FALSE_PREDICATE },
    { mask: 0b100, differing: [1, 2, 3, 4, 5, 6, 7, 8, 9], status: STATUS.SUCCESS },
    { mask: 0b011, differing: [1, 2, 3, 4, 5, 6, 7, 8, 9], status: STATUS.FALSE_PREDICATE },
  ])('$mask, $differing.length differences', ({ mask, differing, status }) => {
    prepare(undefined, 3);
    sources(10, differing);
    const FLAGS = RECORDED | FLAG.CHECK_RESULT;
    rig.submit(create({ FLAGS, XFER_SIZE: 80, MAX_DELTA_SIZE: 80, EXPECTED_MASK: mask }));
    rig.run();
    expect(rig.status).toBe(status);
  });
});

test('a page of the delta record that is missing leaves whole entries', () => {
  prepare(5, 3);
  sources(10, [1, 4, 6]);
  rig.submit(create({ XFER_SIZE: 80 }));
  rig.run();
  expect([rig.status, deltaSize(), Number(rig.recordField('COMPLETED'))]).toEqual([
    STATUS.PAGE_FAULT,
    10,
    32,
  ]);
  expect(rig.recordField('FAULT')).toBe(BigInt(BASE + 5 * 4096));
});

describe('apply', () => {
  const apply = (entries: readonly number[], fields = {}): number => {
    prepare(undefined, 3);
    const record = new Uint8Array(entries.length * 10);
    entries.forEach((unit, i) => {
      record.set([unit & 255, unit >> 8, 1, 2, 3, 4, 5, 6, 7, 8], i * 10);
    });
    put(DELTA, record);
    rig.submit(
      descriptor(DSA_APPLY_DELTA, {
        ...{ OPCODE: OP.APPLY_DELTA, DELTA: BASE + DELTA, DST: BASE + FIRST },
        ...{ XFER_SIZE: 80, DELTA_SIZE: record.length, ...fields },
      }),
    );
    rig.run();
    return rig.status;
  };

  test.each([
    { name: 'in order', entries: [0, 4, 9], status: STATUS.SUCCESS, done: 0 },
    { name: 'one twice', entries: [2, 2], status: STATUS.DELTA_OFFSET_ORDER, done: 10 },
    { name: 'backward', entries: [2, 4, 3], status: STATUS.DELTA_OFFSET_ORDER, done: 20 },
    { name: 'beyond the buffer', entries: [2, 10], status: STATUS.DELTA_OFFSET_RANGE, done: 10 },
  ])('entries $name', ({ entries, status, done }) => {
    expect(apply(entries)).toBe(status);
    expect(Number(rig.recordField('COMPLETED'))).toBe(done);
  });

  test.each([
    { name: 'no record', fields: { DELTA_SIZE: 0 }, status: STATUS.FIELD_VALUE },
    { name: 'half an entry', fields: { DELTA_SIZE: 15 }, status: STATUS.FIELD_VALUE },
    { name: 'half a unit', fields: { XFER_SIZE: 84 }, status: STATUS.TRANSFER_SIZE },
    { name: 'too much', fields: { XFER_SIZE: 0x80008 }, status: STATUS.TRANSFER_SIZE },
    { name: 'a misaligned buffer', fields: { DST: BASE + 4 }, status: STATUS.ADDRESS_ALIGNMENT },
    { name: 'a record in the buffer', fields: { DST: BASE + DELTA + 8 }, status: STATUS.OVERLAP },
  ])('is refused: $name', ({ fields, status }) => {
    expect(apply([1, 2], fields)).toBe(status);
  });
});

test.each([
  {
    name: 'a record that has no room for eight entries',
    fields: { MAX_DELTA_SIZE: 70 },
    status: STATUS.FIELD_VALUE,
  },
  { name: 'half an entry', fields: { MAX_DELTA_SIZE: 85 }, status: STATUS.FIELD_VALUE },
  { name: 'a misaligned source', fields: { SRC2: BASE + 4 }, status: STATUS.ADDRESS_ALIGNMENT },
  { name: 'a record in a source', fields: { DELTA: BASE + FIRST + 8 }, status: STATUS.OVERLAP },
  { name: 'no record of completion', fields: { FLAGS: FLAG.CRAV }, status: STATUS.INVALID_FLAGS },
])('create is refused: $name', ({ fields, status }) => {
  prepare(undefined, 3);
  rig.submit(create(fields));
  rig.run();
  expect(rig.status).toBe(status);
});
