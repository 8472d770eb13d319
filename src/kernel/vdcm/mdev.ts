/**
 * A virtual accelerator (a mediated device) on one work queue of a parent: what VDCM composes (Intel DSA 3.0; Scalable
 * IOV 1.0, 3). Its registers are emulated (`registers.ts`), in front of a share of a shared queue (`shared.ts`) or of a
 * dedicated one (`dedicated.ts`). The portal that the queue's users write to, limited or unlimited, is mapped straight
 * through, so that a guest's ENQCMD or MOVDIR64B needs no exit. MSI-X and configuration space are its VMM's, which
 * tells it what the latter says (`pci-state.ts`).
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
} from '../../base/index.js';
import { type IoasidSet, ioasidSpidOf } from '../../ioasid/index.js';
import { DSA_DEVICE_STATE, DSA_PORTAL, DSA_STATUS, DSA_SWERROR_REG, DSA_WQ_STATE } from '../../spec/index.js';
import { type KernelContext, tell } from '../context.js';
import { frameOf, Pa, type Pasid } from '../ids.js';
import { IDXD_ID, type IdxdDevice } from '../idxd/device.js';
import type { VirtualDevice } from '../idxd/virtual-devices.js';
import type { WorkQueue } from '../idxd/work-queue.js';
import type { IommuDevice } from '../iommu/device.js';
import type { BoundPasid } from '../iommu/guest/binding.js';
import { BoundPasids } from './bound.js';
import { MDEV_VECTORS, REGISTER_BYTES } from './capabilities.js';
import { CommandUnit } from './command-unit.js';
import { DedicatedQueue } from './dedicated.js';
import { VirtualInterrupts } from './interrupts.js';
import { MDEV_STATE_VERSION, type MdevState, mismatch } from './migration.js';
import { isSamePciState, PCI_RESET, type PciState, pciStateOf } from './pci-state.js';
import type { QueueBehind } from './queue.js';
import { VirtualRegisters } from './registers.js';
import { SharedQueue } from './shared.js';

/** What configuration space says of it, as far as it is not its VMM's to say. */
export interface MdevConfig {
  readonly vendor: number;
  readonly device: number;
  readonly classCode: number;
  /** MSI-X vectors; their table and pending bits are the VMM's to place. */
  readonly vectors: number;
}

/** Base system peripheral, other. */
const CLASS_CODE = 0x088000;
const swerror = DSA_SWERROR_REG;
/** What reads get that nobody answers. */
const NOBODY = -1;

/** A VM that has it. */
interface Owner {
  /** The VM's PASIDs. */
  readonly set: IoasidSet;
  readonly interrupt: (vector: number) => void;
  readonly wanted: () => void;
}

export class Mdev implements VirtualDevice {
  readonly name: string;
  /** The function whose RID its DMA carries. */
  readonly iommu: IommuDevice;
  /** Its DMA is told apart by PASID alone. */
  readonly usesParentPasids = true;
  readonly config: MdevConfig = {
    ...IDXD_ID,
    classCode: CLASS_CODE,
    vectors: MDEV_VECTORS,
  };
  /** The page of BAR2 that is mapped straight through: its offset, and the host's frame. */
  readonly portal: { readonly offset: number; readonly frame: number };
  readonly #context: KernelContext;
  readonly #parent: IdxdDevice;
  readonly #wq: WorkQueue;
  readonly #bound: BoundPasids;
  readonly #registers: VirtualRegisters;
  readonly #queue: QueueBehind;
  /** @internal */
  readonly interrupts: VirtualInterrupts;
  readonly #commands: CommandUnit;
  readonly #pci: KeptValue<PciState>;
  readonly #owner: KeptValue<Owner | undefined>;
  readonly #isRemoved: KeptValue<boolean>;
  /** Its VM has lost it: what is in flight is abandoned. */
  readonly #isAbandoned: KeptValue<boolean>;
  /** Woken when a VM has given it up. */
  readonly #given: WaitQueue;

