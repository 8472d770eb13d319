/**
 * Page requests, whatever unit they come from: collected into groups by (device, PASID, group index). A group is
 * served by a task of its own, and answered once; one that a client serves, a guest, is kept as a record until its
 * answer comes. A group whose PASID is gone, or on its way out, is answered Invalid Request: Response Failure would
 * stop the whole function.
 */
import { KeptValue, type Refusal, refuse, type Task } from '../../base/index.js';
import { type KernelContext, tell } from '../context.js';
import { pageName, ridName } from '../ids.js';
import { type Attachment, RequestGroups } from './device.js';
import type { IommuDriver, PageRequest, PageResponse } from './driver.js';

export class PageRequests {
  readonly #context: KernelContext;
  readonly #requestedOf: (request: PageRequest) => Attachment | undefined;
  readonly #count: KeptValue<number>;
  /** Whether it takes requests and answers none: what a kernel does that hangs. */
  isSilent = false;

  /** @param requestedOf what is attached where a request is for */
  constructor(context: KernelContext, requestedOf: (request: PageRequest) => Attachment | undefined) {
    this.#context = context;
    this.#requestedOf = requestedOf;
    this.#count = new KeptValue(context.log, 0);
  }

  /** One request, as the queue has it. */
  *receive(driver: IommuDriver, request: PageRequest): Task {
    // A stop marker ends what a device had of a PASID; nobody answers it.
    if (!request.read && !request.write && request.isLast) return;
    if (this.isSilent) return;
    const attachment = this.#attachmentOf(request);
    if (attachment === undefined) {
      if (request.isLast) yield* this.#answer(driver, request, 'invalid request');
      return;
    }
    const { partial } = this.#groupsOf(attachment);
    const group = [...(partial.get(request.group) ?? []), request];
    if (!request.isLast) {
      partial.set(request.group, group);
      return;
    }
    partial.delete(request.group);
    if (attachment.client !== undefined) yield* this.#forward(attachment, group);
    else {
      this.#groupsOf(attachment).change().serving++;
      this.#context.tasks.spawn(`page request ${this.#count.value++}`, this.#serve(attachment, group));
    }
  }

  /**
   * A client's answer to a group that it has.
   *
   * On failure: `EINVAL` if it has no such group, or has answered it: nothing is sent; `EIO`.
   */
  *respond(
    attachment: Attachment,
    group: number,
    response: PageResponse,
  ): Task<Refusal<'EINVAL' | 'EIO'> | undefined> {
    const { device, pasid, requests } = attachment;
    const request = requests?.outstanding.get(group);
    if (requests === undefined || request === undefined) {
      return refuse('EINVAL', `group ${group} of PASID ${pasid} of ${device.name} is not to be answered`);
    }
    // Before anything can sleep: it is answered once.
    requests.outstanding.delete(group);
    requests.change().answered++;
    return yield* this.#answer(device.driver, request, response);
  }

  /**
   * Answers what a client has not answered: it never will. The attachment is dying, or `which` says of which groups.
   */
  *abort(attachment: Attachment, which: (group: number) => boolean = () => true): Task {
    for (const group of attachment.requests?.outstanding.keys() ?? []) {
      if (which(group)) yield* this.respond(attachment, group, 'invalid request');
    }
  }

  /**
   * Returns when every page request that the device had sent of this PASID is answered. The attachment is dying,
   * so each that is not served yet is answered Invalid Request.
   */
  *drain(attachment: Attachment): Task {
    const { device, pasid } = attachment;
    if (device.pri) yield* device.driver.drainPageRequests(device, pasid);
    yield* this.settle(attachment);
  }

  /** Whether the kernel has nothing of an attachment's requests. */
  isIdle({ requests }: Attachment): boolean {
    return requests?.isIdle !== false;
  }

  /** Returns when every page request of an attachment that has come to the kernel is answered. It is dying. */
  *settle(attachment: Attachment): Task {
    const { requests } = attachment;
    if (requests === undefined) return;
    while (requests.serving > 0) yield requests.changed;
    yield* this.abort(attachment);
    for (const group of requests.partial.keys()) requests.partial.delete(group);
  }

  *#forward(attachment: Attachment, group: readonly PageRequest[]): Task {
    const last = group.at(-1);
    if (last === undefined) return;
    const { client, device } = attachment;
    const { outstanding } = this.#groupsOf(attachment);
    // A device that asks anew by a group that is not answered has forgotten it.
    outstanding.set(last.group, last);
    if (client?.pageRequests(group) === true) return;
    outstanding.delete(last.group);
    yield* this.#answer(device.driver, last, 'invalid request');
  }

  *#serve(attachment: Attachment, group: readonly PageRequest[]): Task {
    const [first] = group;
    try {
      let response: PageResponse = 'success';
      for (const request of group) {
        yield 'page request: serve';
        if (!(yield* this.#servePage(attachment, request))) response = 'invalid request';
      }
      if (attachment.dying) response = 'invalid request';
      if (first !== undefined) yield* this.#answer(attachment.device.driver, first, response);
    } finally {
      const requests = this.#groupsOf(attachment);
      requests.change().serving--;
      if (requests.serving === 0) requests.wake();
    }
  }

  *#servePage({ device, domain, dying }: Attachment, request: PageRequest): Task<boolean> {
    if (dying || request.privileged || domain.handleFault === undefined) return false;
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

  *#answer(
    driver: IommuDriver,
    request: PageRequest,
    response: PageResponse,
  ): Task<Refusal<'EIO'> | undefined> {
    const { rid, pasid = null, group } = request;
    tell(this.#context, 'iommu:page-response', { rid: ridName(rid), pasid, group, response });
    return yield* driver.respond(request, response);
  }

  #attachmentOf(request: PageRequest): Attachment | undefined {
    const attachment = this.#requestedOf(request);
    return attachment?.dying === true ? undefined : attachment;
  }

  /** What there is of an attachment's requests, from now on. */
  #groupsOf(attachment: Attachment): RequestGroups {
    const made = attachment.requests ?? new RequestGroups(this.#context.log, attachment);
    if (made !== attachment.requests) attachment.change().requests = made;
    return made;
  }
}
