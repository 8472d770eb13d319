/**
 * What a unit that does not snoop all of its reads sees of memory: there, only what CPUs have written back. After
 * VT-d 4.1, 10.4.3: ECAP.C for root, context and PASID tables, and for the paging structures of legacy mode;
 * ECAP.SMPWCS with the PASID entry's PWSNP for those of scalable mode. Descriptors and page requests are coherent
 * always.
 */
import type { FrameReader, Memory } from '../memory.js';
import type { UnitFormat } from './format.js';

export class TableReader implements FrameReader {
  /** Whether what is read now is snooped. */
  #snoops: boolean;
  readonly #memory: Memory;
  readonly #writtenBack: FrameReader;
  readonly #snoopsTables: boolean;

  constructor(memory: Memory, writtenBack: FrameReader, format: UnitFormat) {
    this.#memory = memory;
    this.#writtenBack = writtenBack;
    this.#snoopsTables = format.snoopsTables;
    this.#snoops = format.snoopsTables;
  }

  /** The walk goes through tables of devices and PASIDs. */
  enterTables(): void {
    this.#snoops = this.#snoopsTables;
  }

  /** The walk goes through paging structures, snooped or not. */
  enterPaging(snoops: boolean): void {
    this.#snoops = snoops;
  }

  get words(): Int32Array {
    return this.#now.words;
  }

  at(frame: number, word: number): number {
    return this.#now.at(frame, word);
  }

  get #now(): FrameReader {
    return this.#snoops ? this.#memory : this.#writtenBack;
  }
}
