import { describe, expect, it } from 'vitest';
import { Bench } from '../../../test/native-sva/machine.js';
import { DSA_BAR0_BYTES, DSA_CMD_REG, DSA_COMMAND, DSA_TABLE, encode } from '../../spec/index.js';

const RID = 0x6a08;
const [CMD, GENSTS, GENCTRL] = [0xa0, 0x90, 0x88];
const COMMAND = 4;

/** An accelerator that vfio-pci has taken. */
function machine() {
  const bench = new Bench({ devices: 2, vfioPci: [RID] });
  const { kernel } = bench;
  const [whole] = kernel.vfioPcis;
  const [device] = bench.devices;
  if (whole === undefined || device === undefined) throw new Error('no function');
  const { mmio } = kernel.context.platform;
  const registers = whole.bars.get(0)?.address ?? 0;
  return { bench, kernel, whole, device, mmio, registers };
}

/** A VM has it, and lets it work. */
function opened() {
  const it = machine();
  const vectors: number[] = [];
  expect(it.whole.open((vector) => vectors.push(vector))).toBeUndefined();
  it.bench.run(it.whole.reset());
  it.whole.master(true);
  return { ...it, vectors };
}

const mastering = ({ device }: { device: ReturnType<typeof machine>['device'] }): boolean =>
  device.parts.config.isBusMaster;

describe('a function that vfio-pci has', () => {
  it('is taken before its own driver, and others keep their names', () => {
    const { kernel, whole, device } = machine();
    expect(kernel.idxds.map(({ name }) => name)).toEqual(['dsa1']);
    expect([whole.name, device.parts.config.isMemoryEnabled, device.parts.config.isBusMaster]).toEqual([
      'dsa0',
      false,
      false,
    ]);
    expect([...whole.bars.values()].map(({ bytes }) => bytes)).toEqual([
      DSA_BAR0_BYTES,
      device.bars[1]?.bytes,
    ]);
    expect(whole.config).toMatchObject({ vendor: 0x8086, device: 0x0b25, classCode: 0x088000 });
    expect(whole.config.msix).toMatchObject({ table: DSA_TABLE.MSIX, pending: DSA_TABLE.MSIX_PBA });
  });

  it('has one owner, and answers when that has reset it, with what the IOMMU wants switched on', () => {
    const { whole, bench, mmio, registers, device } = machine();
    expect(whole.open(() => {})).toBeUndefined();
    expect(whole.open(() => {})).toMatchObject({ errno: 'EBUSY' });
    bench.run(whole.reset());
    const { config } = device.parts;
    expect([config.isPasidEnabled, config.isAtsEnabled, config.isPriEnabled, config.isMsixEnabled]).toEqual([
      ...[true, true, true, true],
    ]);
    expect([mmio.read32(registers + GENSTS), config.isBusMaster]).toEqual([0, false]);
  });

  it('has nothing of its owner when that lets go of it', () => {
    const it = opened();
    const { whole, bench, mmio, registers, device } = it;
    const [enable = 0] = encode(DSA_CMD_REG, { CMD: DSA_COMMAND.ENABLE_DEVICE });
    mmio.write32(registers + GENCTRL, 1);
    mmio.write32(registers + CMD, enable);
    expect(mastering(it)).toBe(true);
    bench.run(whole.close());
    expect([mastering(it), device.parts.config.isMemoryEnabled, device.deviceState]).toEqual([
      false,
      false,
      0,
    ]);
    expect(device.registers.read32(GENCTRL)).toBe(0);
    whole.master(true);
    expect(mastering(it)).toBe(false);
    expect(whole.open(() => {})).toBeUndefined();
  });

  it('sends its interrupts to its owner', () => {
    const { whole, bench, mmio, registers, vectors } = opened();
    const [command = 0] = encode(DSA_CMD_REG, { CMD: DSA_COMMAND.DRAIN_ALL, INT: 1 });
    mmio.write32(registers + CMD, command);
    for (let i = 0; i < 50; i++) bench.step();
    expect(vectors).toEqual([0]);
    bench.run(whole.close());
  });

  it('is no bus master before its guest wants it', () => {
    const { bench, whole, kernel } = machine();
    expect(whole.open(() => {})).toBeUndefined();
    bench.run(whole.reset());
    expect(kernel.context.platform.pci.read(RID, COMMAND, 2) & 6).toBe(2);
  });
});
