/**
 * A function behind an IOMMU, and what is attached to it by PASID. Groups have one member: aliases and switches
 * without ACS are left out.
 */
import { KeptMap, KeptValue, WaitQueue } from '../../base/index.js';
import type { IoasidHolder } from '../../ioasid/index.js';
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

/** One (device, PASID) with a domain attached. */
export class Attachment {
  readonly device: IommuDevice;
  readonly pasid: Pasid;
  readonly domain: Domain;
  /** How many have asked for it. */
  readonly users: KeptValue<number>;
  /** No fault of it is served any more: what is outstanding, and what comes, is answered Invalid Request. */
  readonly dying: KeptValue<boolean>;
  readonly entry: KeptValue<EntryState>;
  /** Somebody detaches it. */
  readonly detaching: KeptValue<boolean>;
  /** Woken when `entry` is no longer `changing`, or nobody detaches it any more. */
  readonly changed: WaitQueue;
  /** What has taken its place, if it was replaced. */
  readonly replacedBy: KeptValue<Attachment | undefined>;
  /** Groups of page requests that are being served. */
  readonly serving: KeptValue<number>;
  /** Woken when `serving` becomes 0. */
  readonly served: WaitQueue;
  readonly client: AttachmentClient | undefined;
  /** How many groups of page requests its client has been answered for. */
  readonly answered: KeptValue<number>;
  /** By group index: requests of groups whose last one has not come. */
  readonly partial: KeptMap<number, readonly PageRequest[]>;
  /** By group index: the last request of those that the client has, and has not answered. */
  readonly outstanding: KeptMap<number, PageRequest>;

  constructor(
    { log }: KernelContext,
    device: IommuDevice,
    of: {
      readonly pasid: Pasid;
      readonly domain: Domain;
      readonly client?: AttachmentClient | undefined;
    },
  ) {
    this.device = device;
    this.pasid = of.pasid;
    this.domain = of.domain;
    this.users = new KeptValue(log, 1);
    this.dying = new KeptValue(log, false);
    this.detaching = new KeptValue(log, false);
    this.entry = new KeptValue<EntryState>(log, 'none');
    this.changed = new WaitQueue('change of', this);
    this.replacedBy = new KeptValue<Attachment | undefined>(log, undefined);
    this.serving = new KeptValue(log, 0);
    this.served = new WaitQueue('page requests of', this);
    this.client = of.client;
    this.answered = new KeptValue(log, 0);
    this.partial = new KeptMap(log);
    this.outstanding = new KeptMap(log);
  }

  get name(): string {
    return `PASID ${this.pasid} on ${this.device.name}`;
  }
}
