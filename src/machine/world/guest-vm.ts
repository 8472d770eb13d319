/**
 * Virtual machines of a scenario: each is a VMM of the host's with its parts, and what rules are told of it. The
 * ledger knows which of the VMM's pages are the guest's memory, so that a frame of the host's leads to its owner in
 * the guest.
 */
import {
  assert,
  type Chooser,
  isRefusal,
  KeptMap,
  type Refusal,
  refuse,
  type Task,
  type TaskSet,
} from '../../base/index.js';
import {
  ABSENT,
  type Cpu,
  type DeviceTables,
  type FrameReader,
  type PasidTranslationEntry,
  pasidTranslationEntry,
  translatePasid,
} from '../../hardware/index.js';
import { ioasidCapacity, ioasidFindBySpid, ioasidFindMmSet } from '../../ioasid/index.js';
import { type Kernel, Mdev } from '../../kernel/index.js';
import type { GuestLedger, Mapping } from '../../rules/index.js';
import {
  guestRanges,
  Vm,
  type VmDevice,
  type VmHost,
  type VmIommu,
  type VmOptions,
} from '../../vmm/index.js';
import type { VmMember } from '../scenario/members.js';
import type { VirtualIommuSpec, VmSpec } from '../scenario/schema.js';
import { sizeBytes } from '../scenario/size.js';
import { type Hardware, ridOf } from './hardware.js';
import { groupsOf, type HostMachine } from './machines.js';
import { EntryFinder, type TableEntry } from './table-entry.js';
import type { Taps } from './taps/taps.js';

/** What virtual machines are made on. */
export interface VmGround {
  readonly hardware: Hardware;
  readonly host: HostMachine;
  readonly taps: Taps;
  readonly tasks: TaskSet;
  readonly chooser: Chooser;
}

/** Host PASIDs that a virtual machine may be given. */
const LAST_PASID = 0xfffff;
/** The smallest core of ids that there is: of a guest that has no use for them. */
const LEAST_IDS = 2;

export class GuestVm {
  readonly vm: Vm;
  readonly #hasCachingMode: boolean;
  readonly #ground: VmGround;
  readonly #guest: GuestLedger;
  readonly #quota: number;
  readonly #member: VmMember;
  #hasBooted = false;
  /** Its mediated devices, by name. */
  readonly #mdevs: KeptMap<string, Mdev>;
  #cpus: readonly Cpu[] = [];
  /** PASIDs of the host's that no set had, before its end. */
  #available = 0;

