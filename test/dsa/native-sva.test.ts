/**
 * The path of native SVA through hardware alone: a process's tables in memory, used by CPU and VT-d unit both; an
 * ENQCMD by its virtual addresses; the accelerator behind ATS and PRI. Kernel and scheduler are the test's hands.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { firstChooser } from '../../src/base/index.js';
import { Bus, Cpu, DsaDevice, type EnqcmdResult, enqcmd, movdir64b } from '../../src/hardware/index.js';
import {
  DSA_FLAG,
  DSA_PORTAL,
  DSA_RECORD,
  DSA_STATUS,
  DSA_WQ_PORTAL_BYTES,
  encode,
  PAGE_GROUP_RESPONSE,
  PAGE_REQUEST_DESCRIPTOR,
  PASID_DEVICE_TLB_INVALIDATION,
} from '../../src/spec/index.js';
import { DATA, OTHER_RID, UnitBench } from '../vtd/unit-bench.js';
import { DEDICATED, Hands, move, PASID, RECORD, SHARED } from './hands.js';

const DOMAIN = 1;
const PAGE_REQUESTS = 9 * 4096;
const PORTALS = 0x1_0000_0000;
/** The process's addresses: its descriptor, source, destination and the portals of both queues. */
const DESCRIPTOR = 0x30_0000;
const SRC = 0x20_0000;
const DST = 0x7fff_0000_0000;
const SHARED_PORTAL = 0x5000_0000;
const DEDICATED_PORTAL = 0x5000_1000;

function machine() {
  const bench = new UnitBench();
  bench.rootComplex.detach(OTHER_RID);
  const device = new DsaDevice({ rid: OTHER_RID, upstream: bench.rootComplex, chooser: firstChooser });
  bench.rootComplex.attach(device);
  bench.enable();
  bench.rootComplex.writeConfig(OTHER_RID, 0x18, 4, PORTALS % 2 ** 32);
  bench.rootComplex.writeConfig(OTHER_RID, 0x1c, 4, PORTALS / 2 ** 32);
  const hands = new Hands(device);
  hands.start([SHARED, { ...DEDICATED, PASID }]);
  bench.rootComplex.writeConfig(OTHER_RID, 4, 2, 6);
  const root = bench.bind(PASID, DOMAIN);
  const cpu = new Cpu({ index: 0, memory: bench.memory, bus: new Bus(bench.memory, bench.rootComplex) });
  cpu.setPageTable(root);
  cpu.cpl = 3;
  cpu.writePasidMsr(0x8000_0000 | PASID);
  [DESCRIPTOR, SRC, RECORD].forEach((address, i) => {
    bench.map(root, address / 4096, DATA + i);
  });
  bench.map(root, SHARED_PORTAL / 4096, (PORTALS + DSA_PORTAL.LIMITED) / 4096);
  bench.map(root, DEDICATED_PORTAL / 4096, (PORTALS + DSA_WQ_PORTAL_BYTES) / 4096);
  return { bench, device, hands, cpu, root };
}

let m: ReturnType<typeof machine>;
beforeEach(() => {
  m = machine();
});

/** Writes a move of 64 bytes into the process's memory, and something to move. */
function prepare(FLAGS = DSA_FLAG.CRAV | DSA_FLAG.RCR): void {
  const words = move({ PASID: 0, FLAGS, SRC, DST, XFER_SIZE: 64 });
  expect(m.cpu.store(DESCRIPTOR, new Uint8Array(words.buffer))).toBeUndefined();
  expect(m.cpu.store(SRC, new Uint8Array(64).fill(0xab))).toBeUndefined();
}

function submit(): EnqcmdResult {
  const task = enqcmd(m.cpu, { source: DESCRIPTOR, destination: SHARED_PORTAL });
  for (;;) {
    const { done, value } = task.next();
    if (done === true) return value;
  }
}

/** The status that the process reads in its completion record. */
function status(): number {
  const words = new Int32Array(8);
  expect(m.cpu.load(RECORD, new Uint8Array(words.buffer))).toBeUndefined();
  return DSA_RECORD.STATUS.get(words, 0);
}

function loaded(address: number): number | undefined {
  const byte = new Uint8Array(1);
  return m.cpu.load(address, byte) === undefined ? byte[0] : undefined;
}

