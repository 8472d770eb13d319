/**
 * A unit's registers, through MMIO. Reads give fresh words: a handler may read in the middle of somebody else's
 * access.
 */
import type { Task } from '../../../base/index.js';
import {
  type Field,
  GCMD_REG,
  GSTS_REG,
  type Register,
  setNumber,
  VTD_REGISTER,
} from '../../../spec/index.js';
import type { Mmio } from '../../platform.js';

/** The bits of GSTS that are a command to be repeated in GCMD: the others are one-shot (VT-d 4.1, 11.4.4.1). */
const LEVEL_BITS = 0x96ff_ffff;

const POINTER_SET = { command: GCMD_REG.SRTP, status: GSTS_REG.RTPS } as const;
const QUEUE_ON = { command: GCMD_REG.QIE, status: GSTS_REG.QIES } as const;
const TRANSLATION_ON = { command: GCMD_REG.TE, status: GSTS_REG.TES } as const;

export class UnitRegisters {
  readonly #mmio: Mmio;
  readonly #base: number;

  constructor(mmio: Mmio, base: number) {
    this.#mmio = mmio;
    this.#base = base;
  }

  read32(register: Register): Int32Array {
    return Int32Array.of(this.word(register));
  }

  read64(register: Register): Int32Array {
    return this.read64At(register.offset);
  }

  read64At(offset: number): Int32Array {
    const words = new Int32Array(2);
    this.read64Into(offset, words);
    return words;
  }

  /** Reads into the caller's own words, which nobody else reads into before it has looked. */
  read64Into(offset: number, words: Int32Array): void {
    this.#mmio.read64(this.#base + offset, words);
  }

  /** All bits of a register of 4 bytes, as a signed word. */
  word(register: Register): number {
    return this.#mmio.read32(this.#base + register.offset);
  }

  /** Writes a register whose layout has 4 bytes: these fields, the others zero. */
  write32(register: Register, values: Readonly<Record<string, number>>): void {
    this.#mmio.write32(this.#base + register.offset, wordsOf(register, values)[0] ?? 0);
  }

  write64(register: Register, values: Readonly<Record<string, number>>): void {
    const words = wordsOf(register, values);
    this.#mmio.write64(this.#base + register.offset, words[0] ?? 0, words[1] ?? 0);
  }

  write64At(offset: number, words: Int32Array): void {
    this.#mmio.write64(this.#base + offset, words[0] ?? 0, words[1] ?? 0);
  }

  write32At(offset: number, value: number): void {
    this.#mmio.write32(this.#base + offset, value);
  }

  /** Has the unit take the root table that RTADDR names. */
  *latchRootTable(): Task {
    yield* this.#command(POINTER_SET);
  }

  *enableQueue(): Task {
    yield* this.#command(QUEUE_ON);
  }

  *enableTranslation(): Task {
    yield* this.#command(TRANSLATION_ON);
  }

  *disableTranslation(): Task {
    const words = this.read32(VTD_REGISTER.GSTS);
    words[0] = (words[0] ?? 0) & LEVEL_BITS;
    GCMD_REG.TE.set(words, 0, 0);
    this.write32At(VTD_REGISTER.GCMD.offset, words[0] ?? 0);
    while (GSTS_REG.TES.get(this.read32(VTD_REGISTER.GSTS), 0) === 1) yield 'vtd: wait for TES';
  }

  /** Writes the unit's internal write buffer out. */
  *flushWriteBuffer(): Task {
    this.#setCommand(GCMD_REG.WBF);
    while (GSTS_REG.WBFS.get(this.read32(VTD_REGISTER.GSTS), 0) === 1) yield 'vtd: write buffer';
  }

  *#command({ command, status }: { command: Field; status: Field }): Task {
    this.#setCommand(command);
    while (status.get(this.read32(VTD_REGISTER.GSTS), 0) === 0) yield `vtd: wait for ${status.name}`;
  }

  #setCommand(command: Field): void {
    const words = this.read32(VTD_REGISTER.GSTS);
    words[0] = (words[0] ?? 0) & LEVEL_BITS;
    command.set(words, 0, 1);
    this.write32At(VTD_REGISTER.GCMD.offset, words[0] ?? 0);
  }
}

function wordsOf(register: Register, values: Readonly<Record<string, number>>): Int32Array {
  const words = new Int32Array(register.layout.bytes / 4);
  for (const field of register.layout.fields) {
    const value = values[field.name];
    if (value !== undefined) setNumber(field, words, 0, value);
  }
  return words;
}
