/** Administrative commands: their errors, what they wait for, and the states of device and queues. */
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
  DSA_COMMAND as CMD,
  DSA_NOOP,
  DSA_STRIDE,
  DSA_TABLE,
  DSA_COMMAND_ERROR as ERROR,
  EXTENDED_CAPABILITY,
  DSA_FLAG as FLAG,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { ALL_RIGHTS } from '../index.js';

const SRC = 0x200000;
const MISSING = 0x300000;
const noop = (fields = {}): Int32Array => descriptor(DSA_NOOP, fields);
const blocked = (fields = {}): Int32Array =>
  move({
    SRC,
    DST: MISSING,
    XFER_SIZE: 64,
    FLAGS: FLAG.CRAV | FLAG.RCR | FLAG.BOF,
    RECORD: RECORD + 64,
    ...fields,
  });
const wqcfg = (index: number): number => DSA_TABLE.WQCFG + index * DSA_STRIDE.WQCFG;

function started(...args: Parameters<Rig['start']>): Rig {
  const rig = new Rig();
  rig.start(...args);
  rig.iommu.map(PASID, SRC / 4096, { frame: 0x200, rights: ALL_RIGHTS });
  return rig;
}

function answer(rig: Rig): void {
  for (const { rid, pasid, group } of rig.iommu.pageRequests.splice(0)) {
    rig.device.pageGroupResponse({ rid, pasid, group, code: 1 });
  }
  rig.run();
}

describe('enable device', () => {
  const configured = (change: (rig: Rig) => void): number => {
    const rig = new Rig();
    rig.enablePci();
    rig.configureWq(0, SHARED);
    rig.configureGroup(0, 1, 1);
    change(rig);
    return rig.command(CMD.ENABLE_DEVICE);
  };
  test.each([
    { name: 'nothing wrong', change: () => {}, error: ERROR.SUCCESS },
    {
      name: 'no bus mastering',
      change: (rig: Rig) => rig.device.writeConfig(4, 2, 2),
      error: ERROR.BUS_MASTER,
    },
    {
      name: 'more entries than there are',
      change: (rig: Rig) => rig.configureWq(0, { SIZE: 129 }),
      error: ERROR.WQ_SIZE_SUM,
    },
    {
      name: 'queues without engines',
      change: (rig: Rig) => rig.configureGroup(0, 1, 0),
      error: ERROR.GROUP_WQS_OR_ENGINES,
    },
    {
      name: 'engines without queues',
      change: (rig: Rig) => rig.configureGroup(1, 0, 2),
      error: ERROR.GROUP_WQS_OR_ENGINES,
    },
    {
      name: 'a queue in two groups',
      change: (rig: Rig) => rig.configureGroup(1, 1, 2),
      error: ERROR.GROUP_WQS,
    },
    {
      name: 'an active queue in none',
      change: (rig: Rig) => rig.configureWq(1, SHARED),
      error: ERROR.GROUP_WQS,
    },
    {
      name: 'an inactive queue in one',
      change: (rig: Rig) => rig.configureGroup(0, 3, 1),
      error: ERROR.GROUP_WQS,
    },
    {
      name: 'an engine in two groups',
      change: (rig: Rig) => {
        rig.configureWq(1, SHARED);
        rig.configureGroup(1, 2, 1);
      },
      error: ERROR.GROUP_ENGINES,
    },
    {
      name: 'an engine that there is not',
      change: (rig: Rig) => rig.configureGroup(0, 1, 0x11),
      error: ERROR.GROUP_ENGINES,
    },
    { name: 'an event log', change: (rig: Rig) => rig.write(0x80, 0x2000), error: ERROR.CONFIGURATION },
  ])('$name: $error', ({ change, error }) => {
    expect(configured(change)).toBe(error);
  });

  test('twice', () => {
    expect(started().command(CMD.ENABLE_DEVICE)).toBe(ERROR.DEVICE_NOT_DISABLED);
  });
});

