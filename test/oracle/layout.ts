/** Where cases have their tables, queue and data: frames of the machine's memory. */

export const QUEUE_FRAME = 0x200;
/** Where wait descriptors write. */
export const STATUS_FRAME = 0x201;
export const ROOT_FRAME = 0x210;
export const CONTEXT_FRAMES = [0x211, 0x212] as const;
export const DIRECTORY_FRAMES = [0x213, 0x214] as const;
export const PASID_TABLE_FRAMES = [0x215, 0x216] as const;
/** Paging structures, from this one on. */
export const FIRST_TABLE_FRAME = 0x220;

/** What translations lead to: a few frames in each of two 2 MiB pages. */
export const DATA_PAGES = [0x2000, 0x2400] as const;
export const DATA_FRAMES_A_PAGE = 8;
export const DATA_FRAMES = DATA_PAGES.flatMap((base) =>
  Array.from({ length: DATA_FRAMES_A_PAGE }, (_, i) => base + i),
);
/** Between memory and what else the machine has: an address here is of nothing. */
export const NOWHERE = 0x1_2345n << 12n;

const data = new Set(DATA_FRAMES);
export const isData = (frame: number): boolean => data.has(frame);
const SIGNED = 0x4000_0000;

/**
 * What a data frame holds at first: each 32-bit word says where it is.
 *
 * @returns the 64-bit word at an address, 0 outside of data frames
 */
export function signatureAt(address: bigint): bigint {
  if (!isData(Number(address >> 12n))) return 0n;
  const lower = BigInt(SIGNED) | address;
  return lower | ((lower + 4n) << 32n);
}

/** The address that a 32-bit word of a data frame says it is at, or undefined if it is none. */
export const addressOf = (word: number): bigint | undefined =>
  (word & 0xc000_0000) === SIGNED ? BigInt(word & 0x3fff_ffff) : undefined;
