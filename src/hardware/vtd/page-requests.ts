/**
 * The page request queue of a VT-d unit, after VT-d 4.1, 7.4 and 7.5: requests go to memory at the tail, one
 * entry each, and software is told. What may not ask is answered "invalid request", with a fault record; what
 * finds the queue full (or not yet cleared after that) is lost, and the last of its group answered "success", so
 * that the function tries again.
 */
import {
  ADDRESS_TYPE,
  FAULT_TYPE,
  PAGE_REQUEST_BYTES,
  PAGE_REQUEST_DESCRIPTOR,
  PAGE_REQUEST_TYPE,
  PQA_REG,
  PQH_REG,
  PQT_REG,
  PRS_REG,
  type RegisterFile,
  VTD_REGISTER,
} from '../../spec/index.js';
import { ABSENT, FRAME_BYTES, type FrameMemory } from '../memory.js';
import { RIGHT } from '../paging/step.js';
import { PAGE_RESPONSE, type PageGroupResponse, type PageRequest } from '../pci/ports.js';
import type { EventMessage } from './event-message.js';
import type { Fault } from './fault-recording.js';
import { NO_PASID, type Request } from './request.js';

const { PQA, PQH, PQT, PRS } = VTD_REGISTER;
const descriptor = PAGE_REQUEST_DESCRIPTOR;

/** Who may ask for pages. */
export interface PageRequestGate {
  /** Whether translation is on. */
  readonly isEnabled: boolean;
  /** The reason why the last request that might not ask was refused. */
  readonly fault: number;
  mayRequestPages(request: Request): boolean;
}

/** What the queue acts on. */
export interface PageRequestQueueOptions {
  readonly file: RegisterFile;
  readonly memory: FrameMemory;
  readonly gate: PageRequestGate;
  /** Sends what the unit answers by itself. The record is the queue's. */
  readonly respond: (response: PageGroupResponse) => void;
  readonly event: EventMessage;
  /** ECAP.SMS: stop markers go to the queue; else they are dropped. */
  readonly takesStopMarkers: boolean;
  /** Records the fault of a request that may not ask. */
  readonly refused: (fault: Fault, request: Request) => void;
}

export class PageRequestQueue {
  readonly #options: PageRequestQueueOptions;
  readonly #response: PageGroupResponse = { rid: 0, pasid: NO_PASID, group: 0, code: 0 };

  constructor(options: PageRequestQueueOptions) {
    this.#options = options;
  }

  /** Takes a request in. */
  request(request: PageRequest): void {
    const { gate, file } = this.#options;
    const isStopMarker = (request.rights & ~RIGHT.USER) === 0 && request.isLast;
    if (isStopMarker && !this.#options.takesStopMarkers) return;
    if (!gate.isEnabled) {
      this.#answer(request, PAGE_RESPONSE.INVALID_REQUEST);
    } else if (!gate.mayRequestPages(request)) {
      const { fault } = gate;
      const type = FAULT_TYPE.PAGE_REQUEST;
      this.#options.refused({ reason: fault, addressType: ADDRESS_TYPE.UNTRANSLATED, type }, request);
      this.#answer(request, PAGE_RESPONSE.INVALID_REQUEST);
    } else if (file.get(PRS, PRS_REG.PRO) === 1 || !this.#enqueue(request)) {
      this.#overflow();
      this.#answer(request, PAGE_RESPONSE.SUCCESS);
    }
  }

  /** Software has written the status register. */
  statusWritten(): void {
    const { file, event } = this.#options;
    if (file.get(PRS, PRS_REG.PPR) === 0 && file.get(PRS, PRS_REG.PRO) === 0) event.served();
  }

  /** Writes the entry, if there is room. */
  #enqueue(request: PageRequest): boolean {
    const { file, memory } = this.#options;
    const tail = file.get(PQT, PQT_REG.PQT);
    const entries = (FRAME_BYTES / PAGE_REQUEST_BYTES) * 2 ** file.get(PQA, PQA_REG.PQS);
    const next = (tail + 1) % entries;
    if (next === file.get(PQH, PQH_REG.PQH)) return false;
    const offset = (tail % entries) * PAGE_REQUEST_BYTES;
    const frame = file.get(PQA, PQA_REG.PQA) + Math.floor(offset / FRAME_BYTES);
    const at = memory.writable(frame, (offset % FRAME_BYTES) / 4);
    if (at === ABSENT) return false;
    write(memory.words, at, request);
    file.set(PQT, PQT_REG.PQT, next);
    this.#tell(PRS_REG.PPR);
    return true;
  }

  #overflow(): void {
    if (this.#options.file.get(PRS, PRS_REG.PRO) === 0) this.#tell(PRS_REG.PRO);
  }

  /** Sets a status bit; an interrupt follows if neither was set. */
  #tell(bit: typeof PRS_REG.PPR): void {
    const { file, event } = this.#options;
    const wasQuiet = file.get(PRS, PRS_REG.PPR) === 0 && file.get(PRS, PRS_REG.PRO) === 0;
    file.set(PRS, bit, 1);
    if (wasQuiet) event.raise();
  }

  /** Answers for software. Stop markers and all but the last of a group have no answer. */
  #answer(request: PageRequest, code: number): void {
    if (!request.isLast || (request.rights & ~RIGHT.USER) === 0) return;
    const response = this.#response;
    response.rid = request.rid;
    response.pasid = request.pasid;
    response.group = request.group;
    response.code = code;
    this.#options.respond(response);
  }
}

function write(words: Int32Array, at: number, request: PageRequest): void {
  const { rid, pasid, page, rights, group, isLast } = request;
  words.fill(0, at, at + PAGE_REQUEST_BYTES / 4);
  descriptor.TYPE.set(words, at, PAGE_REQUEST_TYPE);
  descriptor.RID.set(words, at, rid);
  if (pasid !== NO_PASID) {
    descriptor.PP.set(words, at, 1);
    descriptor.PASID.set(words, at, pasid);
    descriptor.EXR.set(words, at, (rights & RIGHT.EXECUTE) === 0 ? 0 : 1);
    descriptor.PMR.set(words, at, (rights & RIGHT.USER) === 0 ? 1 : 0);
  }
  descriptor.RD.set(words, at, (rights & RIGHT.READ) === 0 ? 0 : 1);
  descriptor.WR.set(words, at, (rights & RIGHT.WRITE) === 0 ? 0 : 1);
  descriptor.LPIG.set(words, at, isLast ? 1 : 0);
  descriptor.PRGI.set(words, at, group);
  descriptor.ADDR.set(words, at, page);
}