describe('enable WQ', () => {
  test.each<{ name: string; wq: WqFields; error: number; pci?: Parameters<Rig['enablePci']>[0] }>([
    { name: 'priority 0', wq: { ...SHARED, PRIORITY: 0 }, error: ERROR.WQ_PRIORITY },
    {
      name: 'block on fault without page requests',
      wq: SHARED,
      pci: { pri: false },
      error: ERROR.WQ_BLOCK_ON_FAULT,
    },
    { name: 'shared without PASID', wq: { ...SHARED, PASID_EN: 0 }, error: ERROR.WQ_PASID_ENABLE },
    { name: 'too large a transfer', wq: { ...SHARED, MAX_XFER_SHIFT: 22 }, error: ERROR.WQ_TRANSFER_SIZE },
    {
      name: 'privileged without the mode',
      wq: { ...DEDICATED, PRIV: 1 },
      pci: { privileged: false },
      error: ERROR.WQ_PRIVILEGE,
    },
    { name: 'operations that there are not', wq: { ...SHARED, OPS0: 1 << 10 }, error: ERROR.WQ_OPERATIONS },
    {
      name: 'page requests disabled without an event log',
      wq: { ...SHARED, PRS_DISABLE: 1, BOF: 0 },
      error: ERROR.WQ_PRS_DISABLE,
    },
    { name: 'dedicated without PASID', wq: { ...DEDICATED, PASID_EN: 0 }, error: ERROR.SUCCESS },
  ])('$name: $error', ({ wq, error, pci }) => {
    const rig = new Rig();
    rig.enablePci(pci);
    rig.configureWq(0, wq);
    rig.configureGroup(0, 1, 1);
    rig.mustCommand(CMD.ENABLE_DEVICE);
    expect(rig.command(CMD.ENABLE_WQ)).toBe(error);
    expect(rig.submit(noop())).toBe(
      error === ERROR.SUCCESS ? rig.device.queue(0).isDedicated === false : false,
    );
  });

  test('in the wrong state, or one that there is not', () => {
    const rig = new Rig();
    rig.configureWq(0, SHARED);
    expect(rig.command(CMD.ENABLE_WQ, 0)).toBe(ERROR.DEVICE_NOT_ENABLED);
    rig.start([SHARED]);
    expect([0, 1, 8].map((index) => rig.command(CMD.ENABLE_WQ, index))).toEqual([
      ERROR.WQ_NOT_DISABLED,
      ERROR.WQ_SIZE,
      ERROR.INVALID_WQ_INDEX,
    ]);
  });
});

describe('commands that are refused', () => {
  test.each([
    { name: 'unknown', command: 31, operand: 0, error: ERROR.INVALID_COMMAND },
    { name: 'not supported', command: CMD.REQUEST_INT_HANDLE, operand: 0, error: ERROR.INVALID_COMMAND },
    { name: 'a queue that is not enabled', command: CMD.DRAIN_WQ, operand: 2, error: ERROR.WQS_NOT_ENABLED },
    {
      name: 'a queue that there is not',
      command: CMD.DISABLE_WQ,
      operand: 1 << 8,
      error: ERROR.INVALID_WQ_INDEX,
    },
    {
      name: 'another group of queues',
      command: CMD.ABORT_WQ,
      operand: 0x10001,
      error: ERROR.INVALID_WQ_INDEX,
    },
    {
      name: 'an operand where there is none',
      command: CMD.DISABLE_DEVICE,
      operand: 1,
      error: ERROR.RESERVED_FIELD,
    },
  ])('$name: $error', ({ command, operand, error }) => {
    expect(started().command(command, operand)).toBe(error);
  });

  test('disabling a device that is disabled', () => {
    expect(new Rig().command(CMD.DISABLE_DEVICE)).toBe(ERROR.DISABLE_NOT_ENABLED);
  });

  test('one while another is active is a software error', () => {
    const rig = started();
    rig.submitCommand(CMD.DRAIN_ALL);
    expect(rig.commandIsActive).toBe(true);
    rig.submitCommand(CMD.ABORT_ALL);
    expect(rig.softwareErrorCode).toBe(STATUS.COMMAND_WHILE_ACTIVE);
  });
});

