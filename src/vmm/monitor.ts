/**
 * The machine that a VMM builds in its process: the guest's memory, which KVM and VFIO are told of by pages of the
 * process; vCPUs; virtual functions on a virtual bus; and its end.
 */
import { assert, isRefusal, type Refusal, type Restorable, refuse, type Task } from '../base/index.js';
import type { Cpu } from '../hardware/index.js';
import type { IoasidSet } from '../ioasid/index.js';
import type { CpuPort, IommuUnit, KvmVm, Process, VcpuPort, VfioContainer } from '../kernel/index.js';
import { GuestBus } from './bus.js';
import { VirtualFunction } from './device.js';
import { GuestInterrupts } from './interrupts.js';
import { GuestRam, guestRanges, type MemorySlot } from './memory.js';
import type { VmOptions } from './options.js';
import { GuestTasks } from './tasks.js';

const FIRST_BAR = 0xe000_0000;

export class Monitor {
  readonly ram: GuestRam;
  readonly bus = new GuestBus();
  readonly tasks: GuestTasks;
  readonly interrupts: GuestInterrupts;
  readonly iommus: readonly IommuUnit[] = [];
  readonly #options: VmOptions;
  readonly #process: Process;
  readonly #kvm: KvmVm;
  readonly #container: VfioContainer;
  readonly #vcpus: VcpuPort[] = [];
  readonly #functions: readonly VirtualFunction[];

  private constructor(options: VmOptions, process: Process, of: { kvm: KvmVm; container: VfioContainer }) {
    const { name, host, tasks, machine } = options;
    this.#options = options;
    this.#process = process;
    this.#kvm = of.kvm;
    this.#container = of.container;
    this.ram = new GuestRam(machine.memory, guestRanges(options.memory));
    this.tasks = new GuestTasks(name, tasks, this.#vcpus);
    this.interrupts = new GuestInterrupts(host.context.log, this.tasks);
    const message = (address: number, data: number): void => this.interrupts.message(address, data);
    const shown = { pasidBits: 20, deviceTlbs: true, pageRequests: true };
    this.#functions = options.devices.map(
      (device) =>
        new VirtualFunction({
          ...{ name: `${name} ${device.name}`, rid: device.at, mdev: device.mdev, shown, message },
        }),
    );
    for (const each of this.#functions) this.bus.attach(each);
  }

  /**
   * Opens KVM and VFIO for a process.
   *
   * On failure: what they refuse with.
   */
  static open(options: VmOptions, process: Process): Monitor | Refusal {
    const { host, name } = options;
    const container = host.vfio.open(process);
    if (isRefusal(container)) return container;
    const kvm = host.kvm.createVm(process.mm, name);
    if (isRefusal(kvm)) return kvm;
    return new Monitor(options, process, { kvm, container });
  }

  /** The hardware's CPUs that are the vCPUs. */
  get cpus(): readonly Cpu[] {
    return this.#vcpus.map(({ cpu }) => {
      const found = this.#options.machine.cpus[cpu.index];
      assert(found !== undefined, `no CPU ${cpu.index}`);
      return found;
    });
  }

  /** The vCPUs as the guest's kernel knows them: counted from 0. */
  get cpuPorts(): readonly CpuPort[] {
    return this.#vcpus.map(({ cpu }, index) => ({
      index,
      setPageTable: (frame) => cpu.setPageTable(frame),
      flushTlb: () => cpu.flushTlb(),
      fence: () => cpu.fence(),
      readPasidMsr: () => cpu.readPasidMsr(),
      writePasidMsr: (value) => cpu.writePasidMsr(value),
    }));
  }

  /** The VM's PASIDs. */
  get set(): IoasidSet {
    return this.#container.set;
  }

  /** What is put back with the machine. */
  get kept(): readonly Restorable[] {
    return [this.ram.table, this.bus, this.tasks, this.interrupts.apic, ...this.#functions];
  }

  /**
   * Builds the machine, as long as it is wanted.
   *
   * On failure: what KVM, VFIO or the memory refuse with; `ESRCH` if it is not wanted any more.
   */
  *build(isWanted: () => boolean): Task<Refusal | undefined> {
    const steps = [this.#translate, this.#addCpus, this.#addMemory, this.#addDevices, this.#mapPortals];
    for (const step of steps) {
      const refusal = yield* step.call(this);
      if (refusal !== undefined) return refusal;
      if (!isWanted()) return refuse('ESRCH', `${this.#options.name} was killed`);
    }
    return undefined;
  }

  /** Nothing in the guest begins any more. */
  stop(): void {
    this.tasks.stop();
  }

  /** The end of the machine: returns when neither CPU nor device reaches anything of it. */
  *end(): Task {
    for (const vcpu of this.#vcpus) while (vcpu.isInInstruction) yield vcpu.boundary;
    this.tasks.drop();
    for (const { mdev } of this.#functions) yield* mdev.close();
    yield* this.#container.close();
    yield* this.#kvm.destroy();
    this.ram.forget();
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
      this.#vcpus.push(vcpu);
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
        assert(leaf !== undefined, `page ${i} of ${this.#options.name}'s memory is not there`);
        this.ram.place(first + i, leaf.frame);
      }
    }
    return undefined;
  }

  *#addDevices(): Task<Refusal | undefined> {
    let bar = FIRST_BAR;
    for (const each of this.#functions) {
      bar = each.placeBars(bar);
      const refusal =
        each.mdev.open(this.set, (vector) => each.signal(vector)) ??
        (yield* this.#container.addDevice(each.mdev));
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  *#mapPortals(): Task<Refusal | undefined> {
    for (const { portalGfn, mdev } of this.#functions) {
      const refusal = yield* this.#kvm.mapDevicePage(portalGfn, mdev.portal.frame);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }
}
