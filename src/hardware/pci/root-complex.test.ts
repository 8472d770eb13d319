/** The root complex without an IOMMU: where requests go, who is there, and where BARs answer. */
import { beforeEach, describe, expect, test } from 'vitest';
import { FakeFunction } from '../../../test/hardware/fake-function.js';
import { Bus } from '../bus.js';
import { Memory } from '../memory.js';
import { RIGHT } from '../paging/step.js';
import { NO_PASID } from '../vtd/request.js';
import { ConfigSpace } from './config-space.js';
import { COMPLETION, type Iommu, type MemoryRequest, type MmioRegion } from './ports.js';
import { emptyCompletion, RootComplex } from './root-complex.js';

const RID = 0x18;
const { SUCCESS, UNSUPPORTED_REQUEST } = COMPLETION;

let memory: Memory;
let rootComplex: RootComplex;
let interrupts: [address: number, data: number][];

beforeEach(() => {
  memory = new Memory([{ first: 0, last: 15 }]);
  interrupts = [];
  rootComplex = new RootComplex({ memory, interrupt: (...message) => interrupts.push(message) });
});

const request = (fields: Partial<MemoryRequest> = {}): MemoryRequest => ({
  ...{ rid: RID, pasid: NO_PASID, page: 3, rights: RIGHT.READ | RIGHT.USER },
  ...{ isTranslated: false, offset: 8, length: 4, ...fields },
});
const four = Uint8Array.of(0x41, 0x42, 0x43, 0x44);

describe('requests', () => {
  test('of a function that is there go to memory; outside of it they end with Unsupported Request', () => {
    rootComplex.attach(new FakeFunction(RID, rootComplex));
    expect(rootComplex.write(request(), four, 0)).toBe(SUCCESS);
    const into = new Uint8Array(4);
    expect([rootComplex.read(request(), into, 0), into]).toEqual([SUCCESS, four]);
    expect(rootComplex.write(request({ page: 16 }), four, 0)).toBe(UNSUPPORTED_REQUEST);
    expect(rootComplex.read(request({ page: 2 ** 40 }), into, 0)).toBe(UNSUPPORTED_REQUEST);
  });

  test('of one that was taken away end with Unsupported Request, of every kind', () => {
    const fake = new FakeFunction(RID, rootComplex);
    rootComplex.attach(fake);
    rootComplex.detach(RID);
    const out = emptyCompletion();
    rootComplex.translate(request(), out);
    expect([rootComplex.write(request(), four, 0), rootComplex.read(request(), four, 0), out.status]).toEqual(
      new Array(3).fill(UNSUPPORTED_REQUEST),
    );
    rootComplex.interrupt(RID, 0xfee00000, 1);
    expect([interrupts, rootComplex.readConfig(RID, 0, 2), rootComplex.readConfig(RID, 0, 4)]).toEqual([
      [],
      0xffff,
      0xffffffff,
    ]);
  });

  test('in words follow the arena when it moves', () => {
    rootComplex.attach(new FakeFunction(RID, rootComplex));
    for (let page = 0; page < 16; page++) rootComplex.write(request({ page, offset: 1, length: 3 }), four, 1);
    const into = new Uint8Array(4);
    for (let page = 0; page < 16; page++) {
      rootComplex.read(request({ page, offset: 0 }), into, 0);
      expect([...into]).toEqual([0, 0x42, 0x43, 0x44]);
    }
  });
});

describe('interrupts', () => {
  beforeEach(() => rootComplex.attach(new FakeFunction(RID, rootComplex)));

  test('are doublewords written to their range', () => {
    rootComplex.interrupt(RID, 0xfee01004, 0x4021);
    expect(rootComplex.write(request({ page: 0xfee02 }), four, 0)).toBe(SUCCESS);
    expect(interrupts).toEqual([
      [0xfee01004, 0x4021],
      [0xfee02008, 0x44434241],
    ]);
  });

  test('have no other size', () => {
    expect(rootComplex.write(request({ page: 0xfee02, length: 2 }), four, 0)).toBe(UNSUPPORTED_REQUEST);
    expect(interrupts).toEqual([]);
  });

  test('with another address are plain writes', () => {
    rootComplex.interrupt(RID, 3 * 4096 + 8, 0x44434241);
    const into = new Uint8Array(4);
    rootComplex.read(request(), into, 0);
    expect([interrupts, into]).toEqual([[], four]);
  });
});

