/**
 * A VT-d unit with functions behind it, and what a driver would do to it, in the plainest form: tables built in
 * memory, registers written, descriptors queued. For tests of the unit.
 */
import { type Chooser, firstChooser } from '../../src/base/index.js';
import {
  type CacheSizes,
  emptyCompletion,
  FRAME_WORDS,
  Memory,
  type MemoryRequest,
  NO_PASID,
  RIGHT,
  RootComplex,
  type VirtualCommandPort,
  VtdUnit,
  WrittenBack,
} from '../../src/hardware/index.js';
import {
  decode,
  encode,
  FAULT_RECORD,
  INVALIDATION_WAIT,
  PASID_CACHE_INVALIDATION,
  PASID_IOTLB_INVALIDATION,
  PASID_TABLE_ENTRY,
  PGTT,
  SCALABLE_CONTEXT_ENTRY,
  type VtdRegisterTable,
  vtdRegisters,
} from '../../src/spec/index.js';
import { FakeFunction } from '../hardware/fake-function.js';

const bit = (...numbers: number[]): bigint => numbers.reduce((sum, each) => sum | (1n << BigInt(each)), 0n);

/** 48-bit second stage, all large pages, 4 fault records from 0x220, masks up to 2^18 pages. */
export const CAP =
  bit(39, 54, 55, 56, 34, 35) | (2n << 9n) | (47n << 16n) | (0x22n << 24n) | (3n << 40n) | (18n << 48n) | 6n;
/** All that this model knows, and no interrupt remapping; IVA at 0xf0. */
export const ECAP =
  bit(0, 1, 2, 6, 26, 29, 30, 31, 40, 42, 43, 45, 46, 47, 48, 49, 53, 58, 34) | (0xfn << 8n) | (19n << 35n);

export const RID = 0x18;
export const OTHER_RID = 0x20;
/** Every test's frames lie below; what memory there is ends here. */
const FRAMES = 0x1000;
const ROOT = 1;
const CONTEXT = 2;
const DIRECTORY = 3;
const QUEUE = 8;
const PAGE_REQUESTS = 9;
export const STATUS = 0xa000;
const FIRST_TABLE = 0x10;
/** Frames for data begin here. */
export const DATA = 0x800;
const QUEUE_BYTES = 4096;
const DESCRIPTOR_BYTES = 32;

/** P, RW, US of a first-stage entry. */
export const USER_PAGE = 0b111;
const ALL_RIGHTS = USER_PAGE;

export interface BenchOptions {
  readonly cap?: bigint;
  readonly ecap?: bigint;
  readonly chooser?: Chooser;
  readonly caches?: CacheSizes;
  /** Makes the unit see memory as it was written back, with this deciding what is by itself. */
  readonly writesBack?: Chooser;
  readonly virtualCommands?: VirtualCommandPort;
  readonly beforeMark?: () => void;
}

export interface Recorded {
  readonly rid: number;
  readonly reason: number;
  readonly page: number;
  readonly pasid: number;
}

/** Fields of a context entry that differ from: present, and the directory that all share. */
export type ContextFields = Parameters<typeof encode<ContextField>>[1];
type ContextField =
  | 'P'
  | 'FPD'
  | 'DTE'
  | 'PASIDE'
  | 'PRE'
  | 'PDTS'
  | 'RID_PASID'
  | 'RID_PRIV'
  | 'PASIDDIRPTR';

export class UnitBench {
  readonly memory = new Memory([{ first: 0, last: FRAMES - 1 }]);
  readonly interrupts: { address: number; data: number }[] = [];
  readonly rootComplex: RootComplex;
  readonly writtenBack: WrittenBack | undefined;
  readonly unit: VtdUnit;
  readonly functions: readonly FakeFunction[];
  readonly table: VtdRegisterTable;
  #nextTable = FIRST_TABLE;
  readonly #pasidTables = new Map<number, number>();

