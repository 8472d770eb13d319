/**
 * Virtual machines as VFIO sees them: a process, a container, guest-physical memory with page tables of a guest's in
 * it, and functions that do DMA. No guest runs: the test writes what it would.
 */
import { type Chooser, type Refusal, type Task, WaitQueue } from '../../src/base/index.js';
import { ioasidCapacity } from '../../src/ioasid/index.js';
import type {
  GuestPasid,
  IommuDevice,
  PageRequest,
  Process,
  VfioContainer,
  VfioDevice,
} from '../../src/kernel/index.js';
import { PAGE_BYTES, Pasid } from '../../src/kernel/index.js';
import {
  encode,
  IOMMU_CACHE_INVALIDATE,
  IOMMU_FAULT_EVENT_WORD,
  IOMMU_FAULT_PAGE_REQUEST,
  IOMMU_GPASID_BIND,
  IOMMU_INV_ADDR,
  IOMMU_PAGE_RESPONSE,
  type Layout,
  VFIO_DMA_MAP,
  VFIO_DMA_UNMAP,
  VFIO_PASID_REQUEST,
} from '../../src/spec/index.js';
import type { DmaFunction } from '../vtd-driver/dma-function.js';
import { FIRST_RID, Lab, type LabOptions, must } from '../vtd-driver/lab.js';

/** Pages of guest-physical memory, from page 0 on. */
export const GUEST_PAGES = 24;
const ROOT = 1;
const LEVEL_1 = 4;
const DATA = 8;
const P_RW_US = 7;

/** A structure of these fields as bytes; `argsz` says its size, if nothing else is said. */
export function bytesOf<N extends string>(
  of: Layout<N>,
  values: Partial<Record<NoInfer<N>, number | bigint>>,
): Uint8Array {
  return new Uint8Array(encode(of, values).buffer);
}

export const mapBytes = (page: number, first: number, count: number): Uint8Array =>
  bytesOf(VFIO_DMA_MAP, {
    ...{ ARGSZ: 32, READ: 1, WRITE: 1 },
    ...{ VADDR: page * PAGE_BYTES, IOVA: first * PAGE_BYTES, SIZE: count * PAGE_BYTES },
  });

export const unmapBytes = (first: number, count: number): Uint8Array =>
  bytesOf(VFIO_DMA_UNMAP, { ARGSZ: 24, IOVA: first * PAGE_BYTES, SIZE: count * PAGE_BYTES });

export const allocBytes = (min: number, max = min): Uint8Array =>
  bytesOf(VFIO_PASID_REQUEST, { ARGSZ: 16, ALLOC: 1, MIN: min, MAX: max });

export const freeBytes = (min: number, max = min): Uint8Array =>
  bytesOf(VFIO_PASID_REQUEST, { ARGSZ: 16, FREE: 1, MIN: min, MAX: max });

export const bindBytes = (guestPasid: number, hostPasid: number, root = ROOT): Uint8Array =>
  bytesOf(IOMMU_GPASID_BIND, {
    ...{ ARGSZ: 72, VERSION: 1, FORMAT: 1, ADDR_WIDTH: 48, GPASID_VALID: 1 },
    ...{ GPGD: root * PAGE_BYTES, HPASID: hostPasid, GPASID: guestPasid },
  });

export const answerBytes = (guestPasid: number, group: number, code = 0): Uint8Array =>
  bytesOf(IOMMU_PAGE_RESPONSE, {
    ...{ ARGSZ: 24, VERSION: 1, PASID_VALID: 1, PASID: guestPasid, GRPID: group, CODE: code },
  });

/** One page of one guest PASID, in the IOTLB. */
export function invalidateBytes(guestPasid: number, page: number): Uint8Array {
  const head = { ARGSZ: 56, VERSION: 1, IOTLB: 1, GRANULARITY: 2 };
  const scope = { PASID_VALID: 1, PASID: guestPasid, ADDR: page * PAGE_BYTES, GRANULE_SIZE: 4096 };
  const bytes = new Uint8Array(56);
  bytes.set(bytesOf(IOMMU_CACHE_INVALIDATE, head));
  bytes.set(bytesOf(IOMMU_INV_ADDR, { ...scope, NB_GRANULES: 1 }), IOMMU_CACHE_INVALIDATE.bytes);
  return bytes;
}

/** A host with functions that VFIO can hand out. */
export class Host {
  readonly lab: Lab;

  constructor(options: LabOptions & { readonly ioasidFaults?: Chooser } = {}) {
    this.lab = new Lab({ quota: 1000, ...options });
  }

  run<T>(task: Task<T>): T {
    return this.lab.run(task);
  }

  plug(rid = FIRST_RID): { readonly dma: DmaFunction; readonly device: IommuDevice } {
    return this.lab.plug(rid);
  }

  newVm(name: string, devices: readonly VfioDevice[] = []): TestVm {
    return new TestVm(this, name, devices);
  }

  /** What has to be as it was when all is over. */
  get resources() {
    const { bench } = this.lab;
    return {
      ids: ioasidCapacity(bench.ioasids),
      frames: bench.kernel.context.frames.inUse,
      containers: bench.kernel.vfio.containers,
      tasks: bench.tasks.tasks.map(({ name }) => name),
    };
  }

  /** A page request as the queue has it, by the PASID that the function sent. */
  request(device: IommuDevice, pasid: number, values: Partial<PageRequest> = {}): void {
    const request: PageRequest = {
      ...{ rid: device.rid, pasid: Pasid.of(pasid), page: 0x10, read: true, write: true, execute: false },
      ...{ privileged: false, group: 3, isLast: true, ...values },
    };
    this.run(this.lab.iommu.pageRequests.receive(device.driver, request));
  }
}

