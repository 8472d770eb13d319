/**
 * The work queues of an accelerator, as processes open them (Linux's idxd character devices): a descriptor of a
 * process's, a portal in its memory, an interrupt if it asks for one, and the binding of its address space behind all.
 *
 * A close goes through the phases of a tear-down: stop (the portal is unmapped), drain (the device has nothing of the
 * PASID), then unbind clears the IOMMU's side. A device that goes is closed for all who have it open.
 */
import {
  isRefusal,
  KeptList,
  KeptValue,
  type Refusal,
  refuse,
  type Task,
  WaitQueue,
} from '../../base/index.js';
import { type KernelContext, tell } from '../context.js';
import { frameOf, Pa, type Pasid } from '../ids.js';
import type { IommuDevice } from '../iommu/device.js';
import type { Sva, SvaBinding } from '../iommu/sva.js';
import type { AddressSpace } from '../mm/address-space.js';
import type { Mutex } from '../mutex.js';
import type { PciDevice } from '../pci.js';
import type { Process, Processes } from '../process.js';
import type { CompletionInterrupt, CompletionInterrupts } from './completion-interrupts.js';
import type { WorkQueue } from './work-queue.js';
import { WqFile } from './wq-file.js';

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

/** The device whose queues they are. */
export interface FilesDevice {
  readonly name: string;
  readonly pci: PciDevice;
  readonly iommu: IommuDevice | Refusal<'ENODEV' | 'ENOMEM' | 'EIO'>;
  readonly wqs: readonly WorkQueue[];
  readonly isLeaving: boolean;
  quiescePasid(pasid: Pasid, isAbort: boolean): Task<Refusal<'EIO'> | undefined>;
  flushErrors(): Task;
  giveUp(refusal: Refusal<'EIO'>): void;
}

interface FilesParts {
  readonly sva: Sva;
  readonly processes: Processes;
  readonly interrupts: CompletionInterrupts;
  /** Of the state of the device and its dedicated queues. */
  readonly lock: Mutex;
}

export class WqFiles {
  readonly #context: KernelContext;
  readonly #device: FilesDevice;
  readonly #sva: Sva;
  readonly #processes: Processes;
  readonly #interrupts: CompletionInterrupts;
  readonly #lock: Mutex;
  readonly #files: KeptList<WqFile>;
  /** Opens and closes that are under way. */
  readonly #underWay: KeptValue<number>;
  readonly #settled: WaitQueue;

  constructor(context: KernelContext, device: FilesDevice, parts: FilesParts) {
    this.#context = context;
    this.#device = device;
    this.#sva = parts.sva;
    this.#processes = parts.processes;
    this.#interrupts = parts.interrupts;
    this.#lock = parts.lock;
    this.#files = new KeptList(context.log);
    this.#underWay = new KeptValue(context.log, 0);
    this.#settled = new WaitQueue(`opens and closes of ${device.name}`);
  }

  /** How many there are, with those that are being opened or closed. */
  get count(): number {
    return this.#files.length + this.#underWay.value;
  }

  /** Whose memory a PASID stands for, as far as a queue is open for it. */
  mmOf(pasid: number): AddressSpace | undefined {
    return this.#files.items.find(({ binding }) => binding.pasid === pasid)?.binding.mm;
  }

