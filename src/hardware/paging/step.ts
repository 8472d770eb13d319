/**
 * What all paging formats share: tables of 512 entries of 8 bytes, 9 bits of the page number a level, and the
 * answer of one step (entry → absent, next table, leaf, or malformed).
 *
 * Addresses travel as page or frame numbers: a `number` of up to 52 bits.
 */

/** The outcome of a step. */
export const ENTRY = {
  /** not present */
  ABSENT: 0,
  /** leads to a table of the next level down */
  TABLE: 1,
  /** maps a page of the size of its level */
  LEAF: 2,
  /** a bit is set that is reserved */
  MALFORMED: 3,
} as const;
export type EntryKind = (typeof ENTRY)[keyof typeof ENTRY];

/**
 * Rights, as a set of bits: those of a walk are the intersection (`&`) of those of its entries. The first three are
 * numbered as the second stage's entry has its bits.
 */
export const RIGHT = {
  READ: 1,
  WRITE: 2,
  EXECUTE: 4,
  /** requests without privilege too */
  USER: 8,
} as const;
export const ALL_RIGHTS = RIGHT.READ | RIGHT.WRITE | RIGHT.EXECUTE | RIGHT.USER;

/** What a step found; the caller owns it, and one serves all steps of a walk. */
export interface PagingStep {
  /** The frame of the next table, or the first frame of the page. Of no meaning unless TABLE or LEAF. */
  frame: number;
  /** What this entry alone grants: a set of {@link RIGHT}. */
  rights: number;
}

/** A {@link PagingStep} to be filled. */
export const pagingStep = (): PagingStep => ({ frame: 0, rights: 0 });

/** Bytes an entry. */
export const ENTRY_WORDS = 2;

/** How many 4 KiB pages one entry of each level spans; index 0 is not used, index 6 is a whole table of level 5. */
const PAGES = [1, 1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36, 2 ** 45];
const INVERSE_PAGES = PAGES.map((pages) => 1 / pages);

/** How many 4 KiB pages one entry of `level` spans; 6 for the whole of a table of level 5. */
export const pagesPerEntry = (level: number): number => PAGES[level] ?? 1;

/** Which entry of a table of `level` a page number leads through. */
export const indexAt = (page: number, level: number): number => (page * (INVERSE_PAGES[level] ?? 1)) & 511;

/** The same, of a page number in halves: shifts of small integers, where a product is one of floating point. */
export function indexOf(low: number, high: number, level: number): number {
  if (level <= 3) return (low >>> ((level - 1) * 9)) & 511;
  return (level === 4 ? (low >>> 27) | (high << 5) : high >>> 4) & 511;
}

/** The low bits of a page number that do not choose an entry, by level; leaves stand at levels 1 to 3 alone. */
const OFFSETS = [0, 0, 2 ** 9 - 1, 2 ** 18 - 1];

/** Where in the large page of a leaf of `level`, 1 to 3, a 4 KiB page lies. */
export const offsetIn = (page: number, level: number): number => page & (OFFSETS[level] ?? 0);

const TWO_32 = 2 ** 32;

/** Gives a step its frame, from the halves. A small integer by a store of its own: the engine keeps it one then. */
export function setFrame(out: PagingStep, low: number, high: number): void {
  if (high === 0 && low >= 0) out.frame = low;
  else out.frame = high * TWO_32 + (low >>> 0);
}

/** Where in a {@link reservedRows} the entries that lead to a table stand; those of leaves by their level. */
export const TABLE_ROW = 0;
/** Levels at which a large leaf may stand in some format. */
const LEAF_ROWS = 6;

/**
 * The reserved bits of a format, two words for each kind of entry: those that lead to a table, and leaves by their
 * level, 1 to 5. Of a leaf that the format has not, all bits are.
 */
export function reservedRows(rows: Readonly<Record<number, Int32Array>>): Int32Array {
  const mask = new Int32Array(LEAF_ROWS * ENTRY_WORDS).fill(-1);
  for (const [row, words] of Object.entries(rows)) mask.set(words, Number(row) * ENTRY_WORDS);
  return mask;
}
