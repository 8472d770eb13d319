/**
 * The hardware that a scenario describes: memory, a root complex, one VT-d unit, accelerators, CPUs; with what
 * firmware has done before a kernel runs (BARs assigned, the unit's place told). A scenario's numbers that real
 * parts do not have (caches of four entries) make rare things common.
 */
import type { Chooser, Restorable } from '../../base/index.js';
import {
  Bus,
  Cpu,
  DsaDevice,
  Engines,
  FRAME_BYTES,
  type FrameRange,
  type IommuDownstream,
  LocalApic,
  Memory,
  RootComplex,
  type Upstream,
  VtdUnit,
  WrittenBack,
} from '../../hardware/index.js';
import { traitsOf } from '../scenario/iommu.js';
import type { DeviceSpec, MachineSpec } from '../scenario/schema.js';
import { sizeBytes } from '../scenario/size.js';
import { CpuPool } from './cpu-pool.js';
import { capabilitiesOf } from './unit-capabilities.js';

/** Below it are the BIOS's areas. */
const FIRST_FRAME = 0x100;
/** RAM leaves room for registers below 4 GiB. */
const LOW_END_FRAME = 0xc_0000;
const HIGH_FIRST_FRAME = 0x10_0000;
const UNIT_REGISTERS = 0xfed9_0000;
const FIRST_BAR = 0xe000_0000;
const BAR_OFFSET = 0x10;
const PCI_DEPTH = 32;
const GROUPS = 4;
const INTERRUPT_HANDLES = 256;

/** A device of the scenario. */
export interface Accelerator {
  readonly name: string;
  readonly rid: number;
  readonly spec: DeviceSpec;
  readonly device: DsaDevice;
}

/** Puts taps between the parts; each gets what it would be connected to, and gives what it is connected to. */
export interface Wiring {
  upstream(inner: Upstream, device: string): Upstream;
  downstream(inner: IommuDownstream): IommuDownstream;
}

export class Hardware implements Restorable {
  readonly memory: Memory;
  /** What the unit sees of memory where it does not snoop; undefined if it snoops always. */
  readonly writtenBack: WrittenBack | undefined;
  /** Levels of the CPUs' page tables. */
  readonly cpuLevels: 4 | 5;
  readonly root: RootComplex;
  readonly bus: Bus;
  readonly unit: VtdUnit;
  readonly accelerators: readonly Accelerator[];
  readonly cpus: readonly Cpu[];
  /** More of them, for virtual machines. */
  readonly vcpus: CpuPool;
  readonly interrupts = new LocalApic();
  /** What may step in between two stores of software. */
  readonly engines = new Engines();
  /** That, and interrupts: what the scheduler lets go on. */
  readonly scheduled = new Engines();
  /** Physical address of the unit's registers. */
  readonly unitRegisters = UNIT_REGISTERS;
  readonly #parts: readonly Restorable[];
  readonly #aliases: readonly (readonly [string, string])[];

