/**
 * The machine that a VMM builds in its process: the guest's memory, which KVM and VFIO are told of by pages of the
 * process; vCPUs; a virtual IOMMU; virtual functions on a virtual bus; and its end.
 */
import {
  assert,
  Bug,
  isRefusal,
  KeptValue,
  type Refusal,
  type Restorable,
  refuse,
  type Task,
} from '../base/index.js';
import type { Cpu } from '../hardware/index.js';
import type { IoasidSet } from '../ioasid/index.js';
import type {
  HotPlugController,
  IommuUnit,
  KvmVm,
  Process,
  VcpuPort,
  VfioContainer,
} from '../kernel/index.js';
import { AssignedFunction } from './assigned.js';
import { GuestBus } from './bus.js';
import { VirtualFunction } from './device.js';
import type { VmFunction } from './function.js';
import { VmFunctions } from './functions.js';
import { GuestSide } from './guest-side.js';
import type { GuestInterrupts } from './interrupts.js';
import { virtualCapabilities } from './iommu/capabilities.js';
import { VirtualIommu } from './iommu/virtual-iommu.js';
import { GuestRam, guestRanges, type MemorySlot } from './memory.js';
import type { VmDevice, VmOptions } from './options.js';
import { PortalStores } from './portal-stores.js';
import { Portals } from './portals.js';
import type { GuestTasks } from './tasks.js';
import { dmaMap, VfioSide } from './vfio-side.js';

const IOMMU_REGISTERS = 0xfed9_0000;
const HOT_PLUG_REGISTERS = 0xfed8_0000;
const HOST_ADDRESS_WIDTH = 46;
const PASID_BITS = 20;
/** What virtual functions have where there is no IOMMU to have it for. */
const WITHOUT_IOMMU = { pasidBits: 0, deviceTlbs: false, pageRequests: false } as const;

interface Services {
  readonly kvm: KvmVm;
  readonly container: VfioContainer;
}

export class Monitor {
  readonly ram: GuestRam;
  readonly bus: GuestBus;
  readonly vcpus: VcpuPort[] = [];
  readonly iommu: VirtualIommu | undefined;
  readonly devices: VmFunctions;
  readonly stores: PortalStores;
  /** @see GuestMachine */
  readonly write512: (address: number, words: Int32Array) => void;
  readonly #options: VmOptions;
  readonly #process: Process;
  readonly #kvm: KvmVm;
  readonly #container: VfioContainer;
  readonly #side: VfioSide;
  readonly #portals: Portals;
  /** The guest's that is in front of it. */
  readonly #guest: KeptValue<GuestSide>;
  readonly #slots: MemorySlot[] = [];
  /** Whether devices reach its memory. */
  readonly #isMapped: KeptValue<boolean>;
  /** Somebody has it stand still, or go on. */
  readonly #isPausing: KeptValue<boolean>;

  private constructor(options: VmOptions, process: Process, { kvm, container }: Services) {
    const { name, host, tasks, machine } = options;
    const { log } = host.context;
    this.#options = options;
    this.#process = process;
    this.#kvm = kvm;
    this.#container = container;
    this.bus = new GuestBus(log);
    this.#isMapped = new KeptValue(log, false);
    this.#isPausing = new KeptValue(log, false);
    this.#side = new VfioSide(log, container);
    this.ram = new GuestRam(machine.memory, guestRanges(options.memory));
    this.#guest = new KeptValue(log, new GuestSide(log, { name, tasks, vcpus: this.vcpus }));
    this.#portals = new Portals(host.context, { name, kvm });
    this.stores = new PortalStores(log, {
      ...{ vcpus: this.vcpus, bus: this.bus },
      isAway: (gfn) => this.#portals.isAwayFrom(gfn, this.functions),
    });
    this.write512 = (address, words) => this.stores.write(address, words);
    this.iommu = this.#newIommu();
    this.devices = this.#newFunctions();
    for (const each of options.devices) this.devices.build(each);
    if (this.iommu !== undefined) this.bus.map(this.iommu, IOMMU_REGISTERS);
    this.bus.map(this.devices.controller, HOT_PLUG_REGISTERS);
  }

