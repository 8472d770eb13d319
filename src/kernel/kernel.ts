/**
 * One kernel, on whatever machine its Platform shows it: the host's on the hardware, a guest's on what its VMM
 * models. It boots as a task: hardware takes its time.
 */
import {
  assert,
  isRefusal,
  KeptList,
  KeptValue,
  type Refusal,
  refuse,
  type Task,
  UndoLog,
  WaitQueue,
} from '../base/index.js';
import { type IoasidCore, type IoasidSet, ioasidSetAlloc } from '../ioasid/index.js';
import { FIRST_VECTOR, hasVectors, type KernelContext, type Spawner, tell } from './context.js';
import { Cpus } from './cpus.js';
import { type FrameLedger, Frames } from './frames.js';
import { HotPlug } from './hot-plug.js';
import { ridName } from './ids.js';
import { IDXD_ID, IdxdDevice } from './idxd/device.js';
import { Iommu } from './iommu/core.js';
import type { RidDomain } from './iommu/domain.js';
import { ALL_PROTECTIONS, type GuestProtections } from './iommu/guest/protections.js';
import { Sva } from './iommu/sva.js';
import { Kvm } from './kvm/kvm.js';
import { enumeratePci, type PciDevice } from './pci.js';
import type { Platform } from './platform.js';
import { Processes } from './process.js';
import { VfioPci } from './vfio/pci-function.js';
import { Vfio } from './vfio/vfio.js';

export interface KernelOptions {
  /** `host`, `vm1`. */
  readonly name: string;
  readonly platform: Platform;
  /** Where the kernel's own tasks run. Its owner marks and restores it. */
  readonly tasks: Spawner;
  /** This machine's ids. Its owner marks and restores it. */
  readonly ioasids: IoasidCore;
  /** How many PASIDs its own processes may have; all that is left, if it is not given. */
  readonly quota?: number;
  /**
   * Functions, by RID, that vfio-pci takes before the driver that would (Linux's `vfio-pci.ids`, `driver_override`).
   */
  readonly vfioPci?: readonly number[];
  /** What keeps guests' PASIDs of one device apart from those of another: all on, but what is off. */
  readonly protections?: Partial<GuestProtections>;
  /** What requests without a PASID meet: `blocked`, if it is not given. */
  readonly ridDomain?: RidDomain;
  readonly ledger?: FrameLedger;
  /** Whether a page frame may be refused when the run's choices say so, from the end of the boot on. */
  readonly framesMayFail?: boolean;
  /** Where scattered frames lie: a seed; 0, if it is not given. */
  readonly seed?: number;
}

export class Kernel {
  readonly context: KernelContext;
  readonly processes: Processes;
  readonly iommu: Iommu;
  readonly sva: Sva;
  readonly kvm: Kvm;
  readonly vfio: Vfio;
  /** Where the PASIDs of its own processes come from: the host set. */
  readonly pasids: IoasidSet;
  /** Woken when a function has come or gone at run time. */
  readonly functionsChanged: WaitQueue;
  readonly #ridDomain: RidDomain;
  readonly #idxds: KeptList<IdxdDevice>;
  /** How many accelerators it has ever found: no two have one name. */
  readonly #found: KeptValue<number>;
  readonly #forVfio: ReadonlySet<number>;
  readonly #vfioPcis: KeptList<VfioPci>;

  constructor(options: KernelOptions) {
    const { name, platform, tasks, ioasids, ledger, framesMayFail, quota, seed } = options;
    const { vfioPci = [], protections = {} } = options;
    const log = new UndoLog();
    platform.keep(log);
    const frames = new Frames({ platform, log, ledger, mayFail: framesMayFail, seed });
    const idle = frames.allocAlways({ kind: 'kernel', use: 'idle page table' });
    const cpus = new Cpus({ platform, log }, idle);
    const nextVector = new KeptValue(log, FIRST_VECTOR);
    this.context = { name, platform, log, frames, tasks, cpus, nextVector };
    this.processes = new Processes(this.context);
    this.iommu = new Iommu(this.context, ioasids, { ...ALL_PROTECTIONS, ...protections });
    const set = ioasidSetAlloc(ioasids, { type: 'none', ...(quota === undefined ? {} : { quota }) });
    assert(!isRefusal(set), `no PASIDs for ${name}: ${String(set)}`);
    this.pasids = set;
    this.sva = new Sva(this.context, this.iommu, set);
    this.kvm = new Kvm(this.context, ioasids);
    this.vfio = new Vfio(this.context, this.iommu, set);
    this.#ridDomain = options.ridDomain ?? 'blocked';
    this.#idxds = new KeptList(log);
    this.#found = new KeptValue(log, 0);
    this.functionsChanged = new WaitQueue(`functions of ${name}`);
    this.#forVfio = new Set(vfioPci);
    this.#vfioPcis = new KeptList(log);
  }

