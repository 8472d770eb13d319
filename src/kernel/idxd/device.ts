/**
 * The accelerator's driver (Intel DSA, Linux's idxd): it configures groups, work queues and engines, has the device say
 * nothing of a PASID any more when it goes, resets the device, and takes it out of use. Processes open its queues
 * (`wq-files.ts`); a dedicated one can be the kernel's own (`kernel-queue.ts`), or a virtual device's. Left out:
 * recovery from a halt; a queue of the kernel's on a device that is pulled out.
 */
import { isRefusal, KeptList, KeptValue, type Refusal, refuse, type Task } from '../../base/index.js';
import { DSA_COMMAND, DSA_GENCAP_REG, DSA_GENCFG_REG, DSA_WQCAP_REG, encode } from '../../spec/index.js';
import { type KernelContext, tell } from '../context.js';
import type { Pasid } from '../ids.js';
import type { Iommu } from '../iommu/core.js';
import type { IommuDevice } from '../iommu/device.js';
import type { Sva } from '../iommu/sva.js';
import { Mutex } from '../mutex.js';
import type { PciDevice } from '../pci.js';
import type { Processes } from '../process.js';
import { VirtualShapes } from '../vdcm/capabilities.js';
import { CompletionInterrupts } from './completion-interrupts.js';
import { type GroupConfig, lacking, mayLog, needsLog, unsupported, writeGroups } from './configuration.js';
import { enableErrorReports, reportError, startErrorReports } from './errors.js';
import { EventLog } from './event-log.js';
import { InterruptStorage } from './interrupt-storage.js';
import { KernelQueue } from './kernel-queue.js';
import { errorOf, hasLostRecord, lostInterrupt, pasidOf, writeRecord } from './lost-records.js';
import { DsaRegisters, REGISTER } from './registers.js';
import { VirtualDevices } from './virtual-devices.js';
import { readWqConfig, WorkQueue, type WqConfig, type WqLimits } from './work-queue.js';
import { type FilesDevice, WqFiles } from './wq-files.js';

/** What the accelerator calls itself in configuration space. */
export const IDXD_ID = { vendor: 0x8086, device: 0x0b25 } as const;

/** What a driver of a device is given beside the device. */
export interface IdxdServices {
  readonly iommu: Pick<Iommu, 'dmaOf'>;
  readonly sva: Sva;
  readonly processes: Processes;
}

export class IdxdDevice implements FilesDevice {
  readonly name: string;
  readonly pci: PciDevice;
  readonly #context: KernelContext;
  readonly #services: IdxdServices;
  readonly #iommu: IommuDevice | Refusal<'ENODEV' | 'ENOMEM' | 'EIO'>;
  readonly #registers: DsaRegisters;
  readonly #interrupts: CompletionInterrupts;
  /** Its interrupt message storage, for virtual devices. @internal */
  readonly storage: InterruptStorage;
  /** Those on its queues. @internal */
  readonly virtual: VirtualDevices;
  /** What those look like. @internal */
  readonly shapes: VirtualShapes;
  /** Errors of descriptors, if it has one. */
  readonly #log: KeptValue<EventLog | undefined>;
  /** Of the state of the device and its dedicated queues. */
  readonly #lock: Mutex;
  readonly #wqs: KeptList<WorkQueue>;
  /** Its queues, as processes have them open. */
  readonly files: WqFiles;
  /** It goes: nobody is given a queue any more. */
  readonly #isLeaving: KeptValue<boolean>;
  /** As the administrator wants them; none, if the configuration is fixed. */
  readonly #groups: KeptValue<readonly GroupConfig[]>;

