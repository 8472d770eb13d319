/** CRC-32C against a model that goes bit by bit, with every flag, seeds in both places, and page faults. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BASE, frameOf, memory, prepare, rig, touches } from '../../../test/dsa/pages.js';
import { descriptor } from '../../../test/dsa/rig.js';
import {
  DSA_CRC,
  DSA_CRC_RECORD,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';

const RECORDED = FLAG.CRAV | FLAG.RCR;
const SEED_AT = 5 * 4096 + 12;

interface Kind {
  readonly isPlain: boolean;
  readonly isStraight: boolean;
}

/** The polynomial's remainder, a bit at a time: the message's bits in the order in which they count. */
function slowCrc(bytes: Uint8Array, seed: number, { isPlain, isStraight }: Kind): number {
  const flipped = (value: number): number =>
    Number.parseInt([...(value >>> 0).toString(2).padStart(32, '0')].reverse().join(''), 2) | 0;
  let crc = isPlain ? seed | 0 : flipped(~seed);
  for (const byte of bytes) {
    for (let i = 0; i < 8; i++) {
      const bit = (byte >> (isStraight ? 7 - i : i)) & 1;
      const top = crc < 0 ? 1 : 0;
      crc = (crc << 1) ^ (top === bit ? 0 : 0x1edc6f41);
    }
  }
  return (isPlain ? crc : ~flipped(crc)) >>> 0;
}

const flagsOf = ({ isPlain, isStraight }: Kind): number =>
  (isPlain ? FLAG.CRC_BYPASS_INVERSION : 0) | (isStraight ? FLAG.CRC_BYPASS_DATA_REFLECTION : 0);

const crcField = (): bigint =>
  DSA_CRC_RECORD.CRC.getBig(new Int32Array(rig.bytes(0x100 * 4096, 32).buffer), 0);

test('has the check value of CRC-32C', () => {
  prepare(undefined, 1);
  rig.memory.write(frameOf(0) * 4096, new TextEncoder().encode('123456789'));
  rig.submit(descriptor(DSA_CRC, { OPCODE: OP.CRCGEN, SRC: BASE, XFER_SIZE: 9 }));
  rig.run();
  expect([rig.status, crcField()]).toEqual([STATUS.SUCCESS, 0xe3069283n]);
});

const cases = fc.record({
  isCopy: fc.boolean(),
  isPlain: fc.boolean(),
  isStraight: fc.boolean(),
  /** Whether the seed is in memory. */
  isRead: fc.boolean(),
  src: fc.nat(2 * 4096),
  dst: fc.integer({ min: 6 * 4096, max: 6 * 4096 + 200 }),
  size: fc.integer({ min: 1, max: 7000 }),
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  missing: fc.option(fc.nat(7), { nil: undefined }),
});

test('is that of a model, also of what is done before a page fault', () => {
  fc.assert(
    fc.property(cases, ({ isCopy, isRead, src, dst, size, seed, missing, ...kind }) => {
      const model = prepare(missing, seed);
      new DataView(model.buffer).setUint32(SEED_AT, seed, true);
      if (missing !== 5) writeSeed(seed);
      const seeds = isRead ? { SEED_ADDR: BASE + SEED_AT } : { SEED: seed };
      rig.submit(
        descriptor(DSA_CRC, {
          OPCODE: isCopy ? OP.COPY_CRC : OP.CRCGEN,
          FLAGS: RECORDED | flagsOf(kind) | (isRead ? FLAG.CRC_READ_SEED : 0),
          SRC: BASE + src,
          XFER_SIZE: size,
          ...(isCopy ? { DST: BASE + dst } : {}),
          ...seeds,
        }),
      );
      rig.run();
      const noSeed = isRead && missing === 5;
      const faults = noSeed || touches(missing, src, size) || (isCopy && touches(missing, dst, size));
      expect(rig.status).toBe(faults ? STATUS.PAGE_FAULT : STATUS.SUCCESS);
      const done = faults ? Number(rig.recordField('COMPLETED')) : size;
      if (!noSeed) expect(Number(crcField())).toBe(slowCrc(model.subarray(src, src + done), seed, kind));
      if (isCopy) model.copyWithin(dst, src, src + done);
      if (missing === 5) model.fill(0, 5 * 4096, 6 * 4096);
      const now = memory();
      if (missing === 5) now.fill(0, 5 * 4096, 6 * 4096);
      expect(Buffer.compare(now, model)).toBe(0);
    }),
    { numRuns: 200 },
  );
});

function writeSeed(seed: number): void {
  rig.memory.write(frameOf(5) * 4096 + (SEED_AT % 4096), new Uint8Array(Uint32Array.of(seed).buffer));
}

test('goes on from what a page fault left', () => {
  const model = prepare(1, 99);
  const part = { OPCODE: OP.CRCGEN, SRC: BASE + 5, XFER_SIZE: 6000 };
  rig.submit(descriptor(DSA_CRC, part));
  rig.run();
  const done = Number(rig.recordField('COMPLETED'));
  const seed = Number(crcField());
  expect([rig.status, done]).toEqual([STATUS.PAGE_FAULT, 4091]);
  expect(slowCrc(model.subarray(5 + done, 6005), seed, { isPlain: false, isStraight: false })).toBe(
    slowCrc(model.subarray(5, 6005), 0, { isPlain: false, isStraight: false }),
  );
});

describe('is refused', () => {
  test.each([
    { name: 'without a record', fields: { FLAGS: 0, RECORD: 0 }, status: 0 },
    {
      name: 'with a seed that is not aligned',
      fields: { FLAGS: RECORDED | FLAG.CRC_READ_SEED, SEED_ADDR: BASE + 2 },
      status: STATUS.ADDRESS_ALIGNMENT,
    },
    {
      name: 'with the address of a seed that is not read',
      fields: { SEED_ADDR: BASE },
      status: STATUS.RESERVED_FIELD,
    },
    { name: 'with a destination', fields: { DST: BASE }, status: STATUS.RESERVED_FIELD },
    { name: 'with cache control', fields: { FLAGS: RECORDED | FLAG.CC1 }, status: STATUS.INVALID_FLAGS },
    {
      name: 'copying onto its source',
      fields: { OPCODE: OP.COPY_CRC, DST: BASE + 63 },
      status: STATUS.OVERLAP,
    },
  ])('$name', ({ fields, status }) => {
    prepare(undefined, 1);
    rig.submit(descriptor(DSA_CRC, { OPCODE: OP.CRCGEN, SRC: BASE, XFER_SIZE: 64, ...fields }));
    rig.run();
    expect(rig.status).toBe(status);
    expect(rig.softwareErrorCode).toBe(status === 0 ? STATUS.INVALID_FLAGS : 0);
  });
});