/** A part of a function, as a parent driver would make it. */
export class TestMdev implements VfioDevice {
  readonly usesParentPasids: boolean = true;
  readonly name: string;
  readonly iommu: IommuDevice;
  /** What it was drained of. */
  readonly drained: number[] = [];
  /** And of what is not bound for it. */
  readonly strays: number[] = [];
  /** Has it wait, until woken, while it is drained. */
  isBusy = false;
  refusal: Refusal<'EIO'> | undefined;
  readonly idle: WaitQueue;

  constructor(name: string, iommu: IommuDevice) {
    this.name = name;
    this.iommu = iommu;
    this.idle = new WaitQueue(`${name} is drained`);
  }

  *drain(pasid: number): Task<Refusal<'EIO'> | undefined> {
    while (this.isBusy) yield this.idle;
    yield `${this.name}: drain`;
    this.drained.push(pasid);
    return this.refusal;
  }
}

/** A part of a shared queue, which the VM's CPUs reach by whatever they translate. */
export class TestShare extends TestMdev {
  *drainStrays(pasid: number): Task<Refusal<'EIO'> | undefined> {
    yield `${this.name}: drain strays`;
    this.strays.push(pasid);
    return this.refusal;
  }
}

export class TestFunction extends TestMdev {
  override readonly usesParentPasids: boolean = false;
}

/** A function whose requests carry the host's numbers too. */
export class BothNumbers extends TestFunction {
  readonly takesBothNumbers = true;
}

export class TestVm {
  readonly process: Process;
  readonly container: VfioContainer;
  /** Where guest-physical memory begins in the process. */
  readonly base: number;
  readonly #host: Host;

  constructor(host: Host, name: string, devices: readonly VfioDevice[]) {
    this.#host = host;
    const { kernel } = host.lab.bench;
    this.process = must(kernel.processes.spawn(name));
    this.container = must(kernel.vfio.open(this.process));
    this.base = must(host.run(this.process.mm.mmap(GUEST_PAGES)));
    must(host.run(this.container.mapDma(mapBytes(this.base, 0, GUEST_PAGES))));
    for (const device of devices) must(host.run(this.container.addDevice(device)));
    // Four levels, of which each has one entry but the last.
    for (let gfn = ROOT; gfn < LEVEL_1; gfn++) this.#entry(gfn, 0, gfn + 1);
  }

  /** Has a page of the guest's first stage lead to the `index`-th page of data, which says `word`. */
  map(page: number, index: number, word: number): void {
    this.#entry(LEVEL_1, page, DATA + index);
    this.write((DATA + index) * PAGE_BYTES, Int32Array.of(word));
  }

  /** Writes to guest-physical memory. */
  write(address: number, words: Int32Array): void {
    const { mm } = this.process;
    must(this.#host.run(mm.copyTo(this.base * PAGE_BYTES + address, new Uint8Array(words.buffer))));
  }

  /** A host PASID, bound to a guest's for a device. */
  bind(device: VfioDevice, guestPasid: number, hostPasid: number): Refusal | undefined {
    return this.#host.run(this.container.bindGpasid(device, bindBytes(guestPasid, hostPasid)));
  }

  allocAndBind(device: VfioDevice, guestPasid: number, hostPasid: number): void {
    must(this.container.pasidRequest(allocBytes(hostPasid)));
    must(this.bind(device, guestPasid, hostPasid));
  }

  unbind(device: VfioDevice, guestPasid: number, hostPasid: number): Refusal | undefined {
    return this.#host.run(this.container.unbindGpasid(device, bindBytes(guestPasid, hostPasid)));
  }

  /** Undoes a bind of which the guest has said that faults are not to be recorded. */
  mute(device: VfioDevice, guestPasid: number, hostPasid: number): Refusal | undefined {
    const bytes = bindBytes(guestPasid, hostPasid);
    IOMMU_GPASID_BIND.FPD.set(new Int32Array(bytes.buffer), 0, 1);
    return this.#host.run(this.container.unbindGpasid(device, bytes));
  }

  answer(device: VfioDevice, guestPasid: number, group: number, code = 0): Refusal | undefined {
    return this.#host.run(this.container.pageResponse(device, answerBytes(guestPasid, group, code)));
  }

  /** What is told of a device from now on. */
  listen(device: VfioDevice): Int32Array[] {
    const told: Int32Array[] = [];
    this.container.onFault(device, (fault) => void told.push(new Int32Array(fault.slice().buffer)));
    return told;
  }

  /** The end of it: memory first, then files. */
  end(): void {
    const { processes } = this.#host.lab.bench.kernel;
    this.#host.run(processes.kill(this.process));
    this.#host.run(this.container.close());
  }

  #entry(gfn: number, index: number, to: number): void {
    this.write(gfn * PAGE_BYTES + index * 8, Int32Array.of(to * PAGE_BYTES + P_RW_US, 0));
  }
}

/** A page request that was told: by guest PASID, group and page. */
export function pageRequestOf(fault: Int32Array): {
  readonly pasid: number;
  readonly group: number;
  readonly page: number;
} {
  const at = IOMMU_FAULT_EVENT_WORD;
  const r = IOMMU_FAULT_PAGE_REQUEST;
  const page = Number(r.ADDR.getBig(fault, at)) / PAGE_BYTES;
  return { pasid: r.PASID.get(fault, at), group: r.GRPID.get(fault, at), page };
}

export type { GuestPasid };
