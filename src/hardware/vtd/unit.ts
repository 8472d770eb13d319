/**
 * A VT-d unit: registers that software programs, and the port that the root complex sends requests to. After
 * VT-d 4.1. What CAP and ECAP do not offer is refused.
 *
 * Global commands and register-based invalidations are done by the time the write returns. Left out: interrupt
 * remapping, the fault log in memory, protected memory ranges, performance monitoring, memory types.
 */
import type { Chooser, Restorable } from '../../base/index.js';
import {
  ADDRESS_TYPE,
  CAP_REG,
  ECAP_REG,
  FAULT_REASONS,
  FAULT_TYPE,
  ICS_REG,
  type Register,
  RegisterFile,
  VTD_REGISTER,
  type VtdRegisterTable,
  vtdRegisters,
  wordsOf,
} from '../../spec/index.js';
import type { Engine } from '../engine.js';
import type { FrameReader, Memory } from '../memory.js';
import { RIGHT } from '../paging/step.js';
import {
  COMPLETION,
  type Iommu,
  type IommuDownstream,
  type MemoryRequest,
  type MmioRegion,
  type PageRequest,
  type TranslationCompletion,
} from '../pci/ports.js';
import type { BeforeMark } from './accessed-dirty.js';
import { Commands } from './commands.js';
import { completionStatus, isDenial } from './completion-status.js';
import { EventMessage, type EventRegisters } from './event-message.js';
import { type Fault, FaultRecording } from './fault-recording.js';
import { type UnitFormat, unitFormat } from './format.js';
import { InvalidationQueue } from './invalidation-queue.js';
import { offeredCap, offeredEcap } from './offered.js';
import { PageRequestQueue } from './page-requests.js';
import type { Request } from './request.js';
import { Translator } from './translator.js';
import type { CacheSizes } from './unit-caches.js';
import { type VirtualCommandPort, VirtualCommands } from './virtual-commands.js';

const R = VTD_REGISTER;

/** What a unit is, and what it is connected to. */
export interface VtdUnitOptions {
  /** Names it in choices and events: `dmar0`. */
  readonly name: string;
  readonly cap: bigint;
  readonly ecap: bigint;
  /** Bits of a host physical address; the guest address width (CAP.MGAW) if left out. */
  readonly hostAddressWidth?: number;
  readonly memory: Memory;
  readonly downstream: IommuDownstream;
  readonly chooser: Chooser;
  readonly caches?: CacheSizes;
  /** What the unit sees of memory where it does not snoop (ECAP.C, ECAP.SMPWCS); all of it, if left out. */
  readonly writtenBack?: FrameReader;
  /** Takes virtual commands; without it, ECAP.VCS is not offered. */
  readonly virtualCommands?: VirtualCommandPort;
  /**
   * Called between the reading of a paging entry and the locked write that marks it: others may store to memory
   * there. They may not use the unit.
   */
  readonly beforeMark?: BeforeMark;
}

/** What to leave out of a translation request that was denied, in turn. */
const LESS = [RIGHT.WRITE, RIGHT.READ, RIGHT.EXECUTE, RIGHT.WRITE | RIGHT.EXECUTE];

export class VtdUnit implements Iommu, MmioRegion, Restorable {
  readonly name: string;
  readonly bytes: number;
  readonly format: UnitFormat;
  /** What goes on by itself: the invalidation queue. */
  readonly engines: readonly Engine[];
  /** The caches: for tests, rules and `inspect`. */
  readonly translator: Translator;
  readonly #table: VtdRegisterTable;
  readonly #file: RegisterFile;
  /** Where faults are recorded: to be watched. */
  readonly faults: FaultRecording;
  readonly #queue: InvalidationQueue;
  readonly #pageRequests: PageRequestQueue;
  readonly #events: readonly EventMessage[];
  readonly #invalidationEvent: EventMessage;
  readonly #parts: readonly Restorable[];
  readonly #written: ReadonlyMap<Register, () => void>;
  readonly #attempt: MemoryRequest;

