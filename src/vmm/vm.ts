/**
 * One virtual machine: a VMM, which is a process of the host's with the guest's memory in it, and the guest, which is
 * the same kernel as the host's on what the VMM shows it.
 *
 * Its end begins before the VMM's memory goes, whoever killed it and whenever: the guest stops, its virtual devices
 * are reset, VFIO and KVM let go of everything, in the phases of a tear-down. Left out: vCPUs that share a CPU,
 * ballooning, and what boots after a reset.
 */
import {
  assert,
  isRefusal,
  KeptValue,
  type Refusal,
  type Restorable,
  refuse,
  type Task,
  WaitQueue,
} from '../base/index.js';
import { ABSENT, type Cpu } from '../hardware/index.js';
import type { IoasidSet } from '../ioasid/index.js';
import type { IdxdDevice, Kernel, MmuNotifier, Process } from '../kernel/index.js';
import { RTADDR_REG, VTD_REGISTER } from '../spec/index.js';
import { Guest } from './guest.js';
import { loadMachine, type MachineState, saveMachine } from './migration/machine-state.js';
import { Monitor } from './monitor.js';
import type { VmDevice, VmOptions } from './options.js';

type State = 'new' | 'booting' | 'prepared' | 'running' | 'left' | 'halted' | 'ending' | 'gone';

export class Vm implements MmuNotifier, Restorable {
  readonly name: string;
  readonly options: VmOptions;
  readonly #state: KeptValue<State>;
  readonly #process: KeptValue<Process | undefined>;
  readonly #monitor: KeptValue<Monitor | undefined>;
  readonly #guest: KeptValue<Guest | undefined>;
  /** It stands still. */
  readonly #isPaused: KeptValue<boolean>;
  /** Somebody is building it, or resets it. */
  readonly #isBuilding: KeptValue<boolean>;
  /** Woken when nobody does any more, when its guest goes on or has left, and when it ends. */
  readonly #changed: WaitQueue;
  /** What the last mark found. */
  #marked: readonly Restorable[] = [];

  constructor(options: VmOptions) {
    const { name, host } = options;
    const { log } = host.context;
    this.name = name;
    this.options = options;
    this.#state = new KeptValue<State>(log, 'new');
    this.#process = new KeptValue<Process | undefined>(log, undefined);
    this.#monitor = new KeptValue<Monitor | undefined>(log, undefined);
    this.#guest = new KeptValue<Guest | undefined>(log, undefined);
    this.#isPaused = new KeptValue(log, false);
    this.#isBuilding = new KeptValue(log, false);
    this.#changed = new WaitQueue(`${name}: boot, a pause or the end`);
  }

  /** The guest's kernel. A `Bug` before it is there. */
  get kernel(): Kernel {
    return this.#booted.kernel;
  }

  /** The hardware's CPUs that are its vCPUs, in their order. */
  get cpus(): readonly Cpu[] {
    return this.#running.cpus;
  }

  /** The VMM. */
  get process(): Process {
    const process = this.#process.value;
    assert(process !== undefined, `${this.name} was not booted`);
    return process;
  }

  /** The host's PASIDs of the VM. */
  get set(): IoasidSet {
    return this.#running.set;
  }

  get isRunning(): boolean {
    return this.#state.value === 'running';
  }

  /** Whether it stands still. */
  get isPaused(): boolean {
    return this.#isPaused.value;
  }

  /** Whether all of it is gone. */
  get isGone(): boolean {
    return this.#state.value === 'gone';
  }

  /** Whether a virtual device is within the guest's reach. */
  hasDevice(name: string): boolean {
    return this.#running.devices.has(name);
  }

  /** The guest's driver of a virtual device, by the device's name; undefined if the guest has not found it. */
  idxd(name: string): IdxdDevice | undefined {
    const full = `${this.name} ${name}`;
    const rid = this.#running.functions.find((each) => each.name === full)?.rid;
    return this.kernel.idxds.find(({ pci }) => pci.rid === rid);
  }

  /** Why the guest could not have the shared queues of a device; undefined if it has them, or wanted none. */
  whyUnshared(name: string): Refusal | undefined {
    const rid = this.options.devices.find((each) => each.name === name)?.at;
    return rid === undefined ? undefined : this.#booted.unshared.get(rid);
  }

  /** The host's frame of a guest's: for ledgers and rules only. */
  hostFrame(gfn: number): number | undefined {
    const frame = this.#monitor.value?.ram.hostFrame(gfn) ?? ABSENT;
    return frame === ABSENT ? undefined : frame;
  }

  /** The frame of the root table that the guest has given to its virtual IOMMU, or 0: for ledgers and rules only. */
  get rootTable(): number {
    const register = new Int32Array(2);
    this.#running.iommu?.read64(VTD_REGISTER.RTADDR.offset, register);
    return RTADDR_REG.RTA.get(register, 0);
  }

