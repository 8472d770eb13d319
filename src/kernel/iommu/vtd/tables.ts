/**
 * The tables of a unit in scalable mode: root, context, and for each device a PASID directory of its own (VT-d 4.1,
 * 9.2 to 9.6).
 */
import { Bug, isRefusal, KeptMap, type Refusal } from '../../../base/index.js';
import {
  type LayoutInfo,
  PASID_DIRECTORY_ENTRY,
  PASID_TABLE_ENTRY,
  SCALABLE_CONTEXT_ENTRY,
  SCALABLE_ROOT_ENTRY,
} from '../../../spec/index.js';
import type { KernelContext } from '../../context.js';
import { PAGE_BYTES, paOf } from '../../ids.js';
import { structure } from '../../words.js';
import type { Endpoint } from '../driver.js';
import type { Capabilities } from './capabilities.js';
import { EntryTables } from './entry-tables.js';

const ROOT_BYTES = 16;
const CONTEXT_BYTES = 32;
const CONTEXTS = 128;
const DIRECTORY_ENTRY_BYTES = 8;
const PASIDS_PER_TABLE = 64;
const TABLES_PER_DIRECTORY_FRAME = PAGE_BYTES / DIRECTORY_ENTRY_BYTES;
/** The smallest directory serves 2^13 PASIDs; here the smallest is one frame. */
const MIN_PDTS = 2;

/** The frames of a device's PASID directory. */
interface Directory {
  readonly first: number;
  readonly count: number;
}

export class UnitTables extends EntryTables {
  readonly root: number;
  readonly #unit: string;
  /** By RID. */
  readonly #directories: KeptMap<number, Directory>;

  private constructor(
    context: KernelContext,
    caps: Capabilities,
    of: { readonly unit: string; readonly root: number },
  ) {
    const { P, SMPTBLPTR } = PASID_DIRECTORY_ENTRY;
    super(context, caps, { entry: PASID_TABLE_ENTRY, pointer: { present: P, frame: SMPTBLPTR } });
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
    tables.writeBack(paOf(root), PAGE_BYTES);
    return tables;
  }

  /**
   * Gives a device a PASID directory, and makes its context entry present.
   *
   * On failure: `ENOMEM`; there is no entry.
   */
  addDevice(device: Endpoint): Refusal<'ENOMEM'> | undefined {
    const contexts = this.#contextTable(device.rid) ?? this.#makeContextTable(device.rid);
    if (isRefusal(contexts)) return contexts;
    const bits = Math.max(device.pasidBits, 1);
    const pdts = Math.min(Math.max(bits - 13, MIN_PDTS), 7);
    const count = 2 ** (pdts - MIN_PDTS);
    const owner = { kind: 'kernel', use: `PASID directory of ${device.name}` } as const;
    const directory = this.context.frames.allocRun(count, owner);
    if (isRefusal(directory)) return directory;
    this.writeBack(paOf(directory), count * PAGE_BYTES);
    this.#directories.set(device.rid, { first: directory, count });
    const words = structure(SCALABLE_CONTEXT_ENTRY, {
      P: 1,
      DTE: device.ats ? 1 : 0,
      PASIDE: device.pasidBits > 0 ? 1 : 0,
      PRE: device.pri ? 1 : 0,
      PDTS: pdts,
      PASIDDIRPTR: directory,
      RID_PASID: 0,
    });
    this.publish(contextAt(contexts, device), words);
    return undefined;
  }

  /** Makes a device's context entry not present: its directory may be used until that is flushed. */
  clearDevice(device: Endpoint): void {
    const at = this.#contextAt(device);
    const words = this.#load(at, SCALABLE_CONTEXT_ENTRY);
    SCALABLE_CONTEXT_ENTRY.P.set(words, 0, 0);
    this.store(at, words, 0);
    this.writeBack(at, CONTEXT_BYTES);
  }

  /** Empties a context entry that is not present, and frees what stood behind it. */
  freeDevice(device: Endpoint): void {
    const at = this.#contextAt(device);
    const words = new Int32Array(CONTEXT_BYTES / 4);
    for (let word = words.length - 2; word >= 0; word -= 2) this.store(at, words, word);
    this.writeBack(at, CONTEXT_BYTES);
    const directory = this.#directoryOf(device);
    const tables = directory.count * TABLES_PER_DIRECTORY_FRAME;
    for (let table = 0; table < tables; table++) {
      const frame = this.tableOf(device, table * PASIDS_PER_TABLE);
      if (frame !== undefined) this.context.frames.free(frame);
    }
    for (let i = 0; i < directory.count; i++) this.context.frames.free(directory.first + i);
    this.#directories.delete(device.rid);
  }

  protected override pointerAt(device: Endpoint, pasid: number): number {
    const { first } = this.#directoryOf(device);
    const index = Math.floor(pasid / PASIDS_PER_TABLE);
    const frame = first + Math.floor(index / TABLES_PER_DIRECTORY_FRAME);
    return paOf(frame, (index % TABLES_PER_DIRECTORY_FRAME) * DIRECTORY_ENTRY_BYTES);
  }

  protected override indexOf(_device: Endpoint, pasid: number): number {
    return pasid % PASIDS_PER_TABLE;
  }

  protected override useOf({ name }: Endpoint): string {
    return `PASID table of ${name}`;
  }

  #directoryOf(device: Endpoint): Directory {
    const directory = this.#directories.get(device.rid);
    if (directory === undefined) throw new Bug(`${device.name} has no PASID directory`);
    return directory;
  }

  #contextAt(device: Endpoint): number {
    const contexts = this.#contextTable(device.rid);
    if (contexts === undefined) throw new Bug(`${device.name} has no context table`);
    return contextAt(contexts, device);
  }

  /** The frame of the context table that serves a RID; undefined if there is none. */
  #contextTable(rid: number): number | undefined {
    const words = this.#load(this.#rootAt(rid), SCALABLE_ROOT_ENTRY);
    const { present, pointer } = half(rid);
    return present.get(words, 0) === 1 ? pointer.get(words, 0) : undefined;
  }

  #makeContextTable(rid: number): number | Refusal<'ENOMEM'> {
    const use = `context table of ${this.#unit}`;
    const made = this.context.frames.alloc({ kind: 'kernel', use });
    if (isRefusal(made)) return made;
    this.writeBack(paOf(made), PAGE_BYTES);
    const at = this.#rootAt(rid);
    const words = this.#load(at, SCALABLE_ROOT_ENTRY);
    const { present, pointer, word } = half(rid);
    present.set(words, 0, 1);
    pointer.set(words, 0, made);
    this.store(at, words, word);
    this.writeBack(at, ROOT_BYTES);
    return made;
  }

  #rootAt(rid: number): number {
    return paOf(this.root, (rid >> 8) * ROOT_BYTES);
  }

  #load(at: number, of: LayoutInfo): Int32Array {
    return this.load(at, of.bytes);
  }
}

/** The half of a root entry that serves a RID. */
function half(rid: number) {
  const { LP, LCTP, UP, UCTP } = SCALABLE_ROOT_ENTRY;
  const isUpper = (rid & 0xff) >= CONTEXTS;
  return isUpper ? { present: UP, pointer: UCTP, word: 2 } : { present: LP, pointer: LCTP, word: 0 };
}

const contextAt = (contexts: number, { rid }: Endpoint): number =>
  paOf(contexts, (rid % CONTEXTS) * CONTEXT_BYTES);
