/** A recording has what the kernel did and was answered, in its order; and changes nothing. */
import { describe, expect, it } from 'vitest';
import { FakePlatform } from '../../../test/kernel/fake-platform.js';
import { type Access, RecordedPlatform } from './recording.js';

const REGISTER = 0xfed9_0000;

function recorded() {
  const accesses: Access[] = [];
  const written: bigint[] = [];
  const inner = new FakePlatform({
    mmio: {
      read32: () => -2,
      write32: (_address, value) => void written.push(BigInt(value)),
      read64: (_address, out) => void out.set([1, -1]),
      write64: (_address, lo, hi) => void written.push(BigInt(lo), BigInt(hi)),
    },
  });
  const platform = new RecordedPlatform(inner, (access) => accesses.push(access));
  return { accesses, written, inner, platform };
}

describe('a recording', () => {
  it('has stores as bytes and loads as unsigned values, in their order', () => {
    const { accesses, platform } = recorded();
    const at = 0x10_0000;
    const out = new Int32Array(2);
    platform.memory.store64(at, -1, 0x1234);
    platform.memory.load64(at, out);
    platform.memory.store32(at + 8, 5);
    expect(platform.memory.load32(at)).toBe(-1);
    const bytes = Uint8Array.of(1, 2, 3);
    platform.memory.write(at + 16, bytes);
    bytes.fill(0);
    expect([...out]).toEqual([-1, 0x1234]);
    expect(accesses).toEqual([
      { did: 'store', address: at, data: Uint8Array.of(255, 255, 255, 255, 0x34, 0x12, 0, 0) },
      { did: 'load', address: at, bytes: 8, value: 0x1234_ffff_ffffn },
      { did: 'store', address: at + 8, data: Uint8Array.of(5, 0, 0, 0) },
      { did: 'load', address: at, bytes: 4, value: 0xffff_ffffn },
      { did: 'store', address: at + 16, data: Uint8Array.of(1, 2, 3) },
    ]);
  });

  it('has accesses to registers, which go on as they are', () => {
    const { accesses, written, platform } = recorded();
    const out = new Int32Array(2);
    platform.mmio.write32(REGISTER, -3);
    expect(platform.mmio.read32(REGISTER + 4)).toBe(-2);
    platform.mmio.write64(REGISTER + 8, 7, -1);
    platform.mmio.read64(REGISTER + 8, out);
    expect(written).toEqual([-3n, 7n, -1n]);
    expect([...out]).toEqual([1, -1]);
    expect(accesses).toEqual([
      { did: 'write', address: REGISTER, bytes: 4, value: 0xffff_fffdn },
      { did: 'read', address: REGISTER + 4, bytes: 4, value: 0xffff_fffen },
      { did: 'write', address: REGISTER + 8, bytes: 8, value: 0xffff_ffff_0000_0007n },
      { did: 'read', address: REGISTER + 8, bytes: 8, value: 0xffff_ffff_0000_0001n },
    ]);
  });

  it('leaves the rest of the machine as it is', () => {
    const { accesses, inner, platform } = recorded();
    let taken = 0;
    platform.onInterrupt(0x20, () => taken++);
    inner.interrupt(0x20);
    platform.memory.flush(0x10_0000, 64);
    expect(platform.interruptMessage(0x20)).toEqual(inner.interruptMessage(0x20));
    expect([taken, inner.flushed.length, accesses.length]).toEqual([1, 1, 0]);
    expect([platform.pci, platform.cpus, platform.chooser]).toEqual([inner.pci, inner.cpus, inner.chooser]);
  });
});
