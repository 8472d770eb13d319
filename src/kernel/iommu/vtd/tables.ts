/**
 * The tables of one unit: root, context, and for each device a PASID directory of its own (VT-d 4.1, 9.2 to 9.6).
 * Hardware may read at any moment, an entry's quarters one by one: a present bit is the last thing that is stored,
 * and the first that is taken away; what hardware does not snoop is written back before it may be looked at.
 */
import { assert, isRefusal, KeptMap, type Refusal, type Task } from '../../../base/index.js';
import {
  FSPM,
  type LayoutInfo,
  PASID_DIRECTORY_ENTRY,
  PASID_TABLE_ENTRY,
  PGTT,
  SCALABLE_CONTEXT_ENTRY,
  SCALABLE_ROOT_ENTRY,
} from '../../../spec/index.js';
import type { KernelContext } from '../../context.js';
import { PAGE_BYTES, paOf } from '../../ids.js';
import { structure } from '../../words.js';
import type { Endpoint } from '../driver.js';
import type { Capabilities } from './capabilities.js';

const ROOT_BYTES = 16;
const CONTEXT_BYTES = 32;
const CONTEXTS = 128;
const DIRECTORY_ENTRY_BYTES = 8;
const PASID_BYTES = 64;
const PASIDS_PER_TABLE = 64;
const TABLES_PER_DIRECTORY_FRAME = PAGE_BYTES / DIRECTORY_ENTRY_BYTES;
/** The smallest directory serves 2^13 PASIDs; here the smallest is one frame. */
const MIN_PDTS = 2;

export interface FirstStageEntry {
  readonly did: number;
  /** The frame of the table's root. */
  readonly root: number;
}

export class UnitTables {
  readonly root: number;
  readonly #context: KernelContext;
  readonly #caps: Capabilities;
  readonly #unit: string;
  /** By RID: the first frame of the device's PASID directory. */
  readonly #directories: KeptMap<number, number>;

  private constructor(
    context: KernelContext,
    caps: Capabilities,
    of: { readonly unit: string; readonly root: number },
  ) {
    this.#context = context;
    this.#caps = caps;
    this.#unit = of.unit;
    this.root = of.root;
    this.#directories = new KeptMap(context.log);
  }

  /**
   * An empty root table.
   *
   * On failure: `ENOMEM`.
   */
  static create(context: KernelContext, caps: Capabilities, unit: string): UnitTables | Refusal<'ENOMEM'> {
    const root = context.frames.alloc({ kind: 'kernel', use: `root table of ${unit}` });
    if (isRefusal(root)) return root;
    const tables = new UnitTables(context, caps, { unit, root });
    tables.#writeBack(paOf(root), PAGE_BYTES);
    return tables;
  }

  /**
   * Gives a device a PASID directory, and makes its context entry present.
   *
   * On failure: `ENOMEM`; there is no entry.
   */
  *addDevice(device: Endpoint): Task<Refusal<'ENOMEM'> | undefined> {
    const contexts = this.#contextTable(device.rid);
    if (isRefusal(contexts)) return contexts;
    const bits = Math.max(device.pasidBits, 1);
    const pdts = Math.min(Math.max(bits - 13, MIN_PDTS), 7);
    const count = 2 ** (pdts - MIN_PDTS);
    const owner = { kind: 'kernel', use: `PASID directory of ${device.name}` } as const;
    const directory = this.#context.frames.allocRun(count, owner);
    if (isRefusal(directory)) return directory;
    this.#writeBack(paOf(directory), count * PAGE_BYTES);
    this.#directories.set(device.rid, directory);
    yield 'vtd: context entry';
    const words = structure(SCALABLE_CONTEXT_ENTRY, {
      P: 1,
      DTE: device.ats ? 1 : 0,
      PASIDE: device.pasidBits > 0 ? 1 : 0,
      PRE: device.pri ? 1 : 0,
      PDTS: pdts,
      PASIDDIRPTR: directory,
      RID_PASID: 0,
    });
    this.#publish(paOf(contexts, (device.rid % CONTEXTS) * CONTEXT_BYTES), words);
    return undefined;
  }