describe('drains', () => {
  test.each([
    { name: 'all', command: CMD.DRAIN_ALL, operand: 0 },
    { name: 'WQ', command: CMD.DRAIN_WQ, operand: 1 },
    { name: 'PASID', command: CMD.DRAIN_PASID, operand: PASID },
    { name: 'by disabling the WQ', command: CMD.DISABLE_WQ, operand: 1 },
    { name: 'by disabling the device', command: CMD.DISABLE_DEVICE, operand: 0 },
  ])('$name: active until the descriptors before it are done', ({ command, operand }) => {
    const rig = started();
    rig.submit(blocked());
    rig.submit(noop());
    rig.submitCommand(command, operand);
    rig.run();
    expect([rig.commandIsActive, rig.status]).toEqual([true, 0]);
    answer(rig);
    expect([rig.commandIsActive, rig.status, rig.recordField('STATUS', RECORD + 64)]).toEqual([false, 1, 4n]);
  });

  test('of a PASID does not wait for another one, nor one of a queue for another queue', () => {
    const rig = started([SHARED, SHARED], 2);
    rig.submit(blocked());
    rig.run();
    expect(rig.command(CMD.DRAIN_PASID, PASID + 1)).toBe(0);
    expect(rig.command(CMD.DRAIN_WQ, 2)).toBe(0);
  });

  test('of all does not wait for what comes after it', () => {
    const rig = started([SHARED], 2);
    rig.submitCommand(CMD.DRAIN_ALL);
    rig.device.running.at(-1)?.step();
    expect(rig.commandIsActive).toBe(false);
    rig.submit(blocked());
    rig.run();
    rig.submitCommand(CMD.DRAIN_ALL);
    rig.run();
    rig.submit(blocked({ DST: MISSING + 4096 }));
    rig.run();
    const [first] = rig.iommu.pageRequests;
    rig.device.pageGroupResponse({ rid: rig.device.rid, pasid: PASID, group: first?.group ?? 0, code: 1 });
    rig.run();
    expect([rig.commandIsActive, rig.iommu.pageRequests.length]).toEqual([false, 2]);
  });

  test('by disabling: nothing is accepted meanwhile', () => {
    const rig = started();
    rig.submit(blocked());
    rig.submitCommand(CMD.DISABLE_WQ, 1);
    rig.run();
    expect([rig.submit(noop()), (rig.read(wqcfg(0) + 24) >>> 30) & 3]).toEqual([false, 2]);
    answer(rig);
    expect((rig.read(wqcfg(0) + 24) >>> 30) & 3).toBe(0);
  });
});

describe('aborts', () => {
  test.each([
    { name: 'all', command: CMD.ABORT_ALL, operand: 0 },
    { name: 'WQ', command: CMD.ABORT_WQ, operand: 1 },
    { name: 'PASID', command: CMD.ABORT_PASID, operand: PASID },
    { name: 'by resetting the WQ', command: CMD.RESET_WQ, operand: 1 },
    { name: 'by resetting the device', command: CMD.RESET_DEVICE, operand: 0 },
  ])('$name: throws out what waits, and abandons what is worked on', ({ command, operand }) => {
    const rig = started();
    const completed: number[][] = [];
    rig.device.audit = {
      ...{ submitted: () => {}, refused: () => {}, requests: () => {} },
      completed: (tag, status) => completed.push([tag, status]),
    };
    rig.submit(blocked());
    rig.submit(noop());
    rig.step();
    rig.submitCommand(command, operand);
    rig.device.running.at(-1)?.step();
    expect(rig.commandIsActive).toBe(true);
    rig.run();
    expect(rig.commandIsActive).toBe(false);
    expect(completed).toEqual([
      [2, 0],
      [1, 0],
    ]);
    expect([rig.status, rig.recordField('STATUS', RECORD + 64), rig.iommu.pageRequests.length]).toEqual([
      0,
      0n,
      0,
    ]);
  });

  test('wait for the response to a page request that is outstanding', () => {
    const rig = started();
    rig.submit(blocked());
    rig.run();
    rig.submitCommand(CMD.ABORT_PASID, PASID);
    rig.run();
    expect(rig.commandIsActive).toBe(true);
    answer(rig);
    expect([rig.commandIsActive, rig.recordField('STATUS', RECORD + 64)]).toEqual([false, 0n]);
  });

  test('of a PASID leave those of others in their order', () => {
    const rig = started();
    rig.iommu.map(7, RECORD_PAGE, { frame: RECORD_PAGE, rights: ALL_RIGHTS });
    rig.submit(blocked());
    rig.run();
    for (const [at, pasid] of [7, PASID, 7].entries())
      rig.submit(noop({ PASID: pasid, RECORD: RECORD + 128 + at * 32 }));
    rig.submitCommand(CMD.ABORT_PASID, PASID);
    rig.run();
    answer(rig);
    const statuses = [0, 1, 2].map((at) => rig.recordField('STATUS', RECORD + 128 + at * 32));
    expect([rig.commandIsActive, ...statuses]).toEqual([false, 1n, 0n, 1n]);
  });
});

