import { beforeEach, describe, expect, test } from 'vitest';
import { TestHost, value } from '../../../test/vmm/host.js';
import { ioasidAlloc, ioasidAttachSpid, ioasidSetAlloc } from '../../ioasid/index.js';
import {
  DSA_EVLSTATUS_REG,
  DSA_FLAG,
  DSA_GENCFG_REG,
  DSA_NOOP,
  DSA_OPCODE,
  DSA_RECORD,
  DSA_STATUS,
  DSA_SWERROR_REG,
  encode,
} from '../../spec/index.js';
import { GuestPasid, type IdxdDevice, Mdev, Pasid, type Process } from '../index.js';
import { REGISTER } from './registers.js';

const SHARED = 0;
const PAGE = 4096;
/** Where the process has memory that nobody has touched. */
const UNTOUCHED = 0x5000;
const { CRAV, RCR, RCI } = DSA_FLAG;

let host: TestHost;
let idxd: IdxdDevice;
let alice: Process;
let fd: number;

beforeEach(() => {
  host = new TestHost(1, {
    ridDomain: 'dma',
    queues: { pageRequests: false, blockOnFault: false },
  });
  const [found] = host.kernel.idxds;
  if (found === undefined) throw new Error('no accelerator');
  idxd = found;
  alice = newProcess('alice');
  fd = value(host.run(idxd.files.open(alice, SHARED)));
});

function newProcess(name: string): Process {
  const process = value(host.kernel.processes.spawn(name));
  value(host.run(process.mm.mmap(64, { at: UNTOUCHED })));
  return process;
}

const record = (i: number): number => UNTOUCHED * PAGE + i * PAGE;

/** Has a no-op end in a record of the process's. */
function submit(process: Process, at: number, fields: Parameters<typeof encode>[1] = {}): void {
  const words = encode(DSA_NOOP, {
    ...{ PASID: process.mm.pasid ?? 0, OPCODE: DSA_OPCODE.NOOP, FLAGS: CRAV | RCR, RECORD: at },
    ...fields,
  });
  const queue = idxd.wqs[SHARED];
  host.hardware.bus.enqueue(idxd.pci.bar(2) + (queue?.portalOffset ?? 0), words);
}

/** What is in the process's memory there; undefined if there is no page. */
function statusAt(process: Process, at: number): number | undefined {
  const leaf = process.mm.table.leaf(Math.floor(at / PAGE));
  if (leaf === undefined) return undefined;
  const bytes = new Uint8Array(DSA_RECORD.bytes);
  host.kernel.context.platform.memory.read(leaf.frame * PAGE + (at % PAGE), bytes);
  return DSA_RECORD.STATUS.get(new Int32Array(bytes.buffer), 0);
}

function place(): { head: number; tail: number } {
  const words = idxd.registers.read(REGISTER.EVLSTATUS);
  return {
    head: DSA_EVLSTATUS_REG.HEAD.get(words, 0),
    tail: DSA_EVLSTATUS_REG.TAIL.get(words, 0),
  };
}