  /** Whether the entry of a PASID is present. */
  isPresent(device: Endpoint, pasid: number): boolean {
    const at = this.#entryAt(device, pasid);
    return at !== undefined && PASID_TABLE_ENTRY.P.get(this.#load(at, PASID_TABLE_ENTRY), 0) === 1;
  }

  /** The domain id that an entry names, present or not. */
  didOf(device: Endpoint, pasid: number): number {
    const at = this.#entryAt(device, pasid);
    assert(at !== undefined, `PASID ${pasid} of ${device.name} has no entry`);
    return PASID_TABLE_ENTRY.DID.get(this.#load(at, PASID_TABLE_ENTRY), 0);
  }

  /**
   * Makes a first-stage entry present, where there is none.
   *
   * On failure: `ENOMEM` for its table.
   */
  setFirstStage(
    device: Endpoint,
    pasid: number,
    { did, root }: FirstStageEntry,
  ): Refusal<'ENOMEM'> | undefined {
    const words = structure(PASID_TABLE_ENTRY, {
      P: 1,
      PGTT: PGTT.FIRST_STAGE,
      DID: did,
      PWSNP: this.#caps.snoopsWalks ? 1 : 0,
      FSPM: FSPM.LEVELS_4,
      FSPTPTR: root,
    });
    return this.#setEntry(device, pasid, words);
  }

  /**
   * Makes a pass-through entry present, where there is none.
   *
   * On failure: `ENOMEM` for its table.
   */
  setPassThrough(device: Endpoint, pasid: number, did: number): Refusal<'ENOMEM'> | undefined {
    const words = structure(PASID_TABLE_ENTRY, { P: 1, PGTT: PGTT.PASS_THROUGH, DID: did });
    return this.#setEntry(device, pasid, words);
  }

  /**
   * Makes an entry not present, and leaves the rest: hardware may still use what it read of it. Muted, from the
   * same store on: there is no moment in which faults on it are recorded.
   */
  clearPresent(device: Endpoint, pasid: number, mute: boolean): void {
    const at = this.#entryAt(device, pasid);
    assert(at !== undefined, `PASID ${pasid} of ${device.name} has no entry`);
    const words = this.#load(at, PASID_TABLE_ENTRY);
    PASID_TABLE_ENTRY.P.set(words, 0, 0);
    PASID_TABLE_ENTRY.FPD.set(words, 0, mute ? 1 : 0);
    this.#store(at, words, 0);
    this.#writeBack(at, PASID_BYTES);
  }

  /** Empties an entry that is not present; muted, faults on it are not recorded. */
  empty(device: Endpoint, pasid: number, mute: boolean): void {
    const at = this.#entryAt(device, pasid);
    assert(at !== undefined, `PASID ${pasid} of ${device.name} has no entry`);
    assert(!this.isPresent(device, pasid), `PASID ${pasid} of ${device.name} is emptied while present`);
    const words = structure(PASID_TABLE_ENTRY, { FPD: mute ? 1 : 0 });
    for (let word = words.length - 2; word >= 0; word -= 2) this.#store(at, words, word);
    this.#writeBack(at, PASID_BYTES);
  }

  #setEntry(device: Endpoint, pasid: number, words: Int32Array): Refusal<'ENOMEM'> | undefined {
    const at = this.#entryAt(device, pasid) ?? this.#makeTable(device, pasid);
    if (isRefusal(at)) return at;
    assert(!this.isPresent(device, pasid), `PASID ${pasid} of ${device.name} is set while present`);
    this.#publish(at, words);
    return undefined;
  }

  /** Stores an entry of which hardware sees nothing before all of it is there: its first 8 bytes come last. */
  #publish(at: number, words: Int32Array): void {
    for (let word = 2; word < words.length; word += 2) this.#store(at, words, word);
    this.#store(at, words, 0);
    this.#writeBack(at, words.length * 4);
  }

  /** The frame of the context table that serves a RID, made if there is none. */
  #contextTable(rid: number): number | Refusal<'ENOMEM'> {
    const at = paOf(this.root, (rid >> 8) * ROOT_BYTES);
    const { LP, LCTP, UP, UCTP } = SCALABLE_ROOT_ENTRY;
    const words = this.#load(at, SCALABLE_ROOT_ENTRY);
    const isUpper = (rid & 0xff) >= CONTEXTS;
    const [present, pointer] = isUpper ? [UP, UCTP] : [LP, LCTP];
    if (present.get(words, 0) === 1) return pointer.get(words, 0);
    const use = `context table of ${this.#unit}`;
    const made = this.#context.frames.alloc({ kind: 'kernel', use });
    if (isRefusal(made)) return made;
    this.#writeBack(paOf(made), PAGE_BYTES);
    present.set(words, 0, 1);
    pointer.set(words, 0, made);
    this.#store(at, words, isUpper ? 2 : 0);
    this.#writeBack(at, ROOT_BYTES);
    return made;
  }

  /** The address of a PASID's entry; undefined if its table is not there. */
  #entryAt(device: Endpoint, pasid: number): number | undefined {
    const words = this.#load(this.#directoryAt(device, pasid), PASID_DIRECTORY_ENTRY);
    if (PASID_DIRECTORY_ENTRY.P.get(words, 0) === 0) return undefined;
    const table = PASID_DIRECTORY_ENTRY.SMPTBLPTR.get(words, 0);
    return paOf(table, (pasid % PASIDS_PER_TABLE) * PASID_BYTES);
  }

  #makeTable(device: Endpoint, pasid: number): number | Refusal<'ENOMEM'> {
    const table = this.#context.frames.alloc({ kind: 'kernel', use: `PASID table of ${device.name}` });
    if (isRefusal(table)) return table;
    this.#writeBack(paOf(table), PAGE_BYTES);
    const at = this.#directoryAt(device, pasid);
    this.#store(at, structure(PASID_DIRECTORY_ENTRY, { P: 1, SMPTBLPTR: table }), 0);
    this.#writeBack(at, DIRECTORY_ENTRY_BYTES);
    return paOf(table, (pasid % PASIDS_PER_TABLE) * PASID_BYTES);
  }

  #directoryAt(device: Endpoint, pasid: number): number {
    const directory = this.#directories.get(device.rid);
    assert(directory !== undefined, `${device.name} has no PASID directory`);
    const index = Math.floor(pasid / PASIDS_PER_TABLE);
    const frame = directory + Math.floor(index / TABLES_PER_DIRECTORY_FRAME);
    return paOf(frame, (index % TABLES_PER_DIRECTORY_FRAME) * DIRECTORY_ENTRY_BYTES);
  }

  #load(at: number, of: LayoutInfo): Int32Array {
    const words = new Int32Array(of.bytes / 4);
    for (let word = 0; word < words.length; word += 2) {
      this.#context.platform.memory.load64(at + word * 4, words.subarray(word, word + 2));
    }
    return words;
  }

  /** Stores the 8 bytes of an entry that begin with its word `word`. */
  #store(at: number, words: Int32Array, word: number): void {
    this.#context.platform.memory.store64(at + word * 4, words[word] ?? 0, words[word + 1] ?? 0);
  }

  #writeBack(at: number, bytes: number): void {
    if (!this.#caps.snoopsTables) this.#context.platform.memory.flush(at, bytes);
  }
}