  /**
   * Opens KVM and VFIO for a process.
   *
   * On failure: what they refuse with; neither is open.
   */
  static *open(options: VmOptions, process: Process): Task<Monitor | Refusal> {
    const { host, name, quota } = options;
    const container = host.vfio.open(process, quota === undefined ? {} : { quota });
    if (isRefusal(container)) return container;
    const kvm = host.kvm.createVm(process.mm, name);
    if (isRefusal(kvm)) {
      yield* container.close();
      return kvm;
    }
    return new Monitor(options, process, { kvm, container });
  }

  /** The hardware's CPUs that are the vCPUs. */
  get cpus(): readonly Cpu[] {
    return this.vcpus.map(({ cpu }) => {
      const found = this.#options.machine.cpus[cpu.index];
      assert(found !== undefined, `no CPU ${cpu.index}`);
      return found;
    });
  }

  /** The guest's tasks. */
  get tasks(): GuestTasks {
    return this.#guest.value.tasks;
  }

  get interrupts(): GuestInterrupts {
    return this.#guest.value.interrupts;
  }

  /** Its virtual functions. */
  get functions(): readonly VmFunction[] {
    return this.devices.items;
  }

  /** What firmware tells the guest of plugging. */
  get hotPlug(): HotPlugController {
    return { registers: HOT_PLUG_REGISTERS, route: this.devices.controller.route };
  }

  /** The VM's PASIDs. */
  get set(): IoasidSet {
    return this.#container.set;
  }

  /** The units that firmware tells the guest of. */
  get iommus(): readonly IommuUnit[] {
    if (this.iommu === undefined) return [];
    const { progress } = this.#guest.value;
    return [{ kind: 'vtd', registers: IOMMU_REGISTERS, hostAddressWidth: HOST_ADDRESS_WIDTH, progress }];
  }

