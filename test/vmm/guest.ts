/**
 * A guest on a fake platform, whose VT-d unit is a virtual one: the kernel's own driver writes to it, and a fake
 * host is at its other end.
 */
import { isRefusal, type Refusal, type Task } from '../../src/base/index.js';
import type { FrameMemory } from '../../src/hardware/index.js';
import {
  type Endpoint,
  type FirstStage,
  type IommuClient,
  type Mmio,
  type PageRequest,
  Pasid,
} from '../../src/kernel/index.js';
import { VtdUnit } from '../../src/kernel/iommu/vtd/unit.js';
import {
  type GuestPasidPolicy,
  type VirtualCapabilities,
  VirtualIommu,
  virtualCapabilities,
} from '../../src/vmm/index.js';
import { FakePlatform, fakeContext, finish, runAll } from '../kernel/fake-platform.js';
import { CheckingHost } from './checking-host.js';

const UNIT_AT = 0xfed9_0000;
export const RID = 0x20;
export const SECOND_RID = 0x28;
export const CROSSED: GuestPasidPolicy = {
  pairs: [
    { guestPasid: 101, hostPasid: 202 },
    { guestPasid: 202, hostPasid: 101 },
  ],
  ...{ rest: 'lowest', hostMin: 1, hostMax: 0xfffff },
};

export class Guest {
  readonly platform: FakePlatform;
  readonly context: ReturnType<typeof fakeContext>;
  readonly host = new CheckingHost({ first: 90, last: 400 });
  readonly iommu: VirtualIommu;
  readonly driver: VtdUnit;
  /** How often the unit has written to the guest's memory while the host was at something. */
  early = 0;
  /** The page requests that the guest's driver took out of its queue. */
  readonly requests: PageRequest[] = [];

  constructor(options: Partial<VirtualCapabilities> & { readonly policy?: GuestPasidPolicy } = {}) {
    const { policy = CROSSED, ...caps } = options;
    this.platform = new FakePlatform({ mmio: this.#mmio() });
    this.context = fakeContext(this.platform);
    this.iommu = new VirtualIommu({
      ...{ name: 'vm1 dmar0', memory: this.#memory(), host: this.host, pasids: policy },
      ...virtualCapabilities({
        ...{ cachingMode: true, deviceTlbs: false, pageRequests: true, pasidBits: 20, ...caps },
      }),
      ...{ tasks: this.context.tasks, emit: this.platform.emit },
      interrupt: (_address, data) => this.platform.interrupt(data),
    });
    this.platform.keep(this.iommu);
    this.iommu.addDevice(RID);
    this.iommu.addDevice(SECOND_RID);
    const unit = { kind: 'vtd', registers: UNIT_AT, hostAddressWidth: 48 } as const;
    this.driver = new VtdUnit(this.context, unit, 'dmar0');
  }

  /** Boots the driver, with its devices. */
  boot(...endpoints: readonly Endpoint[]): this {
    const client: IommuClient = {
      pageRequest: (_driver, request) => this.#serve(request),
      pageRequestsLost: () => {},
      ownerOf: () => undefined,
      fault: () => {},
    };
    must(this.run(this.driver.boot(client)));
    for (const each of endpoints) must(this.run(this.driver.addDevice(each)));
    this.run(this.driver.enable());
    this.host.take();
    return this;
  }

  run<T>(task: Task<T>): T {
    return finish(this.context.tasks, task);
  }

  runAll(): void {
    runAll(this.context.tasks);
  }

  /** A guest PASID by virtual command. */
  alloc(): Pasid {
    this.iommu.write64(0xe00, 1, 0);
    return Pasid.of(((this.iommu.read32(0xe10) >>> 16) | (this.iommu.read32(0xe14) << 16)) & 0xfffff);
  }

  /** Gives one back; the status code. */
  free(pasid: number): number {
    this.iommu.write64(0xe00, 2 | (pasid << 16) | 0, pasid >>> 16);
    return this.iommu.read32(0xe10) >>> 1;
  }

  *#serve(request: PageRequest): Task {
    this.requests.push(request);
    yield 'fault';
    if (request.isLast) must(yield* this.driver.respond(request, 'success'));
  }

  #memory(): FrameMemory {
    const { ram } = this.platform;
    return {
      get words() {
        return ram.words;
      },
      at: (frame, word) => ram.at(frame, word),
      writable: (frame, word) => {
        if (this.host.underWay > 0) this.early++;
        return ram.writable(frame, word);
      },
    };
  }

  #mmio(): Mmio {
    const at = (address: number): number => address - UNIT_AT;
    return {
      read32: (address) => this.iommu.read32(at(address)),
      write32: (address, value) => this.iommu.write32(at(address), value),
      read64: (address, out) => this.iommu.read64(at(address), out),
      write64: (address, lo, hi) => this.iommu.write64(at(address), lo, hi),
    };
  }
}

export const endpoint = (rid: number): Endpoint => ({
  ...{
    rid,
    name: `device ${rid}`,
    pasidBits: 20,
    ats: false,
    pri: true,
    invalidationDepth: 0,
    throttledBy: 0,
  },
});

/** A process's page table whose root is in this frame. */
export const process = (root: number): FirstStage => ({
  ...{ type: 'first-stage', name: `process ${root}`, root, levels: 4, largestLeaf: 1 },
  writeBack() {},
});

export function must<T>(value: T | Refusal): T {
  if (isRefusal(value)) throw new Error(value.toString());
  return value as T;
}