  /** The device goes, and nobody opens it any more: returns when all that is open has ended. */
  *closeAll(): Task {
    for (const file of [...this.#files.items]) yield* this.release(file);
    while (this.#underWay.value > 0) yield this.#settled;
    for (const file of [...this.#files.items]) yield* this.release(file);
  }

  /**
   * Opens a work queue for a process; the descriptor.
   *
   * On failure: `ENXIO` if there is no such queue; `EBUSY` if a dedicated one is open; `ENODEV` says why the device
   * cannot work in a process's memory, or that it goes; what {@link Sva.bind} refuses with; `EIO`. Nothing has changed.
   */
  *open(process: Process, index: number): Task<number | Refusal<OpenErrno>> {
    this.#underWay.value++;
    try {
      return yield* this.#open(process, index);
    } finally {
      this.#settle();
    }
  }

  *#open(process: Process, index: number): Task<number | Refusal<OpenErrno>> {
    const { name, iommu } = this.#device;
    if (this.#device.isLeaving) return refuse('ENODEV', `${name} goes`);
    const wq = this.#device.wqs[index];
    if (wq === undefined) return refuse('ENXIO', `${name} has no work queue ${index}`);
    if (isRefusal(iommu)) return refuse('ENODEV', iommu.why);
    if (wq.isDedicated && wq.clients.value > 0) return refuse('EBUSY', `${wq.name} is dedicated, and open`);
    wq.clients.value++;
    const binding = yield* this.#sva.bind(iommu, process.mm);
    if (isRefusal(binding)) {
      wq.clients.value--;
      return binding;
    }
    const refusal = wq.isDedicated ? yield* this.#dedicate(wq, binding) : undefined;
    if (refusal !== undefined) {
      yield* this.#sva.unbind(binding);
      wq.clients.value--;
      return refusal;
    }
    const file = new WqFile(this.#context, this, { wq, binding });
    this.#files.push(file);
    const fd = this.#processes.install(process, file);
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
   * opened it: what the process submitted would be done with that one's PASID (bug G1); `ENODEV` if the device goes;
   * `ENOMEM`.
   */
  *mapPortal(
    process: Process,
    fd: number,
    at?: number,
  ): Task<number | Refusal<'ENOENT' | 'EPERM' | 'ENODEV' | 'EINVAL' | 'EEXIST' | 'ENOMEM'>> {
    const { name, pci } = this.#device;
    const file = this.#ownFile(process, fd);
    if (isRefusal(file)) return file;
    const frame = frameOf(Pa.of(pci.bar(2) + file.wq.portalOffset));
    const portal = { frame, inherited: !file.wq.isDedicated, owner: file };
    const page = yield* process.mm.mmap(1, { write: true, portal, ...(at === undefined ? {} : { at }) });
    if (file.state === 'open') return page;
    yield* process.mm.unmapPortals(file);
    return refuse('ENODEV', `${name} goes`);
  }

  /**
   * Has completions of an open queue's descriptors told by interrupt, to who asks for it in the descriptor; once more
   * gives what there is.
   *
   * On failure: `ENOENT` if the descriptor names no queue of this device's; `EPERM` if another address space has opened
   * it; `ENODEV` if users may not ask for interrupts; `ENOSPC` if all vectors or handles are given out; `EIO`.
   */
  *requestInterrupt(
    process: Process,
    fd: number,
  ): Task<CompletionInterrupt | Refusal<'ENOENT' | 'EPERM' | 'ENODEV' | 'ENOSPC' | 'EIO'>> {
    const file = this.#ownFile(process, fd);
    if (isRefusal(file)) return file;
    if (file.interrupt !== undefined) return file.interrupt;
    const interrupt = yield* this.#interrupts.request(file.binding.pasid, file.name);
    if (!isRefusal(interrupt)) file.change().interrupt = interrupt;
    return interrupt;
  }

  /** The last descriptor of an open queue is closed, or its device goes: returns when it has ended. @internal */
  *release(file: WqFile): Task {
    while (file.state === 'ending') yield file.changed;
    if (file.state === 'ended') return;
    file.change().state = 'ending';
    this.#underWay.value++;
    yield* this.#release(file);
    file.change().state = 'ended';
    this.#files.remove(file);
    file.wake();
    this.#settle();
  }

  *#release(file: WqFile): Task {
    const { wq, binding } = file;
    yield* binding.mm.unmapPortals(file);
    yield* this.#quiesce(file);
    yield* this.#device.flushErrors();
    const interrupt = file.interrupt;
    if (interrupt !== undefined) yield* this.#interrupts.release(interrupt);
    yield* this.#sva.unbind(binding);
    wq.clients.value--;
    tell(this.#context, 'idxd:close', { wq: wq.name, process: binding.mm.name, pasid: binding.pasid });
  }

  /** An open queue of this device's, which the process's own address space has opened. */
  #ownFile(process: Process, fd: number): WqFile | Refusal<'ENOENT' | 'EPERM'> {
    const { name, wqs } = this.#device;
    const file = process.file(fd);
    if (!(file instanceof WqFile) || !wqs.includes(file.wq)) {
      return refuse('ENOENT', `descriptor ${fd} of ${process.name} is no queue of ${name}`);
    }
    if (file.binding.mm !== process.mm) return refuse('EPERM', `${file.name} is not ${process.name}'s`);
    return file;
  }

  /** Returns when the device has nothing of the PASID; if it does not obey, it may send no more requests. */
  *#quiesce({ wq, binding }: WqFile): Task {
    let refusal: Refusal<'EIO'> | undefined;
    if (wq.isDedicated) {
      refusal = yield* this.#undedicate(wq);
    } else {
      refusal = yield* this.#device.quiescePasid(binding.pasid, false);
    }
    if (refusal !== undefined) this.#device.giveUp(refusal);
  }

  #settle(): void {
    this.#underWay.value--;
    if (this.#underWay.value === 0) this.#settled.wakeAll();
  }

  /** Has a dedicated queue work with a binding's PASID. */
  *#dedicate(wq: WorkQueue, { pasid }: SvaBinding): Task<Refusal<'EIO'> | undefined> {
    yield* this.#lock.lock();
    try {
      wq.configure(pasid);
      const refusal = yield* wq.enable();
      if (refusal !== undefined) wq.configure(undefined);
      return refusal;
    } finally {
      this.#lock.unlock();
    }
  }

  /** Has a dedicated queue work with nothing, when it has done what it had. */
  *#undedicate(wq: WorkQueue): Task<Refusal<'EIO'> | undefined> {
    yield* this.#lock.lock();
    try {
      const refusal = (yield* wq.drain()) ?? (yield* wq.disable());
      if (refusal === undefined) wq.configure(undefined);
      return refusal;
    } finally {
      this.#lock.unlock();
    }
  }
}