  constructor(options: BenchOptions = {}) {
    const { cap = CAP, ecap = ECAP, chooser = firstChooser, caches } = options;
    const { writesBack, virtualCommands, beforeMark } = options;
    if (writesBack !== undefined) {
      this.writtenBack = new WrittenBack({ name: 'CPU caches', memory: this.memory, chooser: writesBack });
    }
    this.rootComplex = new RootComplex({
      memory: this.memory,
      interrupt: (address, data) => this.interrupts.push({ address, data }),
    });
    this.table = vtdRegisters({ cap, ecap });
    this.unit = new VtdUnit({
      ...{ name: 'dmar0', cap, ecap, memory: this.memory, downstream: this.rootComplex.downstream, chooser },
      ...(caches === undefined ? {} : { caches }),
      ...(virtualCommands === undefined ? {} : { virtualCommands }),
      ...(beforeMark === undefined ? {} : { beforeMark }),
      ...(this.writtenBack === undefined ? {} : { writtenBack: this.writtenBack }),
    });
    this.rootComplex.addIommu(this.unit);
    this.functions = [RID, OTHER_RID].map((rid) => new FakeFunction(rid, this.rootComplex));
    for (const each of this.functions) this.rootComplex.attach(each);
  }

  /** Builds empty tables, and switches queue and translation on. */
  enable(contextBits = { DTE: 1, PASIDE: 1, PRE: 1 }): this {
    this.put(ROOT, 0, BigInt(CONTEXT * 4096 + 1));
    for (const { rid } of this.functions) this.setContext(rid, contextBits);
    this.unit.write64(0x20, ROOT * 4096 + 0x400, 0);
    this.unit.write64(0x90, QUEUE * 4096 + 0x800, 0);
    this.unit.write64(0xd0, PAGE_REQUESTS * 4096, 0);
    this.command(1 << 30);
    this.command(1 << 26);
    this.command((1 << 31) | (1 << 26));
    return this;
  }

  setContext(rid: number, fields: ContextFields): void {
    const words = encode(SCALABLE_CONTEXT_ENTRY, { P: 1, PASIDDIRPTR: DIRECTORY, PDTS: 0, ...fields });
    this.putWords(CONTEXT, rid * 8, words);
  }

  /** GCMD. */
  command(value: number): void {
    this.unit.write32(0x18, value);
  }

  put(frame: number, index: number, value: bigint): void {
    this.putWords(
      frame,
      index * 2,
      Int32Array.of(Number(BigInt.asIntN(32, value)), Number(value >> 32n) | 0),
    );
  }

  putWords(frame: number, word: number, words: Int32Array): void {
    this.writtenBack?.storing(frame * 4096 + word * 4, words.byteLength);
    const at = this.memory.writable(frame + Math.floor(word / FRAME_WORDS), word % FRAME_WORDS);
    this.memory.words.set(words, at);
  }

  get(frame: number, index: number): bigint {
    const at = this.memory.at(frame, index * 2);
    const lo = BigInt((this.memory.words[at] ?? 0) >>> 0);
    return (BigInt((this.memory.words[at + 1] ?? 0) >>> 0) << 32n) | lo;
  }

  newTable(): number {
    return this.#nextTable++;
  }

  /** A PASID table entry, of all functions: they share one directory. */
  setPasid(
    pasid: number,
    fields: Parameters<typeof encode<keyof typeof PASID_TABLE_ENTRY & string>>[1],
  ): void {
    const index = pasid >> 6;
    let table = this.#pasidTables.get(index);
    if (table === undefined) {
      table = this.newTable();
      this.#pasidTables.set(index, table);
      this.put(DIRECTORY, index, BigInt(table * 4096 + 1));
    }
    this.putWords(table, (pasid & 63) * 16, encode(PASID_TABLE_ENTRY, fields as never));
  }

  /** A first-stage address space; its root's frame. */
  bind(pasid: number, domain: number, fields: Readonly<Record<string, number>> = {}): number {
    const root = this.newTable();
    this.setPasid(pasid, {
      ...{ P: 1, PGTT: PGTT.FIRST_STAGE, DID: domain, FSPTPTR: root, PWSNP: 1 },
      ...fields,
    });
    return root;
  }

  unbind(pasid: number): void {
    this.setPasid(pasid, {});
  }