describe('the event log', () => {
  test('is on where the device has one', () => {
    const general = idxd.registers.read(REGISTER.GENCFG);
    expect(DSA_GENCFG_REG.EVL_EN.get(general, 0)).toBe(1);
  });

  test('has records that fault, which are written where they belong', () => {
    submit(alice, record(0));
    expect(statusAt(alice, record(0))).toBeUndefined();
    host.runAll();
    expect(statusAt(alice, record(0))).toBe(DSA_STATUS.SUCCESS);
    expect(place()).toEqual({ head: 1, tail: 1 });
    expect(host.kinds()).toContain('idxd:record');
  });

  test('is read round and round, and holds up nobody for good', () => {
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 30; i++) {
        submit(alice, record((round * 30 + i) % 64) + round * 32);
        host.some(3);
      }
      host.runAll();
    }
    expect(place()).toMatchObject({ head: place().tail });
    for (let i = 0; i < 64; i++) expect(statusAt(alice, record(i) + (i < 30 ? 0 : 32))).toBeDefined();
  });

  test('has the interrupt that was not sent, too', () => {
    const interrupt = value(host.run(idxd.files.requestInterrupt(alice, fd)));
    submit(alice, record(1), { FLAGS: CRAV | RCR | RCI, HANDLE: interrupt.handle });
    host.runAll();
    expect([statusAt(alice, record(1)), interrupt.count]).toEqual([DSA_STATUS.SUCCESS, 1]);
  });

  test('is begun anew by a reset, and what it had then is nobody’s (G10)', () => {
    submit(alice, record(0));
    host.runAll();
    host.run(idxd.reset());
    expect(place()).toEqual({ head: 0, tail: 0 });
    submit(alice, record(2));
    host.runAll();
    expect([statusAt(alice, record(2)), place()]).toEqual([DSA_STATUS.SUCCESS, { head: 1, tail: 1 }]);
  });

  test('has nothing of a process that has closed its queue', () => {
    submit(alice, record(3));
    host.run(host.kernel.processes.close(alice, fd));
    expect(place()).toMatchObject({ head: place().tail });
    expect(statusAt(alice, record(3))).toBe(DSA_STATUS.SUCCESS);
  });

  test('writes to nobody’s memory where the page is not to be had', () => {
    submit(alice, 0x1_0000_0000);
    host.runAll();
    expect(host.kinds()).not.toContain('idxd:record');
    expect(host.kinds()).toContain('idxd:error');
  });

  test('gives its memory back when the device goes', () => {
    const own = (): unknown[] =>
      [...host.owners.values()].filter((o) => o.kind === 'kernel' && /event log/.test(o.use));
    expect(own()).toHaveLength(1);
    expect(host.run(idxd.remove())).toBeUndefined();
    expect(own()).toEqual([]);
  });

  test('is what a virtual device does not have: it stands on no queue that needs one', () => {
    const refused = Mdev.create(host.kernel.context, idxd, { name: 'mdev', wq: SHARED });
    expect(refused).toMatchObject({ errno: 'ENODEV' });
  });
});

test('tells a virtual device of the errors that are its own, by its guest’s number, and drains tell them', () => {
  const usual = new TestHost(1, { ridDomain: 'identity' });
  const [driver] = usual.kernel.idxds;
  const set = value(ioasidSetAlloc(usual.ioasids, { type: 'none', quota: 10 }));
  const mdev = usual.newMdev('mdev');
  expect(mdev.open(set, () => {})).toBeUndefined();
  const id = value(ioasidAlloc(set, 700, 800));
  expect(ioasidAttachSpid(set, id, 55)).toBeUndefined();
  mdev.bound({ guest: GuestPasid.of(55), host: Pasid.of(id), set });
  usual.hardware.accelerators[0]?.device.errors.record({
    error: DSA_STATUS.BAD_OPCODE,
    descriptor: { words: encode(DSA_NOOP, { OPCODE: 0xff }), wq: 0, pasid: id, isPrivileged: false },
  });
  const seen = (): number[] => {
    const words = Int32Array.from({ length: 8 }, (_, i) => mdev.read32(REGISTER.SWERROR.offset + i * 4));
    return [DSA_SWERROR_REG.VALID, DSA_SWERROR_REG.PASID, DSA_SWERROR_REG.ERROR].map((f) => f.get(words, 0));
  };
  expect(seen()).toEqual([0, 0, 0]);
  // By hand: what the drain of the PASID waits for is what it has said of it, and not an interrupt.
  const drain = mdev.drain(Pasid.of(id));
  while (drain.next().done !== true) usual.hardware.accelerators[0]?.device.running.at(-1)?.step();
  expect(seen()).toEqual([1, 55, DSA_STATUS.BAD_OPCODE]);
  expect(driver?.registers.read(REGISTER.SWERROR)[0]).toBe(0);
  usual.runAll();
});