  /** What is put back with the machine. */
  get kept(): readonly Restorable[] {
    const { ram, bus, iommu, functions } = this;
    const unit = iommu === undefined ? [] : [iommu];
    return [ram.table, bus, ...this.#guest.value.kept, ...unit, ...functions];
  }

  /**
   * Builds the machine, as long as it is wanted.
   *
   * On failure: what KVM, VFIO or the memory refuse with; `ESRCH` if it is not wanted any more.
   */
  *build(isWanted: () => boolean): Task<Refusal | undefined> {
    const isLate = this.#options.lateTranslation === true;
    const steps = [
      ...(isLate ? [] : [this.#translate]),
      ...[this.#addCpus, this.#addMemory, this.#addDevices, this.#mapDma],
      ...(isLate ? [] : [this.#mapPortals]),
    ];
    for (const step of steps) {
      const refusal = yield* step.call(this);
      if (refusal !== undefined) return refusal;
      if (!isWanted()) return refuse('ESRCH', `${this.#options.name} was killed`);
    }
    return undefined;
  }

  /**
   * The same for a guest that comes from another machine: until it goes on, no portal is mapped.
   *
   * On failure: as `build`.
   */
  *prepare(isWanted: () => boolean): Task<Refusal | undefined> {
    yield* this.#portals.hold([]);
    return yield* this.build(isWanted);
  }

  /**
   * What the build left out, if it was to: PASIDs are translated, then portals are mapped. Once more is an error of
   * the caller's.
   *
   * On failure: what KVM refuses with; no portal is mapped that is not translated for.
   */
  *translatePasids(): Task<Refusal | undefined> {
    return (yield* this.#translate()) ?? (yield* this.#mapPortals());
  }

  /**
   * Has the machine stand still: its CPUs between two instructions, its devices with nothing under way. What is queued
   * is done first, while the guest can still answer page requests of it: its portals are away by then, and who submits
   * waits there. So nothing is lost, nor done twice. A guest that does not answer is answered for in the end, by
   * Invalid Request, as whenever the host drains.
   *
   * On failure: `EOPNOTSUPP` with a whole function; `EIO`. It goes on then.
   */
  *pause(): Task<Refusal<'EOPNOTSUPP' | 'EIO'> | undefined> {
    this.#isPausing.value = true;
    try {
      for (const each of this.functions) each.hold();
      yield* this.#portals.hold(this.functions);
      for (const each of [...this.functions]) {
        yield* this.#iommuRests();
        const refusal = yield* each.suspend();
        if (refusal === undefined) continue;
        yield* this.#goOn();
        return refusal;
      }
      this.tasks.pause();
      for (const vcpu of this.vcpus) while (vcpu.isInInstruction) yield vcpu.boundary;
      for (const { cpu } of this.vcpus) cpu.fence();
      yield* this.#iommuRests();
      return undefined;
    } finally {
      this.#isPausing.value = false;
    }
  }

  /** The guest, which stands still, goes on in front of another machine, which has taken over what this one was. */
  handOver(to: Monitor): void {
    const guest = this.#guest.value;
    this.#guest.value = to.#guest.value;
    to.#guest.value = guest;
    this.tasks.seat(this.vcpus);
    to.tasks.seat(to.vcpus);
  }

  /** Returns when nothing of the VMM's own is under way. */
  *settle(): Task {
    const { name } = this.#options;
    const isBusy = (): boolean => this.#portals.isBusy || this.devices.isBusy || this.#isPausing.value;
    while (this.iommu?.isBusy === true || isBusy()) yield `${name}: wait for its tasks`;
  }

  /** It goes on. */
  *resume(): Task {
    this.#isPausing.value = true;
    yield* this.#goOn();
    this.#isPausing.value = false;
  }

  /** Nothing in the guest begins any more. */
  stop(): void {
    this.tasks.stop();
    this.#portals.end();
    this.devices.end();
  }

  /**
   * Has vCPUs, virtual IOMMU and virtual devices as after power-on, with nothing running: returns when the host has
   * nothing left of the guest's PASIDs.
   */
  *reset(): Task {
    yield* this.#halt();
    for (const { cpu } of this.vcpus) cpu.writePasidMsr(0);
    for (const each of this.functions) yield* each.quiesce();
    this.iommu?.reset();
    yield* this.settle();
    for (const each of this.functions) yield* each.reset();
  }

  /** The end of the machine: returns when neither CPU nor device reaches anything of it. */
  *end(): Task {
    yield* this.#halt();
    // From here on the host answers what its devices wait for: they can be drained, and are reset after that; a whole
    // function, which the host cannot drain, before.
    for (const each of this.functions) yield* each.quiesce();
    yield* this.#container.close();
    for (const each of this.functions) yield* each.close();
    yield* this.#kvm.destroy();
    this.ram.forget();
  }

  /** The guest stands still, and who waits for it does so no longer: from here on the host answers its devices. */
  *#halt(): Task {
    for (const vcpu of this.vcpus) while (vcpu.isInInstruction) yield vcpu.boundary;
    this.tasks.drop();
    // A device that waits for the guest may hold up what the VMM does in the host's kernel.
    yield* this.#container.mute();
    // That comes to its end; nothing new begins without the guest.
    yield* this.settle();
  }

  *#iommuRests(): Task {
    while (this.iommu?.isBusy === true) yield `${this.#options.name}: wait for its virtual IOMMU`;
  }

  /** Devices before those who submit to them. */
  *#goOn(): Task {
    for (const each of [...this.functions]) yield* each.resume();
    yield* this.#portals.release(this.functions);
    this.stores.flush();
    this.tasks.resume();
    this.interrupts.resume();
  }

  /** On before a portal is mapped: a guest's ENQCMD never carries a number that was not translated. */
  *#translate(): Task<Refusal | undefined> {
    yield `${this.#options.name}: PASID translation`;
    return this.#kvm.enablePasidTranslation();
  }

  *#addCpus(): Task<Refusal | undefined> {
    for (let i = 0; i < this.#options.cpus; i++) {
      const vcpu = this.#kvm.createVcpu();
      if (isRefusal(vcpu)) return vcpu;
      this.vcpus.push(vcpu);
      yield `${this.#options.name}: vCPU ${i}`;
    }
    return undefined;
  }

  *#addMemory(): Task<Refusal | undefined> {
    const { mm } = this.#process;
    for (const { first, last } of this.ram.ranges) {
      const pages = last - first + 1;
      const page = yield* mm.mmap(pages, { scattered: true });
      if (isRefusal(page)) return page;
      const slot: MemorySlot = { gfn: first, pages, page };
      const refusal = yield* this.#kvm.setMemory(slot);
      if (refusal !== undefined) return refusal;
      for (let i = 0; i < pages; i++) {
        const leaf = mm.table.leaf(page + i);
        if (leaf === undefined) throw new Bug(`page ${i} of ${this.#options.name}'s memory is not there`);
        this.ram.place(first + i, leaf.frame);
      }
      this.#slots.push(slot);
    }
    return undefined;
  }

  *#addDevices(): Task<Refusal | undefined> {
    for (const each of this.functions) {
      const refusal = yield* this.devices.add(each, this.set);
      if (refusal !== undefined) return refusal;
    }
    this.#kvm.onUnknownPasid = (guestPasid) => this.iommu?.unknownPasid(guestPasid);
    return undefined;
  }