  private constructor(ground: VmGround, member: VmMember, devices: readonly VmDevice[]) {
    this.#ground = ground;
    this.#member = member;
    this.#mdevs = new KeptMap(ground.host.kernel.context.log);
    for (const device of devices) if ('mdev' in device) this.#mdevs.set(device.name, device.mdev);
    this.#guest = ground.taps.ledger.addGuest(member.name);
    this.#quota = member.spec.pasids.quota;
    const { iommu } = member.spec;
    this.#hasCachingMode = iommu !== 'none' && iommu['caching-mode'];
    for (const { from, 'shared-queues': shared } of Object.values(member.spec.devices)) {
      const whole = { guest: this.#guest, takesBothNumbers: shared === 'both-numbers' };
      if (isWhole(from)) ground.taps.ledger.numbering.assign(from, whole);
    }
    const found = (rid: number): string | undefined =>
      this.#hasBooted ? this.kernel.idxds.find(({ pci }) => pci.rid === rid)?.name : undefined;
    this.vm = new Vm(optionsOf(ground, member, { devices, guest: this.#guest, found }));
  }

  /** Makes it, and boots it. A `Bug` if that fails: a scenario's machine has room for it. */
  static *boot(ground: VmGround, member: VmMember): Task<GuestVm> {
    const made = new GuestVm(ground, member, devicesOf(ground.host, member));
    const refusal = yield* made.vm.boot();
    assert(refusal === undefined, `${member.name} does not boot: ${String(refusal)}`);
    made.#booted(sizeBytes(member.spec.memory));
    made.kernel.iommu.pageRequests.isSilent = member.spec.silent;
    return made;
  }

  get kernel(): Kernel {
    return this.vm.kernel;
  }

  /** By the index that its kernel knows them by. */
  get cpus(): readonly Cpu[] {
    return this.#cpus;
  }

  get tellsNewEntries(): boolean {
    return this.#hasCachingMode && this.#cpus[0]?.vmcs?.translatesPasids === true;
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
    const device = deviceOf(this.#ground.host, this.#member, name);
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
    const core = ioasidFindBySpid(this.vm.set, guest);
    const vmcs = this.#cpus[0]?.vmcs;
    const isOn = vmcs?.translatesPasids === true;
    const cpu = isOn ? translatePasid(this.#ground.hardware.memory, vmcs, guest) : undefined;
    return {
      core: isRefusal(core) ? undefined : core,
      cpu: cpu === undefined || cpu < 0 ? undefined : cpu,
    };
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
    const vmcs = this.isGone ? undefined : this.#cpus[0]?.vmcs;
    if (vmcs?.translatesPasids !== true) return undefined;
    return pasidTranslationEntry(this.#ground.hardware.memory, vmcs, guest);
  }

  /** What the host has not back once it has ended, beside memory, which the ledger knows. */
  remains(): readonly string[] {
    const { core } = this.#ground.host.kernel.pasids;
    const hasSet = !isRefusal(ioasidFindMmSet(core, this.vm.process.mm));
    const left = [...(hasSet ? ['its set of PASIDs'] : []), ...this.#pasids()];
    const missing = this.#available + this.#quota - ioasidCapacity(core).available;
    return missing <= 0 ? left : [...left, `${missing} PASIDs of its quota of ${this.#quota}`];
  }

  /** What its guest was given of PASIDs, and has not given back: the default one is the VMM's to keep. */
  guestPasids(): readonly string[] {
    return this.#pasids((mm) => mm !== `${this.vm.name}/kernel`);
  }

  #pasids(isMeant: (mm: string) => boolean = () => true): readonly string[] {
    const { ledger } = this.#ground.taps;
    // All are looked through only to name them.
    if (ledger.pasids.liveIn(this.vm.name) === 0) return [];
    return [...ledger.pasids.all()]
      .filter(([, { mm }]) => ledger.guestOf(mm)?.name === this.vm.name && isMeant(mm))
      .map(([pasid, { mm, guest }]) => `PASID ${pasid} of ${mm}, guest PASID ${guest ?? '-'}`);
  }

  /** What is learnt once: the CPUs that are its own, and where its memory lies in the VMM's. */
  #booted(bytes: number): void {
    this.#hasBooted = true;
    this.#cpus = this.vm.cpus;
    const { ledger } = this.#ground.taps;
    for (const { first, last } of guestRanges(bytes)) {
      const frame = this.vm.hostFrame(first);
      const owner = frame === undefined ? undefined : ledger.frames.tenure(frame)?.owner;
      assert(owner?.kind === 'page', `the memory of ${this.vm.name} is not its VMM's`);
      this.#guest.addMemory({ gfn: first, pages: last - first + 1, page: owner.page });
    }
  }
}

/** Those that are there from the boot on. */
function devicesOf(host: HostMachine, member: VmMember): VmDevice[] {
  const atBoot = Object.entries(member.spec.devices).filter(([, { plugged }]) => plugged === 'boot');
  return atBoot.map(([name]) => {
    const device = deviceOf(host, member, name);
    assert(!isRefusal(device), `no virtual device ${name}: ${String(device)}`);
    return device;
  });
}

function deviceOf(host: HostMachine, { name: vm, spec }: VmMember, name: string): VmDevice | Refusal {
  const device = spec.devices[name];
  if (device === undefined) return refuse('ENOENT', `${vm} has no device ${name}`);
  const { from, 'shared-queues': sharedQueues = 'refused' } = device;
  const at = ridOf(device.at);
  if (isWhole(from)) {
    const { function: whole, spec: of } = host.whole(from);
    return { name, at, whole, groups: groupsOf(of), sharedQueues };
  }
  const { idxd, index } = host.queue(from);
  assert(idxd !== undefined, `the host has not found ${from}`);
  const mdev = Mdev.create(host.kernel.context, idxd, { name: `${vm} ${name}`, wq: index });
  return isRefusal(mdev) ? mdev : { name, at, mdev };
}

/** A number of its own for each name: what is picked by chance differs from one to the next. */
const seedOf = (name: string): number =>
  [...name].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) >>> 0, 7);

/** Whether a virtual device is a whole function: of a part the queue is named. */
export const isWhole = (from: string): boolean => !from.includes('/');

/**
 * A guest's kernel names functions by RID, and counts accelerators in the order in which it finds them: those of its
 * boot in that of their RIDs, then as they come.
 *
 * @param found the guest's name of an accelerator that came later, if it is there
 */
function aliasesOf(
  { devices }: VmMember['spec'],
  host: HostMachine,
  found: (rid: number) => string | undefined,
): () => [string, string][] {
  const sorted = Object.entries(devices).toSorted(([, a], [, b]) => ridOf(a.at) - ridOf(b.at));
  const ofQueues = (name: string, own: string): [string, string][] => {
    const from = devices[name]?.from ?? '';
    const names = isWhole(from) ? Object.keys(host.whole(from).spec.queues) : [from.split('/')[1] ?? ''];
    return [
      ...names.map((queue, wq): [string, string] => [`${own}/wq${wq}`, `${name}/${queue}`]),
      [own, name],
    ];
  };
  const atBoot = sorted.filter(([, { plugged }]) => plugged === 'boot');
  const late = sorted.filter(([, { plugged }]) => plugged === 'late');
  const places = sorted.map(([name, { at }]): [string, string] => [at, name]);
  const known = [...atBoot.flatMap(([name], i) => ofQueues(name, `dsa${i}`)), ...places];
  if (late.length === 0) return () => known;
  return () => [
    ...late.flatMap(([name, { at }]) => {
      const own = found(ridOf(at));
      return own === undefined ? [] : ofQueues(name, own);
    }),
    ...known,
  ];
}

/** The host's accelerator that is behind a device of a guest's, by the scenario's names. */
export const parentOf = ({ devices }: VmMember['spec'], device: string): string =>
  devices[device]?.from.split('/', 1)[0] ?? device;

const hasVfio = (kernel: Kernel): kernel is VmHost => 'vfio' in kernel;

const iommuOf = (vm: string, iommu: VirtualIommuSpec, pasids: VmSpec['pasids']): VmIommu => ({
  cachingMode: iommu['caching-mode'],
  pasidBits: iommu['pasid-bits'],
  pageRequests: iommu['page-requests'],
  deviceTlbs: true,
  pasids: {
    pairs: pasids.numbers.map((pair) => ({ guestPasid: pair.guest, hostPasid: pair.host })),
    rest: pasids.policy === 'scattered' ? 'seeded' : pasids.policy,
    ...{ seed: seedOf(vm), hostMin: 1, hostMax: LAST_PASID },
  },
});

function optionsOf(
  { hardware, host, taps, tasks, chooser }: VmGround,
  { name, spec }: VmMember,
  of: {
    readonly devices: readonly VmDevice[];
    readonly guest: GuestLedger;
    readonly found: (rid: number) => string | undefined;
  },
): VmOptions {
  const { devices, guest } = of;
  const { iommu, pasids } = spec;
  const { kernel } = host;
  assert(hasVfio(kernel), 'the host has no VFIO');
  const aliases = aliasesOf(spec, host, of.found);
  const tapped = {
    ledger: guest,
    deviceOf: (device: string) => parentOf(spec, device),
    get aliases() {
      return aliases();
    },
  };
  return {
    ...{ name, host: kernel, tasks, chooser, devices },
    machine: hardware.vmMachine,
    stepIn: (what) => hardware.engines.maybeStep(chooser, what),
    memory: sizeBytes(spec.memory),
    cpus: spec.cpus,
    ...(iommu === 'none' ? {} : { iommu: iommuOf(name, iommu, pasids) }),
    ridDomain: spec['kernel-dma'],
    quota: pasids.quota,
    lateTranslation: spec.kvm === 'late',
    pasids: iommu === 'none' ? LEAST_IDS : 2 ** iommu['pasid-bits'],
    emit: taps.kernels.guest(tapped),
    stored: taps.stored,
    ledger: taps.guestFrames(guest),
    ioasidTrace: {
      trace: taps.kernels.guestIoasid({ ledger: guest, aliases: aliases() }),
      traces: taps.kernels.readsIoasid,
    },
  };
}
