/**
 * An IOMMU whose tables are a map from PASID and page to frame and rights: what tests of a function need of one.
 * It keeps the page requests and the invalidate completions that it is sent.
 */
import {
  COMPLETION,
  type Iommu,
  type MemoryRequest,
  type PageRequest,
  type TranslationCompletion,
} from '../../src/hardware/index.js';

export interface Mapping {
  readonly frame: number;
  /** A set of RIGHT. */
  readonly rights: number;
}

export class TableIommu implements Iommu {
  readonly mappings = new Map<string, Mapping>();
  readonly pageRequests: PageRequest[] = [];
  readonly invalidationsDone: number[] = [];
  /** What translation requests are completed with. */
  translationStatus: TranslationCompletion['status'] = COMPLETION.SUCCESS;
  /** Is told of each page request while it is sent. */
  requested: ((request: PageRequest) => void) | undefined;
  /** Refused requests, each as text. */
  readonly blocked: string[] = [];

  map(pasid: number, page: number, mapping: Mapping): void {
    this.mappings.set(`${pasid}:${page}`, mapping);
  }

  unmap(pasid: number, page: number): void {
    this.mappings.delete(`${pasid}:${page}`);
  }

  /** Forgets everything. */
  clear(): void {
    this.mappings.clear();
    this.pageRequests.length = 0;
    this.invalidationsDone.length = 0;
    this.blocked.length = 0;
    this.translationStatus = COMPLETION.SUCCESS;
  }

  remap(request: MemoryRequest, out: TranslationCompletion): boolean {
    if (request.isTranslated) {
      out.frame = request.page;
      return true;
    }
    const mapping = this.#find(request);
    if (mapping === undefined || (request.rights & ~mapping.rights) !== 0) {
      this.blocked.push(`${request.pasid}:${request.page}`);
      return false;
    }
    out.frame = mapping.frame;
    return true;
  }

  translate(request: MemoryRequest, out: TranslationCompletion): void {
    const mapping = this.#find(request);
    out.status = this.translationStatus;
    out.pages = 1;
    out.isGlobal = false;
    out.frame = mapping?.frame ?? 0;
    out.rights = mapping?.rights ?? 0;
  }

  requestPage(request: PageRequest): void {
    this.pageRequests.push({ ...request });
    this.requested?.(request);
  }

  invalidationDone(_rid: number, itag: number): void {
    this.invalidationsDone.push(itag);
  }

  invalidationTimedOut(): void {}

  #find({ pasid, page }: MemoryRequest): Mapping | undefined {
    return this.mappings.get(`${pasid}:${page}`);
  }
}
