/**
 * The accelerator's driver (Intel DSA, Linux's idxd): it configures groups, work queues and engines, lets processes
 * open a queue, and sees to it that nothing of a process is left in the device when the queue is closed.
 *
 * A close goes through the phases of a tear-down: stop (the portal is unmapped), drain (the device has nothing of
 * the PASID), then unbind clears the IOMMU's side. A dedicated queue can be the kernel's own (`kernel-queue.ts`). Left
 * out: the event log, completion interrupts, halt and reset.
 */
import { isRefusal, KeptList, type Refusal, refuse, type Task } from '../../base/index.js';
import {
  DSA_COMMAND,
  DSA_ENGCAP_REG,
  DSA_GENCAP_REG,
  DSA_GRPCAP_REG,
  DSA_GRPCFG,
  DSA_WQCAP_REG,
  encode,
} from '../../spec/index.js';
import { type KernelContext, tell } from '../context.js';
import { frameOf, Pa, type Pasid } from '../ids.js';
import type { IommuDevice } from '../iommu/device.js';
import { type Sva, type SvaBinding, whyNoSva } from '../iommu/sva.js';
import type { PciDevice } from '../pci.js';
import type { OpenFile, Process, Processes } from '../process.js';
import { type ErrorListener, startErrorReports } from './errors.js';
import { KernelQueue } from './kernel-queue.js';
import { DsaRegisters, REGISTER } from './registers.js';
import { readWqConfig, WorkQueue, type WqConfig, type WqLimits } from './work-queue.js';

/** What the accelerator calls itself in configuration space. */
export const IDXD_ID = { vendor: 0x8086, device: 0x0b25 } as const;

/** A group: its queues are served by its engines. */
export interface GroupConfig {
  readonly wqs: readonly WqConfig[];
  readonly engines: number;
}

type OpenErrno =
  | 'ENODEV'
  | 'ENXIO'
  | 'ESRCH'
  | 'EOVERFLOW'
  | 'EBUSY'
  | 'EDQUOT'
  | 'ENOSPC'
  | 'ENOMEM'
  | 'EIO';

/** A work queue that a process has open. */
export class WqFile implements OpenFile {
  readonly name: string;
  readonly wq: WorkQueue;
  readonly binding: SvaBinding;
  readonly #device: IdxdDevice;

  constructor(device: IdxdDevice, wq: WorkQueue, binding: SvaBinding) {
    this.#device = device;
    this.wq = wq;
    this.binding = binding;
    this.name = `${wq.name} of ${binding.mm.name}`;
  }

  *release(): Task {
    yield* this.#device.release(this);
  }
}

/** What a driver of a device is given beside the device. */
export interface IdxdServices {
  readonly sva: Sva;
  readonly processes: Processes;
}

