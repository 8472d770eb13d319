import { describe, expect, test } from 'vitest';
import { TestHost, value } from '../../test/vmm/host.js';
import type { Task } from '../base/index.js';
import { ioasidSetAlloc } from '../ioasid/index.js';
import type { KvmVm } from '../kernel/index.js';
import { DSA_CMD_REG, DSA_COMMAND, DSA_TABLE, encode, MSI_X_CAPABILITY } from '../spec/index.js';
import { GuestBus } from './bus.js';
import { VirtualFunction } from './device.js';
import { Portals } from './portals.js';

const RID = 0x0100;
const BAR0 = 0xe000_0000;
const BAR2 = 0xe001_0000;
const MSIX_AT = 0x40;
const COMMAND = 0xa0;

function rig() {
  const host = new TestHost();
  const messages: (readonly [address: number, data: number])[] = [];
  const kvm: string[] = [];
  const fake = {
    *mapDevicePage(gfn: number): Task<undefined> {
      yield 'map';
      kvm.push(`map ${gfn.toString(16)}`);
    },
    *unmapDevicePage(gfn: number): Task {
      yield 'unmap';
      kvm.push(`unmap ${gfn.toString(16)}`);
    },
  };
  // The two calls that portals make.
  const portals = new Portals(host.kernel.context, { name: 'vm1', kvm: fake as unknown as KvmVm });
  const mdev = host.newMdev('mdev');
  const device: VirtualFunction = new VirtualFunction({
    ...{ name: 'vm1 dsa0', rid: RID, mdev },
    shown: { pasidBits: 20, deviceTlbs: true, pageRequests: true },
    message: (address, data) => void messages.push([address, data]),
    moved: () => portals.moved([device]),
  });
  const set = value(ioasidSetAlloc(host.ioasids, { type: 'none', quota: 10 }));
  expect(mdev.open(set, (vector) => device.signal(vector))).toBeUndefined();
  const bus = new GuestBus(host.kernel.context.log);
  bus.attach(device);
  expect(device.placeBars(BAR0)).toBe(BAR2 + 0x4000);
  return { host, device, bus, portals, kvm, messages };
}

/** Has the device carry out a command that asks for an interrupt. */
function command({ bus, host }: ReturnType<typeof rig>): void {
  const words = encode(DSA_CMD_REG, { CMD: DSA_COMMAND.DRAIN_ALL, INT: 1 });
  bus.write32(BAR0 + COMMAND, words[0] ?? 0);
  host.runAll();
}

describe('a virtual function', () => {
  test('answers where its BARs are, while they do', () => {
    const { bus } = rig();
    expect(bus.config.read(RID, 0, 4)).toBe(0x0b25_8086);
    expect(bus.read32(BAR0 + DSA_TABLE.GRPCFG)).toBe(1);
    bus.config.write(RID, 4, 2, 0);
    expect(bus.read32(BAR0 + DSA_TABLE.GRPCFG)).toBe(-1);
    bus.config.write(RID, 0x10, 4, 0xf000_0000);
    bus.config.write(RID, 4, 2, 2);
    expect([bus.read32(BAR0 + DSA_TABLE.GRPCFG), bus.read32(0xf000_0000 + DSA_TABLE.GRPCFG)]).toEqual([
      -1, 1,
    ]);
  });

  test('takes what a guest does not write as drivers do: nothing happens', () => {
    const { bus } = rig();
    const out = new Int32Array(2);
    for (const offset of [1, 2, 6]) expect(bus.read32(BAR0 + offset)).toBe(-1);
    bus.read64(BAR0 + 4, out);
    expect([...out]).toEqual([-1, -1]);
    expect([bus.config.read(RID, 3, 4), bus.config.read(RID, 4096, 4), bus.config.read(5, 0, 2)]).toEqual([
      0xffff_ffff, 0xffff_ffff, 0xffff,
    ]);
    bus.config.write(RID, 1, 4, 0);
    bus.write64(BAR0 + 4, 0, 0);
    bus.write32(BAR2, 7);
    expect(bus.read32(BAR2)).toBe(0);
  });

  test('keeps a vector pending while it is masked, and sends it then', () => {
    const it = rig();
    const { bus, messages } = it;
    const table = BAR0 + DSA_TABLE.MSIX;
    bus.write32(table, 0xfee0_0000 | 0);
    bus.write32(table + 8, 0x31);
    command(it);
    expect([messages, bus.read32(BAR0 + DSA_TABLE.MSIX_PBA)]).toEqual([[], 1]);
    const enable = 1 << (MSI_X_CAPABILITY.ENABLE.low % 16);
    bus.config.write(RID, MSIX_AT + 2, 2, enable);
    expect(messages).toEqual([]);
    bus.write32(table + 12, 0);
    expect([messages, bus.read32(BAR0 + DSA_TABLE.MSIX_PBA)]).toEqual([[[0xfee0_0000, 0x31]], 0]);
    command(it);
    expect(messages.length).toBe(2);
  });

  test('has its portal follow BAR2, and nothing mapped where it does not answer', () => {
    const { host, device, bus, portals, kvm } = rig();
    host.run(portals.place(device));
    portals.follow();
    expect(kvm).toEqual(['map e0011']);
    bus.config.write(RID, 0x18, 4, 0xd000_0000);
    host.runAll();
    expect(kvm.splice(1)).toEqual(['unmap e0011', 'map d0001']);
    bus.config.write(RID, 4, 2, 0);
    host.runAll();
    expect([kvm.splice(1), portals.isMapped(device)]).toEqual([['unmap d0001'], false]);
    portals.end();
    bus.config.write(RID, 4, 2, 2);
    host.runAll();
    expect([kvm.splice(1), host.tasks.tasks]).toEqual([[], []]);
  });
});
