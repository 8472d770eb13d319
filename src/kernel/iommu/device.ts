/**
 * A function behind an IOMMU, and what is attached to it by PASID. Groups have one member: aliases and switches
 * without ACS are left out.
 */
import { KeptMap, KeptValue, type UndoLog } from '../../base/index.js';
import type { IoasidHolder } from '../../ioasid/index.js';
import { Awaited } from '../awaited.js';
import type { KernelContext } from '../context.js';
import type { Pasid } from '../ids.js';
import { Mutex } from '../mutex.js';
import type { PciDevice } from '../pci.js';
import type { DmaSpace } from './dma.js';
import type { Domain, RidDomain } from './domain.js';
import type { DmaFault, Endpoint, IommuDriver, PageRequest } from './driver.js';

export class IommuDevice implements Endpoint {
  readonly pci: PciDevice;
  readonly rid: number;
  readonly name: string;
  readonly driver: IommuDriver;
  /** In whose name its driver holds PASIDs. */
  readonly holder: IoasidHolder;
  readonly pasidBits: number;
  readonly ats: boolean;
  readonly pri: boolean;
  readonly invalidationDepth: number;
  readonly throttledBy: number;
  /** By PASID; at 0, what requests without one meet. */
  readonly attachments: KeptMap<Pasid, Attachment>;
  /** Held over each attach and detach. */
  readonly lock: Mutex;
  /** How the kernel does DMA by it, without a PASID; undefined if such requests are blocked. */
  readonly dma: KeptValue<DmaSpace | undefined>;
  /** Nothing is attached to one that is leaving; one that is gone is in no table. */
  readonly presence: KeptValue<'there' | 'leaving' | 'gone'>;

  /** @param of `rid`: what it begins with, which may have no place for ATS */
  constructor(
    context: KernelContext,
    of: { pci: PciDevice; driver: IommuDriver; holder: IoasidHolder; rid: RidDomain },
  ) {
    const { pci, driver, holder, rid } = of;
    this.pci = pci;
    this.rid = pci.rid;
    this.name = pci.name;
    this.driver = driver;
    this.holder = holder;
    this.ats = driver.hasDeviceTlbs && pci.hasAts && (rid !== 'identity' || driver.translatesIdentity);
    this.pri = this.ats && driver.hasPageRequests && pci.hasPri;
    this.pasidBits = Math.min(pci.pasidBits, driver.pasidBits);
    // Virtual functions are left out: each is its own physical one.
    this.throttledBy = driver.throttlesDeviceTlbs ? pci.rid : 0;
    this.invalidationDepth = this.ats ? pci.invalidationDepth : 0;
    this.attachments = new KeptMap(context.log);
    this.lock = new Mutex(context.log, `group ${pci.name}`);
    this.dma = new KeptValue<DmaSpace | undefined>(context.log, undefined);
    this.presence = new KeptValue<'there' | 'leaving' | 'gone'>(context.log, 'there');
  }

  /**
   * Switches on what both it and its unit have: PASIDs cannot be switched while ATS is on, and page requests need
   * translations.
   */
  switchOn(): void {
    const { pci } = this;
    if (this.pasidBits > 0) pci.enablePasid();
    if (this.pri) pci.enablePri();
    if (this.ats) pci.enableAts();
  }
}

/** How far the table entry of an attachment has come: `muted` is not present, and its faults are not recorded. */
export type EntryState = 'none' | 'present' | 'changing' | 'muted';

/** Who serves the page requests of an attachment in the kernel's place, and is told of its faults: a guest. */
export interface AttachmentClient {
  /** Takes a group of page requests, which is to be answered by `PageRequests.respond`; false if nobody is there. */
  pageRequests(group: readonly PageRequest[]): boolean;
  /** It is called in an interrupt's context. */
  fault(fault: DmaFault): void;
}

/** What there is of the page requests of an attachment. */
export class RequestGroups extends Awaited {
  /** Groups that are being served; who waits for an end of that is woken at 0. */
  readonly serving: number = 0;
  /** How many groups its client has been answered for. */
  readonly answered: number = 0;
  /** By group index: requests of groups whose last one has not come. */
  readonly partial: KeptMap<number, readonly PageRequest[]>;
  /** By group index: the last request of those that the client has, and has not answered. */
  readonly outstanding: KeptMap<number, PageRequest>;
  readonly #of: Attachment;

  constructor(log: UndoLog, of: Attachment) {
    super(log);
    this.#of = of;
    this.partial = new KeptMap(log);
    this.outstanding = new KeptMap(log);
  }

  protected override get awaited(): string {
    return `page requests of ${this.#of.name}`;
  }

  /** Whether there is nothing to be answered. */
  get isIdle(): boolean {
    return this.serving === 0 && this.outstanding.size === 0 && this.partial.size === 0;
  }
}

/** One (device, PASID) with a domain attached. Woken when `entry` is no longer `changing`, or nobody detaches it. */
export class Attachment extends Awaited {
  readonly device: IommuDevice;
  readonly pasid: Pasid;
  readonly domain: Domain;
  readonly client: AttachmentClient | undefined;
  /** How many have asked for it. */
  readonly users: number = 1;
  /** No fault of it is served any more: what is outstanding, and what comes, is answered Invalid Request. */
  readonly dying: boolean = false;
  readonly entry: EntryState = 'none';
  /** Somebody detaches it. */
  readonly detaching: boolean = false;
  /** What has taken its place, if it was replaced. */
  readonly replacedBy: Attachment | undefined;
  /** Undefined before its first page request: most have none. */
  readonly requests: RequestGroups | undefined;

  constructor(
    { log }: KernelContext,
    device: IommuDevice,
    of: {
      readonly pasid: Pasid;
      readonly domain: Domain;
      readonly client?: AttachmentClient | undefined;
    },
  ) {
    super(log);
    this.device = device;
    this.pasid = of.pasid;
    this.domain = of.domain;
    this.client = of.client;
  }

  get name(): string {
    return `PASID ${this.pasid} on ${this.device.name}`;
  }

  protected override get awaited(): string {
    return `change of ${this.name}`;
  }
}