  /** @param of `iommu`: the device behind its IOMMU, or why it is behind none */
  constructor(
    context: KernelContext,
    services: IdxdServices,
    of: {
      readonly name: string;
      readonly pci: PciDevice;
      readonly iommu: IommuDevice | Refusal<'ENODEV' | 'ENOMEM' | 'EIO'>;
    },
  ) {
    this.#context = context;
    this.#services = services;
    this.#iommu = of.iommu;
    this.name = of.name;
    this.pci = of.pci;
    this.pci.enable();
    this.#registers = new DsaRegisters(context, this.pci.bar(0), of.name);
    this.#log = new KeptValue<EventLog | undefined>(context.log, undefined);
    this.#lock = new Mutex(context.log, `${of.name} state`);
    this.#wqs = new KeptList(context.log);
    this.#isLeaving = new KeptValue(context.log, false);
    this.#groups = new KeptValue<readonly GroupConfig[]>(context.log, []);
    this.shapes = new VirtualShapes(context.log);
    this.virtual = new VirtualDevices(context);
    const table = this.pci.enableMsix();
    const { name } = of;
    const { virtual } = this;
    if (table !== undefined) {
      startErrorReports(context, this.#registers, { name, msix: table, virtual, log: this.#log });
    }
    const msix = table === undefined ? undefined : { table, vectors: this.pci.msix.vectors };
    this.#interrupts = new CompletionInterrupts(context, this.#registers, { name, msix });
    this.storage = new InterruptStorage(context, this.#registers, name);
    this.files = new WqFiles(context, this, {
      ...{ sva: services.sva, processes: services.processes },
      ...{ interrupts: this.#interrupts, lock: this.#lock },
    });
  }

  /** Its work queues, once it is configured. */
  get wqs(): readonly WorkQueue[] {
    return this.#wqs.items;
  }

  /** The device behind its IOMMU, or why it is behind none. */
  get iommu(): IommuDevice | Refusal<'ENODEV' | 'ENOMEM' | 'EIO'> {
    return this.#iommu;
  }

  /** @internal */
  get registers(): DsaRegisters {
    return this.#registers;
  }

  /** Whether it goes. */
  get isLeaving(): boolean {
    return this.#isLeaving.value;
  }

  /**
   * The device goes: virtual devices on its queues first, then every open file, whose process keeps a descriptor that
   * stands for nothing, then the device is disabled. Returns when it has nothing to do any more, and what it had bound
   * is unbound. A device that is not there any more is left so too. Once more is no error.
   *
   * On failure: `EBUSY` if the kernel itself has a queue: nothing has changed.
   */
  *remove(): Task<Refusal<'EBUSY'> | undefined> {
    const clients = this.#wqs.items.reduce((sum, wq) => sum + wq.clients.value, 0);
    if (clients > this.files.count + this.virtual.count) {
      return refuse('EBUSY', `the kernel has a queue of ${this.name}`);
    }
    this.#isLeaving.value = true;
    yield* this.virtual.surrender();
    yield* this.files.closeAll();
    const isEnabled = this.#wqs.length > 0;
    const refusal = isEnabled ? yield* this.#registers.command(DSA_COMMAND.DISABLE_DEVICE, 0) : undefined;
    if (refusal !== undefined) this.giveUp(refusal);
    const log = this.#log.value;
    this.#log.value = undefined;
    if (log !== undefined) yield* log.close();
    this.pci.disable();
    tell(this.#context, 'idxd:remove', { device: this.name });
    return undefined;
  }

  /**
   * Returns when the device has nothing of a PASID; what there was is done, or else abandoned.
   *
   * On failure: `EIO` names the command that failed.
   */
  *quiescePasid(pasid: Pasid, isAbort: boolean): Task<Refusal<'EIO'> | undefined> {
    const { ABORT_PASID, DRAIN_PASID } = DSA_COMMAND;
    const refusal = yield* this.#registers.command(isAbort ? ABORT_PASID : DRAIN_PASID, pasid);
    // What it has said of the PASID is said of this owner, and not of the next.
    yield* this.flushErrors();
    return refusal;
  }

  /**
   * As `quiescePasid`, for a guest that goes on with the PASID, and whose answers to page requests the device may wait
   * for: all others wait for the command then. Once that takes long, the host answers them itself, Invalid Request.
   */
  quiesceGuest(pasid: Pasid, isAbort: boolean): Task<Refusal<'EIO'> | undefined> {
    const { ABORT_PASID, DRAIN_PASID } = DSA_COMMAND;
    const unstick = {
      answered: () => this.answeredByGuest(pasid),
      answer: () => this.answerForGuest(pasid),
    };
    return this.#registers.command(isAbort ? ABORT_PASID : DRAIN_PASID, pasid, unstick);
  }

  /** How many groups of page requests of a PASID its guest has answered. */
  answeredByGuest(pasid: Pasid): number {
    return this.#services.sva.answeredByClient(this.#iommu, pasid);
  }

  /** Answers the page requests of a PASID that its guest has not answered, Invalid Request. */
  *answerForGuest(pasid: Pasid): Task {
    yield* this.#services.sva.answerForClient(this.#iommu, pasid);
  }

  /**
   * Configures and enables the device and its shared queues; a dedicated queue is enabled when it is opened.
   *
   * On failure: `EINVAL` if it has not so many groups, engines, queues or entries; `ENODEV` says what the machine
   * lacks for a shared queue, or for one that blocks on faults; `EBUSY` if it is configured; `EIO` names the command
   * that failed.
   */
  *configure(
    groups: readonly GroupConfig[],
  ): Task<Refusal<'EINVAL' | 'ENODEV' | 'EBUSY' | 'EIO'> | undefined> {
    if (this.isFixed) return refuse('EINVAL', `the configuration of ${this.name} is fixed`);
    const wqs = groups.flatMap((group) => group.wqs);
    const impossible = unsupported(this.#context, this, wqs);
    if (impossible !== undefined) return refuse('ENODEV', impossible);
    if (this.#wqs.length > 0) return refuse('EBUSY', `${this.name} is configured`);
    const missing = lacking(this.#registers, this.#iommu, groups);
    if (missing !== undefined) return refuse('EINVAL', `${this.name} has ${missing}`);
    const log = yield* this.#newLog();
    if (isRefusal(log)) {
      tell(this.#context, 'idxd:no-log', { device: this.name, why: log.why });
      if (needsLog(groups)) return refuse('EIO', `${this.name} has no event log: ${log.why}`);
    }
    this.#log.value = isRefusal(log) ? undefined : log;
    this.#groups.value = groups;
    for (const config of wqs) {
      const wq = this.#newQueue(config);
      wq.configure(undefined);
      this.#wqs.push(wq);
    }
    this.#writeGeneral();
    return yield* this.#enable();
  }

  /** What a reset of the device undoes, beside its queues. */
  #writeGeneral(): void {
    writeGroups(this.#registers, this.#groups.value);
    this.#log.value?.configure();
    const EVL_EN = this.#log.value === undefined ? 0 : 1;
    this.#registers.writeAt(REGISTER.GENCFG.offset, encode(DSA_GENCFG_REG, { USER_INT: 1, EVL_EN }));
    enableErrorReports(this.#registers, { log: this.#log });
  }

  *#newLog(): Task<EventLog | undefined | Refusal<'ENOSPC' | 'ENOMEM' | 'EIO'>> {
    const dma = isRefusal(this.#iommu) ? undefined : this.#iommu.dma.value;
    if (!mayLog(this.#registers, this.#iommu) || dma === undefined) return undefined;
    const read = (entry: Int32Array): Task => this.#readEvent(entry);
    return yield* EventLog.create(this.#context, this.#registers, { name: this.name, dma, read });
  }

  /** An entry of the log: an error, and maybe a record that could not be written, with its interrupt. */
  *#readEvent(entry: Int32Array): Task {
    reportError(this.#context, this, errorOf(entry));
    if (!hasLostRecord(entry)) return;
    const mm = this.files.mmOf(pasidOf(entry));
    if (mm === undefined) return;
    yield* writeRecord(this.#context, mm, entry);
    const handle = lostInterrupt(entry);
    if (handle !== undefined) this.#interrupts.came(handle);
  }

  /** Returns when all errors that the device has reported by now were told. */
  *flushErrors(): Task {
    const log = this.#log.value;
    if (log !== undefined) yield* log.flush();
  }

  /**
   * Resets the device: what was submitted is abandoned. It is then as it was before, for all who have its queues open.
   *
   * On failure: `EBUSY` if virtual devices stand on its queues; `EIO`, or `ENOSPC` of interrupt handles.
   */
  *reset(): Task<Refusal<'EBUSY' | 'ENOSPC' | 'EIO'> | undefined> {
    if (this.virtual.count > 0) return refuse('EBUSY', `virtual devices stand on queues of ${this.name}`);
    yield* this.#lock.lock();
    try {
      const refusal = yield* this.#registers.command(DSA_COMMAND.RESET_DEVICE, 0);
      if (refusal !== undefined) return refusal;
      tell(this.#context, 'idxd:reset', { device: this.name });
      enableErrorReports(this.#registers, { log: this.#log });
      for (const wq of this.#wqs.items) wq.reconfigure();
      if (!this.isFixed) this.#writeGeneral();
      return (yield* this.#enableAgain()) ?? (yield* this.#interrupts.restore());
    } finally {
      this.#lock.unlock();
    }
  }

  *#enableAgain(): Task<Refusal<'EIO'> | undefined> {
    const refusal = yield* this.#registers.command(DSA_COMMAND.ENABLE_DEVICE, 0);
    if (refusal !== undefined) return refusal;
    for (const wq of this.#wqs.items) {
      const failed = wq.isEnabled ? yield* wq.enable() : undefined;
      if (failed !== undefined) return failed;
    }
    return undefined;
  }

  /** Whether its configuration can only be read: a virtual device's. */
  get isFixed(): boolean {
    return DSA_GENCAP_REG.CONFIG.get(this.#registers.read(REGISTER.GENCAP), 0) === 0;
  }

  /**
   * Takes the queues of a device whose configuration is fixed as they are, and enables it and them.
   *
   * On failure: `EINVAL` if it can be configured; `ENODEV` says what the machine lacks; `EBUSY` if that has been
   * done; `EIO` names the command that failed.
   */
  *loadConfig(): Task<Refusal<'EINVAL' | 'ENODEV' | 'EBUSY' | 'EIO'> | undefined> {
    if (!this.isFixed) return refuse('EINVAL', `${this.name} can be configured`);
    if (this.#wqs.length > 0) return refuse('EBUSY', `${this.name} is configured`);
    const count = DSA_WQCAP_REG.WQS.get(this.#registers.read(REGISTER.WQCAP), 0);
    const configs = Array.from({ length: count }, (_, index) => readWqConfig(this.#registers, index));
    const impossible = unsupported(this.#context, this, configs);
    if (impossible !== undefined) return refuse('ENODEV', impossible);
    for (const config of configs) this.#wqs.push(this.#newQueue(config));
    return yield* this.#enable();
  }

  /**
   * Opens a dedicated work queue for the kernel's own DMA.
   *
   * On failure: `ENXIO` if there is no such dedicated queue; `EBUSY` if it is open; `ENODEV` if requests without a
   * PASID are blocked, or the CPUs cannot submit; `ENOSPC`, `ENOMEM`, `EIO`. Nothing has changed.
   */
  *openKernel(
    index: number,
  ): Task<KernelQueue | Refusal<'ENXIO' | 'EBUSY' | 'ENODEV' | 'ENOSPC' | 'ENOMEM' | 'EIO'>> {
    const wq = this.#wqs.items[index];
    if (wq?.isDedicated !== true) return refuse('ENXIO', `${this.name} has no dedicated work queue ${index}`);
    if (this.#isLeaving.value) return refuse('ENODEV', `${this.name} goes`);
    const dma = this.#services.iommu.dmaOf(this.pci);
    if (dma === undefined) return refuse('ENODEV', `${this.name}: requests without a PASID are blocked`);
    if (wq.clients.value > 0) return refuse('EBUSY', `${wq.name} is dedicated, and open`);
    wq.clients.value++;
    const portal = this.pci.bar(2) + wq.portalOffset;
    const queue = yield* KernelQueue.open(this.#context, { wq, dma, portal });
    if (isRefusal(queue)) wq.clients.value--;
    return queue;
  }

  /** The device, and its shared queues. */
  *#enable(): Task<Refusal<'EIO'> | undefined> {
    const refusal = yield* this.#registers.command(DSA_COMMAND.ENABLE_DEVICE, 0);
    if (refusal !== undefined) return refusal;
    for (const wq of this.#wqs.items) {
      const failed = wq.isDedicated ? undefined : yield* wq.enable();
      if (failed !== undefined) return failed;
    }
    tell(this.#context, 'idxd:configure', { device: this.name, wqs: this.#wqs.length });
    return undefined;
  }

  /** It does not obey: it may send no more requests. @internal */
  giveUp({ why }: Refusal<'EIO'>): void {
    tell(this.#context, 'idxd:quiesce-failed', { device: this.name, why });
    this.pci.stopMastering();
  }

  #newQueue(config: WqConfig): WorkQueue {
    const capabilities = this.#registers.read(REGISTER.GENCAP);
    const limits: WqLimits = {
      maxTransferShift: DSA_GENCAP_REG.MAX_XFER_SHIFT.get(capabilities, 0),
      maxBatchShift: DSA_GENCAP_REG.MAX_BATCH_SHIFT.get(capabilities, 0),
    };
    const index = this.#wqs.length;
    const of = { index, name: `${this.name}/wq${index}`, config, limits };
    return new WorkQueue(this.#context, this.#registers, of);
  }
}