  /** Stores the entry of a page in the table of `level`, with the tables above it. */
  map(root: number, page: number, frame: number, bits: number = USER_PAGE, level = 1): void {
    this.put(this.tableOf(root, page, level), this.#index(page, level), BigInt(frame * 4096 + bits));
  }

  /** The leaf's entry. */
  leaf(root: number, page: number, level = 1): bigint {
    return this.get(this.tableOf(root, page, level), this.#index(page, level));
  }

  unmap(root: number, page: number, level = 1): void {
    this.put(this.tableOf(root, page, level), this.#index(page, level), 0n);
  }

  /** Queues descriptors, and lets the queue run as far as it goes. */
  submit(...descriptors: readonly Int32Array[]): void {
    for (const words of descriptors) {
      const tail = this.unit.read32(0x88);
      this.putWords(QUEUE, tail / 4, new Int32Array(DESCRIPTOR_BYTES / 4));
      this.putWords(QUEUE, tail / 4, words);
      this.unit.write32(0x88, (tail + DESCRIPTOR_BYTES) % QUEUE_BYTES);
      this.run();
    }
  }

  run(): void {
    for (const engine of this.unit.engines) while (engine.isReady) engine.step();
  }

  flushPage(domain: number, pasid: number, page: number, mask = 0): void {
    this.submit(
      encode(PASID_IOTLB_INVALIDATION, { TYPE: 6, G: 3, DID: domain, PASID: pasid, ADDR: page, AM: mask }),
    );
  }

  flushPasid(domain: number, pasid: number): void {
    this.submit(
      encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 1, DID: domain, PASID: pasid }),
      encode(PASID_IOTLB_INVALIDATION, { TYPE: 6, G: 2, DID: domain, PASID: pasid }),
    );
  }

  waitWith(data: number): void {
    this.submit(encode(INVALIDATION_WAIT, { TYPE: 5, SW: 1, STATUS_DATA: data, STATUS_ADDR: STATUS / 4 }));
  }

  get status(): number {
    return this.memory.words[this.memory.at(STATUS / 4096, 0)] ?? 0;
  }

  request(fields: Partial<MemoryRequest>): MemoryRequest {
    return {
      ...{ rid: RID, pasid: NO_PASID, page: 0, rights: RIGHT.READ | RIGHT.USER },
      ...{ isTranslated: false, offset: 0, length: 8, ...fields },
    };
  }

  /** The frame that a read (or what `rights` say) goes to; undefined if it is refused. */
  frameOf(
    pasid: number,
    page: number,
    rights: number = RIGHT.READ | RIGHT.USER,
    rid = RID,
  ): number | undefined {
    const out = emptyCompletion();
    return this.unit.remap(this.request({ rid, pasid, page, rights }), out) ? out.frame : undefined;
  }

  /** Takes the fault records, and clears them. */
  faults(): Recorded[] {
    const found: Recorded[] = [];
    for (const { offset } of this.table.FRCD) {
      const words = Int32Array.from([0, 4, 8, 12], (at) => this.unit.read32(offset + at));
      if (FAULT_RECORD.F.get(words, 0) === 0) continue;
      const fields = Object.fromEntries(
        decode(FAULT_RECORD, words).fields.map(({ field, value }) => [field.name, Number(value)]),
      );
      const { SID = 0, FR = 0, FI = 0, PASID = 0, PP = 0 } = fields;
      found.push({ rid: SID, reason: FR, page: FI, pasid: PP === 1 ? PASID : NO_PASID });
      this.unit.write32(offset + 12, 1 << 31);
    }
    this.unit.write32(0x34, 0x71);
    return found;
  }

  /** The table of `level` that a page's way leads through, with the tables above it, made where they are missing. */
  tableOf(root: number, page: number, level: number): number {
    let table = root;
    for (let at = 4; at > level; at--) {
      const entry = this.get(table, this.#index(page, at));
      if ((entry & 1n) !== 0n) {
        table = Number((entry >> 12n) & 0xff_ffff_ffffn);
      } else {
        const next = this.newTable();
        this.put(table, this.#index(page, at), BigInt(next * 4096 + ALL_RIGHTS));
        table = next;
      }
    }
    return table;
  }

  #index(page: number, level: number): number {
    return Math.floor(page / 512 ** (level - 1)) % 512;
  }
}
