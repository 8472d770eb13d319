/**
 * The memory that an engine's descriptor names, by slots: its operands, and its completion record. A slot is
 * located (page and offset), translated (by the device TLB, or a translation request), and accessed. From its
 * translation on a frame is *held*, until it is released (Intel DSA Architecture Specification, 341204, revision
 * 3.0, 3.13; PCIe 6.0, 10.2).
 */
import type { Restorable } from '../../base/index.js';
import { DSA_STATUS as STATUS } from '../../spec/index.js';
import { NONE } from '../cache/slots.js';
import { RIGHT } from '../paging/step.js';
import {
  COMPLETION,
  type DeviceTlbInvalidation,
  type MemoryRequest,
  type TranslationCompletion,
} from '../pci/ports.js';
import { NO_PASID } from '../vtd/request.js';
import type { EngineHost } from './engine-host.js';
import type { Work } from './work.js';

const MAX_OPERANDS = 3;
/** The slot of a completion record, after those of the operands. */
export const RECORD_SLOT = MAX_OPERANDS;
/** The slot of a batch's descriptor list. */
export const LIST_SLOT = RECORD_SLOT + 1;
const SLOTS = LIST_SLOT + 1;
const LIST_BYTES = 64;
const RECORD_BYTES = 32;
export const PAGE = 4096;