describe('a descriptor by virtual addresses', () => {
  test('moves bytes from one page of the process to another', () => {
    m.bench.map(m.root, DST / 4096, DATA + 3);
    prepare();
    expect(submit()).toEqual({ zf: 0 });
    m.hands.run();
    expect([status(), loaded(DST + 63), loaded(DST + 64)]).toEqual([DSA_STATUS.SUCCESS, 0xab, 0]);
    expect(m.bench.faults()).toEqual([]);
  });

  test('posted to a dedicated queue lands later, with the PASID of that', () => {
    m.bench.map(m.root, DST / 4096, DATA + 3);
    prepare();
    expect(movdir64b(m.cpu, { source: DESCRIPTOR, destination: DEDICATED_PORTAL })).toBeUndefined();
    m.hands.run();
    expect(status()).toBe(DSA_STATUS.NONE);
    m.cpu.posted.step();
    m.hands.run();
    expect([status(), loaded(DST)]).toEqual([DSA_STATUS.SUCCESS, 0xab]);
  });

  test('of a PASID that is not bound is an error of translation, and a fault of the unit', () => {
    prepare();
    m.cpu.writePasidMsr(0x8000_0000 | 7);
    expect(submit()).toEqual({ zf: 0 });
    m.hands.run();
    expect([status(), m.hands.softwareErrorCode]).toEqual([0, DSA_STATUS.TRANSLATION_ERROR]);
    const faults = m.bench.faults().map(({ rid, pasid, page }) => [rid, pasid, page * 4096]);
    expect(faults).toEqual([
      [OTHER_RID, 7, SRC],
      [OTHER_RID, 7, RECORD],
    ]);
  });
});

describe('a page that is not there', () => {
  test('is reported, where the descriptor may not block', () => {
    prepare();
    expect(submit()).toEqual({ zf: 0 });
    m.hands.run();
    expect(status()).toBe(DSA_STATUS.PAGE_FAULT);
    expect(m.bench.faults()).toEqual([]);
  });

  test('is asked for by the page request queue, mapped, answered, and used', () => {
    prepare(DSA_FLAG.CRAV | DSA_FLAG.RCR | DSA_FLAG.BOF);
    expect(submit()).toEqual({ zf: 0 });
    m.hands.run();
    const entry = new Int32Array(8);
    m.bench.memory.read(PAGE_REQUESTS, new Uint8Array(entry.buffer));
    const { RID, PASID: P, WR, LPIG, ADDR, PRGI } = PAGE_REQUEST_DESCRIPTOR;
    const asked = [RID, P, WR, LPIG, ADDR].map((field) => field.get(entry, 0));
    expect(asked).toEqual([OTHER_RID, PASID, 1, 1, DST / 4096]);
    m.bench.map(m.root, DST / 4096, DATA + 3);
    const PRGI_OF = PRGI.get(entry, 0);
    m.bench.submit(
      encode(PAGE_GROUP_RESPONSE, { TYPE: 9, PP: 1, RID: OTHER_RID, PASID, LPIG: 1, PRGI: PRGI_OF }),
    );
    m.hands.run();
    expect([status(), loaded(DST)]).toEqual([DSA_STATUS.SUCCESS, 0xab]);
  });
});

test('an unmapped page is safe once IOTLB and device TLB are flushed, and not before', () => {
  m.bench.map(m.root, DST / 4096, DATA + 3);
  prepare();
  expect(submit()).toEqual({ zf: 0 });
  m.hands.run();
  m.bench.unmap(m.root, DST / 4096);
  m.bench.flushPage(DOMAIN, PASID, DST / 4096);
  expect(submit()).toEqual({ zf: 0 });
  m.hands.run();
  expect(status()).toBe(DSA_STATUS.SUCCESS);
  m.bench.submit(
    encode(PASID_DEVICE_TLB_INVALIDATION, { TYPE: 8, SID: OTHER_RID, PASID, ADDR: DST / 4096, MIP: 31 }),
  );
  m.bench.waitWith(5);
  expect(m.bench.status).toBe(5);
  expect(submit()).toEqual({ zf: 0 });
  m.hands.run();
  expect(status()).toBe(DSA_STATUS.PAGE_FAULT);
});

test('the wait behind a flush of the device TLB is over when the last request that uses the page is', () => {
  m.bench.map(m.root, DST / 4096, DATA + 3);
  prepare();
  expect(submit()).toEqual({ zf: 0 });
  for (let i = 0; i < 3; i++) m.hands.step();
  m.bench.unmap(m.root, DST / 4096);
  m.bench.submit(
    encode(PASID_DEVICE_TLB_INVALIDATION, { TYPE: 8, SID: OTHER_RID, PASID, ADDR: DST / 4096, MIP: 31 }),
  );
  m.bench.waitWith(9);
  expect(m.bench.status).toBe(0);
  m.hands.step();
  m.bench.run();
  expect(m.bench.status).toBe(9);
});
