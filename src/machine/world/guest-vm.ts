/**
 * Virtual machines of a scenario: each is a VMM of the host's with its parts, and what rules are told of it. The
 * ledger knows which of the VMM's pages are the guest's memory, so that a frame of the host's leads to its owner in
 * the guest.
 */
import { assert, isRefusal, KeptMap, KeptValue, type Refusal, refuse, type Task } from '../../base/index.js';
import {
  ABSENT,
  type Cpu,
  type DeviceTables,
  type FrameReader,
  type PasidTranslationEntry,
  pasidTranslationEntry,
} from '../../hardware/index.js';
import { ioasidCapacity } from '../../ioasid/index.js';
import type { Kernel, Mdev } from '../../kernel/index.js';
import type { GuestLedger, Mapping } from '../../rules/index.js';
import { type MediatedDevice, migrate, Vm, type VmDevice } from '../../vmm/index.js';
import { type VmMember, vmmAt } from '../scenario/members.js';
import type { DestinationSpec } from '../scenario/schema.js';
import { EntryFinder, type TableEntry } from './table-entry.js';
import { deviceOf, devicesOf, isWhole } from './vm-devices.js';
import { homeOf, mappingOf, setRemains, VmMove } from './vm-move.js';
import { optionsOf, type Told, type VmGround } from './vm-options.js';

export class GuestVm {
  readonly #vm: KeptValue<Vm>;
  /** Where it is; undefined where it began. */
  readonly #place: KeptValue<DestinationSpec | undefined>;
  readonly #hasCachingMode: boolean;
  readonly #ground: VmGround;
  readonly #guest: GuestLedger;
  readonly #member: VmMember;
  #hasBooted = false;
  /** Its mediated devices, by name. */
  readonly #mdevs: KeptMap<string, Mdev>;
  readonly #cpus: KeptValue<readonly Cpu[]>;
  /** PASIDs of the host's that no set had, before its end. */
  #available = 0;

