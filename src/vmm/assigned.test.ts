/** A whole function, as its guest finds it: on a host with an accelerator that vfio-pci has taken. */
import { describe, expect, it } from 'vitest';
import { Bench } from '../../test/native-sva/machine.js';
import type { Task } from '../base/index.js';
import type { KvmVm } from '../kernel/index.js';
import {
  DSA_CMD_REG,
  DSA_COMMAND,
  DSA_GENCAP_REG,
  DSA_TABLE,
  DSA_WQCAP_REG,
  encode,
  type Field,
} from '../spec/index.js';
import { AssignedFunction, type SharedQueues } from './assigned.js';
import { GuestBus } from './bus.js';
import { Portals } from './portals.js';

const HOST_RID = 0x6a08;
const RID = 0x0100;
const [BAR0, BAR2] = [0xe000_0000, 0xe002_0000];
const [COMMAND, GENCAP, WQCAP, CMD] = [4, 0x10, 0x20, 0xa0];
const MSIX_AT = 0x40;

function rig(sharedQueues: SharedQueues = 'refused') {
  const bench = new Bench({ devices: 1, vfioPci: [HOST_RID] });
  const [whole] = bench.kernel.vfioPcis;
  const [device] = bench.devices;
  if (whole === undefined || device === undefined) throw new Error('no function');
  const messages: number[][] = [];
  /** The host's frames, by the guest's. */
  const mapped = new Map<number, number>();
  const kvm = {
    *mapDevicePage(gfn: number, frame: number): Task<undefined> {
      yield 'map';
      mapped.set(gfn, frame);
    },
    *unmapDevicePage(gfn: number): Task {
      yield 'unmap';
      mapped.delete(gfn);
    },
  };
  const { context } = bench.kernel;
  const portals = new Portals(context, { name: 'vm1', kvm: kvm as unknown as KvmVm });
  const made: AssignedFunction = new AssignedFunction({
    ...{ name: 'vm1 whole', rid: RID, whole, sharedQueues },
    shown: { pasidBits: 10, deviceTlbs: true, pageRequests: true },
    ...{ log: context.log, mmio: context.platform.mmio },
    message: (address, data) => void messages.push([address, data]),
    moved: () => portals.moved([made]),
  });
  const bus = new GuestBus(context.log);
  bus.attach(made);
  made.placeBars(BAR0);
  expect(made.open()).toBeUndefined();
  bench.run(made.start());
  return { bench, device, whole, made, bus, messages, portals, mapped };
}

type Rig = ReturnType<typeof rig>;

function field({ bus }: Rig, at: number, of: Field): number {
  return of.get(
    Int32Array.from({ length: 2 }, (_, i) => bus.read32(BAR0 + at + i * 4)),
    0,
  );
}

/** Has the function carry out a command that asks for an interrupt. */
function interrupt({ bus, bench }: Rig): void {
  bus.write32(BAR0 + CMD, encode(DSA_CMD_REG, { CMD: DSA_COMMAND.DRAIN_ALL, INT: 1 })[0] ?? 0);
  for (let i = 0; i < 50; i++) bench.step();
}

describe('a whole function in a guest', () => {
  it.each([
    ['refused', 0],
    ['both-numbers', 1],
    ['one-number', 1],
  ] as const)("has the function's registers, and shared queues: %s", (policy, shared) => {
    const it = rig(policy);
    expect([field(it, WQCAP, DSA_WQCAP_REG.SHARED), field(it, WQCAP, DSA_WQCAP_REG.DEDICATED)]).toEqual([
      shared,
      1,
    ]);
    it.bus.write32(BAR0 + DSA_TABLE.GRPCFG + 32, 1);
    expect(it.device.registers.read32(DSA_TABLE.GRPCFG + 32)).toBe(1);
    expect(it.bus.config.read(RID, 0, 4)).toBe(0x0b25_8086);
  });

  it('has no message storage: what it writes there reaches nobody', () => {
    const it = rig();
    expect(field(it, GENCAP, DSA_GENCAP_REG.IMS_SIZE)).toBe(0);
    expect(field(it, GENCAP, DSA_GENCAP_REG.CONFIG)).toBe(1);
    const before = it.device.bars[0]?.read32(DSA_TABLE.IMS);
    it.bus.write32(BAR0 + DSA_TABLE.IMS, 0x1234_5678);
    expect([it.device.bars[0]?.read32(DSA_TABLE.IMS), it.bus.read32(BAR0 + DSA_TABLE.IMS)]).toEqual([
      before,
      0,
    ]);
  });

  it('sends requests when its guest says so', () => {
    const { bus, device } = rig();
    expect(device.parts.config.isBusMaster).toBe(false);
    bus.config.write(RID, COMMAND, 2, 6);
    expect(device.parts.config.isBusMaster).toBe(true);
    bus.config.write(RID, COMMAND, 2, 2);
    expect(device.parts.config.isBusMaster).toBe(false);
  });

  it("interrupts its guest, where that wants to be, and the host's vector stays the host's", () => {
    const it = rig();
    const { bus, messages, device } = it;
    interrupt(it);
    expect(messages).toEqual([]);
    const host = device.registers.read32(DSA_TABLE.MSIX);
    bus.write32(BAR0 + DSA_TABLE.MSIX, 0x0fee_0000);
    bus.write32(BAR0 + DSA_TABLE.MSIX + 8, 0x41);
    bus.write32(BAR0 + DSA_TABLE.MSIX + 12, 0);
    bus.config.write(RID, MSIX_AT + 2, 2, 0x8000);
    expect(messages).toEqual([[0x0fee_0000, 0x41]]);
    interrupt(it);
    expect(messages).toHaveLength(2);
    expect(device.registers.read32(DSA_TABLE.MSIX)).toBe(host);
  });

  it('has all pages of its portals where its BAR is', () => {
    const { bench, made, portals, mapped, whole, bus } = rig();
    bench.run(portals.place(made));
    const { address = 0, bytes = 0 } = whole.bars.get(2) ?? {};
    const pages = Array.from({ length: bytes / 4096 }, (_, i) => [BAR2 / 4096 + i, address / 4096 + i]);
    expect([...mapped]).toEqual(pages);
    portals.follow();
    bus.config.write(RID, COMMAND, 2, 0);
    bench.run(portals.place(made));
    expect(mapped.size).toBe(0);
  });

  it('goes on as it was until it is reset, when its guest has lost it', () => {
    const { bench, made, device, bus } = rig();
    bus.config.write(RID, COMMAND, 2, 6);
    made.abandon();
    made.writeConfig(COMMAND, 2, 0);
    expect(device.parts.config.isBusMaster).toBe(true);
    bench.run(made.quiesce());
    expect(device.parts.config.isBusMaster).toBe(false);
  });

  it('does nothing more when its machine has stopped', () => {
    const { bench, made, device, bus } = rig();
    bus.config.write(RID, COMMAND, 2, 6);
    bus.write32(BAR0 + CMD, encode(DSA_CMD_REG, { CMD: DSA_COMMAND.ENABLE_DEVICE })[0] ?? 0);
    for (let i = 0; i < 20; i++) bench.step();
    expect(device.isRunning).toBe(true);
    bench.run(made.quiesce());
    expect([device.isRunning, device.parts.config.isBusMaster]).toEqual([false, false]);
    bench.run(made.close());
    expect([made.open(), device.parts.config.isMemoryEnabled]).toEqual([undefined, false]);
  });
});
