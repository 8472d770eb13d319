/** Portals, work queues, groups and engines: who is accepted, who is served, who waits for whom. */
import { describe, expect, test } from 'vitest';
import {
  DEDICATED,
  descriptor,
  move,
  PASID,
  RECORD,
  RECORD_PAGE,
  Rig,
  SHARED,
} from '../../../test/dsa/rig.js';
import { Random, RandomChooser } from '../../base/index.js';
import {
  DSA_DRAIN,
  DSA_NOOP,
  DSA_SWERROR_REG,
  DSA_TABLE,
  DSA_WQCFG,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
  DSA_PORTAL as PORTAL,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { ALL_RIGHTS } from '../index.js';

const noop = (RECORD_AT = RECORD): Int32Array => descriptor(DSA_NOOP, { RECORD: RECORD_AT });
const SRC = 0x200000;
const MISSING = 0x300000;

/** A move that waits for a page. */
const blocked = (fields = {}): Int32Array =>
  move({
    SRC,
    DST: MISSING,
    XFER_SIZE: 64,
    FLAGS: FLAG.CRAV | FLAG.RCR | FLAG.BOF,
    RECORD: RECORD + 64,
    ...fields,
  });

function started(...args: Parameters<Rig['start']>): Rig {
  const rig = new Rig();
  rig.start(...args);
  rig.iommu.map(PASID, SRC / 4096, { frame: 0x200, rights: ALL_RIGHTS });
  return rig;
}

function answer(rig: Rig, code = 0): void {
  for (const { rid, pasid, group, page } of rig.iommu.pageRequests.splice(0)) {
    if (code === 0) rig.iommu.map(pasid, page, { frame: 0x300, rights: ALL_RIGHTS });
    rig.device.pageGroupResponse({ rid, pasid, group, code });
  }
  rig.run();
}

describe('a shared queue', () => {
  test('says retry when it is full, or at its threshold on the limited portal', () => {
    const rig = started([{ ...SHARED, SIZE: 3, THRESHOLD: 2 }]);
    const submit = (portal: number): boolean => rig.submit(noop(), { portal });
    expect([submit(PORTAL.LIMITED), submit(PORTAL.LIMITED), submit(PORTAL.LIMITED)]).toEqual([
      true,
      true,
      false,
    ]);
    expect([submit(PORTAL.UNLIMITED), submit(PORTAL.UNLIMITED)]).toEqual([true, false]);
    rig.run();
    expect(submit(PORTAL.LIMITED)).toBe(true);
  });

  test('ignores posted writes', () => {
    const rig = started();
    rig.submit(noop(), { posted: true });
    rig.run();
    expect([rig.status, rig.softwareErrorCode]).toEqual([0, 0]);
  });

  test('says retry while it is disabled, and where there is no queue', () => {
    const rig = new Rig();
    expect(rig.submit(noop())).toBe(false);
    expect(rig.submit(noop(), { wq: 7 })).toBe(false);
  });

  test('takes any 64-byte-aligned address of the page', () => {
    expect(started().submit(noop(), { portal: PORTAL.LIMITED + 0xfc0 })).toBe(true);
  });
});

describe('a dedicated queue', () => {
  test('takes posted writes, and says retry to ENQCMD', () => {
    const rig = started([DEDICATED]);
    expect(rig.submit(noop())).toBe(false);
    rig.submit(noop(), { posted: true });
    rig.run();
    expect(rig.status).toBe(STATUS.SUCCESS);
  });

  test('drops what is too much, and records the first', () => {
    const rig = started([{ ...DEDICATED, SIZE: 1, PASID: 77 }]);
    const error = (): bigint[] =>
      [DSA_SWERROR_REG.ERROR, DSA_SWERROR_REG.PASID, DSA_SWERROR_REG.OVERFLOW].map((field) =>
        rig.softwareError(field),
      );
    rig.submit(noop(), { posted: true });
    expect(rig.softwareErrorCode).toBe(0);
    rig.submit(noop(), { posted: true });
    expect(error()).toEqual([BigInt(STATUS.QUEUE_FULL), 77n, 0n]);
    rig.submit(noop(), { posted: true });
    expect(error()).toEqual([BigInt(STATUS.QUEUE_FULL), 77n, 1n]);
    rig.write(0xc0, 3);
    expect(rig.softwareErrorCode).toBe(0);
  });

  test('sends requests with its own PASID', () => {
    const rig = started([{ ...DEDICATED, PASID: 7 }]);
    rig.iommu.map(7, RECORD_PAGE, { frame: 0x111, rights: ALL_RIGHTS });
    rig.submit(descriptor(DSA_NOOP, { PASID: 3 }), { posted: true });
    rig.run();
    expect(rig.recordField('STATUS', 0x111 * 4096)).toBe(1n);
  });
});

test('the configuration of a queue shows its state and its occupancy', () => {
  const rig = started();
  const status = (): number[] => {
    const words = Int32Array.from({ length: 16 }, (_, i) => rig.read(DSA_TABLE.WQCFG + i * 4));
    return [DSA_WQCFG.STATE.get(words, 0), DSA_WQCFG.OCCUPANCY.get(words, 0)];
  };
  rig.submit(noop());
  expect(status()).toEqual([1, 1]);
  rig.run();
  expect(status()).toEqual([1, 0]);
});

describe('engines', () => {
  test('one that waits for a page leaves the descriptors of others alone', () => {
    const rig = started([SHARED], 2);
    rig.submit(blocked());
    rig.submit(noop());
    rig.run();
    expect([rig.recordField('STATUS', RECORD + 64), rig.status]).toEqual([0n, STATUS.SUCCESS]);
    expect(rig.device.running.some(({ isReady }) => isReady)).toBe(false);
    answer(rig);
    expect(rig.recordField('STATUS', RECORD + 64)).toBe(1n);
  });

  test('one that waits is itself blocked', () => {
    const rig = started([SHARED], 1);
    rig.submit(blocked());
    rig.submit(noop());
    rig.run();
    expect(rig.status).toBe(0);
    answer(rig, 1);
    expect([rig.recordField('STATUS', RECORD + 64), rig.status]).toEqual([4n, STATUS.SUCCESS]);
  });

  test('ask for no more pages than they may, and go on as answers come', () => {
    const rig = new Rig({ pageRequests: 1 });
    rig.start([SHARED], 2);
    rig.iommu.map(PASID, SRC / 4096, { frame: 0x200, rights: ALL_RIGHTS });
    rig.submit(blocked());
    rig.submit(blocked({ DST: MISSING + 4096, RECORD }));
    rig.run();
    expect(rig.iommu.pageRequests).toHaveLength(1);
    answer(rig);
    expect(rig.iommu.pageRequests).toHaveLength(1);
    answer(rig);
    expect([rig.recordField('STATUS', RECORD + 64), rig.status]).toEqual([1n, 1]);
  });

  test('serve queues by priority, and none of them never', () => {
    const rig = started([
      { ...SHARED, PRIORITY: 3 },
      { ...SHARED, PRIORITY: 1 },
    ]);
    const order: number[] = [];
    const queueOf = new Map<number, number>();
    rig.device.audit = {
      submitted: (tag, wq) => queueOf.set(tag, wq),
      refused: () => {},
      requests: () => {},
      completed: (tag) => order.push(queueOf.get(tag) ?? -1),
    };
    for (let i = 0; i < 8; i++) for (const wq of [0, 1]) rig.submit(noop(), { wq });
    rig.run();
    expect(order.join('')).toBe('0100100010011111');
  });

  test('serve each queue as often in a round as its priority says, in any order', () => {
    const orders = new Set<string>();
    for (let seed = 1; seed <= 20; seed++) {
      const rig = new Rig({}, new RandomChooser(new Random(seed)));
      rig.start([
        { ...SHARED, PRIORITY: 3 },
        { ...SHARED, PRIORITY: 1 },
      ]);
      const wqs: number[] = [];
      const order: number[] = [];
      rig.device.audit = {
        ...{ refused: () => {}, requests: () => {} },
        submitted: (_, wq) => wqs.push(wq),
        completed: (tag) => order.push(wqs[tag - 1] ?? -1),
      };
      for (let i = 0; i < 12; i++) rig.submit(noop(), { wq: 0 });
      for (let i = 0; i < 4; i++) rig.submit(noop(), { wq: 1 });
      rig.run();
      const rounds = order.join('').match(/.{4}/g) ?? [];
      expect(rounds.map((round) => [...round].sort().join(''))).toEqual(['0001', '0001', '0001', '0001']);
      orders.add(order.join(''));
    }
    expect(orders.size).toBeGreaterThan(5);
  });
});

describe('a drain descriptor', () => {
  const drain = (fields = {}): Int32Array => descriptor(DSA_DRAIN, { OPCODE: OP.DRAIN, ...fields });

  test('waits for the descriptors of its PASID before it', () => {
    const rig = started([SHARED], 3);
    rig.submit(blocked());
    rig.submit(drain());
    rig.submit(noop(RECORD + 128));
    rig.run();
    expect([rig.status, rig.recordField('STATUS', RECORD + 128)]).toEqual([0, 1n]);
    answer(rig);
    expect(rig.status).toBe(1);
  });

  test('does not wait for those of another PASID in a shared queue', () => {
    const rig = started([SHARED], 2);
    rig.submit(blocked());
    rig.iommu.map(7, RECORD_PAGE, { frame: RECORD_PAGE, rights: ALL_RIGHTS });
    rig.submit(drain({ PASID: 7 }));
    rig.run();
    expect(rig.status).toBe(1);
  });
});

describe('an invalidation of the device TLB', () => {
  const invalidate = (rig: Rig, page: number): void =>
    rig.device.invalidateDeviceTlb({
      rid: rig.device.rid,
      pasid: PASID,
      page,
      pages: 1,
      isGlobal: false,
      itag: 5,
    });

  test('is complete once no request on its way uses what it names', () => {
    const rig = started();
    rig.iommu.map(PASID, MISSING / 4096, { frame: 0x300, rights: ALL_RIGHTS });
    rig.submit(blocked());
    rig.step();
    rig.step();
    rig.iommu.unmap(PASID, SRC / 4096);
    invalidate(rig, SRC / 4096);
    expect(rig.iommu.invalidationsDone).toEqual([]);
    invalidate(rig, 0x999);
    expect(rig.iommu.invalidationsDone).toEqual([5]);
    rig.step();
    rig.step();
    expect(rig.iommu.invalidationsDone).toEqual([5, 5]);
    expect(rig.bytes(0x300 * 4096, 64)).toEqual(rig.bytes(0x200 * 4096, 64));
  });

  test('does not wait for a descriptor that waits for a page', () => {
    const rig = started();
    rig.submit(blocked());
    rig.run();
    invalidate(rig, SRC / 4096);
    expect(rig.iommu.invalidationsDone).toEqual([5]);
  });

  test('takes the translation away', () => {
    const rig = started();
    rig.iommu.map(PASID, MISSING / 4096, { frame: 0x300, rights: ALL_RIGHTS });
    rig.submit(blocked());
    rig.run();
    rig.iommu.unmap(PASID, SRC / 4096);
    rig.submit(blocked());
    rig.run();
    expect(rig.iommu.pageRequests).toEqual([]);
    invalidate(rig, SRC / 4096);
    rig.submit(blocked());
    rig.run();
    expect(rig.iommu.pageRequests).toHaveLength(1);
  });
});

test('a device in the middle of its work is put back to it', () => {
  const rig = started([SHARED, DEDICATED], 2);
  rig.submit(blocked());
  rig.submit(noop(), { wq: 1, posted: true });
  rig.step();
  rig.step();
  rig.mark();
  const finish = (): unknown[] => {
    rig.iommu.map(PASID, SRC / 4096, { frame: 0x200, rights: ALL_RIGHTS });
    rig.run();
    const asked = rig.iommu.pageRequests.slice();
    answer(rig);
    rig.submit(noop(RECORD + 128));
    rig.mustCommand(7, 1);
    return [asked, rig.bytes(RECORD, 256), rig.read(0x90), rig.device.lastTag];
  };
  const first = finish();
  rig.restore();
  expect(finish()).toEqual(first);
});
