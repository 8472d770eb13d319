/**
 * Operations against a model that is an array of bytes, with page faults at every page: what is reported as done
 * is done, and nothing else is touched.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BASE,
  BYTES,
  FIRST_PAGE,
  frameOf,
  memory,
  PAGES,
  prepare,
  rig,
  touches,
} from '../../../test/dsa/pages.js';
import { descriptor, PASID } from '../../../test/dsa/rig.js';
import {
  DSA_CFLUSH,
  DSA_COMPARE,
  DSA_COMPVAL,
  DSA_DUALCAST,
  DSA_FLAG,
  DSA_MEMFILL,
  DSA_MEMMOVE,
  DSA_OPCODE,
  DSA_STATUS,
} from '../../spec/index.js';
import { ALL_RIGHTS } from '../index.js';

const ranges = fc.record({
  src: fc.nat(BYTES - 1),
  dst: fc.nat(BYTES - 1),
  size: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 3 * 4096 })),
  seed: fc.integer(),
  /** The page that is missing, if any. */
  missing: fc.option(fc.nat(PAGES - 1), { nil: undefined }),
});
type Ranges = ReturnType<typeof ranges.generate> extends { value: infer T } ? T : never;

describe('memory move', () => {
  test('moves as if by way of a copy, as far as it says', () => {
    fc.assert(
      fc.property(ranges, ({ src, dst, size, seed, missing }) => {
        fc.pre(src + size <= BYTES && dst + size <= BYTES);
        const model = prepare(missing, seed);
        rig.submit(
          descriptor(DSA_MEMMOVE, {
            OPCODE: DSA_OPCODE.MEMMOVE,
            SRC: BASE + src,
            DST: BASE + dst,
            XFER_SIZE: size,
          }),
        );
        rig.run();
        const faults = touches(missing, src, size) || touches(missing, dst, size);
        expect(rig.status).toBe(faults ? DSA_STATUS.PAGE_FAULT : DSA_STATUS.SUCCESS);
        const done = faults ? Number(rig.recordField('COMPLETED')) : size;
        const isBackward = rig.recordField('RESULT') === 1n;
        const from = isBackward ? size - done : 0;
        model.copyWithin(dst + from, src + from, src + from + done);
        expect(Buffer.compare(memory(), model)).toBe(0);
        if (!faults) return;
        expect(done).toBeLessThan(size);
        expect(Number(rig.recordField('FAULT') >> 12n)).toBe(FIRST_PAGE + (missing ?? 0));
      }),
      { numRuns: 300 },
    );
  });

  test('asks for each page that is missing, where it may block', () => {
    fc.assert(
      fc.property(ranges, ({ src, dst, size, seed, missing }) => {
        fc.pre(src + size <= BYTES && dst + size <= BYTES && missing !== undefined);
        const model = prepare(missing, seed);
        const FLAGS = DSA_FLAG.CRAV | DSA_FLAG.RCR | DSA_FLAG.BOF;
        rig.submit(
          descriptor(DSA_MEMMOVE, {
            OPCODE: DSA_OPCODE.MEMMOVE,
            FLAGS,
            SRC: BASE + src,
            DST: BASE + dst,
            XFER_SIZE: size,
          }),
        );
        rig.run();
        for (const { page, group, pasid, rid } of rig.iommu.pageRequests.splice(0)) {
          const index = page - FIRST_PAGE;
          rig.iommu.map(PASID, page, { frame: frameOf(index), rights: ALL_RIGHTS });
          rig.device.pageGroupResponse({ rid, pasid, group, code: 0 });
          rig.run();
        }
        expect(rig.status).toBe(DSA_STATUS.SUCCESS);
        model.copyWithin(dst, src, src + size);
        expect(Buffer.compare(memory(), model)).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});

test('fill repeats its pattern from the first byte on', () => {
  fc.assert(
    fc.property(
      ranges,
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      ({ dst, size, seed, missing }, PATTERN) => {
        fc.pre(dst + size <= BYTES);
        const model = prepare(missing, seed);
        rig.submit(
          descriptor(DSA_MEMFILL, { OPCODE: DSA_OPCODE.MEMFILL, PATTERN, DST: BASE + dst, XFER_SIZE: size }),
        );
        rig.run();
        const done = touches(missing, dst, size) ? Number(rig.recordField('COMPLETED')) : size;
        for (let i = 0; i < done; i++) model[dst + i] = Number((PATTERN >> BigInt((i % 8) * 8)) & 0xffn);
        expect(Buffer.compare(memory(), model)).toBe(0);
        expect(rig.recordField('WRITE')).toBe(done < size ? 1n : 0n);
      },
    ),
    { numRuns: 300 },
  );
});

test('compare tells the first byte that differs, before any fault behind it', () => {
  fc.assert(
    fc.property(ranges, ({ src, dst, size, seed, missing }: Ranges) => {
      fc.pre(src + size <= BYTES && dst + size <= BYTES);
      const model = prepare(missing, seed);
      rig.submit(
        descriptor(DSA_COMPARE, {
          OPCODE: DSA_OPCODE.COMPARE,
          SRC1: BASE + src,
          SRC2: BASE + dst,
          XFER_SIZE: size,
        }),
      );
      rig.run();
      let first = 0;
      while (first < size && model[src + first] === model[dst + first]) first++;
      if (rig.status === DSA_STATUS.PAGE_FAULT) {
        expect(Number(rig.recordField('COMPLETED'))).toBeLessThanOrEqual(first);
        expect(rig.recordField('RESULT')).toBe(0n);
      } else {
        expect(rig.status).toBe(DSA_STATUS.SUCCESS);
        expect(rig.recordField('RESULT')).toBe(first < size ? 1n : 0n);
        expect(Number(rig.recordField('COMPLETED'))).toBe(first < size ? first : 0);
      }
      expect(Buffer.compare(memory(), model)).toBe(0);
    }),
    { numRuns: 300 },
  );
});

describe('check result (table 8-17)', () => {
  test.each([
    { EXPECTED: 0, equal: true, status: DSA_STATUS.SUCCESS },
    { EXPECTED: 0, equal: false, status: DSA_STATUS.FALSE_PREDICATE },
    { EXPECTED: 1, equal: true, status: DSA_STATUS.FALSE_PREDICATE },
    { EXPECTED: 1, equal: false, status: DSA_STATUS.SUCCESS },
  ])('expected $EXPECTED, equal $equal', ({ EXPECTED, equal, status }) => {
    prepare(undefined, 1);
    rig.memory.write(frameOf(0) * 4096, new Uint8Array(64).fill(7));
    const FLAGS = DSA_FLAG.CRAV | DSA_FLAG.RCR | DSA_FLAG.CHECK_RESULT;
    const PATTERN = equal ? 0x0707070707070707n : 0x0707080707070707n;
    rig.submit(
      descriptor(DSA_COMPVAL, {
        OPCODE: DSA_OPCODE.COMPVAL,
        FLAGS,
        PATTERN,
        EXPECTED,
        SRC: BASE,
        XFER_SIZE: 13,
      }),
    );
    rig.run();
    expect(rig.status).toBe(status);
    expect(rig.recordField('COMPLETED')).toBe(equal ? 0n : 5n);
  });
});

test('dualcast writes both destinations', () => {
  const model = prepare(undefined, 77);
  rig.submit(
    descriptor(DSA_DUALCAST, {
      ...{ OPCODE: DSA_OPCODE.DUALCAST, SRC: BASE + 100, XFER_SIZE: 5000 },
      ...{ DST1: BASE + 2 * 4096 + 9, DST2: BASE + 5 * 4096 + 9 },
    }),
  );
  rig.run();
  expect(rig.status).toBe(DSA_STATUS.SUCCESS);
  model.copyWithin(2 * 4096 + 9, 100, 5100);
  model.copyWithin(5 * 4096 + 9, 100, 5100);
  expect(Buffer.compare(memory(), model)).toBe(0);
});

test('a cache flush wants its pages, and moves nothing', () => {
  const model = prepare(2, 7);
  const requests: number[] = [];
  rig.device.audit = {
    ...{ submitted: () => {}, refused: () => {}, completed: () => {} },
    requests: (_, { length }) => requests.push(length),
  };
  const flush = (bytes: number): void => {
    rig.submit(descriptor(DSA_CFLUSH, { OPCODE: DSA_OPCODE.CFLUSH, DST: BASE + 100, XFER_SIZE: bytes }));
    rig.run();
  };
  flush(8000);
  expect(rig.status).toBe(DSA_STATUS.SUCCESS);
  flush(9000);
  rig.device.audit = undefined;
  expect([rig.status, rig.recordField('COMPLETED')]).toEqual([DSA_STATUS.PAGE_FAULT, 8092n]);
  expect(requests).toEqual([32, 32]);
  expect(Buffer.compare(memory(), model)).toBe(0);
});
