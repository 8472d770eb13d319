/**
 * How a function asks for pages, after PCIe 6.0, 10.4: page requests in groups, each answered once, as many
 * outstanding as software allows. A response that says "failure" stops the interface until software enables it
 * again. Groups are of one page here; what waits for an answer is the function's part.
 */
import { type Restorable, Words } from '../../base/index.js';
import { PRI_CAPABILITY } from '../../spec/index.js';
import { NONE } from '../cache/slots.js';
import type { ConfigSpace } from './config-space.js';
import { PAGE_RESPONSE, type PageGroupResponse, type PageRequest, type Upstream } from './ports.js';

const { ENABLE, RESET, STOPPED, RESPONSE_FAILURE, UNEXPECTED_GROUP, ALLOCATION, CAPACITY } = PRI_CAPABILITY;

/** Group indices have 9 bits. */
const GROUPS = 512;
const OUTSTANDING = 0;
const NEXT_GROUP = 1;
const HAS_FAILED = 2;
const WAS_ENABLED = 3;
/** Of each group, its PASID plus 2; 0 if it is not outstanding. */
const PASIDS = 4;

/** What the interface belongs to. */
export interface PageRequestOptions {
  readonly rid: number;
  readonly config: ConfigSpace;
  readonly upstream: Upstream;
}

export class PageRequestInterface implements Restorable {
  readonly #config: ConfigSpace;
  readonly #upstream: Upstream;
  readonly #state = new Words(PASIDS + GROUPS, 16);
  readonly #request: PageRequest;

  constructor({ rid, config, upstream }: PageRequestOptions) {
    this.#config = config;
    this.#upstream = upstream;
    this.#request = { rid, pasid: 0, page: 0, rights: 0, group: 0, isLast: true };
  }

  /** How many groups wait for their answer. */
  get outstanding(): number {
    return this.#state.words[OUTSTANDING] ?? 0;
  }

  /** Whether a request can be sent now. */
  get canAsk(): boolean {
    const config = this.#config;
    if (!config.isPriEnabled || this.#state.words[HAS_FAILED] === 1) return false;
    return this.outstanding < Math.min(config.getPri(ALLOCATION), config.getPri(CAPACITY), GROUPS);
  }

  /**
   * Asks for a page.
   *
   * @param rights a set of RIGHT
   * @returns the group index that the answer will name, or {@link NONE} if nothing can be asked for now
   */
  ask(pasid: number, page: number, rights: number): number {
    if (!this.canAsk) return NONE;
    const group = this.#freeGroup();
    this.#state.set(PASIDS + group, pasid + 2);
    this.#state.set(OUTSTANDING, this.outstanding + 1);
    this.#state.set(NEXT_GROUP, (group + 1) % GROUPS);
    this.#send(pasid, page, rights, group);
    return group;
  }

  /** Says that no request of a PASID comes after this. */
  sendStopMarker(pasid: number): void {
    this.#send(pasid, 0, 0, 0);
  }

  /**
   * Takes a response in.
   *
   * @returns whether it answers a group of ours; its code says how
   */
  take({ pasid, group, code }: PageGroupResponse): boolean {
    const held = this.#state.words[PASIDS + group] ?? 0;
    if (held === 0 || held !== pasid + 2) {
      this.#config.setPri(UNEXPECTED_GROUP, 1);
      return false;
    }
    this.#state.set(PASIDS + group, 0);
    this.#state.set(OUTSTANDING, this.outstanding - 1);
    if (code !== PAGE_RESPONSE.SUCCESS && code !== PAGE_RESPONSE.INVALID_REQUEST) {
      this.#config.setPri(RESPONSE_FAILURE, 1);
      this.#state.set(HAS_FAILED, 1);
    }
    this.#updateStopped();
    return true;
  }

  /** To be called when the PRI capability was written. */
  controlChanged(): void {
    const config = this.#config;
    const isEnabled = config.getPri(ENABLE) === 1;
    const isReset = config.getPri(RESET) === 1;
    if (isReset) config.setPri(RESET, 0);
    if (!isEnabled && isReset) this.reset();
    if (isEnabled && this.#state.words[WAS_ENABLED] === 0) this.#state.set(HAS_FAILED, 0);
    this.#state.set(WAS_ENABLED, isEnabled ? 1 : 0);
    this.#updateStopped();
  }

  /** Forgets all that is outstanding. */
  reset(): void {
    for (let group = 0; group < GROUPS; group++) {
      if (this.#state.words[PASIDS + group] !== 0) this.#state.set(PASIDS + group, 0);
    }
    this.#state.set(OUTSTANDING, 0);
    this.#state.set(HAS_FAILED, 0);
  }

  mark(): void {
    this.#state.mark();
  }

  restore(): void {
    this.#state.restore();
  }

  #freeGroup(): number {
    let group = this.#state.words[NEXT_GROUP] ?? 0;
    while (this.#state.words[PASIDS + group] !== 0) group = (group + 1) % GROUPS;
    return group;
  }

  #send(pasid: number, page: number, rights: number, group: number): void {
    const request = this.#request;
    request.pasid = pasid;
    request.page = page;
    request.rights = rights;
    request.group = group;
    this.#upstream.requestPage(request);
  }

  #updateStopped(): void {
    const isRunning = this.#config.isPriEnabled && this.#state.words[HAS_FAILED] === 0;
    this.#config.setPri(STOPPED, !isRunning && this.outstanding === 0 ? 1 : 0);
  }
}
