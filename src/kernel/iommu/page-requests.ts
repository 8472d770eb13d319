/**
 * Page requests, whatever unit they come from: collected into groups by (device, PASID, group index), each group
 * served by a task of its own, and answered once. A group whose PASID is gone, or on its way out, is answered
 * Invalid Request: Response Failure would stop the whole function.
 */
import { KeptMap, KeptValue, type Task, type UndoLog } from '../../base/index.js';
import { type KernelContext, tell } from '../context.js';
import { pageName, ridName } from '../ids.js';
import type { Attachment, IommuDevice } from './device.js';
import type { IommuDriver, PageRequest, PageResponse } from './driver.js';

export class PageRequests {
  readonly #context: KernelContext;
  readonly #deviceAt: (rid: number) => IommuDevice | undefined;
  /** Requests of groups whose last one has not come. */
  readonly #partial: KeptMap<string, readonly PageRequest[]>;
  readonly #count: KeptValue<number>;
  /** Whether it takes requests and answers none: what a kernel does that hangs. */
  isSilent = false;

  constructor(context: KernelContext, deviceAt: (rid: number) => IommuDevice | undefined) {
    this.#context = context;
    this.#deviceAt = deviceAt;
    this.#partial = newPartial(context.log);
    this.#count = new KeptValue(context.log, 0);
  }

  /** One request, as the queue has it. */
  *receive(driver: IommuDriver, request: PageRequest): Task {
    // A stop marker ends what a device had of a PASID; nobody answers it.
    if (!request.read && !request.write && request.isLast) return;
    if (this.isSilent) return;
    const key = keyOf(request);
    const group = [...(this.#partial.get(key) ?? []), request];
    if (!request.isLast) {
      this.#partial.set(key, group);
      return;
    }
    this.#partial.delete(key);
    const attachment = this.#attachmentOf(request);
    if (attachment === undefined) {
      yield* this.#answer(driver, request, 'invalid request');
      return;
    }
    attachment.serving.value++;
    this.#context.tasks.spawn(`page request ${this.#count.value++}`, this.#serve(attachment, group));
  }

  /**
   * Returns when every page request that the device had sent of this PASID is answered. The attachment is dying,
   * so each that is not served yet is answered Invalid Request.
   */
  *drain(attachment: Attachment): Task {
    const { device, pasid } = attachment;
    if (device.pri) yield* device.driver.drainPageRequests(device, pasid);
    while (attachment.serving.value > 0) yield attachment.served;
    for (const key of this.#partial.keys()) {
      if (key.startsWith(`${device.rid}/${pasid}/`)) this.#partial.delete(key);
    }
  }

  *#serve(attachment: Attachment, group: readonly PageRequest[]): Task {
    const [first] = group;
    try {
      let response: PageResponse = 'success';
      for (const request of group) {
        yield 'page request: serve';
        if (!(yield* this.#servePage(attachment, request))) response = 'invalid request';
      }
      if (attachment.dying.value) response = 'invalid request';
      if (first !== undefined) yield* this.#answer(attachment.device.driver, first, response);
    } finally {
      attachment.serving.value--;
      if (attachment.serving.value === 0) attachment.served.wakeAll();
    }
  }

  *#servePage({ device, domain, dying }: Attachment, request: PageRequest): Task<boolean> {
    if (dying.value || request.privileged || domain.handleFault === undefined) return false;
    const { write, execute } = request;
    const refusal = yield* domain.handleFault(request.page, { write, execute });
    if (refusal === undefined) {
      // Who caches that there was no page asks again otherwise, and gets no further.
      const range = { first: request.page, last: request.page };
      return (yield* device.driver.flushNew(domain, range)) === undefined;
    }
    const { rid, pasid = null, page } = request;
    const fields = { rid: ridName(rid), pasid, page: pageName(page), why: refusal.toString() };
    tell(this.#context, 'iommu:page-request-refused', fields);
    return false;
  }

  *#answer(driver: IommuDriver, request: PageRequest, response: PageResponse): Task {
    const { rid, pasid = null, group } = request;
    tell(this.#context, 'iommu:page-response', { rid: ridName(rid), pasid, group, response });
    yield* driver.respond(request, response);
  }

  #attachmentOf({ rid, pasid }: PageRequest): Attachment | undefined {
    if (pasid === undefined) return undefined;
    const attachment = this.#deviceAt(rid)?.attachments.get(pasid);
    return attachment?.dying.value === true ? undefined : attachment;
  }
}

const newPartial = (log: UndoLog): KeptMap<string, readonly PageRequest[]> => new KeptMap(log);

const keyOf = ({ rid, pasid, group }: PageRequest): string => `${rid}/${pasid ?? '-'}/${group}`;