export class Buffers implements Restorable {
  readonly #host: EngineHost;
  readonly #work: Work;
  /** By slot: the page, its frame (equal to it without ATS), and the offset in it. */
  readonly #pages = new Float64Array(SLOTS);
  readonly #frames = new Float64Array(SLOTS);
  readonly #offsets = new Int32Array(SLOTS);
  /** How many bytes of each are accessed; none, where a piece leaves an operand out. */
  readonly #lengths = new Int32Array(SLOTS);
  /** The slots that hold a translation, a bit each. */
  #held = 0;
  readonly #marked = {
    pages: this.#pages.slice(),
    frames: this.#frames.slice(),
    offsets: this.#offsets.slice(),
    lengths: this.#lengths.slice(),
    held: 0,
  };
  readonly #request: MemoryRequest;
  readonly #completion: TranslationCompletion = {
    status: COMPLETION.SUCCESS,
    frame: 0,
    pages: 1,
    rights: 0,
    isGlobal: false,
  };

  constructor(host: EngineHost, work: Work) {
    this.#host = host;
    this.#work = work;
    this.#request = {
      ...{ rid: host.parts.rid, pasid: NO_PASID, page: 0, rights: 0 },
      ...{ isTranslated: false, offset: 0, length: 0 },
    };
    this.#lengths[RECORD_SLOT] = RECORD_BYTES;
    this.#lengths[LIST_SLOT] = LIST_BYTES;
  }

  /** Sets the place of a slot: `plus` bytes after the address at `descriptor[word]`, modulo 2^64. */
  locate(slot: number, word: number, plus: number): void {
    const { descriptor } = this.#work;
    const low = ((descriptor[word] ?? 0) >>> 0) + plus;
    const page = ((descriptor[word + 1] ?? 0) >>> 0) * 2 ** 20 + Math.floor(low / PAGE);
    this.#pages[slot] = page >= 2 ** 52 ? page - 2 ** 52 : page;
    this.#offsets[slot] = low & (PAGE - 1);
  }

  /** Sets how many bytes of an operand are accessed, which lie in one page. */
  resize(slot: number, bytes: number): void {
    this.#lengths[slot] = bytes;
  }
  lengthOf(slot: number): number {
    return this.#lengths[slot] ?? 0;
  }
  /** The bytes from a slot's place to the end of its page. */
  roomOf(slot: number): number {
    return PAGE - (this.#offsets[slot] ?? 0);
  }
  pageOf(slot: number): number {
    return this.#pages[slot] ?? 0;
  }
  offsetOf(slot: number): number {
    return this.#offsets[slot] ?? 0;
  }

  /** The rights of a request for `right` with the descriptor's privilege. */
  rightsFor(right: number): number {
    return this.#work.now.isPrivileged ? right : right | RIGHT.USER;
  }

  /** Whether addresses are translated before they are used. */
  get usesAts(): boolean {
    return this.#host.parts.config.isAtsEnabled && !this.#host.queue(this.#work.now.wq).isAtsDisabled;
  }

  /** Translates the page of a slot, for READ or WRITE. SUCCESS, PAGE_FAULT or TRANSLATION_ERROR. */
  translate(slot: number, right: number): number {
    const page = this.#pages[slot] ?? 0;
    if (!this.usesAts) {
      this.#frames[slot] = page;
      return STATUS.SUCCESS;
    }
    const request = this.#prepare(slot, right);
    request.isTranslated = false;
    request.page = page;
    const { tlb, upstream } = this.#host.parts;
    let frame = tlb.frameOf(request);
    if (frame === NONE) {
      const completion = this.#completion;
      // A translation request always asks to read; no-write says that it does not ask to write too.
      request.rights |= RIGHT.READ;
      upstream.translate(request, completion);
      if (completion.status !== COMPLETION.SUCCESS) return STATUS.TRANSLATION_ERROR;
      tlb.fill(request, completion);
      if ((completion.rights & right) === 0) return STATUS.PAGE_FAULT;
      frame = completion.frame;
    }
    this.#frames[slot] = frame;
    this.#held |= 1 << slot;
    return STATUS.SUCCESS;
  }

  /** Reads a slot's piece to `into[at]` and on. Whether that succeeded. */
  read(slot: number, into: Uint8Array, at = 0): boolean {
    const request = this.#prepare(slot, RIGHT.READ);
    this.#host.audit?.requests(this.#work.now.tag, request, this.pageOf(slot));
    return this.#host.parts.upstream.read(request, into, at) === COMPLETION.SUCCESS;
  }

  /** Writes a slot's piece, from `from[at]` on. Posted: the device does not learn what becomes of it. */
  write(slot: number, from: Uint8Array, at = 0): void {
    const request = this.#prepare(slot, RIGHT.WRITE);
    this.#host.audit?.requests(this.#work.now.tag, request, this.pageOf(slot));
    this.#host.parts.upstream.write(request, from, at);
  }

  /** Lets go of all translations. */
  release(): void {
    if (this.#held === 0) return;
    this.#held = 0;
    this.#host.released();
  }

  /** Whether it holds a translation that an invalidation names. */
  holds(invalidation: DeviceTlbInvalidation): boolean {
    const { pasid } = this.#work.now;
    if (this.#held === 0 || !(invalidation.isGlobal || invalidation.pasid === pasid)) return false;
    for (let slot = 0; slot < SLOTS; slot++) {
      if ((this.#held & (1 << slot)) === 0) continue;
      const distance = (this.#pages[slot] ?? 0) - invalidation.page;
      if (distance >= 0 && distance < invalidation.pages) return true;
    }
    return false;
  }

  mark(): void {
    this.#marked.pages.set(this.#pages);
    this.#marked.frames.set(this.#frames);
    this.#marked.offsets.set(this.#offsets);
    this.#marked.lengths.set(this.#lengths);
    this.#marked.held = this.#held;
  }

  restore(): void {
    this.#pages.set(this.#marked.pages);
    this.#frames.set(this.#marked.frames);
    this.#offsets.set(this.#marked.offsets);
    this.#lengths.set(this.#marked.lengths);
    this.#held = this.#marked.held;
  }

  /** The request for a slot's piece. */
  #prepare(slot: number, right: number): MemoryRequest {
    const request = this.#request;
    request.pasid = this.#work.now.pasid;
    request.rights = this.rightsFor(right);
    request.isTranslated = (this.#held & (1 << slot)) !== 0;
    request.page = this.#frames[slot] ?? 0;
    request.offset = this.#offsets[slot] ?? 0;
    request.length = this.#lengths[slot] ?? 0;
    return request;
  }
}
