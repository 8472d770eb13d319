/**
 * The entries that give a (device, PASID) its domain: PASID table entries, or in legacy mode context entries. They
 * stand in tables of one page, to each of which a pointer of 8 bytes leads (VT-d 4.1, 9.1 to 9.6).
 *
 * Hardware may read at any moment, an entry's quarters one by one: a present bit is the last thing that is stored,
 * and the first that is taken away; what hardware does not snoop is written back before it may be looked at.
 *
 * An entry is larger than a store. So one domain takes the place of another in a copy of the table, to which the
 * pointer is turned by one store (bugs D2, F1): hardware meets the old entry or the new one, never both, never none.
 */
import { assert, Bug, isRefusal, type Refusal } from '../../../base/index.js';
import type { Field, LayoutInfo } from '../../../spec/index.js';
import type { KernelContext } from '../../context.js';
import { PAGE_BYTES, paOf } from '../../ids.js';
import type { Endpoint } from '../driver.js';
import type { Capabilities } from './capabilities.js';

/** The fields that all kinds of entries have. */
export interface EntryLayout extends LayoutInfo {
  readonly P: Field;
  readonly FPD: Field;
  readonly DID: Field;
}

/** What leads to a table: 8 bytes with a present bit and a frame. */
export interface PointerLayout {
  readonly present: Field;
  readonly frame: Field;
}

export abstract class EntryTables {
  protected readonly context: KernelContext;
  readonly #snoops: boolean;
  readonly #entry: EntryLayout;
  readonly #pointer: PointerLayout;
  /** What was loaded last: a view of 8 bytes of the words costs more than to copy them. */
  readonly #pair = new Int32Array(2);

  protected constructor(
    context: KernelContext,
    caps: Capabilities,
    of: { readonly entry: EntryLayout; readonly pointer: PointerLayout },
  ) {
    this.context = context;
    this.#snoops = caps.snoopsTables;
    this.#entry = of.entry;
    this.#pointer = of.pointer;
  }

  /** The address of the pointer to the table that a (device, PASID) has its entry in. */
  protected abstract pointerAt(device: Endpoint, pasid: number): number;

  /** The place of its entry in the table. */
  protected abstract indexOf(device: Endpoint, pasid: number): number;

  /** What its frames are for, in messages. */
  protected abstract useOf(device: Endpoint): string;

  /** Whether the entry of a PASID is present. */
  isPresent(device: Endpoint, pasid: number): boolean {
    const at = this.#entryAt(device, pasid);
    return at !== undefined && this.#entry.P.get(this.#loadPair(at), 0) === 1;
  }