  /**
   * Starts the VMM, builds the machine and boots the guest's kernel with the queues of its virtual devices.
   *
   * On failure: what a part of the host or the guest's kernel refuses with; `ESRCH` if it was killed meanwhile.
   * Nothing is left of it.
   */
  *boot(): Task<Refusal | undefined> {
    return yield* this.#start('running', (process) => this.#build(process));
  }

  /**
   * Starts the VMM and builds the machine, for a guest that comes from another: nothing runs in it until then.
   *
   * On failure: as `boot`.
   */
  *prepare(): Task<Refusal | undefined> {
    return yield* this.#start('prepared', (process) => this.#prepare(process));
  }

  /**
   * What it is, after `pause`, as another can take it over.
   *
   * On failure: `ESRCH` if it does not run; as `saveMachine`.
   */
  *save(): Task<MachineState | Refusal<'ESRCH' | 'EOPNOTSUPP'>> {
    const { name } = this;
    if (this.isRunning) yield* this.#running.settle();
    if (!this.isRunning) return refuse('ESRCH', `${name} does not run`);
    assert(this.#isPaused.value, `${name} does not stand still`);
    return saveMachine(this.#running);
  }

  /**
   * Takes over what another is, after `prepare`, but for the guest.
   *
   * On failure: `ESRCH` if it was killed; as `loadMachine`. It is to be destroyed.
   */
  *load(state: MachineState): Task<Refusal | undefined> {
    this.#isBuilding.value = true;
    const refusal = yield* loadMachine(this.#running, state);
    this.#isBuilding.value = false;
    this.#changed.wakeAll();
    return refusal ?? (this.#state.value === 'prepared' ? undefined : this.#killed);
  }

  /** The guest stands still, and is another VM's from now on, which has taken over what this one is. */
  handOver(to: Vm): void {
    const guest = this.#booted;
    assert(this.#isPaused.value && to.#state.value === 'prepared', `${this.name} goes to ${to.name}`);
    this.#running.handOver(to.#running);
    guest.move(to.#running);
    to.#guest.value = guest;
    to.#state.value = 'running';
    to.#isPaused.value = true;
    this.#guest.value = undefined;
    this.#state.value = 'left';
    this.#changed.wakeAll();
  }

  /** Tells which host PASIDs back the guest's. */
  tellPasids(): void {
    this.#running.iommu?.tellPasids();
  }

  /**
   * PASID translation and portals, of a VM that was to have them later than its boot.
   *
   * On failure: `ESRCH` if it does not run; what KVM refuses with.
   */
  *translatePasids(): Task<Refusal | undefined> {
    if (!this.isRunning) return refuse('ESRCH', `${this.name} does not run`);
    return yield* this.#running.translatePasids();
  }

  /**
   * Plugs a device in; the guest takes it from there.
   *
   * On failure: `ESRCH` if it does not run; as `VmFunctions.plug`.
   */
  *plug(device: VmDevice): Task<Refusal | undefined> {
    if (!this.isRunning) return refuse('ESRCH', `${this.name} does not run`);
    return yield* this.#running.devices.plug(device, this.set);
  }

  /**
   * Asks the guest for a device: returns when it has let go of it, and it is out.
   *
   * On failure: `ESRCH` if it does not run, or has ended before; as `VmFunctions.unplug`.
   */
  *unplug(name: string): Task<Refusal<'ESRCH' | 'ENOENT' | 'EOPNOTSUPP'> | undefined> {
    if (!this.isRunning) return refuse('ESRCH', `${this.name} does not run`);
    return yield* this.#running.devices.unplug(name);
  }

  /**
   * Takes a device out without asking: returns when it is out.
   *
   * On failure: `ESRCH` if it does not run, or has ended before; `ENOENT` if there is none.
   */
  *pullOut(name: string): Task<Refusal<'ESRCH' | 'ENOENT'> | undefined> {
    if (!this.isRunning) return refuse('ESRCH', `${this.name} does not run`);
    return yield* this.#running.devices.pullOut(name);
  }

  /**
   * Has it stand still, with nothing under way in its devices; once more is no error.
   *
   * On failure: `ESRCH` if it does not run; as `Monitor.pause`.
   */
  *pause(): Task<Refusal | undefined> {
    if (!this.isRunning) return refuse('ESRCH', `${this.name} does not run`);
    if (this.#isPaused.value) return undefined;
    this.#isPaused.value = true;
    const refusal = yield* this.#running.pause();
    if (refusal === undefined) return undefined;
    this.#isPaused.value = false;
    this.#changed.wakeAll();
    return refusal;
  }

  /**
   * It goes on, after `pause`.
   *
   * On failure: `ESRCH` if it does not run; `EINVAL` if it does not stand still.
   */
  *resume(): Task<Refusal<'ESRCH' | 'EINVAL'> | undefined> {
    if (!this.isRunning) return refuse('ESRCH', `${this.name} does not run`);
    if (!this.#isPaused.value) return refuse('EINVAL', `${this.name} does not stand still`);
    yield* this.#running.resume();
    this.#isPaused.value = false;
    this.#changed.wakeAll();
    return undefined;
  }

  /** Returns when its guest goes on, or never will here. */
  *goesOn(): Task {
    while (this.isRunning && this.#isPaused.value) yield this.#changed;
  }

  /**
   * Resets the machine: the guest stops where it stands, without a word to anybody, and its PASIDs are given back.
   * Nothing runs in it from then on.
   *
   * On failure: `ESRCH` if it does not run.
   */
  *reset(): Task<Refusal<'ESRCH'> | undefined> {
    if (!this.isRunning) return refuse('ESRCH', `${this.name} does not run`);
    this.#state.value = 'halted';
    this.#changed.wakeAll();
    this.#isBuilding.value = true;
    this.#running.stop();
    this.#guest.value?.stopped();
    yield* this.#running.reset();
    this.#isBuilding.value = false;
    this.#changed.wakeAll();
    return undefined;
  }

  /** Kills it, at any time; returns when nothing of it is left. */
  *destroy(): Task {
    const process = this.#process.value;
    if (process === undefined) return;
    const { processes } = this.options.host;
    yield* processes.kill(process);
    yield* processes.wait(process);
    // Somebody in the kernel may have been the last who used its memory, and still tears it down.
    while (!this.isGone) yield this.#changed;
  }

  /** @see MmuNotifier: KVM and VFIO listen by themselves. */
  *invalidateRange(): Task<undefined> {}

  /** The VMM's memory goes: everything else goes before. @see MmuNotifier */
  *release(): Task<undefined> {
    this.#state.value = 'ending';
    this.#changed.wakeAll();
    this.#monitor.value?.stop();
    this.#guest.value?.stopped();
    while (this.#isBuilding.value) yield this.#changed;
    const built = this.#monitor.value;
    if (built !== undefined) yield* built.end();
    this.#state.value = 'gone';
    this.#changed.wakeAll();
    return undefined;
  }

  mark(): void {
    this.#marked = [...(this.#monitor.value?.kept ?? []), ...(this.#guest.value?.kept ?? [])];
    for (const part of this.#marked) part.mark();
  }

  /** What came after the mark is led to by nothing any more. */
  restore(): void {
    for (const part of this.#marked) part.restore();
  }

  *#start(
    then: 'running' | 'prepared',
    build: (process: Process) => Task<Refusal | undefined>,
  ): Task<Refusal | undefined> {
    const { host, name } = this.options;
    assert(this.#state.value === 'new', `${name} is started once`);
    const process = host.processes.spawn(name);
    if (isRefusal(process)) return process;
    this.#process.value = process;
    this.#state.value = 'booting';
    // Before others who are told of the end of the memory: those end with what is built on them.
    process.mm.addNotifier(this);
    this.#isBuilding.value = true;
    const refusal = yield* build(process);
    this.#isBuilding.value = false;
    this.#changed.wakeAll();
    if (refusal === undefined && this.#state.value === 'booting') {
      this.#state.value = then;
      return undefined;
    }
    yield* this.destroy();
    return refusal ?? this.#killed;
  }

  *#build(process: Process): Task<Refusal | undefined> {
    const monitor = yield* this.#open(process);
    if (isRefusal(monitor)) return monitor;
    const refusal = yield* monitor.build(() => this.#state.value === 'booting');
    if (refusal !== undefined) return refusal;
    const guest = new Guest(this.options, monitor);
    this.#guest.value = guest;
    return yield* guest.boot();
  }

  *#prepare(process: Process): Task<Refusal | undefined> {
    const monitor = yield* this.#open(process);
    if (isRefusal(monitor)) return monitor;
    return yield* monitor.prepare(() => this.#state.value === 'booting');
  }

  *#open(process: Process): Task<Monitor | Refusal> {
    const monitor = yield* Monitor.open(this.options, process);
    if (!isRefusal(monitor)) this.#monitor.value = monitor;
    return monitor;
  }

  get #killed(): Refusal<'ESRCH'> {
    return refuse('ESRCH', `${this.name} was killed`);
  }

  get #running(): Monitor {
    const monitor = this.#monitor.value;
    assert(monitor !== undefined, `${this.name} has no machine`);
    return monitor;
  }

  get #booted(): Guest {
    const guest = this.#guest.value;
    assert(guest !== undefined, `${this.name} has no guest`);
    return guest;
  }
}
