/** DIF operations against a model that goes bit by bit: what is inserted passes a check, and strips to what it was. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BASE, BYTES, frameOf, memory, prepare, rig, touches } from '../../../test/dsa/pages.js';
import { descriptor, RECORD } from '../../../test/dsa/rig.js';
import {
  DSA_DIF_CHECK,
  DSA_DIF_INSERT,
  DSA_DIF_RECORD,
  DSA_DIF_UPDATE,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { DIF_FLAG, DIF_RESULT, DIF_SOURCE, DIF_TARGET } from './dif-tags.js';

const BLOCKS = [512, 520, 4096, 4104];

/** Tags, and how they go on from block to block. */
interface Tags {
  readonly ref: number;
  readonly app: number;
  readonly mask: number;
  readonly isFixed: boolean;
  readonly increments: boolean;
}

/** The CRC of T10 DIF, a bit at a time. */
function slowGuard(bytes: Uint8Array, flags: number): number {
  let crc = (flags & DIF_FLAG.INVERT_SEED) === 0 ? 0 : 0xffff;
  for (const byte of bytes) {
    for (let i = 7; i >= 0; i--) {
      const top = crc >> 15;
      crc = (crc << 1) & 0xffff;
      if (top !== ((byte >> i) & 1)) crc ^= 0x8bb7;
    }
  }
  return (flags & DIF_FLAG.INVERT_RESULT) === 0 ? crc : crc ^ 0xffff;
}

/** Data with its fields. */
function protect(data: Uint8Array, flags: number, { ref, app, mask, isFixed, increments }: Tags): Uint8Array {
  const block = BLOCKS[flags & 3] ?? 0;
  const out = new Uint8Array((data.length / block) * (block + 8));
  const view = new DataView(out.buffer);
  for (let i = 0; i < data.length / block; i++) {
    const bytes = data.subarray(i * block, (i + 1) * block);
    const at = i * (block + 8);
    out.set(bytes, at);
    view.setUint16(at + block, slowGuard(bytes, flags));
    view.setUint16(at + block + 2, (app + (increments ? i : 0)) & ~mask);
    view.setUint32(at + block + 4, ref + (isFixed ? 0 : i));
  }
  return out;
}

/** Writes to the buffers' memory, where it lies. */
function put(at: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const offset = (at + done) & 4095;
    const length = Math.min(4096 - offset, bytes.length - done);
    rig.memory.write(frameOf((at + done) >> 12) * 4096 + offset, bytes.subarray(done, done + length));
    done += length;
  }
}

const SRC = 100;
const DST = 4 * 4096 - 30;
const both = (tags: Tags) => ({
  source: (tags.increments ? DIF_SOURCE.APP_INCREMENTS : 0) | (tags.isFixed ? DIF_SOURCE.REF_FIXED : 0),
  target: (tags.increments ? DIF_TARGET.APP_INCREMENTS : 0) | (tags.isFixed ? DIF_TARGET.REF_FIXED : 0),
});

const places = { SRC: BASE + SRC, DST: BASE + DST };
const insert = (flags: number, size: number, tags: Tags): Int32Array =>
  descriptor(DSA_DIF_INSERT, {
    ...{ OPCODE: OP.DIF_INSERT, ...places, XFER_SIZE: size, FLAGS_DIF: flags },
    ...{ DST_FLAGS: both(tags).target, REF_TAG: tags.ref, APP_TAG: tags.app, APP_MASK: tags.mask },
  });
const check = (flags: number, size: number, tags: Tags, fields = {}): Int32Array =>
  descriptor(DSA_DIF_CHECK, {
    ...{ OPCODE: OP.DIF_CHECK, SRC: BASE + SRC, XFER_SIZE: size, FLAGS_DIF: flags },
    ...{ SRC_FLAGS: both(tags).source, REF_TAG: tags.ref, APP_TAG: tags.app, APP_MASK: tags.mask, ...fields },
  });

const recordWords = (): Int32Array => new Int32Array(rig.bytes(RECORD, 32).buffer);
const submit = (words: Int32Array): number => {
  rig.submit(words);
  rig.run();
  return rig.status;
};

const tagsOf = fc.record({
  ref: fc.integer({ min: 0, max: 2 ** 32 - 4 }),
  app: fc.nat(0xffff),
  mask: fc.constantFrom(0, 0x0ff0, 0xffff),
  isFixed: fc.boolean(),
  increments: fc.boolean(),
});
const cases = fc.record({
  size: fc.nat(3),
  inverted: fc.constantFrom(0, DIF_FLAG.INVERT_SEED, DIF_FLAG.INVERT_RESULT, 12),
  blocks: fc.integer({ min: 1, max: 3 }),
  seed: fc.integer(),
  tags: tagsOf,
  missing: fc.option(fc.nat(7), { nil: undefined }),
});

