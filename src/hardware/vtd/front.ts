/**
 * A VT-d unit as software sees it: its registers, its invalidation queue, its page request queue, its fault records
 * and its interrupts, after VT-d 4.1, chapters 6, 7 and 11. What commands and descriptors act on is the end behind
 * it: the same front stands before the caches of silicon and before a VMM that emulates a unit for its guest.
 */
import { assert, type Restorable } from '../../base/index.js';
import {
  CAP_REG,
  ECAP_REG,
  FAULT_REASONS,
  ICS_REG,
  type Register,
  RegisterFile,
  VTD_REGISTER,
  type VtdRegisterTable,
  vtdRegisters,
  wordsOf,
} from '../../spec/index.js';
import type { FrameMemory } from '../memory.js';
import type { MmioRegion, PageGroupResponse } from '../pci/ports.js';
import { Commands } from './commands.js';
import type { UnitEnd } from './end.js';
import { EventMessage, type EventRegisters } from './event-message.js';
import { type Fault, FaultRecording } from './fault-recording.js';
import type { UnitFormat } from './format.js';
import { InvalidationQueue } from './invalidation-queue.js';
import { type PageRequestGate, PageRequestQueue } from './page-requests.js';
import type { Request } from './request.js';
import { type VirtualCommandPort, VirtualCommands } from './virtual-commands.js';

const R = VTD_REGISTER;

/** What a front is, and what stands behind it. */
export interface UnitFrontOptions {
  readonly name: string;
  /** As they are read. */
  readonly cap: bigint;
  readonly ecap: bigint;
  readonly format: UnitFormat;
  /** What queues lie in. */
  readonly memory: FrameMemory;
  /** What commands by register act on, and what descriptors of the queue do. */
  readonly end: UnitEnd;
  readonly queueEnd: UnitEnd;
  readonly gate: PageRequestGate;
  /** Whether the fault at hand is not wanted: FPD of an entry that led to it. */
  readonly isSilenced: () => boolean;
  /** Sends what the unit answers page requests by itself. */
  readonly respond: (response: PageGroupResponse) => void;
  readonly interrupt: (address: number, data: number) => void;
  readonly virtualCommands?: VirtualCommandPort | undefined;
  /** The virtual command registers are those of before revision 3.3. */
  readonly oldVirtualCommands?: boolean | undefined;
}

/** What a front that stands still is: its queues lie in memory, where the registers say. */
export interface UnitState {
  /** All registers, word by word. */
  readonly registers: Int32Array;
  /** The fault record that is next. */
  readonly nextRecord: number;
}

export class UnitFront implements MmioRegion, Restorable {
  readonly name: string;
  readonly bytes: number;
  readonly queue: InvalidationQueue;
  readonly commands: Commands;
  readonly pageRequests: PageRequestQueue;
  readonly faults: FaultRecording;
  readonly #table: VtdRegisterTable;
  readonly #file: RegisterFile;
  readonly #events: readonly EventMessage[];
  readonly #invalidationEvent: EventMessage;
  readonly #virtual: VirtualCommands | undefined;
  readonly #isSilenced: () => boolean;
  readonly #parts: readonly Restorable[];
  readonly #written: ReadonlyMap<Register, () => void>;

  constructor(options: UnitFrontOptions) {
    const { name, memory, format, virtualCommands, oldVirtualCommands = false } = options;
    const ecap = wordsOf(options.ecap);
    this.name = name;
    this.#isSilenced = options.isSilenced;
    this.#table = vtdRegisters({ cap: options.cap, ecap: options.ecap, oldVirtualCommands });
    this.bytes = this.#table.bytes;
    this.#file = new RegisterFile(this.#table.map, (register) => this.#onWrite(register));
    const file = this.#file;
    const event = (registers: EventRegisters) => new EventMessage(registers, file, options.interrupt);
    const faultEvent = event({ control: R.FECTL, data: R.FEDATA, address: R.FEADDR, upper: R.FEUADDR });
    const pageEvent = event({ control: R.PECTL, data: R.PEDATA, address: R.PEADDR, upper: R.PEUADDR });
    this.#invalidationEvent = event({
      control: R.IECTL,
      data: R.IEDATA,
      address: R.IEADDR,
      upper: R.IEUADDR,
    });
    this.#events = [faultEvent, pageEvent, this.#invalidationEvent];
    this.faults = new FaultRecording(file, this.#table.FRCD, faultEvent);
    this.queue = new InvalidationQueue({
      ...{ name, file, memory, format, end: options.queueEnd, faults: this.faults },
      largestMask: CAP_REG.MAMV.get(wordsOf(options.cap), 0),
      drainsPageRequests: ECAP_REG.PDS.get(ecap, 0) === 1,
      waitDone: () => this.#waitDone(),
    });
    this.pageRequests = new PageRequestQueue({
      ...{ file, memory, gate: options.gate, respond: options.respond, event: pageEvent },
      takesStopMarkers: ECAP_REG.SMS.get(ecap, 0) === 1,
      refused: (fault, request) => this.record(fault, request),
    });
    this.commands = new Commands({
      ...{ file, table: this.#table, end: options.end, format, queue: this.queue },
      hasQueue: ECAP_REG.QI.get(ecap, 0) === 1,
      srtpInvalidates: CAP_REG.ESRTPS.get(wordsOf(options.cap), 0) === 1,
    });
    this.#virtual = virtualCommands && new VirtualCommands(file, virtualCommands, oldVirtualCommands);
    this.#written = this.#handlers();
    this.#parts = [file, this.faults, this.queue];
  }

  /** Records a fault, unless the tables say that those of its kind are not wanted (FPD). */
  record(fault: Fault, request: Request): void {
    if (fault.reason === 0) return;
    if (FAULT_REASONS[fault.reason]?.qualified === true && this.#isSilenced()) return;
    this.faults.record(fault, request);
  }

  /** Registers and queues are as after power-on. */
  reset(): void {
    this.#file.reset();
    this.queue.reset();
    this.queue.readiness.stir();
    this.faults.reset();
    this.#virtual?.reset();
  }

  /** While no descriptor is in progress, and no invalidation outstanding: a `Bug` otherwise. */
  save(): UnitState {
    const isQuiet = !this.queue.isPending && this.queue.outstanding === 0;
    assert(isQuiet, `${this.name} has descriptors in progress`);
    return { registers: this.#file.words.slice(), nextRecord: this.faults.next };
  }

  /** What {@link UnitFront.save} gave, of a front that offers the same. Nothing is done of it by this alone. */
  load({ registers, nextRecord }: UnitState): void {
    this.#file.load(registers);
    this.faults.next = nextRecord;
    this.queue.readiness.stir();
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

  #onWrite(register: Register): void {
    this.queue.readiness.stir();
    this.#written.get(register)?.();
  }

  /** What a write sets off. */
  #handlers(): ReadonlyMap<Register, () => void> {
    const { faults, commands, queue } = this;
    const virtual = this.#virtual;
    return new Map<Register, () => void>([
      [R.GCMD, () => commands.global()],
      [R.CCMD, () => commands.context()],
      [this.#table.IOTLB, () => commands.iotlb()],
      ...(virtual === undefined ? [] : [[virtual.command, () => virtual.written()] as const]),
      [R.IQT, () => queue.tailWritten()],
      [R.FSTS, () => faults.statusWritten()],
      ...this.#table.FRCD.map((each): [Register, () => void] => [each, () => faults.statusWritten()]),
      [R.ICS, () => this.#completionWritten()],
      [R.PRS, () => this.pageRequests.statusWritten()],
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
