/** Every status that the device can report, and where: in the completion record, or in SWERROR. */
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
  type WqFields,
} from '../../../test/dsa/rig.js';
import {
  DSA_COMPARE,
  DSA_DRAIN,
  DSA_DUALCAST,
  DSA_GENCFG_REG,
  DSA_MEMFILL,
  DSA_MSIXPERM,
  DSA_NOOP,
  DSA_SWERROR_REG,
  DSA_TABLE,
  encode,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { ALL_RIGHTS, COMPLETION, type DsaOptions, NO_PASID, PAGE_RESPONSE, RIGHT } from '../index.js';

const SRC = 0x200000;
const DST = 0x300000;
const WITH_RECORD = FLAG.CRAV | FLAG.RCR;

/** A device with one queue, and a source and a destination of one page each. */
function ready(wq: WqFields = SHARED, options: Partial<DsaOptions> = {}): Rig {
  const rig = new Rig(options);
  rig.start([wq]);
  rig.iommu.map(PASID, SRC / 4096, { frame: 0x200, rights: ALL_RIGHTS });
  rig.iommu.map(PASID, DST / 4096, { frame: 0x300, rights: ALL_RIGHTS });
  rig.memory.write(0x200 * 4096, new Uint8Array(4096).fill(0x55));
  return rig;
}

/** One move that reports to the record, with this or that otherwise. */
const good = (fields: Parameters<typeof move>[0] = {}): Int32Array =>
  move({ SRC, DST, XFER_SIZE: 64, ...fields });

describe('checks of a descriptor', () => {
  test.each([
    {
      name: 'an operation that there is not',
      words: good({ OPCODE: OP.TRANSLATION_FETCH }),
      status: STATUS.BAD_OPCODE,
    },
    { name: 'an operation beyond all', words: good({ OPCODE: 0xff }), status: STATUS.BAD_OPCODE },
    {
      name: 'a fence outside of a batch',
      words: good({ FLAGS: WITH_RECORD | FLAG.FENCE }),
      status: STATUS.INVALID_FLAGS,
    },
    {
      name: 'check result in a move',
      words: good({ FLAGS: WITH_RECORD | FLAG.CHECK_RESULT }),
      status: STATUS.INVALID_FLAGS,
    },
    {
      name: 'a reserved bit',
      words: Int32Array.from(good(), (word, i) => (i === 10 ? 1 : word)),
      status: STATUS.RESERVED_FIELD,
    },
    { name: 'a handle without a request', words: good({ HANDLE: 1 }), status: STATUS.RESERVED_FIELD },
    { name: 'no size', words: good({ XFER_SIZE: 0 }), status: STATUS.TRANSFER_SIZE },
    { name: 'too large a size', words: good({ XFER_SIZE: 2 ** 21 + 1 }), status: STATUS.TRANSFER_SIZE },
    {
      name: 'dualcast to places that differ in their page',
      words: descriptor(DSA_DUALCAST, {
        OPCODE: OP.DUALCAST,
        SRC,
        DST1: DST,
        DST2: DST + 4097,
        XFER_SIZE: 64,
      }),
      status: STATUS.DUALCAST_ADDRESSES,
    },
    {
      name: 'dualcast onto its source',
      words: descriptor(DSA_DUALCAST, { OPCODE: OP.DUALCAST, SRC, DST1: DST, DST2: SRC, XFER_SIZE: 64 }),
      status: STATUS.OVERLAP,
    },
    {
      name: 'an interrupt of somebody else',
      words: good({ FLAGS: WITH_RECORD | FLAG.RCI, HANDLE: 2 }),
      status: STATUS.INTERRUPT_HANDLE,
    },
  ])('$name', ({ words, status }) => {
    const rig = ready();
    rig.device.registers.set(rig.device.table.GENCFG, DSA_GENCFG_REG.USER_INT, 1);
    rig.submit(words);
    rig.run();
    expect(rig.status).toBe(status);
    expect(rig.bytes(0x300 * 4096, 4096).every((byte) => byte === 0)).toBe(true);
    expect(rig.interrupts).toEqual([]);
  });

  test('tell which flags are invalid', () => {
    const rig = ready({ ...SHARED, BOF: 0 });
    rig.submit(good({ FLAGS: WITH_RECORD | FLAG.BOF | FLAG.CC2 }));
    rig.run();
    expect(rig.recordField('INVALID_FLAGS')).toBe(BigInt(FLAG.BOF | FLAG.CC2));
  });

  test.each([
    {
      name: 'compare without a record',
      words: descriptor(DSA_COMPARE, { OPCODE: OP.COMPARE, FLAGS: 0, RECORD: 0, XFER_SIZE: 1 }),
      info: WITH_RECORD,
    },
    {
      name: 'drain that reports nowhere',
      words: descriptor(DSA_DRAIN, { OPCODE: OP.DRAIN, FLAGS: 0, RECORD: 0 }),
      info: FLAG.RCR | FLAG.RCI,
    },
    {
      name: 'a record that is requested and not valid',
      words: descriptor(DSA_NOOP, { FLAGS: FLAG.RCR, RECORD: 0 }),
      info: FLAG.RCR,
    },
  ])('are told in SWERROR where there is no record: $name', ({ words, info }) => {
    const rig = ready();
    rig.submit(words);
    rig.run();
    expect(rig.softwareErrorCode).toBe(STATUS.INVALID_FLAGS);
    expect(rig.softwareError(DSA_SWERROR_REG.INFO)).toBe(BigInt(info));
    expect(rig.softwareError(DSA_SWERROR_REG.PASID)).toBe(BigInt(PASID));
  });

  test('do not mind what a dedicated queue has in its first doubleword', () => {
    const rig = ready(DEDICATED);
    rig.submit(
      Int32Array.from(good(), (word, i) => (i === 0 ? -1 : word)),
      { posted: true },
    );
    rig.run();
    expect(rig.status).toBe(STATUS.SUCCESS);
  });

  test('discard a descriptor whose record is misaligned', () => {
    const rig = ready();
    rig.submit(good({ RECORD: RECORD + 8 }));
    rig.run();
    expect(rig.softwareErrorCode).toBe(STATUS.RECORD_ALIGNMENT);
    expect(rig.bytes(RECORD, 64).every((byte) => byte === 0)).toBe(true);
  });

  test('discard a privileged one where privileged mode is off', () => {
    const rig = new Rig();
    rig.enablePci({ privileged: false });
    rig.startDevice([SHARED]);
    rig.submit(good({ PRIV: 1 }));
    rig.run();
    expect([rig.softwareErrorCode, rig.status]).toEqual([STATUS.PRIVILEGE, 0]);
  });

  test('refuse overlapping moves where they are not supported', () => {
    const rig = ready(SHARED, { overlappingCopy: false });
    rig.submit(good({ DST: SRC + 63 }));
    rig.run();
    expect(rig.status).toBe(STATUS.OVERLAP);
    rig.submit(good({ DST: SRC + 64 }));
    rig.run();
    expect(rig.status).toBe(STATUS.SUCCESS);
  });

  test('refuse operations that the queue does not allow', () => {
    const rig = ready({ ...SHARED, OPS0: 1 << OP.NOOP });
    rig.submit(good());
    rig.run();
    expect(rig.status).toBe(STATUS.BAD_OPCODE);
  });
});

describe('a page that is missing', () => {
  const BOF = WITH_RECORD | FLAG.BOF;

  test.each([
    { name: 'source', page: SRC, write: 0n, operand: 1n },
    { name: 'destination', page: DST, write: 1n, operand: 3n },
  ])('stops a descriptor that may not block: $name', ({ page, write, operand }) => {
    const rig = ready();
    rig.iommu.unmap(PASID, page / 4096);
    rig.submit(good({ SRC: SRC + 8, DST: DST + 8 }));
    rig.run();
    expect(rig.status).toBe(STATUS.PAGE_FAULT);
    expect(rig.recordField('WRITE')).toBe(write);
    expect(rig.recordField('OPERAND')).toBe(operand);
    expect(rig.recordField('FAULT')).toBe(BigInt(page + 8));
    expect(rig.iommu.pageRequests).toEqual([]);
  });

  test('a read-only destination is one', () => {
    const rig = ready();
    rig.iommu.map(PASID, DST / 4096, { frame: 0x300, rights: RIGHT.READ | RIGHT.USER });
    rig.submit(good());
    rig.run();
    expect([rig.status, rig.recordField('WRITE')]).toEqual([STATUS.PAGE_FAULT, 1n]);
  });

  test('is asked for, and the descriptor goes on when it is there', () => {
    const rig = ready();
    rig.iommu.unmap(PASID, DST / 4096);
    rig.submit(good({ FLAGS: BOF }));
    rig.run();
    expect(rig.status).toBe(STATUS.NONE);
    const [request] = rig.iommu.pageRequests;
    expect(request).toMatchObject({
      pasid: PASID,
      page: DST / 4096,
      rights: RIGHT.WRITE | RIGHT.USER,
      isLast: true,
    });
    rig.iommu.map(PASID, DST / 4096, { frame: 0x300, rights: ALL_RIGHTS });
    rig.device.pageGroupResponse({ rid: rig.device.rid, pasid: PASID, group: request?.group ?? 0, code: 0 });
    rig.run();
    expect(rig.status).toBe(STATUS.SUCCESS);
    expect(rig.bytes(0x300 * 4096, 65)[63]).toBe(0x55);
  });

  test.each([
    { code: PAGE_RESPONSE.INVALID_REQUEST, status: STATUS.PAGE_FAULT_INVALID_REQUEST, error: 0 },
    { code: PAGE_RESPONSE.FAILURE, status: STATUS.TRANSLATION_ERROR, error: STATUS.TRANSLATION_ERROR },
  ])('a response of $code ends it with $status', ({ code, status, error }) => {
    const rig = ready();
    rig.iommu.unmap(PASID, DST / 4096);
    rig.submit(good({ FLAGS: BOF }));
    rig.run();
    rig.device.pageGroupResponse({
      rid: rig.device.rid,
      pasid: PASID,
      group: rig.iommu.pageRequests[0]?.group ?? 0,
      code,
    });
    rig.run();
    expect([rig.status, rig.softwareErrorCode]).toEqual([status, error]);
  });

  test('is asked for only so often', () => {
    const rig = ready(SHARED, { pageRequestRetries: 2 });
    rig.iommu.unmap(PASID, DST / 4096);
    rig.submit(good({ FLAGS: BOF }));
    rig.run();
    for (let i = 0; i < 2; i++) {
      const group = rig.iommu.pageRequests[i]?.group ?? 0;
      rig.device.pageGroupResponse({ rid: rig.device.rid, pasid: PASID, group, code: 0 });
      rig.run();
    }
    expect([rig.iommu.pageRequests.length, rig.status]).toEqual([2, STATUS.PAGE_FAULT_INVALID_REQUEST]);
  });

  test('may be answered while it is asked for, as a queue that is full does', () => {
    const rig = ready();
    rig.iommu.unmap(PASID, DST / 4096);
    rig.iommu.requested = ({ rid, pasid, group }) => {
      rig.device.pageGroupResponse({ rid, pasid, group, code: PAGE_RESPONSE.INVALID_REQUEST });
    };
    rig.submit(good({ FLAGS: BOF }));
    rig.run();
    expect(rig.status).toBe(STATUS.PAGE_FAULT_INVALID_REQUEST);
  });

  test('stays unasked for after a response of failure stopped the interface', () => {
    const rig = ready();
    rig.iommu.unmap(PASID, DST / 4096);
    rig.submit(good({ FLAGS: BOF }));
    rig.run();
    rig.device.pageGroupResponse({
      rid: rig.device.rid,
      pasid: PASID,
      group: rig.iommu.pageRequests[0]?.group ?? 0,
      code: 0xf,
    });
    rig.run();
    rig.submit(good({ FLAGS: BOF }));
    rig.run();
    expect([rig.iommu.pageRequests.length, rig.status]).toEqual([1, STATUS.PAGE_FAULT]);
  });

  test('of the record is asked for though the descriptor may not block', () => {
    const rig = ready();
    rig.iommu.unmap(PASID, RECORD_PAGE);
    rig.submit(good());
    rig.run();
    expect(rig.iommu.pageRequests).toHaveLength(1);
    rig.iommu.map(PASID, RECORD_PAGE, { frame: RECORD_PAGE, rights: ALL_RIGHTS });
    rig.device.pageGroupResponse({
      rid: rig.device.rid,
      pasid: PASID,
      group: rig.iommu.pageRequests[0]?.group ?? 0,
      code: 0,
    });
    rig.run();
    expect(rig.status).toBe(STATUS.SUCCESS);
  });

  test('of the record is a software error, where it is not to be had', () => {
    const rig = ready();
    rig.iommu.unmap(PASID, RECORD_PAGE);
    rig.submit(good());
    rig.run();
    rig.device.pageGroupResponse({
      rid: rig.device.rid,
      pasid: PASID,
      group: rig.iommu.pageRequests[0]?.group ?? 0,
      code: 1,
    });
    rig.run();
    expect(rig.softwareErrorCode).toBe(STATUS.RECORD_FAULT);
    expect(rig.softwareError(DSA_SWERROR_REG.ADDR)).toBe(BigInt(RECORD));
    expect(rig.softwareError(DSA_SWERROR_REG.RW)).toBe(1n);
  });

  test('of the record is one without page requests', () => {
    const rig = new Rig();
    rig.enablePci({ pri: false });
    rig.startDevice([{ ...SHARED, BOF: 0 }]);
    rig.iommu.unmap(PASID, RECORD_PAGE);
    rig.submit(descriptor(DSA_NOOP, {}));
    rig.run();
    expect(rig.softwareErrorCode).toBe(STATUS.RECORD_FAULT);
  });

  test('of a descriptor without a record is a software error too', () => {
    const rig = ready();
    rig.iommu.unmap(PASID, DST / 4096);
    rig.submit(good({ FLAGS: 0, RECORD: 0 }));
    rig.run();
    expect(rig.softwareErrorCode).toBe(STATUS.PAGE_FAULT);
    expect(rig.softwareError(DSA_SWERROR_REG.ADDR)).toBe(BigInt(DST));
  });
});

describe('errors of hardware', () => {
  test('a translation request that is not completed with success', () => {
    const rig = ready();
    rig.submit(good());
    rig.iommu.translationStatus = COMPLETION.COMPLETER_ABORT;
    rig.step();
    rig.step();
    rig.iommu.translationStatus = COMPLETION.SUCCESS;
    rig.run();
    expect([rig.status, rig.softwareErrorCode]).toEqual([STATUS.TRANSLATION_ERROR, STATUS.TRANSLATION_ERROR]);
  });

  test('without ATS a read that faults; a write that does goes unnoticed', () => {
    const rig = ready({ ...SHARED, ATS_DISABLE: 1, BOF: 0 });
    rig.iommu.unmap(PASID, DST / 4096);
    rig.submit(good());
    rig.run();
    expect([rig.status, rig.iommu.blocked]).toEqual([STATUS.SUCCESS, [`${PASID}:${DST / 4096}`]]);
    rig.iommu.unmap(PASID, SRC / 4096);
    rig.submit(good());
    rig.run();
    expect(rig.status).toBe(STATUS.HARDWARE_ERROR);
  });
});

describe('where a success is told', () => {
  test('a record that is not requested is not written', () => {
    const rig = ready();
    rig.submit(good({ FLAGS: FLAG.CRAV }));
    rig.run();
    expect([rig.status, rig.bytes(0x300 * 4096, 1)[0]]).toEqual([STATUS.NONE, 0x55]);
  });

  test('privileged requests are for pages of the kernel', () => {
    const rig = ready({ ...DEDICATED, PRIV: 1 });
    rig.iommu.map(PASID, DST / 4096, { frame: 0x300, rights: RIGHT.READ | RIGHT.WRITE });
    rig.iommu.map(PASID, SRC / 4096, { frame: 0x200, rights: RIGHT.READ });
    rig.submit(good(), { posted: true });
    rig.run();
    expect(rig.status).toBe(STATUS.SUCCESS);
  });

  test("an interrupt follows the record, where its entry is the submitter's", () => {
    const rig = new Rig();
    rig.enablePci();
    rig.writeAll(DSA_TABLE.MSIX + 3 * 16, Int32Array.of(0xfee00000 | 0, 0, 0x41, 0));
    rig.writeAll(DSA_TABLE.MSIXPERM + 3 * 8, encode(DSA_MSIXPERM, { PASID_EN: 1, PASID }));
    rig.write(0x80, 0x1000);
    rig.startDevice([SHARED]);
    rig.submit(descriptor(DSA_NOOP, { FLAGS: WITH_RECORD | FLAG.RCI, HANDLE: 3 }));
    while (rig.interrupts.length === 0) {
      expect(rig.step()).toBe(true);
      if (rig.interrupts.length > 0) expect(rig.status).toBe(STATUS.SUCCESS);
    }
    expect(rig.interrupts).toEqual([{ address: 0xfee00000, data: 0x41 }]);
  });

  test('without a PASID requests are not privileged, and interrupts need no leave', () => {
    const rig = new Rig();
    rig.enablePci();
    rig.writeAll(DSA_TABLE.MSIX + 3 * 16, Int32Array.of(0xfee00000 | 0, 0, 0x41, 0));
    rig.startDevice([{ ...DEDICATED, PASID_EN: 0 }]);
    rig.iommu.map(NO_PASID, RECORD_PAGE, { frame: RECORD_PAGE, rights: RIGHT.WRITE | RIGHT.USER });
    const asked: number[] = [];
    rig.device.audit = {
      ...{ submitted: () => {}, refused: () => {}, completed: () => {} },
      requests: (_, { pasid, rights }) => asked.push(pasid, rights),
    };
    rig.submit(descriptor(DSA_NOOP, { FLAGS: WITH_RECORD | FLAG.RCI, HANDLE: 3 }), { posted: true });
    rig.run();
    expect([rig.status, rig.interrupts.length]).toEqual([STATUS.SUCCESS, 1]);
    expect(asked).toEqual([NO_PASID, RIGHT.WRITE | RIGHT.USER]);
  });

  test('a user with a PASID needs leave for interrupts', () => {
    const rig = ready();
    rig.submit(descriptor(DSA_NOOP, { FLAGS: WITH_RECORD | FLAG.RCI }));
    rig.run();
    expect([rig.status, rig.recordField('INVALID_FLAGS')]).toEqual([STATUS.INVALID_FLAGS, BigInt(FLAG.RCI)]);
  });

  test('a fill counts from its first byte, over pages', () => {
    const rig = ready();
    rig.iommu.map(PASID, DST / 4096 + 1, { frame: 0x310, rights: ALL_RIGHTS });
    rig.submit(
      descriptor(DSA_MEMFILL, {
        OPCODE: OP.MEMFILL,
        PATTERN: 0x0706050403020100n,
        DST: DST + 4093,
        XFER_SIZE: 6,
      }),
    );
    rig.run();
    expect([...rig.bytes(0x300 * 4096 + 4093, 3), ...rig.bytes(0x310 * 4096, 4)]).toEqual([
      0, 1, 2, 3, 4, 5, 0,
    ]);
  });
});
