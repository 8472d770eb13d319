/** Taps between devices and the IOMMU: page requests and their answers, invalidations of device TLBs. */
import { hex } from '../../../base/index.js';
import {
  type IommuDownstream,
  type PageGroupResponse,
  type PageRequest,
  RIGHT,
  type Upstream,
} from '../../../hardware/index.js';
import { numberOf, whoseOn } from './identity.js';
import type { JobTaps } from './jobs.js';
import type { Fields } from './names.js';
import type { Tapped } from './tapped.js';

const PAGE = 4096;
/** Of page group responses (PCIe 6.0, 10.4.2). */
const SUCCESS = 0;
/** More pages than anybody has: all of an address space. */
const ALL_PAGES = 2 ** 40;

/** A page request without an answer. */
export interface OutstandingRequest {
  readonly device: string;
  /** The host's number, and that which the device has sent. */
  readonly pasid: number;
  readonly carried: number;
  readonly group: number;
  readonly page: number;
  readonly step: number;
  /** The descriptor that it is for, and its queue, where somebody listens. */
  readonly of: Fields;
}

export class PageRequestTaps {
  readonly #tapped: Tapped;
  readonly #jobs: JobTaps;
  readonly #requests = new Map<string, OutstandingRequest>();
  /** A page request is being sent: what is answered now, the IOMMU answers by itself. */
  #isAsking = false;

  constructor(tapped: Tapped, jobs: JobTaps) {
    this.#tapped = tapped;
    this.#jobs = jobs;
  }

  restore(): void {
    this.#requests.clear();
    this.#isAsking = false;
  }

  outstanding(): Iterable<OutstandingRequest> {
    return this.#requests.values();
  }

  upstream(inner: Upstream, device: string): Upstream {
    return {
      read: (request, into, at) => inner.read(request, into, at),
      write: (request, from, at) => inner.write(request, from, at),
      translate: (request, out) => inner.translate(request, out),
      requestPage: (request) => {
        this.#requested(device, request);
        this.#isAsking = true;
        inner.requestPage(request);
        this.#isAsking = false;
      },
      invalidationDone: (rid, itag) => inner.invalidationDone(rid, itag),
      interrupt: (rid, address, data) => inner.interrupt(rid, address, data),
    };
  }

  downstream(inner: IommuDownstream): IommuDownstream {
    const tapped = this.#tapped;
    return {
      invalidateDeviceTlb: (invalidation) => {
        if (tapped.isTold) {
          const { rid, pasid, page, pages } = invalidation;
          const range = pages > ALL_PAGES ? 'all pages' : `${pages} from ${hex(page * PAGE)}`;
          const device = tapped.nameOf(rid);
          const fields = { ...whoseOn(tapped.ledger, device, pasid), pages: range };
          tapped.tell('hardware', device, 'ats:invalidate', fields);
        }
        inner.invalidateDeviceTlb(invalidation);
      },
      pageGroupResponse: (response) => {
        this.#answered(response);
        inner.pageGroupResponse(response);
      },
      interrupt: (address, data) => inner.interrupt(address, data),
    };
  }

  /** What a kernel's answer to a page group is about: the page, and the descriptor that waits for it. */
  ofGroup(device: string, group: number): Fields {
    for (const request of this.#requests.values()) {
      if (request.device === device && request.group === group) {
        return { page: hex(request.page * PAGE), ...request.of };
      }
    }
    return {};
  }

  #requested(device: string, { rid, pasid: carried, page, rights, group, isLast }: PageRequest): void {
    // A stop marker asks for nothing, and is not answered.
    if (!isLast || (rights & ~RIGHT.USER) === 0) return;
    const tapped = this.#tapped;
    const { ledger, isTold } = tapped;
    const pasid = ledger.numbering.idOf(device, carried);
    const of = isTold ? this.#jobs.behind(device, pasid, page) : {};
    this.#requests.set(`${rid}/${group}`, { device, pasid, carried, group, page, step: ledger.step, of });
    if (!isTold) return;
    const access = (rights & RIGHT.WRITE) === 0 ? 'read' : 'write';
    const what = { ...whoseOn(ledger, device, carried), page: hex(page * PAGE), access, group, ...of };
    tapped.tell('hardware', device, 'pri:request', what);
  }

  #answered({ rid, pasid: carried, group, code }: PageGroupResponse): void {
    const key = `${rid}/${group}`;
    const found = this.#requests.get(key);
    const request = found?.carried === carried ? found : undefined;
    const tapped = this.#tapped;
    const { judge, ledger } = tapped;
    const device = tapped.nameOf(rid);
    // Whoever had the number when it asked.
    const number = { ...numberOf(ledger, device, carried), ...(request && { pasid: request.pasid }) };
    const { pasid } = number;
    judge.tell('answered', { device, ...number, group, code, request, isByHardware: this.#isAsking });
    if (request !== undefined) this.#requests.delete(key);
    if (!tapped.isTold) return;
    if (request !== undefined && code !== SUCCESS) this.#jobs.refused(device, pasid, request.page);
    const of = request === undefined ? {} : { page: hex(request.page * PAGE), ...request.of };
    tapped.tell('hardware', device, 'pri:response', {
      ...whoseOn(ledger, device, carried),
      ...{ group, code, ...of },
    });
  }
}
