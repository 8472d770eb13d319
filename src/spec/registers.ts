/**
 * Registers as data, and what a table of them does by itself: reset values, read-only and reserved bits,
 * write-one-to-clear, legalizing of values. What a write sets off is the model's part: it is told of each.
 *
 * Registers lie at 4-byte boundaries and are accessed with naturally aligned reads and writes of 4 and 8
 * bytes, whole or by halves. Where there is no register, reads give zero and writes are ignored; so it is with
 * accesses of other sizes or alignments, whose effect specifications leave open.
 */
import { assert, hex, loOf, type Restorable, Words } from '../base/index.js';
import { type Field, type LayoutInfo, maskOf } from './layout.js';
import { setNumber } from './numbers.js';

/** What a register may say of itself beside its layout. */
export interface RegisterOptions {
  /** Its value after reset. */
  readonly reset?: bigint;
  /** The fields that software can't change. */
  readonly readOnly?: 'all' | readonly Field[];
  /** The fields whose ones a write of one clears, and a write of zero leaves. */
  readonly writeOneToClear?: readonly Field[];
  /** The fields that read as zero. */
  readonly writeOnly?: 'all' | readonly Field[];
  /**
   * Makes a legal value of the one that a write would leave: changes `next`, the register's words. Pure: it
   * knows `old`, the words before the write, and nothing else.
   */
  readonly legalize?: ((next: Int32Array, old: Int32Array) => void) | undefined;
}

/** One register of a table. */
export interface Register extends Required<Omit<RegisterOptions, 'legalize' | 'readOnly' | 'writeOnly'>> {
  readonly name: string;
  /** In bytes, from the table's start. */
  readonly offset: number;
  /** The index of its first word: what a field's accessors take with {@link RegisterFile.words}. */
  readonly at: number;
  readonly layout: LayoutInfo;
  readonly readOnly: readonly Field[];
  readonly writeOnly: readonly Field[];
  readonly legalize: RegisterOptions['legalize'];
}

/**
 * Declares a register.
 *
 * @param options its `offset` in bytes, its `layout`, and what else there is to say
 * @returns it, checked: a `Bug` for a misaligned offset, fields of other layouts, or a reset value that sets
 *   reserved bits
 */
export function register(
  name: string,
  options: RegisterOptions & { readonly offset: number; readonly layout: LayoutInfo },
): Register {
  const { offset, layout, legalize } = options;
  const { reset = 0n, writeOneToClear = [] } = options;
  const readOnly = options.readOnly === 'all' ? layout.fields : (options.readOnly ?? []);
  const writeOnly = options.writeOnly === 'all' ? layout.fields : (options.writeOnly ?? []);
  assert(offset % Math.min(layout.bytes, 8) === 0, `${name} at ${hex(offset)} is not aligned`);
  for (const field of [...readOnly, ...writeOneToClear, ...writeOnly]) {
    assert(layout.fields.includes(field), `${name}: ${field.name} is no field of ${layout.name}`);
  }
  const words = wordsOfReset(reset, layout);
  assert(
    words.every((word, i) => (word & (layout.reserved[i] ?? 0)) === 0),
    `${name}: reset sets reserved bits`,
  );
  return { name, offset, at: offset / 4, layout, reset, readOnly, writeOneToClear, writeOnly, legalize };
}

function wordsOfReset(value: bigint, layout: LayoutInfo): Int32Array {
  assert(value >= 0n && value >> BigInt(layout.bytes * 8) === 0n, `${value} does not fit ${layout.name}`);
  return Int32Array.from({ length: layout.bytes / 4 }, (_, i) => loOf(value >> BigInt(i * 32)));
}

/** The bits of a register that a write stores, those of {@link RegisterOptions.writeOneToClear} not among them. */
export function writableBits(of: Register): Int32Array {
  const fixed = maskOf(of.layout, ...of.readOnly, ...of.writeOneToClear);
  return fixed.map((bits, i) => ~(bits | (of.layout.reserved[i] ?? 0)));
}

/** Where the registers of a table lie, word by word, and what reads, writes and a reset do there. */
export class RegisterMap {
  readonly registers: readonly Register[];
  readonly bytes: number;
  /** By word: the register there, the bits that a write stores, those that a write of one clears. */
  readonly at: readonly (Register | undefined)[];
  readonly writable: Int32Array;
  readonly clearable: Int32Array;
  /** By word: the bits that a read gives. */
  readonly readable: Int32Array;
  /** By word: what a reset leaves. */
  readonly reset: Int32Array;

  /**
   * @param registers the table; a `Bug` if two of them overlap
   * @param bytes size of the region they lie in
   * @param reset what a reset leaves, if that is not the registers' own
   */
  constructor(registers: readonly Register[], bytes: number, reset?: Int32Array) {
    this.registers = registers;
    this.bytes = bytes;
    const at = new Array<Register | undefined>(bytes / 4).fill(undefined);
    this.at = at;
    this.writable = new Int32Array(bytes / 4);
    this.clearable = new Int32Array(bytes / 4);
    this.readable = new Int32Array(bytes / 4);
    this.reset = new Int32Array(bytes / 4);
    for (const each of registers) this.#place(each, at);
    if (reset !== undefined) this.reset.set(reset.subarray(0, bytes / 4));
  }