export class IdxdDevice {
  readonly name: string;
  readonly pci: PciDevice;
  readonly #context: KernelContext;
  readonly #services: IdxdServices;
  readonly #iommu: IommuDevice | Refusal<'ENODEV' | 'ENOMEM' | 'EIO'>;
  readonly #registers: DsaRegisters;
  readonly #listeners: KeptList<ErrorListener>;
  readonly #wqs: KeptList<WorkQueue>;

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
    this.#wqs = new KeptList(context.log);
    this.#listeners = new KeptList(context.log);
    startErrorReports(context, this.#registers, { ...of, listeners: this.#listeners });
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

  /** Has errors that the device reports told to a virtual device on one of its queues. */
  onError(listener: ErrorListener): void {
    this.#listeners.push(listener);
  }

  removeErrorListener(listener: ErrorListener): void {
    this.#listeners.remove(listener);
  }

  /**
   * Returns when the device has nothing of a PASID; what there was is done, or else abandoned.
   *
   * On failure: `EIO` names the command that failed.
   */
  quiescePasid(pasid: Pasid, isAbort: boolean): Task<Refusal<'EIO'> | undefined> {
    const { ABORT_PASID, DRAIN_PASID } = DSA_COMMAND;
    return this.#registers.command(isAbort ? ABORT_PASID : DRAIN_PASID, pasid);
  }

  /**
   * As `quiescePasid`, for a guest that goes on with the PASID, and whose answers to page requests the device may wait
   * for: all others wait for the command then. Once that takes long, the host answers them itself, Invalid Request.
   */
  quiesceGuest(pasid: Pasid, isAbort: boolean): Task<Refusal<'EIO'> | undefined> {
    const { ABORT_PASID, DRAIN_PASID } = DSA_COMMAND;
    const unstick = (): Task => this.answerForGuest(pasid);
    return this.#registers.command(isAbort ? ABORT_PASID : DRAIN_PASID, pasid, unstick);
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
    const unsupported = this.#unsupported(groups.flatMap(({ wqs }) => wqs));
    if (unsupported !== undefined) return refuse('ENODEV', unsupported);
    if (this.#wqs.length > 0) return refuse('EBUSY', `${this.name} is configured`);
    const lacking = this.#lacking(groups);
    if (lacking !== undefined) return refuse('EINVAL', `${this.name} has ${lacking}`);
    let engine = 0;
    for (const [index, { wqs, engines }] of groups.entries()) {
      let wqBits = 0n;
      let engineBits = 0n;
      for (let i = 0; i < engines; i++) engineBits |= 1n << BigInt(engine++);
      for (const config of wqs) {
        wqBits |= 1n << BigInt(this.#wqs.length);
        const wq = this.#newQueue(config);
        wq.configure(undefined);
        this.#wqs.push(wq);
      }
      const words = encode(DSA_GRPCFG, { WQS0: wqBits, ENGINES: engineBits });
      this.#registers.writeAt(this.#registers.grpcfgAt(index), words.subarray(0, 12));
    }
    return yield* this.#enable();
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
    const unsupported = this.#unsupported(configs);
    if (unsupported !== undefined) return refuse('ENODEV', unsupported);
    for (const config of configs) this.#wqs.push(this.#newQueue(config));
    return yield* this.#enable();
  }

  /**
   * Opens a work queue for a process; the descriptor.
   *
   * On failure: `ENXIO` if there is no such queue; `EBUSY` if a dedicated one is open; `ENODEV` says why the device
   * cannot work in a process's memory; what {@link Sva.bind} refuses with; `EIO`. Nothing has changed.
   */
  *open(process: Process, index: number): Task<number | Refusal<OpenErrno>> {
    const wq = this.#wqs.items[index];
    if (wq === undefined) return refuse('ENXIO', `${this.name} has no work queue ${index}`);
    if (isRefusal(this.#iommu)) return refuse('ENODEV', this.#iommu.why);
    if (wq.isDedicated && wq.clients.value > 0) return refuse('EBUSY', `${wq.name} is dedicated, and open`);
    wq.clients.value++;
    const binding = yield* this.#services.sva.bind(this.#iommu, process.mm);
    if (isRefusal(binding)) {
      wq.clients.value--;
      return binding;
    }
    const refusal = wq.isDedicated ? yield* this.#dedicate(wq, binding) : undefined;
    if (refusal !== undefined) {
      yield* this.#services.sva.unbind(binding);
      wq.clients.value--;
      return refusal;
    }
    const file = new WqFile(this, wq, binding);
    const fd = this.#services.processes.install(process, file);
    if (isRefusal(fd)) {
      yield* file.release();
      return fd;
    }
    tell(this.#context, 'idxd:open', { wq: wq.name, process: process.name, pasid: binding.pasid });
    return fd;
  }

  /**
   * Maps the portal of an open queue into the process, at page `at` if that is given; the page.
   *
   * On failure: `ENOENT` if the descriptor names no queue of this device's; `EPERM` if another address space has
   * opened it: what the process submitted would be done with that one's PASID (bug G1); `ENOMEM`.
   */
  *mapPortal(
    process: Process,
    fd: number,
    at?: number,
  ): Task<number | Refusal<'ENOENT' | 'EPERM' | 'EINVAL' | 'EEXIST' | 'ENOMEM'>> {
    const file = process.file(fd);
    if (!(file instanceof WqFile) || !this.#wqs.items.includes(file.wq)) {
      return refuse('ENOENT', `descriptor ${fd} of ${process.name} is no queue of ${this.name}`);
    }
    if (file.binding.mm !== process.mm) return refuse('EPERM', `${file.name} is not ${process.name}'s`);
    const frame = frameOf(Pa.of(this.pci.bar(2) + file.wq.portalOffset));
    const portal = { frame, inherited: !file.wq.isDedicated, owner: file };
    return yield* process.mm.mmap(1, { write: true, portal, ...(at === undefined ? {} : { at }) });
  }

  /**
   * Opens a dedicated work queue for the kernel's own DMA.
   *
   * On failure: `ENXIO` if there is no such dedicated queue; `EBUSY` if it is open; `ENODEV` if requests without a PASID
   * are blocked, or the CPUs cannot submit; `ENOSPC`, `ENOMEM`, `EIO`. Nothing has changed.
   */
  *openKernel(
    index: number,
  ): Task<KernelQueue | Refusal<'ENXIO' | 'EBUSY' | 'ENODEV' | 'ENOSPC' | 'ENOMEM' | 'EIO'>> {
    const wq = this.#wqs.items[index];
    if (wq?.isDedicated !== true) return refuse('ENXIO', `${this.name} has no dedicated work queue ${index}`);
    if (isRefusal(this.#iommu)) return refuse('ENODEV', this.#iommu.why);
    const dma = this.#iommu.dma.value;
    if (dma === undefined) return refuse('ENODEV', `${this.name}: requests without a PASID are blocked`);
    if (wq.clients.value > 0) return refuse('EBUSY', `${wq.name} is dedicated, and open`);
    wq.clients.value++;
    const portal = this.pci.bar(2) + wq.portalOffset;
    const queue = yield* KernelQueue.open(this.#context, { wq, dma, portal });
    if (isRefusal(queue)) wq.clients.value--;
    return queue;
  }

  /** The last descriptor of an open queue is closed. @internal */
  *release(file: WqFile): Task {
    const { wq, binding } = file;
    yield* binding.mm.unmapPortals(file);
    yield* this.#quiesce(file);
    yield* this.#services.sva.unbind(binding);
    wq.clients.value--;
    tell(this.#context, 'idxd:close', { wq: wq.name, process: binding.mm.name, pasid: binding.pasid });
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

  /** Returns when the device has nothing of the PASID; if it does not obey, it may send no more requests. */
  *#quiesce({ wq, binding }: WqFile): Task {
    let refusal: Refusal<'EIO'> | undefined;
    if (wq.isDedicated) {
      refusal = yield* wq.drain();
      refusal ??= yield* wq.disable();
      if (refusal === undefined) wq.configure(undefined);
    } else {
      refusal = yield* this.quiescePasid(binding.pasid, false);
    }
    if (refusal === undefined) return;
    tell(this.#context, 'idxd:quiesce-failed', { device: this.name, why: refusal.why });
    this.pci.stopMastering();
  }

  /** Has a dedicated queue work with a binding's PASID. */
  *#dedicate(wq: WorkQueue, { pasid }: SvaBinding): Task<Refusal<'EIO'> | undefined> {
    wq.configure(pasid);
    const refusal = yield* wq.enable();
    if (refusal !== undefined) wq.configure(undefined);
    return refusal;
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

  /** Why queues like these cannot be here; undefined if they can. */
  #unsupported(wqs: readonly WqConfig[]): string | undefined {
    const why = isRefusal(this.#iommu) ? this.#iommu.why : whyNoSva(this.#iommu, this.#context);
    if (why !== undefined && wqs.some(({ mode }) => mode === 'shared')) {
      return `no shared queues on ${this.name}, which need SVA: ${why}`;
    }
    const hasPri = !isRefusal(this.#iommu) && this.#iommu.pri;
    if (hasPri || !wqs.some(({ blockOnFault }) => blockOnFault === true)) return undefined;
    return `no queues that block on faults on ${this.name}: it cannot ask for pages`;
  }

  /** What it has not enough of; undefined if it can be configured so. */
  #lacking(groups: readonly GroupConfig[]): string | undefined {
    const wqs = groups.flatMap((group) => group.wqs);
    const wqcap = this.#registers.read(REGISTER.WQCAP);
    const [queues, entries] = [DSA_WQCAP_REG.WQS.get(wqcap, 0), DSA_WQCAP_REG.TOTAL_SIZE.get(wqcap, 0)];
    const engines = DSA_ENGCAP_REG.ENGINES.get(this.#registers.read(REGISTER.ENGCAP), 0);
    const groupCount = DSA_GRPCAP_REG.GROUPS.get(this.#registers.read(REGISTER.GRPCAP), 0);
    if (groups.length > groupCount) return `${groupCount} groups`;
    if (groups.reduce((sum, group) => sum + group.engines, 0) > engines) return `${engines} engines`;
    if (wqs.length > queues) return `${queues} work queues`;
    if (wqs.reduce((sum, { size }) => sum + size, 0) > entries) return `${entries} entries`;
    const can = (field: typeof DSA_WQCAP_REG.SHARED): boolean => field.get(wqcap, 0) === 1;
    if (wqs.some(({ mode }) => mode === 'shared') && !can(DSA_WQCAP_REG.SHARED)) return 'no shared queues';
    if (wqs.some(({ mode }) => mode === 'dedicated') && !can(DSA_WQCAP_REG.DEDICATED)) {
      return 'no dedicated queues';
    }
    return undefined;
  }
}