  /**
   * Makes an entry present, where there is none.
   *
   * On failure: `ENOMEM` for its table.
   */
  set(device: Endpoint, pasid: number, words: Int32Array): Refusal<'ENOMEM'> | undefined {
    const at = this.#entryAt(device, pasid) ?? this.#makeTable(device, pasid);
    if (isRefusal(at)) return at;
    if (this.#entry.P.get(this.#loadPair(at), 0) === 1)
      throw new Bug(`PASID ${pasid} of ${device.name} is set while present`);
    this.publish(at, words);
    return undefined;
  }

  /**
   * Makes an entry not present, and leaves the rest: hardware may still use what it read of it. Muted, from the
   * same store on: there is no moment in which faults on it are recorded.
   */
  clearPresent(device: Endpoint, pasid: number, mute: boolean): void {
    const at = this.#entryAt(device, pasid);
    if (at === undefined) throw new Bug(`PASID ${pasid} of ${device.name} has no entry`);
    const words = this.#loadPair(at);
    this.#entry.P.set(words, 0, 0);
    this.#entry.FPD.set(words, 0, mute ? 1 : 0);
    this.store(at, words, 0);
    this.writeBack(at, this.#entry.bytes);
  }

  /** Empties an entry that is not present; muted, faults on it are not recorded. */
  empty(device: Endpoint, pasid: number, mute: boolean): void {
    const at = this.#entryAt(device, pasid);
    if (at === undefined) throw new Bug(`PASID ${pasid} of ${device.name} has no entry`);
    if (this.#entry.P.get(this.#loadPair(at), 0) === 1)
      throw new Bug(`PASID ${pasid} of ${device.name} is emptied while present`);
    const { memory } = this.context.platform;
    for (let offset = this.#entry.bytes - 8; offset > 0; offset -= 8) memory.store64(at + offset, 0, 0);
    const words = new Int32Array(2);
    this.#entry.FPD.set(words, 0, mute ? 1 : 0);
    this.store(at, words, 0);
    this.writeBack(at, this.#entry.bytes);
  }

  /**
   * Changes a present entry of a domain id in place: bits of one of its 8-byte words, which hardware meets as they were
   * or as they are. Whether it was there, and was different.
   */
  update(device: Endpoint, pasid: number, words: Int32Array): boolean {
    const at = this.#entryAt(device, pasid);
    if (at === undefined || !this.isPresent(device, pasid)) return false;
    const old = this.load(at, words.length * 4);
    if (this.#entry.DID.get(old, 0) !== this.#entry.DID.get(words, 0)) return false;
    const changed = new Set([...words.keys()].filter((i) => words[i] !== old[i]).map((i) => i - (i % 2)));
    assert(changed.size <= 1, `PASID ${pasid} of ${device.name} changes in more than one place`);
    for (const word of changed) this.store(at, words, word);
    this.writeBack(at, this.#entry.bytes);
    return changed.size > 0;
  }

  /**
   * A frame for {@link EntryTables.replace}.
   *
   * On failure: `ENOMEM`.
   */
  allocSpare(device: Endpoint): number | Refusal<'ENOMEM'> {
    return this.context.frames.alloc({ kind: 'kernel', use: this.useOf(device) });
  }

  /**
   * Puts another entry in the place of a present one, by way of a copy of its table in `spare`.
   *
   * @returns the frame of the table as it was, which hardware may use until all that caches have of it is flushed
   */
  replace(
    device: Endpoint,
    pasid: number,
    { words, spare }: { readonly words: Int32Array; readonly spare: number },
  ): number {
    if (!this.isPresent(device, pasid)) throw new Bug(`PASID ${pasid} of ${device.name} has no entry`);
    const at = this.pointerAt(device, pasid);
    const pointer = this.load(at, 8);
    const old = this.#pointer.frame.get(pointer, 0);
    const { bytes } = this.#entry;
    const own = this.indexOf(device, pasid);
    for (let index = 0; index < PAGE_BYTES / bytes; index++) {
      const entry = index === own ? words : this.load(paOf(old, index * bytes), bytes);
      this.#copyEntry(paOf(spare, index * bytes), entry);
    }
    this.writeBack(paOf(spare), PAGE_BYTES);
    this.#pointer.frame.set(pointer, 0, spare);
    this.store(at, pointer, 0);
    this.writeBack(at, 8);
    return old;
  }

  /** Gives a frame of {@link EntryTables.allocSpare} or {@link EntryTables.replace} back. */
  freeSpare(frame: number): void {
    this.context.frames.free(frame);
  }

  /** Stores an entry of which hardware sees nothing before all of it is there: its first 8 bytes come last. */
  protected publish(at: number, words: Int32Array): void {
    for (let word = 2; word < words.length; word += 2) this.store(at, words, word);
    // A line is written back in any order: what P says is there has to have arrived before it.
    this.writeBack(at, words.length * 4);
    this.store(at, words, 0);
    this.writeBack(at, words.length * 4);
  }

  protected load(at: number, bytes: number): Int32Array {
    const { memory } = this.context.platform;
    const words = new Int32Array(bytes / 4);
    for (let word = 0; word < words.length; word += 2) {
      memory.load64(at + word * 4, this.#pair);
      words[word] = this.#pair[0] ?? 0;
      words[word + 1] = this.#pair[1] ?? 0;
    }
    return words;
  }

  /** The 8 bytes at an address, in words that the next ones are loaded into. */
  #loadPair(at: number): Int32Array {
    this.context.platform.memory.load64(at, this.#pair);
    return this.#pair;
  }

  /** Stores the 8 bytes of an entry that begin with its word `word`. */
  protected store(at: number, words: Int32Array, word: number): void {
    this.context.platform.memory.store64(at + word * 4, words[word] ?? 0, words[word + 1] ?? 0);
  }

  protected writeBack(at: number, bytes: number): void {
    if (!this.#snoops) this.context.platform.memory.flush(at, bytes);
  }

  /** The frame that a pointer leads to; undefined if it is not present. */
  protected tableOf(device: Endpoint, pasid: number): number | undefined {
    const pointer = this.#loadPair(this.pointerAt(device, pasid));
    return this.#pointer.present.get(pointer, 0) === 0 ? undefined : this.#pointer.frame.get(pointer, 0);
  }

  /** Makes an empty table, and has its pointer lead there: its frame. */
  protected makeTable(device: Endpoint, pasid: number): number | Refusal<'ENOMEM'> {
    const table = this.context.frames.alloc({ kind: 'kernel', use: this.useOf(device) });
    if (isRefusal(table)) return table;
    this.writeBack(paOf(table), PAGE_BYTES);
    const at = this.pointerAt(device, pasid);
    const pointer = new Int32Array(2);
    this.#pointer.present.set(pointer, 0, 1);
    this.#pointer.frame.set(pointer, 0, table);
    this.store(at, pointer, 0);
    this.writeBack(at, 8);
    return table;
  }

  #makeTable(device: Endpoint, pasid: number): number | Refusal<'ENOMEM'> {
    const table = this.makeTable(device, pasid);
    if (isRefusal(table)) return table;
    return paOf(table, this.indexOf(device, pasid) * this.#entry.bytes);
  }

  /** The address of a PASID's entry; undefined if its table is not there. */
  #entryAt(device: Endpoint, pasid: number): number | undefined {
    const table = this.tableOf(device, pasid);
    return table === undefined ? undefined : paOf(table, this.indexOf(device, pasid) * this.#entry.bytes);
  }

  /** Copies an entry, if it differs: a table that once was in use may still be looked at. */
  #copyEntry(to: number, words: Int32Array): void {
    const there = this.load(to, words.length * 4);
    if (there.every((word, i) => word === words[i])) return;
    if (this.#entry.P.get(there, 0) === 1) this.store(to, new Int32Array(2), 0);
    for (let word = 2; word < words.length; word += 2) this.store(to, words, word);
    this.store(to, words, 0);
  }
}