describe('DIF', () => {
  test('insert makes what the model makes, whole blocks up to a page fault', () => {
    fc.assert(
      fc.property(cases, ({ size, inverted, blocks, seed, tags, missing }) => {
        const block = BLOCKS[size] ?? 0;
        const model = prepare(missing, seed);
        const made = protect(model.slice(SRC, SRC + blocks * block), size | inverted, tags);
        fc.pre(DST + made.length <= BYTES && SRC + blocks * block <= DST);
        const status = submit(insert(size | inverted, blocks * block, tags));
        const faults = touches(missing, SRC, blocks * block) || touches(missing, DST, made.length);
        expect(status).toBe(faults ? STATUS.PAGE_FAULT : STATUS.SUCCESS);
        const done = faults ? Number(rig.recordField('COMPLETED')) / block : blocks;
        const whole = done * (block + 8);
        expect(Buffer.compare(memory().subarray(DST, DST + whole), made.subarray(0, whole))).toBe(0);
        expect(DSA_DIF_RECORD.DST_REF_TAG.get(recordWords(), 0)).toBe(tags.ref + (tags.isFixed ? 0 : done));
        expect(DSA_DIF_RECORD.DST_APP_TAG.get(recordWords(), 0)).toBe(
          (tags.app + (tags.increments ? done : 0)) & 0xffff,
        );
      }),
      { numRuns: 80 },
    );
  });

  test('check passes what was inserted, strip takes it away, update makes it anew', () => {
    fc.assert(
      fc.property(cases, tagsOf, ({ size, inverted, blocks, seed, tags }, others) => {
        const block = BLOCKS[size] ?? 0;
        const flags = size | inverted;
        const data = prepare(undefined, seed).slice(0, blocks * block);
        const made = protect(data, flags, tags);
        fc.pre(SRC + made.length <= DST && DST + made.length <= BYTES);
        put(SRC, made);
        expect(submit(check(flags, made.length, tags))).toBe(STATUS.SUCCESS);
        expect(submit(check(flags, made.length, tags, { OPCODE: OP.DIF_STRIP, DST: places.DST }))).toBe(
          STATUS.SUCCESS,
        );
        expect(Buffer.compare(memory().subarray(DST, DST + data.length), data)).toBe(0);
        const update = descriptor(DSA_DIF_UPDATE, {
          ...{ OPCODE: OP.DIF_UPDATE, ...places, XFER_SIZE: made.length, FLAGS_DIF: flags },
          ...{ SRC_FLAGS: both(tags).source, SRC_REF_TAG: tags.ref },
          ...{ SRC_APP_TAG: tags.app, SRC_APP_MASK: tags.mask },
          ...{ DST_FLAGS: both(others).target, DST_REF_TAG: others.ref },
          ...{ DST_APP_TAG: others.app, DST_APP_MASK: others.mask },
        });
        expect(submit(update)).toBe(STATUS.SUCCESS);
        const anew = protect(data, flags, others);
        expect(Buffer.compare(memory().subarray(DST, DST + anew.length), anew)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

const TAGS: Tags = { ref: 7, app: 0x1234, mask: 0, isFixed: false, increments: false };
/** Three blocks of 512 bytes, of whose second one the field is put over with these bytes from `at` on. */
function spoiled(at: number, bytes: readonly number[]): number {
  const made = protect(prepare(undefined, 3).slice(0, 3 * 512), 0, TAGS);
  made.set(bytes, 520 + at);
  put(SRC, made);
  return made.length;
}
const GUARD = 512;
const APP = 514;
const REF = 516;
const ALL_F = [255, 255, 255, 255, 255, 255, 255, 255];

describe('check finds', () => {
  const { NO_GUARD, NO_REF, ALL_F_DETECT, ALL_F_ERROR, APP_F_DETECT, APP_REF_F_DETECT } = DIF_SOURCE;
  test.each([
    { name: 'a guard', at: GUARD, bytes: [1, 2], flags: 0, result: DIF_RESULT.GUARD },
    { name: 'data', at: 5, bytes: [99], flags: 0, result: DIF_RESULT.GUARD },
    { name: 'an application tag', at: APP, bytes: [9], flags: 0, result: DIF_RESULT.APP },
    { name: 'a reference tag', at: REF, bytes: [9], flags: 0, result: DIF_RESULT.REF },
    { name: 'both', at: APP, bytes: [9, 9, 9], flags: 0, result: DIF_RESULT.APP | DIF_RESULT.REF },
    { name: 'no guard, if told so', at: GUARD, bytes: [1, 2], flags: NO_GUARD, result: 0 },
    { name: 'no reference tag, if told so', at: REF, bytes: [9], flags: NO_REF, result: 0 },
    {
      name: 'all ones',
      at: GUARD,
      bytes: ALL_F,
      flags: ALL_F_DETECT | ALL_F_ERROR,
      result: DIF_RESULT.ALL_F,
    },
    { name: 'nothing in all ones', at: GUARD, bytes: ALL_F, flags: ALL_F_DETECT, result: 0 },
    { name: 'nothing behind a tag of ones', at: APP, bytes: [255, 255, 9], flags: APP_F_DETECT, result: 0 },
    {
      name: 'nothing behind tags of ones',
      at: APP,
      bytes: ALL_F.slice(2),
      flags: APP_REF_F_DETECT,
      result: 0,
    },
    { name: 'one tag of ones', at: APP, bytes: [255, 255], flags: APP_REF_F_DETECT, result: DIF_RESULT.APP },
  ])('$name', ({ at, bytes, flags, result }) => {
    const size = spoiled(at, bytes);
    const status = submit(check(0, size, TAGS, { SRC_FLAGS: flags }));
    expect(status).toBe(result === 0 ? STATUS.SUCCESS : STATUS.DIF_ERROR);
    expect(Number(rig.recordField('RESULT'))).toBe(result);
    if (result === 0) return;
    expect(Number(rig.recordField('COMPLETED'))).toBe(520);
    expect(DSA_DIF_RECORD.SRC_REF_TAG.get(recordWords(), 0)).toBe(8);
    expect(DSA_DIF_RECORD.SRC_APP_TAG.get(recordWords(), 0)).toBe(0x1234);
  });

  test('no bit of the application tag that is masked', () => {
    const size = spoiled(APP, [0x19, 0x34]);
    expect(submit(check(0, size, { ...TAGS, mask: 0x0f00 }))).toBe(STATUS.SUCCESS);
  });
});

test('update passes through what it is told to', () => {
  const made = protect(prepare(undefined, 3).slice(0, 512), 0, TAGS);
  const { PASS_APP, PASS_GUARD, PASS_REF } = DIF_TARGET;
  put(SRC, made);
  const DST_FLAGS = PASS_APP | PASS_GUARD | PASS_REF;
  const seeds = { SRC_REF_TAG: 7, SRC_APP_TAG: 0x1234, DST_REF_TAG: 1, DST_APP_TAG: 1, DST_FLAGS };
  expect(
    submit(descriptor(DSA_DIF_UPDATE, { OPCODE: OP.DIF_UPDATE, ...places, XFER_SIZE: 520, ...seeds })),
  ).toBe(STATUS.SUCCESS);
  expect(memory().slice(DST, DST + 520)).toEqual(made);
});

test.each([
  { name: 'half a block', words: check(0, 512, TAGS), status: STATUS.TRANSFER_SIZE },
  { name: 'fields in what has none', words: insert(0, 520, TAGS), status: STATUS.TRANSFER_SIZE },
  { name: 'a size that there is not', words: check(0x10, 520, TAGS), status: STATUS.RESERVED_FIELD },
  {
    name: 'a destination of a check',
    words: check(0, 520, TAGS, { DST: BASE }),
    status: STATUS.RESERVED_FIELD,
  },
  {
    name: 'an insert that passes what it has not',
    words: descriptor(DSA_DIF_INSERT, {
      OPCODE: OP.DIF_INSERT,
      ...places,
      XFER_SIZE: 512,
      DST_FLAGS: DIF_TARGET.PASS_APP,
    }),
    status: STATUS.RESERVED_FIELD,
  },
  {
    name: 'a strip into its source',
    words: check(0, 520, TAGS, { OPCODE: OP.DIF_STRIP, DST: BASE + SRC + 519 }),
    status: STATUS.OVERLAP,
  },
  {
    name: 'cache control in a check',
    words: check(0, 520, TAGS, { FLAGS: FLAG.CRAV | FLAG.RCR | FLAG.CC1 }),
    status: STATUS.INVALID_FLAGS,
  },
])('is refused: $name', ({ words, status }) => {
  prepare(undefined, 3);
  expect(submit(words)).toBe(status);
});