  private constructor(ground: VmGround, member: VmMember, devices: readonly VmDevice[]) {
    this.#ground = ground;
    this.#member = member;
    const { log } = ground.host.kernel.context;
    this.#place = new KeptValue<DestinationSpec | undefined>(log, undefined);
    this.#cpus = new KeptValue<readonly Cpu[]>(log, []);
    this.#mdevs = new KeptMap(log);
    for (const device of devices) if ('mdev' in device) this.#mdevs.set(device.name, device.mdev);
    const { iommu, destinations } = member.spec;
    const others = Object.keys(destinations).map((each) => vmmAt(member.name, each));
    this.#guest = ground.taps.ledger.addGuest(member.name, others);
    this.#hasCachingMode = iommu !== 'none' && iommu['caching-mode'];
    for (const { from, 'shared-queues': shared } of Object.values(member.spec.devices)) {
      const whole = { guest: this.#guest, takesBothNumbers: shared === 'both-numbers' };
      if (isWhole(from)) ground.taps.ledger.numbering.assign(from, whole);
    }
    const { name, spec } = member;
    const vm = new Vm(optionsOf(ground, member, { vmm: name, pasids: spec.pasids, devices, ...this.#told }));
    this.#vm = new KeptValue(log, vm);
  }

  /** The VMM that it is in. */
  get vm(): Vm {
    return this.#vm.value;
  }

  /** What its guest's kernel and its VMM tell is told by these names. */
  get #told(): Told {
    return {
      guest: this.#guest,
      found: (rid) =>
        this.#hasBooted ? this.kernel.idxds.find(({ pci }) => pci.rid === rid)?.name : undefined,
      deviceOf: (device) => this.deviceOf(device),
    };
  }

  /** The queue of the host's that one of its devices is a part of; or the function that it is, whole. */
  from(device: string): string | undefined {
    return this.#place.value?.devices[device] ?? this.#member.spec.devices[device]?.from;
  }

  /** The host's accelerator that is behind one of its devices. */
  deviceOf(device: string): string {
    return this.from(device)?.split('/', 1)[0] ?? device;
  }

  get #quota(): number {
    return (this.#place.value ?? this.#member.spec).pasids.quota;
  }

  /** Makes it, and boots it. A `Bug` if that fails: a scenario's machine has room for it. */
  static *boot(ground: VmGround, member: VmMember): Task<GuestVm> {
    const made = new GuestVm(ground, member, devicesOf(ground.host, member));
    const refusal = yield* made.vm.boot();
    assert(refusal === undefined, `${member.name} does not boot: ${String(refusal)}`);
    made.#booted();
    made.kernel.iommu.pageRequests.isSilent = member.spec.silent;
    return made;
  }

  get kernel(): Kernel {
    return this.vm.kernel;
  }

  /** By the index that its kernel knows them by. */
  get cpus(): readonly Cpu[] {
    return this.#cpus.value;
  }

  get tellsNewEntries(): boolean {
    return this.#hasCachingMode && this.#cpus.value[0]?.vmcs?.translatesPasids === true;
  }

  isOut(device: string): boolean {
    return !this.vm.hasDevice(device);
  }

  get isGone(): boolean {
    return this.vm.isGone;
  }

  get isRunning(): boolean {
    return this.vm.isRunning;
  }

  /** Ends it where it stands; returns when nothing of it is left. */
  *destroy(): Task {
    this.#available = ioasidCapacity(this.#ground.host.kernel.pasids.core).available;
    yield* this.vm.destroy();
  }

  /** Plugs a device in that its spec has late; returns when the guest has it, or runs no more. */
  *plug(name: string): Task<Refusal | undefined> {
    const {
      vm: { name: vmm },
    } = this;
    const device = deviceOf(this.#ground.host, { member: this.#member, vmm, name, from: this.from(name) });
    if (isRefusal(device)) return device;
    const refusal = yield* this.vm.plug(device);
    if (refusal !== undefined) {
      if ('mdev' in device) yield* device.mdev.remove();
      return refusal;
    }
    if ('mdev' in device) this.#mdevs.set(name, device.mdev);
    while (this.isRunning && this.vm.idxd(name)?.wqs.length !== 1) yield this.kernel.functionsChanged;
    return undefined;
  }

  /** Has the guest give a device up, which is nobody's then. */
  *unplug(name: string): Task<Refusal | undefined> {
    const refusal = yield* this.vm.unplug(name);
    return refusal ?? (yield* this.#removed(name));
  }

  /** Takes one out; returns when the guest has noticed. */
  *pullOut(name: string): Task<Refusal | undefined> {
    const idxd = this.vm.idxd(name);
    const refusal = yield* this.vm.pullOut(name);
    if (refusal !== undefined) return refusal;
    const isThere = (): boolean => idxd !== undefined && this.kernel.idxds.includes(idxd);
    while (this.isRunning && isThere()) yield this.kernel.functionsChanged;
    return yield* this.#removed(name);
  }

  /** Has it stand still. */
  *pause(): Task {
    const refusal = yield* this.vm.pause();
    assert(refusal === undefined || !this.isRunning, `${this.vm.name} is not paused: ${String(refusal)}`);
  }

  /** Has it go on. */
  *resume(): Task {
    yield* this.vm.resume();
  }

  /** Returns when its guest goes on, wherever that is: while it stands still nothing may be done to it from outside. */
  *goesOn(): Task {
    while (this.isRunning && this.vm.isPaused) yield* this.vm.goesOn();
  }

  /**
   * Takes it to a destination: another VMM, with other parts of accelerators. Returns when nothing is left where it was.
   *
   * On failure: as `migrate`; it goes on where it is.
   */
  *migrate(to: string): Task<Refusal | undefined> {
    const place = this.#member.spec.destinations[to];
    const vmm = vmmAt(this.#member.name, to);
    if (place === undefined) return refuse('ENOENT', `there is no ${vmm}`);
    const had = this.#mdevs.values();
    const devices = this.#devicesAt(vmm, place);
    const made = devices.filter((each): each is MediatedDevice => !isRefusal(each) && 'mdev' in each);
    const refusal = devices.find(isRefusal) ?? (yield* this.#go(place, { vmm, devices: made }));
    const unused = refusal === undefined ? had : made.map(({ mdev }) => mdev);
    for (const mdev of unused) yield* mdev.remove();
    return refusal;
  }

  /** Its devices, as parts of what a destination names. */
  #devicesAt(vmm: string, { devices }: DestinationSpec): (VmDevice | Refusal)[] {
    const { host } = this.#ground;
    const member = this.#member;
    return Object.entries(devices)
      .filter(([name]) => this.vm.hasDevice(name))
      .map(([name, from]) => deviceOf(host, { member, vmm, name, from }));
  }

  *#go(
    place: DestinationSpec,
    { vmm, devices }: { readonly vmm: string; readonly devices: readonly MediatedDevice[] },
  ): Task<Refusal | undefined> {
    const { hardware, host, taps } = this.#ground;
    const { vm: source } = this;
    const { pasids } = place;
    const options = optionsOf(this.#ground, this.#member, { vmm, pasids, devices, ...this.#told });
    const destination = new Vm(options);
    const move = new VmMove({
      ...{ taps, place, source, destination, guest: this.#guest, quota: this.#quota },
      ...{ memory: hardware.memory, core: host.kernel.pasids.core },
      moved: () => this.#arrived(destination, place, devices),
    });
    const refusal = yield* migrate(source, destination, move);
    if (refusal === undefined) move.ended();
    return refusal;
  }

  #arrived(vm: Vm, place: DestinationSpec, devices: readonly MediatedDevice[]): void {
    this.#vm.value = vm;
    this.#place.value = place;
    this.#cpus.value = vm.cpus;
    for (const { name, mdev } of devices) this.#mdevs.set(name, mdev);
  }

  /** Its administrator takes away what was made for the VM. */
  *#removed(name: string): Task<undefined> {
    const mdev = this.#mdevs.get(name);
    this.#mdevs.delete(name);
    if (mdev !== undefined) yield* mdev.remove();
  }

  /** Resets it; nothing runs in it from then on. */
  *reset(): Task {
    const refusal = yield* this.vm.reset();
    assert(refusal === undefined, `${this.vm.name} is not reset: ${String(refusal)}`);
  }

  /** KVM learns of its PASIDs, and the portals of its devices are there from now on. */
  *registerKvm(): Task {
    const refusal = yield* this.vm.translatePasids();
    assert(refusal === undefined, `${this.vm.name} gets no PASID translation: ${String(refusal)}`);
  }

  /** Where one of its guest's PASIDs leads: by the set's private ids, and by the table that its CPUs walk. */
  mapping(guest: number): Mapping {
    if (this.isGone) return { core: undefined, cpu: undefined };
    return mappingOf(this.vm, guest, { memory: this.#ground.hardware.memory, cpu: this.#cpus.value[0] });
  }

  /** The entry of one of its devices and a guest PASID, in the guest's own tables; there is none once it has ended. */
  entry(tables: DeviceTables, rid: number, guest: number): TableEntry | undefined {
    if (this.isGone) return undefined;
    const { memory: host } = this.#ground.hardware;
    const memory: FrameReader = {
      get words() {
        return host.words;
      },
      at: (gfn, word) => {
        const frame = this.vm.hostFrame(gfn);
        return frame === undefined ? ABSENT : host.at(frame, word);
      },
    };
    return new EntryFinder(memory, tables).find(this.vm.rootTable, rid, guest);
  }

  /** What the table that its CPUs walk has of a guest PASID. */
  kvmEntry(guest: number): PasidTranslationEntry | undefined {
    const vmcs = this.isGone ? undefined : this.#cpus.value[0]?.vmcs;
    if (vmcs?.translatesPasids !== true) return undefined;
    return pasidTranslationEntry(this.#ground.hardware.memory, vmcs, guest);
  }

  /** What the host has not back once it has ended, beside memory, which the ledger knows. */
  remains(): readonly string[] {
    const { core } = this.#ground.host.kernel.pasids;
    const before = { available: this.#available, quota: this.#quota };
    return [...setRemains(core, this.vm, before), ...this.#pasids()];
  }

  /** What its guest was given of PASIDs, and has not given back: the default one is the VMM's to keep. */
  guestPasids(): readonly string[] {
    return this.#pasids((mm) => mm !== `${this.#member.name}/kernel`);
  }

  #pasids(isMeant: (mm: string) => boolean = () => true): readonly string[] {
    const { ledger } = this.#ground.taps;
    // All are looked through only to name them.
    if (ledger.pasids.liveIn(this.#member.name) === 0) return [];
    return [...ledger.pasids.all()]
      .filter(([, { mm }]) => ledger.guestOf(mm) === this.#guest && isMeant(mm))
      .map(([pasid, { mm, guest }]) => `PASID ${pasid} of ${mm}, guest PASID ${guest ?? '-'}`);
  }

  /** What is learnt once: the CPUs that are its own, and where its memory lies in the VMM's. */
  #booted(): void {
    this.#hasBooted = true;
    this.#cpus.value = this.vm.cpus;
    this.#guest.moved(homeOf(this.vm, this.#ground.taps.ledger));
  }
}
