/**
 * BAR2: four portals for each work queue, a page each (Intel DSA Architecture Specification, 341204, revision
 * 3.0, 5.3 and 9.3). What comes through those for interrupt message storage names its interrupts there; on a device
 * that has none they take nothing.
 */
import { DSA_PORTAL, DSA_STATUS, DSA_WQ_PORTAL_BYTES, DSA_WQ_STATE } from '../../spec/index.js';
import type { MmioRegion } from '../pci/ports.js';
import { IMS_TABLE } from './interrupt-handles.js';
import { type DsaAudit, portalBytes } from './ports.js';
import type { SoftwareErrors } from './software-errors.js';
import type { WorkQueue } from './work-queue.js';

/** What portals need of their device. */
export interface PortalHost {
  readonly queues: readonly WorkQueue[];
  readonly errors: SoftwareErrors;
  readonly audit: DsaAudit | undefined;
  /** Whether it has interrupt message storage. */
  readonly hasIms: boolean;
  /** @param table where its interrupt handle leads */
  accept(queue: WorkQueue, descriptor: Int32Array, table: number): void;
}

const LIMITED = DSA_PORTAL.LIMITED;
const IMS = DSA_PORTAL.IMS_UNLIMITED;

export class PortalRegion implements MmioRegion {
  readonly name: string;
  readonly bytes: number;
  readonly #host: PortalHost;

  constructor(name: string, host: PortalHost) {
    this.name = name;
    this.bytes = portalBytes(host.queues.length);
    this.#host = host;
  }

  read32(): number {
    return 0;
  }

  read64(_offset: number, out: Int32Array): void {
    out[0] = 0;
    out[1] = 0;
  }

  /** Only writes of 64 bytes mean anything. */
  write32(): void {}
  write64(): void {}

  write512(offset: number, data: Int32Array): void {
    const queue = this.#queueAt(offset);
    if (queue === undefined || queue.state !== DSA_WQ_STATE.ENABLED || !queue.isDedicated) {
      this.#host.audit?.refused(this.#indexOf(offset), data);
    } else if (queue.hasRoom(false)) {
      this.#host.accept(queue, data, tableOf(offset));
    } else {
      const descriptor = {
        words: data,
        wq: queue.index,
        pasid: queue.pasidOf(data, 0),
        isPrivileged: queue.isPrivileged(data, 0),
      };
      this.#host.errors.record({ error: DSA_STATUS.QUEUE_FULL, descriptor });
      this.#host.audit?.refused(queue.index, data);
    }
  }

  enqueue(offset: number, data: Int32Array): boolean {
    const queue = this.#queueAt(offset);
    const isOpen = queue !== undefined && queue.state === DSA_WQ_STATE.ENABLED && !queue.isDedicated;
    if (isOpen && queue.hasRoom((offset & LIMITED) !== 0)) {
      this.#host.accept(queue, data, tableOf(offset));
      return true;
    }
    this.#host.audit?.refused(this.#indexOf(offset), data);
    return false;
  }

  #queueAt(offset: number): WorkQueue | undefined {
    if ((offset & IMS) !== 0 && !this.#host.hasIms) return undefined;
    return this.#host.queues[this.#indexOf(offset)];
  }

  #indexOf(offset: number): number {
    return Math.floor(offset / DSA_WQ_PORTAL_BYTES);
  }
}

const tableOf = (offset: number): number => ((offset & IMS) === 0 ? 0 : IMS_TABLE);
