/**
 * How a CPU in guest mode gets from a guest's physical pages to frames: a walk of the EPT with four levels, and a
 * cache of its results (guest-physical mappings, Intel SDM volume 3, 29.4), which only INVEPT drops: until then an
 * entry may be older than the tables. An EPT violation drops the mapping that it came from. Left out: accessed and
 * dirty bits of the EPT itself, and caches of linear addresses: each access walks the guest's own tables.
 */
import { EXIT_REASON } from '../../spec/index.js';
import { ABSENT, type Memory } from '../memory.js';
import { Ept } from '../paging/ept.js';
import { ALL_RIGHTS, ENTRY, ENTRY_WORDS, indexAt, pagesPerEntry, pagingStep, RIGHT } from '../paging/step.js';

const LEVELS = 4;
const PAGES = pagesPerEntry(LEVELS + 1);
/** Each caches one page of those whose numbers are alike in the low bits. */
const CACHED = 64;
const EMPTY = -1;
const INT32 = 2 ** 31;

export class GuestPhysical {
  readonly #memory: Memory;
  readonly #format: Ept;
  readonly #step = pagingStep();
  /** By place: the guest frame, the frame, the rights. */
  readonly #guests = new Int32Array(CACHED).fill(EMPTY);
  readonly #hosts = new Int32Array(CACHED);
  readonly #rights = new Int32Array(CACHED);
  /** Of the walk that failed last: why it is an exit (EXIT_REASON), for which guest frame, of a write or not. */
  readonly exit = { reason: 0, gfn: 0, write: false };

  /** @param addressWidth MAXPHYADDR */
  constructor(memory: Memory, addressWidth: number) {
    this.#memory = memory;
    this.#format = new Ept({ addressWidth, gigabytePages: true, executeOnly: true });
  }

  /**
   * The frame of a guest's page; -1 for an exit, which is in {@link GuestPhysical.exit}.
   *
   * @param root frame of the EPT's table of the highest level
   * @param rights needed
   */
  frameOf(root: number, gfn: number, rights: number): number {
    const at = gfn & (CACHED - 1);
    if (this.#guests[at] !== gfn) return this.#walk(root, gfn, rights);
    if ((rights & ~(this.#rights[at] ?? 0)) === 0) return this.#hosts[at] ?? 0;
    return this.#violation(gfn, rights);
  }

  /** INVEPT: drops all that is cached. */
  flush(): void {
    this.#guests.fill(EMPTY);
  }

  #walk(root: number, gfn: number, rights: number): number {
    if (gfn >= PAGES) return this.#violation(gfn, rights);
    let table = root;
    let granted = ALL_RIGHTS;
    for (let level = LEVELS; level > 0; level--) {
      const at = this.#memory.at(table, indexAt(gfn, level) * ENTRY_WORDS);
      if (at === ABSENT) return this.#violation(gfn, rights);
      const kind = this.#format.step(level, this.#memory.words, at, this.#step);
      if (kind === ENTRY.ABSENT) return this.#violation(gfn, rights);
      if (kind === ENTRY.MALFORMED) return this.#fail(EXIT_REASON.EPT_MISCONFIGURATION, gfn, rights);
      granted &= this.#step.rights;
      table = this.#step.frame;
      if (kind !== ENTRY.LEAF) continue;
      if ((rights & ~granted) !== 0) return this.#violation(gfn, rights);
      const host = table + (gfn % pagesPerEntry(level));
      this.#cache(gfn, host, granted);
      return host;
    }
    return this.#violation(gfn, rights);
  }

  #cache(gfn: number, host: number, rights: number): void {
    if (gfn >= INT32 || host >= INT32) return;
    const at = gfn & (CACHED - 1);
    this.#guests[at] = gfn;
    this.#hosts[at] = host;
    this.#rights[at] = rights;
  }

  #violation(gfn: number, rights: number): number {
    const at = gfn & (CACHED - 1);
    if (this.#guests[at] === gfn) this.#guests[at] = EMPTY;
    return this.#fail(EXIT_REASON.EPT_VIOLATION, gfn, rights);
  }

  #fail(reason: number, gfn: number, rights: number): number {
    this.exit.reason = reason;
    this.exit.gfn = gfn;
    this.exit.write = (rights & RIGHT.WRITE) !== 0;
    return -1;
  }
}
