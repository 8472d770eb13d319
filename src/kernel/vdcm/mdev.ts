/**
 * A virtual accelerator (a mediated device) on one work queue of a parent: what VDCM composes (Intel DSA 3.0; Scalable
 * IOV 1.0, 3). Its registers are emulated here, in front of a share of a shared queue (`shared.ts`) or of a dedicated
 * one (`dedicated.ts`). The portal that the queue's users write to, limited or unlimited, is mapped straight through,
 * so that a guest's ENQCMD or MOVDIR64B needs no exit; MSI-X and the rest of configuration space are its VMM's.
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
import {
  DSA_CMD_REG,
  DSA_CMDSTS_REG,
  DSA_GENCTRL_REG,
  DSA_GENSTS_REG,
  DSA_INTCAUSE_REG,
  DSA_PORTAL,
  DSA_STATUS,
  DSA_STRIDE,
  DSA_SWERROR_REG,
  DSA_TABLE,
  DSA_WQ_STATE,
  DSA_WQCFG,
  type DsaRegisterTable,
  type Register,
  RegisterFile,
} from '../../spec/index.js';
import { type KernelContext, tell } from '../context.js';
import { frameOf, GuestPasid, Pa, type Pasid } from '../ids.js';
import { IDXD_ID, type IdxdDevice } from '../idxd/device.js';
import type { VirtualDevice } from '../idxd/virtual-devices.js';
import type { WorkQueue } from '../idxd/work-queue.js';
import type { IommuDevice } from '../iommu/device.js';
import type { BoundPasid } from '../iommu/guest/binding.js';
import { BoundPasids } from './bound.js';
import { MDEV_VECTORS, REGISTER_BYTES } from './capabilities.js';
import { type CommandTarget, runCommand } from './commands.js';
import { DedicatedQueue } from './dedicated.js';
import { VirtualInterrupts } from './interrupts.js';
import { MDEV_STATE_VERSION, type MdevState, mismatch } from './migration.js';
import type { QueueBehind } from './queue.js';
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
const { STATE } = DSA_GENSTS_REG;
const swerror = DSA_SWERROR_REG;
/** Of a WQCFG, the word with the PASID of a dedicated queue. */
const PASID_AT = DSA_TABLE.WQCFG + Math.floor(DSA_WQCFG.PASID.low / 32) * 4;
const PERMISSIONS = DSA_TABLE.MSIXPERM;
/** What reads get that nobody answers. */
const NOBODY = -1;

/** A VM that has it. */
interface Owner {
  /** The VM's PASIDs. */
  readonly set: IoasidSet;
  readonly interrupt: (vector: number) => void;
  readonly wanted: () => void;
}