  #place(each: Register, registers: (Register | undefined)[]): void {
    const clearable = maskOf(each.layout, ...each.writeOneToClear);
    const hidden = maskOf(each.layout, ...each.writeOnly);
    const reset = wordsOfReset(each.reset, each.layout);
    writableBits(each).forEach((writable, i) => {
      const at = each.at + i;
      assert(at < registers.length, `${each.name} lies outside of ${this.bytes} bytes`);
      assert(registers[at] === undefined, `${each.name} overlaps ${registers[at]?.name}`);
      registers[at] = each;
      this.writable[at] = writable;
      this.clearable[at] = clearable[i] ?? 0;
      this.readable[at] = ~(hidden[i] ?? 0);
      this.reset[at] = reset[i] ?? 0;
    });
  }
}

/** The state of a table of registers. */
export class RegisterFile implements Restorable {
  readonly #map: RegisterMap;
  readonly #written: (register: Register) => void;
  readonly #state: Words;

  /** @param written is told of each write to a register after it has taken effect, once for each register */
  constructor(map: RegisterMap, written: (register: Register) => void) {
    this.#map = map;
    this.#written = written;
    this.#state = new Words(map.bytes / 4, 16);
    this.#state.words.set(map.reset);
  }

  get registers(): readonly Register[] {
    return this.#map.registers;
  }

  /** The values, a register's from its `at` on. To be read only: {@link RegisterFile.set} changes them. */
  get words(): Int32Array {
    return this.#state.words;
  }

  /** All registers take their reset values. Nobody is told. */
  reset(): void {
    const { at, reset } = this.#map;
    const { words } = this.#state;
    for (let i = 0; i < reset.length; i++) {
      const word = reset[i] ?? 0;
      if (words[i] !== word && at[i] !== undefined) this.#state.set(i, word);
    }
  }

  /** All words take these values, as they were read from a table of the same registers. Nobody is told. */
  load(values: Int32Array): void {
    const { words } = this.#state;
    for (let i = 0; i < words.length; i++) {
      const word = values[i] ?? 0;
      if (words[i] !== word) this.#state.set(i, word);
    }
  }

  /** The model's own look at a field. */
  get(register: Register, field: Field): number {
    return field.get(this.#state.words, register.at);
  }

  /** The model's own store to a field, read-only or not. Nobody is told. */
  set(register: Register, field: Field, value: number): void {
    this.#touch(register);
    field.set(this.#state.words, register.at, value);
  }

  /** {@link RegisterFile.get} for a field of any width. */
  getBig(register: Register, field: Field): bigint {
    return field.getBig(this.#state.words, register.at);
  }

  /** The same, of an integer, for a field of any width. */
  setNumber(register: Register, field: Field, value: number): void {
    this.#touch(register);
    setNumber(field, this.#state.words, register.at, value);
  }

  /** {@link RegisterFile.set} for a field of any width. */
  setBig(register: Register, field: Field, value: bigint): void {
    this.#touch(register);
    field.setBig(this.#state.words, register.at, value);
  }

  /** What a read of 4 bytes gives: a signed word. */
  read32(offset: number): number {
    return (this.#state.words[offset / 4] ?? 0) & (this.#map.readable[offset / 4] ?? 0);
  }

  /** A write of 4 bytes. */
  write32(offset: number, value: number): void {
    const at = this.#map.at[offset / 4];
    if (at !== undefined) this.#write(at, offset / 4, [value]);
  }

  /** A write of 8 bytes, as two signed words: one write to a register of that size, two to a pair of smaller ones. */
  write64(offset: number, lo: number, hi: number): void {
    if (offset % 8 !== 0) return;
    const { at } = this.#map;
    const first = at[offset / 4];
    if (first !== undefined && first === at[offset / 4 + 1]) {
      this.#write(first, offset / 4, [lo, hi]);
    } else {
      this.write32(offset, lo);
      this.write32(offset + 4, hi);
    }
  }

  mark(): void {
    this.#state.mark();
  }

  restore(): void {
    this.#state.restore();
  }

  #write(to: Register, word: number, values: readonly number[]): void {
    this.#touch(to);
    const { words } = this.#state;
    const old = to.legalize === undefined ? undefined : words.slice(to.at, to.at + to.layout.bytes / 4);
    values.forEach((value, i) => {
      const at = word + i;
      const writable = this.#map.writable[at] ?? 0;
      const kept = (words[at] ?? 0) & ~(value & (this.#map.clearable[at] ?? 0));
      words[at] = (kept & ~writable) | (value & writable);
    });
    if (old !== undefined) to.legalize?.(words.subarray(to.at, to.at + old.length), old);
    this.#written(to);
  }

  #touch(register: Register): void {
    for (let i = 0; i < register.layout.bytes / 4; i++) this.#state.touch(register.at + i);
  }
}