  /** Once there is a device: the second stage is of its IOMMU. */
  *#mapDma(): Task<Refusal | undefined> {
    if (this.functions.length === 0 || this.#isMapped.value) return undefined;
    for (const slot of this.#slots) {
      const refusal = yield* this.#container.mapDma(dmaMap(slot));
      if (refusal !== undefined) return refusal;
    }
    this.#isMapped.value = true;
    return undefined;
  }

  *#mapPortals(): Task<Refusal | undefined> {
    for (const each of this.functions) {
      yield* this.#portals.place(each);
      if (!this.#portals.areHeld && !this.#portals.isMapped(each))
        return refuse('EIO', `the portal of ${each.name} cannot be mapped`);
    }
    this.#portals.follow();
    return undefined;
  }

  #newIommu(): VirtualIommu | undefined {
    const { name, tasks, iommu, emit } = this.#options;
    if (iommu === undefined) return undefined;
    const { cachingMode, pasidBits = PASID_BITS, deviceTlbs = true, pageRequests = true } = iommu;
    const { oldVirtualCommands = false, pasids } = iommu;
    return new VirtualIommu({
      name: `${name} iommu`,
      ...virtualCapabilities({ cachingMode, pasidBits, deviceTlbs, pageRequests }),
      ...{ memory: this.ram, host: this.#side, tasks, pasids, oldVirtualCommands, emit },
      onProgress: () => this.#guest.value.progress.wakeAll(),
      interrupt: (address, data) => this.interrupts.message(address, data),
    });
  }

  #newFunctions(): VmFunctions {
    const { name, host } = this.#options;
    return new VmFunctions({
      ...{ name, context: host.context, container: this.#container, bus: this.bus },
      ...{ side: this.#side, portals: this.#portals, iommu: this.iommu },
      message: (address, data) => this.interrupts.message(address, data),
      create: (device) => this.#newFunction(device),
      mapDma: () => this.#mapDma(),
    });
  }

  #newFunction(device: VmDevice): VmFunction {
    const { name, iommu, host } = this.#options;
    const { pasidBits = PASID_BITS, deviceTlbs = true, pageRequests = true } = iommu ?? WITHOUT_IOMMU;
    const of = {
      ...{ name: `${name} ${device.name}`, rid: device.at },
      shown: { pasidBits, deviceTlbs, pageRequests },
      message: (address: number, data: number) => this.interrupts.message(address, data),
      moved: () => this.#portals.moved(this.functions),
    };
    if ('mdev' in device) return new VirtualFunction({ ...of, mdev: device.mdev });
    const { whole, sharedQueues } = device;
    const { log, platform } = host.context;
    return new AssignedFunction({ ...of, whole, sharedQueues, log, mmio: platform.mmio });
  }
}