export class Mdev implements CommandTarget, VirtualDevice {
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
  /** @internal */
  readonly state: Restorable;
  /** @internal */
  readonly queue: QueueBehind;
  /** @internal */
  readonly interrupts: VirtualInterrupts;
  readonly #table: DsaRegisterTable;
  readonly #file: RegisterFile;
  readonly #owner: KeptValue<Owner | undefined>;
  readonly #isRemoved: KeptValue<boolean>;
  /** Its VM has lost it: what is in flight is abandoned. */
  readonly #isAbandoned: KeptValue<boolean>;
  /** Nothing begins: its VM is to stand still. */
  readonly #isSuspended: KeptValue<boolean>;
  /** A command that has not begun. */
  readonly #waiting: KeptValue<Int32Array | undefined>;
  /** A command is being carried out. */
  readonly #isBusy: KeptValue<boolean>;
  /** Woken at the end of each command, and when it goes on after `suspend`. */
  readonly #done: WaitQueue;
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
    this.queue = wq.isDedicated
      ? new DedicatedQueue(context, parent, { ...part, wq, lost: () => this.#lost() })
      : new SharedQueue(context, parent, { ...part, bound });
    this.interrupts = new VirtualInterrupts(context, { storage, bound }, this);
    const { table, map } = parent.shapes.of(parent.registers, wq);
    this.#table = table;
    this.#file = new RegisterFile(map, (register) => this.#written(register));
    this.state = this.#file;
    this.#owner = new KeptValue<Owner | undefined>(context.log, undefined);
    this.#isRemoved = new KeptValue(context.log, false);
    this.#isAbandoned = new KeptValue(context.log, false);
    this.#isSuspended = new KeptValue(context.log, false);
    this.#waiting = new KeptValue<Int32Array | undefined>(context.log, undefined);
    this.#isBusy = new KeptValue(context.log, false);
    this.#done = new WaitQueue(`${name}: command`);
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
    const refusal = this.queue.open(set);
    if (refusal !== undefined) return refusal;
    this.#isAbandoned.value = false;
    this.#owner.value = { set, interrupt, wanted };
    return undefined;
  }

  /** The VM lets go of it: it is reset. */
  *close(): Task {
    if (this.#owner.value === undefined) return;
    yield* this.reset();
    yield* this.queue.settle();
    this.queue.close();
    this.#owner.value = undefined;
    this.#given.wakeAll();
  }

  /** Reads 4 bytes of BAR0: a signed word. */
  read32(offset: number): number {
    if (this.#isRemoved.value) return NOBODY;
    return offset < REGISTER_BYTES ? this.#file.read32(offset) : 0;
  }

  /** Writes 4 bytes of BAR0. The configuration of queue and group is fixed, but for a dedicated queue's PASID. */
  write32(offset: number, value: number): void {
    if (this.#isRemoved.value || offset >= REGISTER_BYTES) return;
    if (offset === PASID_AT) this.#configure(value);
    else if (!this.#isFixed(offset)) this.#file.write32(offset, value);
  }

  /** A PASID is bound through it, which its registers may name until it is unbound. */
  bound(pasid: BoundPasid): void {
    this.#bound.add(pasid);
    this.#parent.virtual.bound(pasid.host);
    this.queue.bound(pasid);
    this.interrupts.newlyBound();
  }

  /** A PASID is not bound through it any more. `drain` follows. */
  unbound(pasid: Pasid): void {
    this.#bound.remove(pasid);
    this.#parent.virtual.unbound(pasid);
    this.queue.unbound(pasid);
  }

  /**
   * Returns when the device has nothing of a host's PASID. A dedicated queue that worked with it is disabled, and no
   * interrupt can be asked for with it.
   *
   * On failure: `EIO`.
   */
  *drain(pasid: Pasid): Task<Refusal<'EIO'> | undefined> {
    const refusal = yield* this.queue.drain(pasid);
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
    return yield* this.queue.drainStrays(pasid);
  }

  /** A function-level reset: what the VM has submitted is abandoned, and its registers are as after power-on. */
  *reset(): Task {
    this.#isSuspended.value = false;
    this.#done.wakeAll();
    // What a command waits for is abandoned too.
    yield* this.queue.disable(true);
    while (this.#isActive) yield this.#done;
    // That may have enabled a dedicated one.
    if (this.#wq.isDedicated) yield* this.queue.disable(true);
    yield* this.interrupts.reset();
    this.clear();
    tell(this.#context, 'vdcm:reset', { mdev: this.name });
  }

  /**
   * The VM is to stand still, and nothing reaches the portal any more; its guest may go on so far that it answers page
   * requests. Returns when what was queued is done: nothing is thrown away, for nobody could submit it again. A queue
   * is disabled, and what it works with stays held; registers stay as they are. Commands that come from now on wait.
   *
   * On failure: `EIO`.
   */
  *suspend(): Task<Refusal<'EIO'> | undefined> {
    this.#isSuspended.value = true;
    while (this.#isBusy.value) yield this.#done;
    return yield* this.queue.disable(false);
  }

  /**
   * It goes on, after `suspend`, with what it holds: nothing is translated anew. A queue whose PASID was unbound
   * meanwhile is disabled.
   */
  *resume(): Task {
    if (!this.#isSuspended.value) return;
    if (this.queueState === DSA_WQ_STATE.ENABLED) {
      const error = yield* this.queue.enable(this.pasid);
      if (error !== undefined) this.#lost();
    }
    this.#isSuspended.value = false;
    this.#done.wakeAll();
  }

  /**
   * What it is, after `suspend`, for another to take over (VFIO's STOP_COPY). It stays as it is.
   *
   * On failure: `EOPNOTSUPP` if its guest has interrupt handles: they are its parent's.
   */
  save(): MdevState | Refusal<'EOPNOTSUPP'> {
    assert(this.#isSuspended.value, `${this.name} does not stand still`);
    if (this.interrupts.hasHandles) return refuse('EOPNOTSUPP', `${this.name} has interrupt handles`);
    return {
      version: MDEV_STATE_VERSION,
      registers: this.#file.words.slice(),
      command: this.#waiting.value,
    };
  }

  /**
   * Takes over what another was (VFIO's RESUMING), and stands still: `resume` follows. What its registers name is bound
   * through it before.
   *
   * On failure: `EINVAL` if it cannot be that; it is as it was.
   */
  load(state: MdevState): Refusal<'EINVAL'> | undefined {
    const why = mismatch({ table: this.#table, file: this.#file }, state);
    if (why !== undefined) return refuse('EINVAL', `${this.name}: ${why}`);
    this.#isSuspended.value = true;
    this.#file.load(state.registers);
    this.queue.configured(this.pasid);
    if (state.command !== undefined) this.#begin(state.command);
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

  // For its commands.

  /** @internal */
  get deviceState(): number {
    return this.#file.get(this.#table.GENSTS, STATE);
  }
  set deviceState(state: number) {
    this.#file.set(this.#table.GENSTS, STATE, state);
  }

  /** @internal */
  get queueState(): number {
    return this.#file.get(this.#wqcfg, DSA_WQCFG.STATE);
  }
  set queueState(state: number) {
    this.#file.set(this.#wqcfg, DSA_WQCFG.STATE, state);
  }

  /** @internal */
  get pasid(): GuestPasid | undefined {
    if (this.#file.get(this.#wqcfg, DSA_WQCFG.PASID_EN) === 0) return undefined;
    return GuestPasid.of(this.#file.get(this.#wqcfg, DSA_WQCFG.PASID));
  }

  /** @internal */
  get vectors(): number {
    return this.#table.MSIXPERM.length;
  }
  /** @internal */
  permission(vector: number): Int32Array {
    const at = this.#table.MSIXPERM[vector]?.at ?? 0;
    return this.#file.words.slice(at, at + 1);
  }
  /** @internal */
  deliver(vector: number): void {
    tell(this.#context, 'vdcm:interrupt', { mdev: this.name, vector });
    this.#owner.value?.interrupt(vector);
  }
  /** @internal */
  clear(): void {
    const active = this.#isActive ? 1 : 0;
    this.#file.reset();
    this.#file.set(this.#table.CMDSTS, DSA_CMDSTS_REG.ACTIVE, active);
    this.queue.configured(undefined);
  }

  /** @internal */
  clearQueue(): void {
    if (this.#wq.isDedicated) this.#name(0, 0);
  }

  get #wqcfg(): Register {
    const [wqcfg] = this.#table.WQCFG;
    assert(wqcfg !== undefined, `${this.name} has a queue`);
    return wqcfg;
  }

  get #isActive(): boolean {
    return this.#file.get(this.#table.CMDSTS, DSA_CMDSTS_REG.ACTIVE) === 1;
  }

  /** A dedicated queue that is disabled is given a PASID. Hardware would not let it be changed in any other state. */
  #configure(value: number): void {
    const isOpen = this.queueState === DSA_WQ_STATE.DISABLED && !this.#isActive;
    if (!this.#wq.isDedicated || !isOpen) return;
    const words = new Int32Array(DSA_WQCFG.bytes / 4);
    words[(PASID_AT - DSA_TABLE.WQCFG) / 4] = value;
    this.#name(DSA_WQCFG.PASID.get(words, 0), DSA_WQCFG.PASID_EN.get(words, 0));
  }

  #name(pasid: number, enabled: number): void {
    this.#file.set(this.#wqcfg, DSA_WQCFG.PASID, pasid);
    this.#file.set(this.#wqcfg, DSA_WQCFG.PASID_EN, enabled);
    this.queue.configured(this.pasid);
  }

  /** The host has disabled its queue. */
  #lost(): void {
    this.queueState = DSA_WQ_STATE.DISABLED;
  }

  #isFixed(offset: number): boolean {
    const { GENCFG, EVLCFG } = this.#table;
    const isGroup = offset >= DSA_TABLE.GRPCFG && offset < DSA_TABLE.GRPCFG + DSA_STRIDE.GRPCFG;
    const isEventLog = offset >= EVLCFG.offset && offset < EVLCFG.offset + EVLCFG.layout.bytes;
    return isGroup || isEventLog || offset === GENCFG.offset || offset >= DSA_TABLE.WQCFG;
  }

  #written(register: Register): void {
    if (register === this.#table.CMD) this.#commanded(register);
    else if (
      register.offset >= PERMISSIONS &&
      register.offset < PERMISSIONS + this.vectors * DSA_STRIDE.MSIXPERM
    ) {
      this.interrupts.changed((register.offset - PERMISSIONS) / DSA_STRIDE.MSIXPERM);
    }
  }

  #commanded(register: Register): void {
    if (this.#isActive) {
      this.#record({ ERROR: DSA_STATUS.COMMAND_WHILE_ACTIVE });
      return;
    }
    const words = this.#file.words.slice(register.at, register.at + 1);
    this.#file.set(this.#table.CMDSTS, DSA_CMDSTS_REG.ERR, 0);
    this.#file.set(this.#table.CMDSTS, DSA_CMDSTS_REG.ACTIVE, 1);
    this.#begin(words);
  }

  #begin(words: Int32Array): void {
    this.#waiting.value = words;
    this.#context.tasks.spawn(`${this.name} command`, this.#command(words));
  }

  *#command(words: Int32Array): Task {
    const command = DSA_CMD_REG.CMD.get(words, 0);
    while (this.#isSuspended.value) yield this.#done;
    this.#waiting.value = undefined;
    this.#isBusy.value = true;
    const { error, result } = yield* runCommand(this, command, DSA_CMD_REG.OPERAND.get(words, 0));
    this.#isBusy.value = false;
    this.#file.set(this.#table.CMDSTS, DSA_CMDSTS_REG.ERR, error);
    this.#file.set(this.#table.CMDSTS, DSA_CMDSTS_REG.RESULT, result);
    this.#file.set(this.#table.CMDSTS, DSA_CMDSTS_REG.ACTIVE, 0);
    this.#done.wakeAll();
    if (DSA_CMD_REG.INT.get(words, 0) === 0) return;
    this.#file.set(this.#table.INTCAUSE, DSA_INTCAUSE_REG.CMD, 1);
    this.#owner.value?.interrupt(0);
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
    this.#record({ ...of, PASID: isRefusal(spid) ? 0 : spid, WQ: 0 });
    return true;
  };

  /** Records an error, if none is recorded. */
  #record(fields: Readonly<Record<string, number | bigint>>): void {
    const { SWERROR, INTCAUSE, GENCTRL } = this.#table;
    if (this.#file.get(SWERROR, swerror.VALID) === 1) {
      this.#file.set(SWERROR, swerror.OVERFLOW, 1);
      return;
    }
    for (const field of swerror.fields) {
      this.#file.setBig(SWERROR, field, BigInt(fields[field.name] ?? 0));
    }
    this.#file.set(SWERROR, swerror.VALID, 1);
    if (this.#file.get(GENCTRL, DSA_GENCTRL_REG.SWERR_INT) === 0) return;
    this.#file.set(INTCAUSE, DSA_INTCAUSE_REG.SWERR, 1);
    this.#owner.value?.interrupt(0);
  }
}