describe('what a reset leaves', () => {
  test('a WQ keeps its size alone', () => {
    const rig = started();
    rig.mustCommand(CMD.RESET_WQ, 1);
    expect([rig.read(wqcfg(0)), rig.read(wqcfg(0) + 4), rig.read(wqcfg(0) + 8)]).toEqual([16, 0, 0]);
    expect(rig.read(wqcfg(0) + 32)).toBe(rig.read(0x40));
  });

  test('a device is disabled, its configuration gone', () => {
    const rig = started();
    rig.write(0x88, 1);
    rig.mustCommand(CMD.RESET_DEVICE);
    expect([rig.read(0x90) & 3, rig.read(0x88), rig.read(wqcfg(0)), rig.read(DSA_TABLE.GRPCFG)]).toEqual([
      0, 0, 0, 0,
    ]);
    expect(rig.submit(noop())).toBe(false);
    rig.startDevice([SHARED]);
    expect(rig.submit(noop())).toBe(true);
  });

  test('a function-level reset forgets what is queued and in work', () => {
    const rig = started();
    rig.submit(blocked());
    rig.submit(noop());
    rig.run();
    rig.device.reset();
    rig.run();
    expect([rig.read(0x90) & 3, rig.recordField('STATUS', RECORD + 64), rig.status]).toEqual([0, 0n, 0]);
    const group = rig.iommu.pageRequests[0]?.group ?? 0;
    rig.device.pageGroupResponse({ rid: rig.device.rid, pasid: PASID, group, code: 0 });
    rig.run();
    expect(rig.recordField('STATUS', RECORD + 64)).toBe(0n);
  });
});

describe('what may be written when', () => {
  test('sizes and groups while the device is disabled, the rest of a queue while that is', () => {
    const rig = started([SHARED]);
    const tries = (): number[] => {
      rig.write(wqcfg(0), 5);
      rig.write(wqcfg(0) + 4, 3);
      rig.write(wqcfg(0) + 12, 9);
      rig.write(DSA_TABLE.GRPCFG, 7);
      rig.write(0x80, 0x1000);
      return [wqcfg(0), wqcfg(0) + 4, wqcfg(0) + 12, DSA_TABLE.GRPCFG, 0x80].map((at) => rig.read(at));
    };
    expect(tries()).toEqual([16, 3, 21, 1, 0]);
    rig.mustCommand(CMD.DISABLE_WQ, 1);
    expect(tries()).toEqual([16, 3, 9, 1, 0]);
    rig.mustCommand(CMD.DISABLE_DEVICE);
    expect(tries()).toEqual([5, 3, 9, 7, 0x1000]);
  });
});

describe('interrupts of the device', () => {
  const armed = (): Rig => {
    const rig = started();
    rig.writeAll(DSA_TABLE.MSIX, Int32Array.of(0xfee00000 | 0, 0, 0x30, 0));
    return rig;
  };

  test('a command asks for one', () => {
    const rig = armed();
    rig.write(0xa0, (1 << 31) | (CMD.DRAIN_ALL << 20));
    rig.run();
    expect([rig.interrupts, rig.read(0x98)]).toEqual([[{ address: 0xfee00000, data: 0x30 }], 2]);
    rig.write(0x98, 2);
    expect(rig.read(0x98)).toBe(0);
  });

  test('a software error causes one, if it may', () => {
    const rig = armed();
    rig.write(0x88, 1);
    rig.submit(noop({ RECORD: RECORD + 1 }));
    rig.run();
    expect([rig.interrupts.length, rig.read(0x98)]).toEqual([1, 1]);
  });

  test('a masked one stays pending until it is unmasked', () => {
    const rig = armed();
    rig.write(DSA_TABLE.MSIX + 12, 1);
    rig.write(0xa0, (1 << 31) | (CMD.DRAIN_ALL << 20));
    rig.run();
    expect([rig.interrupts.length, rig.read(DSA_TABLE.MSIX_PBA)]).toEqual([0, 1]);
    rig.write(DSA_TABLE.MSIX + 12, 0);
    expect([rig.interrupts.length, rig.read(DSA_TABLE.MSIX_PBA)]).toEqual([1, 0]);
  });
});

describe('a device that is not disabled', () => {
  test('halts when ATS, PASID, page requests or bus mastering change under it', () => {
    const rig = started();
    rig.submit(noop());
    rig.device.writeConfig(rig.capability(EXTENDED_CAPABILITY.ATS) + 6, 2, 0);
    rig.run();
    expect([rig.read(0x90) & 3, rig.softwareErrorCode, rig.status]).toEqual([3, STATUS.PCI_CONFIGURATION, 0]);
    expect(rig.command(CMD.DRAIN_ALL)).toBe(ERROR.HALTED);
    rig.mustCommand(CMD.RESET_DEVICE);
    expect(rig.read(0x90) & 3).toBe(0);
  });
});