  constructor(options: VtdUnitOptions) {
    const { name, memory, downstream, chooser, virtualCommands, ...rest } = options;
    const offered = {
      cap: offeredCap(options.cap),
      ecap: offeredEcap(options.ecap, virtualCommands !== undefined),
    };
    const cap = wordsOf(offered.cap);
    const ecap = wordsOf(offered.ecap);
    this.name = name;
    this.format = unitFormat({ cap, ecap, ...widthOf(options) });
    this.#table = vtdRegisters(offered);
    this.bytes = this.#table.bytes;
    this.#file = new RegisterFile(this.#table.all, this.bytes, (register) => this.#written.get(register)?.());
    const event = (registers: EventRegisters) =>
      new EventMessage(registers, this.#file, (address, data) => downstream.interrupt(address, data));
    const faultEvent = event({ control: R.FECTL, data: R.FEDATA, address: R.FEADDR, upper: R.FEUADDR });
    const pageEvent = event({ control: R.PECTL, data: R.PEDATA, address: R.PEADDR, upper: R.PEUADDR });
    this.#invalidationEvent = event({
      control: R.IECTL,
      data: R.IEDATA,
      address: R.IEADDR,
      upper: R.IEUADDR,
    });
    this.#events = [faultEvent, pageEvent, this.#invalidationEvent];
    this.faults = new FaultRecording(this.#file, this.#table.FRCD, faultEvent);
    this.translator = new Translator({ ...rest, name, format: this.format, memory, chooser });
    this.#queue = new InvalidationQueue({
      name,
      file: this.#file,
      memory,
      format: this.format,
      largestMask: CAP_REG.MAMV.get(cap, 0),
      drainsPageRequests: ECAP_REG.PDS.get(ecap, 0) === 1,
      translator: this.translator,
      faults: this.faults,
      downstream,
      waitDone: () => this.#waitDone(),
    });
    this.#pageRequests = new PageRequestQueue({
      file: this.#file,
      memory,
      translator: this.translator,
      downstream,
      event: pageEvent,
      takesStopMarkers: ECAP_REG.SMS.get(ecap, 0) === 1,
      refused: (fault, request) => this.#record(fault, request),
    });
    const commands = new Commands({
      file: this.#file,
      table: this.#table,
      translator: this.translator,
      format: this.format,
      queue: this.#queue,
      hasQueue: ECAP_REG.QI.get(ecap, 0) === 1,
      srtpInvalidates: CAP_REG.ESRTPS.get(cap, 0) === 1,
    });
    const commandPort = virtualCommands && new VirtualCommands(this.#file, virtualCommands);
    this.#written = this.#handlers(commands, commandPort);
    this.engines = [this.#queue];
    this.#parts = [this.#file, this.translator, this.faults, this.#queue];
    this.#attempt = { rid: 0, pasid: 0, page: 0, rights: 0, isTranslated: false, offset: 0, length: 0 };
  }

  remap(request: MemoryRequest, out: TranslationCompletion): boolean {
    if (request.isTranslated) return this.#remapTranslated(request, out);
    if (this.translator.remap(request, out)) return true;
    this.#recordRequest(request, ADDRESS_TYPE.UNTRANSLATED);
    return false;
  }

  translate(request: MemoryRequest, out: TranslationCompletion): void {
    const { translator } = this;
    out.status = COMPLETION.UNSUPPORTED_REQUEST;
    out.frame = 0;
    out.pages = 1;
    out.rights = 0;
    out.isGlobal = false;
    if (!translator.isEnabled || !this.format.deviceTlb) return;
    if (translator.mayTranslate(request) && this.#grant(request, out)) return;
    out.status = completionStatus(translator.fault);
    if (out.status !== COMPLETION.SUCCESS) this.#recordRequest(request, ADDRESS_TYPE.TRANSLATION_REQUEST);
  }

  requestPage(request: PageRequest): void {
    if (this.format.pageRequests) this.#pageRequests.request(request);
  }

  invalidationDone(rid: number, itag: number): void {
    this.#queue.done(rid, itag);
  }

  invalidationTimedOut(rid: number): void {
    this.#queue.timedOut(rid);
  }

  read32(offset: number): number {
    return this.#file.read32(offset);
  }

  read64(offset: number, out: Int32Array): void {
    out[0] = this.#file.read32(offset);
    out[1] = this.#file.read32(offset + 4);
  }

  write32(offset: number, value: number): void {
    this.#file.write32(offset, value);
  }

  write64(offset: number, lo: number, hi: number): void {
    this.#file.write64(offset, lo, hi);
  }

  /** Registers take accesses of 4 and 8 bytes: this one is lost. */
  write512(): void {}

  enqueue(): boolean {
    return false;
  }

  mark(): void {
    for (const each of this.#parts) each.mark();
  }

  restore(): void {
    for (const each of this.#parts) each.restore();
  }

  /** A request with an address that ATS has translated: where device TLBs are allowed, it goes there. */
  #remapTranslated(request: MemoryRequest, out: TranslationCompletion): boolean {
    const { translator } = this;
    if (!translator.isEnabled || !this.format.deviceTlb) return false;
    if (!translator.mayTranslate(request)) {
      this.#recordRequest(request, ADDRESS_TYPE.TRANSLATED);
      return false;
    }
    out.frame = request.page;
    out.pages = 1;
    out.rights = request.rights;
    out.isGlobal = false;
    return true;
  }

  /** Grants what it can of a translation request's rights; false if that is nothing. */
  #grant(request: MemoryRequest, out: TranslationCompletion): boolean {
    const attempt = this.#attempt;
    attempt.rid = request.rid;
    attempt.pasid = request.pasid;
    attempt.page = request.page;
    attempt.rights = request.rights;
    for (let i = 0; ; i++) {
      if (this.translator.remap(attempt, out)) break;
      const less = LESS[i];
      if (less === undefined || !isDenial(this.translator.fault)) return false;
      attempt.rights = request.rights & ~less;
      if ((attempt.rights & ~RIGHT.USER) === 0) return false;
    }
    out.status = COMPLETION.SUCCESS;
    out.rights = attempt.rights;
    return true;
  }

  #recordRequest(request: MemoryRequest, addressType: number): void {
    const type = (request.rights & RIGHT.WRITE) === 0 ? FAULT_TYPE.READ : FAULT_TYPE.WRITE;
    this.#record({ reason: this.translator.fault, addressType, type }, request);
  }

  /** Records a fault, unless the tables say that those of its kind are not wanted (FPD). */
  #record(fault: Fault, request: Request): void {
    if (fault.reason === 0) return;
    if (this.translator.silenced && FAULT_REASONS[fault.reason]?.qualified === true) return;
    this.faults.record(fault, request);
  }

  /** What a write sets off. */
  #handlers(commands: Commands, virtual: VirtualCommands | undefined): ReadonlyMap<Register, () => void> {
    const faults = this.faults;
    return new Map<Register, () => void>([
      [R.GCMD, () => commands.global()],
      [R.CCMD, () => commands.context()],
      [this.#table.IOTLB, () => commands.iotlb()],
      [R.VCMD, () => virtual?.written()],
      [R.IQT, () => this.#queue.tailWritten()],
      [R.FSTS, () => faults.statusWritten()],
      ...this.#table.FRCD.map((each): [Register, () => void] => [each, () => faults.statusWritten()]),
      [R.ICS, () => this.#completionWritten()],
      [R.PRS, () => this.#pageRequests.statusWritten()],
      ...this.#events.map((each): [Register, () => void] => [each.control, () => each.controlWritten()]),
    ]);
  }

  #completionWritten(): void {
    if (this.#file.get(R.ICS, ICS_REG.IWC) === 0) this.#invalidationEvent.served();
  }

  /** A wait descriptor with IF is complete. */
  #waitDone(): void {
    if (this.#file.get(R.ICS, ICS_REG.IWC) === 1) return;
    this.#file.set(R.ICS, ICS_REG.IWC, 1);
    this.#invalidationEvent.raise();
  }
}

function widthOf({ hostAddressWidth }: VtdUnitOptions): { hostAddressWidth?: number } {
  return hostAddressWidth === undefined ? {} : { hostAddressWidth };
}