  private constructor(
    context: KernelContext,
    parent: IdxdDevice,
    of: { readonly name: string; readonly wq: WorkQueue; readonly iommu: IommuDevice },
  ) {
    const { name, wq, iommu } = of;
    const { storage } = parent;
    // Where that is there, its guest's descriptors name interrupts in it.
    const storagePortal = storage.isThere ? DSA_PORTAL.IMS_UNLIMITED : DSA_PORTAL.UNLIMITED;
    this.name = name;
    this.iommu = iommu;
    this.#context = context;
    this.#parent = parent;
    this.#wq = wq;
    this.portal = {
      offset: wq.portalOffset - wq.firstPortal,
      frame: frameOf(Pa.of(parent.pci.bar(2) + wq.portalOffset + storagePortal)),
    };
    this.#bound = new BoundPasids(context.log);
    const bound = this.#bound;
    const part = { name, isAbandoned: () => this.#isAbandoned.value };
    const queue = wq.isDedicated
      ? new DedicatedQueue(context, parent, { ...part, wq, lost: () => this.#lost() })
      : new SharedQueue(context, parent, { ...part, bound });
    const registers = new VirtualRegisters(parent.shapes.of(parent.registers, wq), wq, {
      commanded: (word) => this.#commands.submit(word),
      permitted: (vector) => this.interrupts.changed(vector),
      named: (guest) => queue.configured(guest),
      caused: () => this.#owner.value?.interrupt(0),
    });
    const interrupts = new VirtualInterrupts(
      context,
      { storage, bound },
      {
        vectors: registers.vectors,
        permission: (vector) => registers.permission(vector),
        deliver: (vector) => this.#deliver(vector),
      },
    );
    this.#registers = registers;
    this.#queue = queue;
    this.interrupts = interrupts;
    const pci = new KeptValue<PciState>(context.log, PCI_RESET);
    this.#pci = pci;
    this.#commands = new CommandUnit(context, name, { registers, queue, interrupts, pci });
    this.#owner = new KeptValue<Owner | undefined>(context.log, undefined);
    this.#isRemoved = new KeptValue(context.log, false);
    this.#isAbandoned = new KeptValue(context.log, false);
    this.#given = new WaitQueue(`${name} is given up`);
  }

  /**
   * Makes a virtual device on a queue of a parent's, which stays in use until it is removed: a shared one that is
   * enabled, with others, or a dedicated one that nobody has.
   *
   * On failure: `ENXIO` if there is no such queue; `ENODEV` if a shared one is not enabled, if it asks for no pages, or
   * the parent goes, or is behind no IOMMU; `EBUSY` if somebody has the dedicated one.
   */
  static create(
    context: KernelContext,
    parent: IdxdDevice,
    of: { readonly name: string; readonly wq: number },
  ): Mdev | Refusal<'ENXIO' | 'EBUSY' | 'ENODEV'> {
    const wq = parent.wqs[of.wq];
    const { iommu } = parent;
    if (wq === undefined) return refuse('ENXIO', `${parent.name} has no work queue ${of.wq}`);
    if (parent.isLeaving) return refuse('ENODEV', `${parent.name} goes`);
    if (wq.isDedicated && (wq.clients.value > 0 || wq.isEnabled)) {
      return refuse('EBUSY', `${wq.name} is dedicated, and in use`);
    }
    // Records that fault would be in the event log, which its guest has not.
    if (wq.config.pageRequests === false) return refuse('ENODEV', `${wq.name} asks for no pages`);
    if (!wq.isDedicated && !wq.isEnabled) return refuse('ENODEV', `${wq.name} is not enabled`);
    if (isRefusal(iommu)) return refuse('ENODEV', iommu.why);
    const mdev = new Mdev(context, parent, { name: of.name, wq, iommu });
    wq.clients.value++;
    parent.virtual.add(mdev);
    tell(context, 'vdcm:create', { mdev: of.name, wq: wq.name });
    return mdev;
  }

  /** Where its registers are in BAR0; what lies behind them, and MSI-X, is not emulated here. */
  get registerBytes(): number {
    return REGISTER_BYTES;
  }

  /**
   * A VM takes it.
   *
   * @param set the VM's PASIDs: what its guest names is one of their SPIDs
   * @param interrupt called to send the message of an MSI-X vector
   * @param wanted called when the parent goes: the VM is to give it up
   *
   * On failure: `EBUSY` if a VM has it, or hardware did not let go of it for one that had; `ENODEV` if it was removed;
   * `ENOMEM`.
   */
  open(
    set: IoasidSet,
    interrupt: (vector: number) => void,
    wanted: () => void = () => {},
  ): Refusal<'EBUSY' | 'ENODEV' | 'ENOMEM'> | undefined {
    if (this.#isRemoved.value) return refuse('ENODEV', `${this.name} was removed`);
    if (this.#owner.value !== undefined) return refuse('EBUSY', `${this.name} is in use`);
    const refusal = this.#queue.open(set);
    if (refusal !== undefined) return refusal;
    this.#isAbandoned.value = false;
    this.#pci.value = PCI_RESET;
    this.#owner.value = { set, interrupt, wanted };
    return undefined;
  }

  /** The VM lets go of it: it is reset. */
  *close(): Task {
    if (this.#owner.value === undefined) return;
    yield* this.reset();
    yield* this.#queue.settle();
    this.#queue.close();
    this.#owner.value = undefined;
    this.#given.wakeAll();
  }

  /** Reads 4 bytes of BAR0: a signed word. */
  read32(offset: number): number {
    return this.#isRemoved.value ? NOBODY : this.#registers.read32(offset);
  }

  /** Writes 4 bytes of BAR0. The configuration of queue and group is fixed, but for a dedicated queue's PASID. */
  write32(offset: number, value: number): void {
    if (!this.#isRemoved.value) this.#registers.write32(offset, value);
  }

  /**
   * What its configuration space says, after each write. A change of that while the device is not disabled halts it:
   * what it has to do is abandoned, by a task, and not at once. A device that its VM has lost goes on to its end.
   */
  configWritten(pci: PciState): void {
    if (isSamePciState(this.#pci.value, pci)) return;
    this.#pci.value = pciStateOf(pci);
    if (this.#isAbandoned.value || this.#registers.deviceState === DSA_DEVICE_STATE.DISABLED) return;
    this.#registers.halt(DSA_STATUS.PCI_CONFIGURATION);
    tell(this.#context, 'vdcm:halt', { mdev: this.name });
    this.#commands.halted();
  }

  /** A PASID is bound through it, which its registers may name until it is unbound. */
  bound(pasid: BoundPasid): void {
    this.#bound.add(pasid);
    this.#parent.virtual.bound(pasid.host);
    this.#queue.bound(pasid);
    this.interrupts.newlyBound();
  }

  /** A PASID is not bound through it any more. `drain` follows. */
  unbound(pasid: Pasid): void {
    this.#bound.remove(pasid);
    this.#parent.virtual.unbound(pasid);
    this.#queue.unbound(pasid);
  }

  /**
   * Returns when the device has nothing of a host's PASID. A dedicated queue that worked with it is disabled, and no
   * interrupt can be asked for with it.
   *
   * On failure: `EIO`.
   */
  *drain(pasid: Pasid): Task<Refusal<'EIO'> | undefined> {
    const refusal = yield* this.#queue.drain(pasid);
    yield* this.#parent.flushErrors();
    if (refusal === undefined) this.interrupts.drained(pasid);
    return refusal;
  }

  /** Its VM has lost it: from now on what is in flight is abandoned, where until now it was drained. */
  abandon(): void {
    this.#isAbandoned.value = true;
  }

  /**
   * The same of a PASID that is not bound through it: its VM's CPUs translate it where it is bound through another.
   *
   * On failure: `EIO`.
   */
  *drainStrays(pasid: Pasid): Task<Refusal<'EIO'> | undefined> {
    return yield* this.#queue.drainStrays(pasid);
  }

  /** A function-level reset: what the VM has submitted is abandoned, and its registers are as after power-on. */
  *reset(): Task {
    yield* this.#commands.abandon();
    yield* this.interrupts.reset();
    this.#registers.clear();
    tell(this.#context, 'vdcm:reset', { mdev: this.name });
  }

  /** The VM is to stand still: commands that come from now on wait. */
  hold(): void {
    this.#commands.hold();
  }

  /**
   * The VM is to stand still, and nothing reaches the portal any more; its guest may go on so far that it answers page
   * requests. Returns when what was queued is done: nothing is thrown away, for nobody could submit it again. A queue
   * is disabled, and what it works with stays held; registers stay as they are. Commands that come from now on wait.
   *
   * On failure: `EIO`.
   */
  *suspend(): Task<Refusal<'EIO'> | undefined> {
    this.#commands.hold();
    yield* this.#commands.settle();
    return yield* this.#queue.disable(false);
  }

  /**
   * It goes on, after `suspend`, with what it holds: nothing is translated anew. A queue whose PASID was unbound
   * meanwhile is disabled.
   */
  *resume(): Task {
    if (!this.#commands.isHeld) return;
    const isHalted = this.#registers.deviceState === DSA_DEVICE_STATE.HALTED;
    if (!isHalted && this.#registers.queueState === DSA_WQ_STATE.ENABLED) {
      const error = yield* this.#queue.enable(this.#registers.pasid);
      if (error !== undefined) this.#lost();
    }
    this.#commands.release();
  }

  /**
   * What it is, after `suspend`, for another to take over (VFIO's STOP_COPY). It stays as it is.
   *
   * On failure: `EOPNOTSUPP` if its guest has interrupt handles: they are its parent's.
   */
  save(): MdevState | Refusal<'EOPNOTSUPP'> {
    assert(this.#commands.isHeld, `${this.name} does not stand still`);
    if (this.interrupts.hasHandles) return refuse('EOPNOTSUPP', `${this.name} has interrupt handles`);
    return {
      version: MDEV_STATE_VERSION,
      registers: this.#registers.save(),
      pci: this.#pci.value,
      commands: this.#commands.save(),
    };
  }

  /**
   * Takes over what another was (VFIO's RESUMING), and stands still: `resume` follows. What its registers name is bound
   * through it before.
   *
   * On failure: `EINVAL` if it cannot be that; it is as it was.
   */
  load(state: MdevState): Refusal<'EINVAL'> | undefined {
    const why = mismatch(this.#registers, state);
    if (why !== undefined) return refuse('EINVAL', `${this.name}: ${why}`);
    this.#pci.value = state.pci;
    this.#registers.load(state.registers);
    this.#commands.load(state.commands);
    return undefined;
  }

  /** @see VirtualDevice */
  *surrender(): Task {
    this.#owner.value?.wanted();
    while (this.#owner.value !== undefined) yield this.#given;
    yield* this.remove();
  }

  /** Takes it away for good. It is given up by its VM first. */
  *remove(): Task {
    if (this.#isRemoved.value) return;
    this.#isRemoved.value = true;
    yield* this.close();
    this.#parent.virtual.remove(this);
    this.#wq.clients.value--;
    tell(this.#context, 'vdcm:remove', { mdev: this.name });
  }

  /** What is put back of it with the machine. @internal */
  get state(): Restorable {
    return this.#registers.state;
  }

  /**
   * The parent has reported an error: it is this VM's if the PASID is, or the queue. The guest is told its own number,
   * or none where it has none.
   *
   * @internal
   */
  readonly reported = (words: Int32Array): boolean => {
    const owner = this.#owner.value;
    if (owner === undefined || swerror.DESC_VALID.get(words, 0) === 0) return false;
    if (swerror.WQ.get(words, 0) !== this.#wq.index) return false;
    const spid = ioasidSpidOf(owner.set, swerror.PASID.get(words, 0));
    if (isRefusal(spid) && !this.#wq.isDedicated) return false;
    const of: Record<string, bigint> = {};
    for (const field of swerror.fields) of[field.name] = field.getBig(words, 0);
    this.#registers.record({ ...of, PASID: isRefusal(spid) ? 0 : spid, WQ: 0 });
    return true;
  };

  #deliver(vector: number): void {
    tell(this.#context, 'vdcm:interrupt', { mdev: this.name, vector });
    this.#owner.value?.interrupt(vector);
  }

  /** The host has disabled its queue. */
  #lost(): void {
    this.#registers.queueState = DSA_WQ_STATE.DISABLED;
  }
}