test('an IOMMU serves the functions that it covers, the default one all others', () => {
  const seen: string[] = [];
  const named = (name: string): Iommu => ({
    remap: ({ rid }) => seen.push(`${name} ${rid}`) > 0,
    translate: () => {},
    requestPage: () => {},
    invalidationDone: (rid, itag) => seen.push(`${name} ${rid} done ${itag}`),
    invalidationTimedOut: (rid) => seen.push(`${name} ${rid} gone`),
  });
  rootComplex.addIommu(named('all'));
  rootComplex.addIommu(named('one'), [RID]);
  for (const rid of [RID, 0x20]) {
    rootComplex.attach(new FakeFunction(rid, rootComplex));
    rootComplex.read(request({ rid }), new Uint8Array(4), 0);
  }
  rootComplex.invalidationDone(RID, 4);
  rootComplex.detach(RID);
  rootComplex.downstream.invalidateDeviceTlb({ ...request(), pages: 1, isGlobal: false, itag: 0 });
  expect(seen).toEqual(['one 24', 'all 32', 'one 24 done 4', 'one 24 gone', 'one 24 gone']);
});

test('who is there goes back to the mark', () => {
  const fake = new FakeFunction(RID, rootComplex);
  rootComplex.attach(fake);
  rootComplex.mark();
  rootComplex.detach(RID);
  rootComplex.attach(new FakeFunction(0x20, rootComplex));
  rootComplex.restore();
  expect([rootComplex.functionAt(RID), rootComplex.functionAt(0x20)]).toEqual([fake, undefined]);
});

describe('the bus', () => {
  const region = (name: string, seen: unknown[]): MmioRegion => ({
    name,
    bytes: 0x1000,
    read32: (offset) => offset,
    write32: (...args) => seen.push([name, 4, ...args]),
    read64: (offset, out) => out.fill(offset),
    write64: (...args) => seen.push([name, 8, ...args]),
    write512: (offset, data) => seen.push([name, 64, offset, data[15]]),
    enqueue: (offset) => offset === 0x40,
  });

  class Accelerator extends FakeFunction {
    override readonly config = new ConfigSpace({
      vendor: 1,
      device: 2,
      classCode: 3,
      bars: [0x1000, 0x1000],
    });
    override readonly bars: readonly MmioRegion[];
    constructor(seen: unknown[]) {
      super(RID, rootComplex);
      this.bars = [region('bar0', seen), region('bar2', seen)];
    }
  }

  const line = Int32Array.from({ length: 16 }, (_, i) => i);

  test('leads to memory', () => {
    const bus = new Bus(memory, rootComplex);
    const out = new Int32Array(2);
    bus.write64(0x2008, 1, 2);
    bus.write32(0x200c, 7);
    bus.read64(0x2008, out);
    bus.write512(0x2040, line);
    expect([bus.read32(0x2008), out, bus.read32(0x207c), bus.enqueue(0x2040, line)]).toEqual([
      1,
      Int32Array.of(1, 7),
      15,
      false,
    ]);
    expect(() => bus.read32(0x2002)).toThrow('4 bytes at 0x2002');
  });

  test('leads to BARs where software has put them, while they are enabled', () => {
    const seen: unknown[] = [];
    const bus = new Bus(memory, rootComplex);
    rootComplex.attach(new Accelerator(seen));
    const base = 0x38_0000_0000;
    rootComplex.writeConfig(RID, 0x18, 4, 0x1000_0000);
    rootComplex.writeConfig(RID, 0x1c, 4, 0x38);
    expect(bus.read32(base + 0x1000_0004)).toBe(-1);
    rootComplex.writeConfig(RID, 4, 2, 2);
    const out = new Int32Array(2);
    bus.read64(base + 0x1000_0008, out);
    expect([bus.read32(base + 0x1000_0004), out[1]]).toEqual([4, 8]);
    bus.write32(base + 0x1000_0010, 9);
    bus.write64(base + 0x1000_0010, 9, 8);
    bus.write512(base + 0x1000_0040, line);
    expect(seen).toEqual([
      ['bar2', 4, 0x10, 9],
      ['bar2', 8, 0x10, 9, 8],
      ['bar2', 64, 0x40, 15],
    ]);
    expect([bus.enqueue(base + 0x1000_0040, line), bus.enqueue(base + 0x1000_0080, line)]).toEqual([
      true,
      false,
    ]);
    rootComplex.detach(RID);
    expect([bus.read32(base + 0x1000_0004), bus.enqueue(base + 0x1000_0040, line)]).toEqual([-1, false]);
  });

  test('leads to what is fixed, and nowhere else', () => {
    const seen: unknown[] = [];
    const bus = new Bus(memory, rootComplex);
    bus.map(region('dmar0', seen), 0xfed9_0000);
    const out = new Int32Array(2);
    bus.read64(0xfed9_1000, out);
    bus.write32(0xfed9_1000, 1);
    bus.write32(0xfed9_0ffc, 1);
    expect([bus.read32(0xfed9_0008), [...out], seen]).toEqual([8, [-1, -1], [['dmar0', 4, 0xffc, 1]]]);
  });
});