  constructor(spec: MachineSpec, wiring: Wiring, chooser: Chooser) {
    this.memory = new Memory(rangesOf(sizeBytes(spec.memory)));
    this.writtenBack = newWrittenBack(spec, this.memory, chooser);
    this.cpuLevels = spec['virtual-addresses'] === '57-bit' ? 5 : 4;
    const { interrupts, cpuLevels: levels } = this;
    this.root = new RootComplex({
      memory: this.memory,
      interrupt: (address, data) => interrupts.message(address, data),
    });
    this.bus = new Bus(this.memory, this.root, this.writtenBack);
    this.unit = this.#makeUnit(spec, wiring.downstream(this.root.downstream), chooser);
    this.root.addIommu(this.unit);
    this.bus.map(this.unit, UNIT_REGISTERS);
    this.accelerators = Object.entries(spec.devices).map(([name, device]) => {
      const slot = { rid: ridOf(device.at), upstream: wiring.upstream(this.root, name), chooser };
      return { name, rid: slot.rid, spec: device, device: new DsaDevice(slot, dsaOptions(name, device)) };
    });
    let bar = FIRST_BAR;
    for (const { device } of this.accelerators) {
      this.root.attach(device);
      bar = this.#assignBars(device, bar);
    }
    this.cpus = Array.from({ length: spec.cpus }, (_, index) => {
      return new Cpu({ index, memory: this.memory, bus: this.bus, levels });
    });
    this.vcpus = new CpuPool({ memory: this.memory, bus: this.bus }, this.cpus);
    this.#aliases = aliasesOf(this.accelerators);
    this.#addEngines();
    this.#parts = [
      ...[this.memory, this.root, this.unit, interrupts],
      ...(this.writtenBack === undefined ? [] : [this.writtenBack]),
      ...this.accelerators.map(({ device }) => device),
      ...this.cpus,
      this.vcpus,
    ];
  }

  /** What software calls devices and queues, and what the scenario calls them. */
  get aliases(): readonly (readonly [string, string])[] {
    return this.#aliases;
  }

  /** What virtual machines are made of: memory, and CPUs by their index. */
  get vmMachine(): { readonly memory: Memory; readonly cpus: readonly Cpu[] } {
    const { memory, cpus, vcpus } = this;
    return {
      memory,
      get cpus() {
        return [...cpus, ...vcpus.all];
      },
    };
  }

  /** The accelerator at a RID. */
  accelerator(rid: number): Accelerator | undefined {
    return this.accelerators.find((each) => each.rid === rid);
  }

  mark(): void {
    for (const part of this.#parts) part.mark();
  }

  restore(): void {
    for (const part of this.#parts) part.restore();
  }

  #makeUnit({ iommu }: MachineSpec, downstream: IommuDownstream, chooser: Chooser): VtdUnit {
    const { caches, 'host-address-width': hostAddressWidth } = iommu;
    const { 'paging-structures': pagingStructures, ...sizes } = caches;
    return new VtdUnit({
      name: 'dmar0',
      ...capabilitiesOf(traitsOf(iommu)),
      hostAddressWidth,
      memory: this.memory,
      downstream,
      chooser,
      ...(this.writtenBack && { writtenBack: this.writtenBack }),
      caches: { ...sizes, pagingStructures, forgets: iommu['stale-entries'] === 'may-stay' },
    });
  }

  /** Each BAR at a multiple of its size, one after the other; the address after the last. */
  #assignBars(device: DsaDevice, from: number): number {
    let at = from;
    for (const [i, { bytes }] of device.bars.entries()) {
      at = Math.ceil(at / bytes) * bytes;
      this.root.writeConfig(device.rid, BAR_OFFSET + i * 8, 4, at % 2 ** 32);
      this.root.writeConfig(device.rid, BAR_OFFSET + i * 8 + 4, 4, Math.floor(at / 2 ** 32));
      at += bytes;
    }
    return at;
  }

  #addEngines(): void {
    const running = [
      ...this.unit.engines,
      ...this.accelerators.flatMap(({ device }) => device.running),
      ...this.cpus.map(({ posted }) => posted),
    ];
    for (const engine of running) {
      this.engines.add(engine);
      this.scheduled.add(engine);
    }
    this.engines.addGroup(this.vcpus.engines);
    this.scheduled.addGroup(this.vcpus.engines);
    this.scheduled.add(this.interrupts);
  }
}

function newWrittenBack({ iommu }: MachineSpec, memory: Memory, chooser: Chooser): WrittenBack | undefined {
  const unit = traitsOf(iommu);
  if (unit['snoops-tables'] && unit['snoops-walks']) return undefined;
  return new WrittenBack({ name: 'CPU caches', memory, chooser });
}

/** `6a:01.0`, as the schema has checked it. */
export function ridOf(text: string): number {
  const [bus = '', device = '', fn = ''] = text.split(/[:.]/);
  return (Number.parseInt(bus, 16) << 8) | (Number.parseInt(device, 16) << 3) | Number.parseInt(fn, 16);
}

function rangesOf(bytes: number): FrameRange[] {
  const end = Math.ceil(bytes / FRAME_BYTES);
  if (end <= LOW_END_FRAME) return [{ first: FIRST_FRAME, last: Math.max(end, FIRST_FRAME + 1) - 1 }];
  const high = { first: HIGH_FIRST_FRAME, last: HIGH_FIRST_FRAME + end - LOW_END_FRAME - 1 };
  return [{ first: FIRST_FRAME, last: LOW_END_FRAME - 1 }, high];
}

function dsaOptions(name: string, spec: DeviceSpec) {
  return {
    name,
    engines: spec.engines,
    groups: GROUPS,
    wqs: Math.max(1, Object.keys(spec.queues).length),
    tlbEntries: spec['device-tlb'],
    pageRequests: PCI_DEPTH,
    interruptHandles: INTERRUPT_HANDLES,
  };
}

/** A kernel names functions by RID, and counts accelerators and queues in the order in which it finds them. */
function aliasesOf(accelerators: readonly Accelerator[]): [string, string][] {
  const found = accelerators.toSorted((a, b) => a.rid - b.rid);
  const queues = found.flatMap(({ name, spec }, i) =>
    Object.keys(spec.queues).map((queue, wq): [string, string] => [`dsa${i}/wq${wq}`, `${name}/${queue}`]),
  );
  const devices = found.flatMap(({ name, spec }, i): [string, string][] => [
    [spec.at, name],
    [`dsa${i}`, name],
  ]);
  return [...queues, ...devices];
}