  /** The accelerators that its own driver has, in the order of their RIDs: `dsa0`, `dsa1`. */
  get idxds(): readonly IdxdDevice[] {
    return this.#idxds.items;
  }

  /** The functions that VFIO may hand out whole. */
  get vfioPcis(): readonly VfioPci[] {
    return this.#vfioPcis.items;
  }

  /**
   * Finds and starts the IOMMUs and all functions behind them. A function that its IOMMU cannot serve is left out,
   * and it is told why.
   *
   * On failure: what a unit's driver refuses with.
   */
  *boot(): Task<Refusal<'ENODEV' | 'ENOMEM' | 'EIO'> | undefined> {
    const refusal = yield* this.iommu.boot();
    if (refusal !== undefined) return refusal;
    for (const pci of enumeratePci(this.context)) yield* this.#add(pci);
    yield* this.iommu.enable();
    new HotPlug(this.context, this).start();
    this.context.frames.booted();
    tell(this.context, 'kernel:booted', { frames: this.context.frames.inUse });
    return undefined;
  }

  /** A function has come at run time: it is used as those that were found at the boot. */
  *addFunction(pci: PciDevice): Task {
    const idxd = yield* this.#add(pci);
    const refusal = idxd?.isFixed === true ? yield* idxd.loadConfig() : undefined;
    if (refusal !== undefined)
      tell(this.context, 'pci:refused', { device: pci.name, why: refusal.toString() });
    tell(this.context, 'pci:add', { device: pci.name });
    this.functionsChanged.wakeAll();
  }

  /**
   * A function of its own drivers goes, or has gone: its driver lets go of it first, then it is in no table any more.
   *
   * On failure: `ENOENT` if there is none; `EBUSY` if the kernel itself uses it, or VFIO has it to hand out; `EIO` if
   * hardware did not confirm. It can be tried again.
   */
  *removeFunction(rid: number): Task<Refusal<'ENOENT' | 'EBUSY' | 'EIO'> | undefined> {
    const idxd = this.idxds.find(({ pci }) => pci.rid === rid);
    const iommu = this.iommu.device(rid);
    if (idxd === undefined && iommu === undefined) return refuse('ENOENT', `no function at ${ridName(rid)}`);
    if (this.#forVfio.has(rid)) return refuse('EBUSY', `VFIO has the function at ${ridName(rid)}`);
    const refusal = (idxd && (yield* idxd.remove())) ?? (iommu && (yield* this.iommu.remove(iommu)));
    if (refusal !== undefined) return refusal;
    if (idxd !== undefined) this.#idxds.remove(idxd);
    tell(this.context, 'pci:remove', { device: ridName(rid) });
    this.functionsChanged.wakeAll();
    return undefined;
  }

  /** Puts a function behind its IOMMU, and gives it its driver; what that has, if it is an accelerator. */
  *#add(pci: PciDevice): Task<IdxdDevice | undefined> {
    const iommu = yield* this.iommu.add(pci, this.#ridDomain);
    if (isRefusal(iommu)) {
      tell(this.context, 'iommu:refused', { device: pci.name, why: iommu.toString() });
    }
    // One has its number whoever takes it.
    const isAccelerator = pci.vendor === IDXD_ID.vendor && pci.device === IDXD_ID.device;
    const name = isAccelerator ? `dsa${this.#found.value++}` : pci.name;
    const of = { name, pci, iommu };
    if (this.#forVfio.has(pci.rid)) {
      this.#vfioPcis.push(new VfioPci(this.context, of));
      return undefined;
    }
    if (!isAccelerator) return undefined;
    // None comes back from a device that has gone.
    if (!hasVectors(this.context)) {
      tell(this.context, 'pci:refused', { device: pci.name, why: 'no interrupt vector is left' });
      return undefined;
    }
    const idxd = new IdxdDevice(this.context, this, of);
    this.#idxds.push(idxd);
    return idxd;
  }
}
