/**
 * A CPU's way through its page tables: paging of 4 levels, or of 5 (LA57), with the first-stage format, accessed and
 * dirty bits, and page faults with their error codes (Intel SDM volume 3, chapter 5). Every access walks: no
 * translation is cached, so there is nothing that `INVLPG` would have to drop. In guest mode the tables lie at
 * guest-physical addresses, as does what they lead to: each goes through the EPT, whose failure is an exit and no
 * fault; a table is read, and written only where a bit of it is set (29.3.3.2). Left out: SMEP, SMAP, protection keys,
 * and the upper half of the address space, where the kernel's own mappings would be.
 */
import { FIRST_STAGE_ENTRY } from '../../spec/index.js';
import { ABSENT, type Memory } from '../memory.js';
import { FirstStage } from '../paging/first-stage.js';
import { ALL_RIGHTS, ENTRY, ENTRY_WORDS, indexAt, pagesPerEntry, pagingStep, RIGHT } from '../paging/step.js';
import { GuestPhysical } from './guest-physical.js';

/** An exception of the CPU, as a value; or that the host has it wait with the instruction ({@link LATER}). */
export interface CpuFault {
  readonly vector: typeof GENERAL_PROTECTION | typeof PAGE_FAULT | typeof LATER;
  /** Of a page fault: {@link PF}, a set of bits. */
  readonly errorCode: number;
  /** Of a page fault: the address, as CR2 has it. */
  readonly address: number;
}

export const GENERAL_PROTECTION = 13;
export const PAGE_FAULT = 14;
/** No exception: nothing of the instruction has been done, and it is to be executed again. */
export const LATER = -1;
/** The error code of a page fault (SDM volume 3, 5.7). */
export const PF = { PRESENT: 1, WRITE: 2, USER: 4, RESERVED: 8, FETCH: 16 } as const;

/** The one #GP that this model raises: it has no error code to tell. */
export const GP_FAULT: CpuFault = { vector: GENERAL_PROTECTION, errorCode: 0, address: 0 };

/** What an exit comes to that the host does not resume yet. */
export const LATER_FAULT: CpuFault = { vector: LATER, errorCode: 0, address: 0 };

const MOST_LEVELS = 5;
const { A, D } = FIRST_STAGE_ENTRY;
const PAGE = 4096;

/** The bits of an error code that a failed step has. */
const NOT_MAPPED = 0;

export class Mmu {
  readonly #memory: Memory;
  readonly #format: FirstStage;
  readonly #levels: number;
  /** One past the lower half of the address space. */
  readonly #userPages: number;
  readonly #step = pagingStep();
  /** By level: the table that the walk went through, as the entry before it says. */
  readonly #tables = new Float64Array(MOST_LEVELS + 1);
  /** The frames that they lie in: the same, outside of guest mode. */
  readonly #hosts = new Float64Array(MOST_LEVELS + 1);
  readonly guest: GuestPhysical;
  /** The frame of the EPT's table of the highest level; -1 outside of guest mode. */
  eptRoot = -1;
  /** The frame that the last successful walk led to. */
  frame = 0;
  /** Whether the last walk came to its leaf: an exit is of the page itself, and not of a table. */
  isAtLeaf = false;
  /** Why the last walk failed; undefined if it did not, or if it ended in an exit: {@link GuestPhysical.exit}. */
  fault: CpuFault | undefined;

  /** @param options `levels` of its tables; `addressWidth`: MAXPHYADDR */
  constructor(memory: Memory, options: { readonly levels?: 4 | 5; readonly addressWidth?: number } = {}) {
    const { levels = 4, addressWidth = 46 } = options;
    this.#memory = memory;
    this.#levels = levels;
    this.#userPages = pagesPerEntry(levels + 1) / 2;
    this.#format = new FirstStage({ addressWidth, gigabytePages: true });
    this.guest = new GuestPhysical(memory, addressWidth);
  }

  /**
   * Translates one address.
   *
   * @param root frame of the table of the highest level
   * @param address below 2^53
   * @param rights needed: READ or WRITE, and USER below CPL 0
   * @returns whether it may go on to {@link Mmu.frame}; the fault, if it is none of the EPT's, is in
   *   {@link Mmu.fault} if not
   */
  translate(root: number, address: number, rights: number): boolean {
    const page = Math.floor(address / PAGE);
    this.fault = undefined;
    this.isAtLeaf = false;
    if (page >= this.#userPages) {
      this.fault = GP_FAULT;
      return false;
    }
    let table = root;
    let granted = ALL_RIGHTS;
    for (let level = this.#levels; level > 0; level--) {
      const host = this.#hostOf(table, RIGHT.READ);
      if (host < 0) return false;
      const at = this.#memory.at(host, indexAt(page, level) * ENTRY_WORDS);
      if (at === ABSENT) return this.#fail(address, rights, NOT_MAPPED);
      this.#tables[level] = table;
      this.#hosts[level] = host;
      const kind = this.#format.step(level, this.#memory.words, at, this.#step);
      if (kind === ENTRY.ABSENT) return this.#fail(address, rights, NOT_MAPPED);
      if (kind === ENTRY.MALFORMED) return this.#fail(address, rights, PF.PRESENT | PF.RESERVED);
      granted &= this.#step.rights;
      if (kind === ENTRY.LEAF) {
        if ((rights & ~granted) !== 0) return this.#fail(address, rights, PF.PRESENT);
        const leaf = this.#step.frame + (page % pagesPerEntry(level));
        if (!this.#setAccessed(page, level, (rights & RIGHT.WRITE) !== 0)) return false;
        this.isAtLeaf = true;
        this.frame = this.#hostOf(leaf, rights & ~RIGHT.USER);
        return this.frame >= 0;
      }
      table = this.#step.frame;
    }
    return this.#fail(address, rights, NOT_MAPPED);
  }

  /**
   * Sets the accessed bits of a walk that ended at a leaf of `level`, and its dirty bit, where they are not; false if
   * a table may not be written.
   */
  #setAccessed(page: number, level: number, isWrite: boolean): boolean {
    for (let each = this.#levels; each >= level; each--) {
      const word = indexAt(page, each) * ENTRY_WORDS;
      const at = this.#memory.at(this.#hosts[each] ?? 0, word);
      const setsDirty = isWrite && each === level && D.get(this.#memory.words, at) === 0;
      if (A.get(this.#memory.words, at) === 1 && !setsDirty) continue;
      const host = this.#hostOf(this.#tables[each] ?? 0, RIGHT.READ | RIGHT.WRITE);
      if (host < 0) return false;
      const writable = this.#memory.writable(host, word);
      A.set(this.#memory.words, writable, 1);
      if (setsDirty) D.set(this.#memory.words, writable, 1);
    }
    return true;
  }

  /** The frame of a table, or of what a leaf leads to; -1 for an exit. */
  #hostOf(frame: number, rights: number): number {
    return this.eptRoot < 0 ? frame : this.guest.frameOf(this.eptRoot, frame, rights);
  }

  #fail(address: number, rights: number, why: number): boolean {
    const write = (rights & RIGHT.WRITE) !== 0 ? PF.WRITE : 0;
    const user = (rights & RIGHT.USER) !== 0 ? PF.USER : 0;
    const fetch = (rights & RIGHT.EXECUTE) !== 0 ? PF.FETCH : 0;
    this.fault = { vector: PAGE_FAULT, errorCode: why | write | user | fetch, address };
    return false;
  }
}
