/**
 * Data integrity fields (T10 DIF): eight bytes behind each block, with its CRC (the guard), an application tag and a
 * reference tag, most significant byte first; and what the flags of the DIF operations say of them (Intel DSA
 * Architecture Specification, 341204, revision 3.0, 8.3.13 to 8.3.16).
 */

/** Bytes of a field. */
export const DIF_BYTES = 8;
const BLOCKS = [512, 520, 4096, 4104] as const;
/** The bytes of a block that DIF flags name. */
export const blockOf = (flags: number): number => BLOCKS[flags & 3] ?? 0;

/** Beside the block's size in DIF flags. */
export const DIF_FLAG = { INVERT_SEED: 1 << 2, INVERT_RESULT: 1 << 3 } as const;
export const DIF_FLAGS_RESERVED = 0xf0;

/** What is checked in the source. */
export const DIF_SOURCE = {
  ALL_F_ERROR: 1 << 0,
  ALL_F_DETECT: 1 << 1,
  APP_F_DETECT: 1 << 2,
  APP_REF_F_DETECT: 1 << 3,
  APP_INCREMENTS: 1 << 4,
  NO_GUARD: 1 << 5,
  NO_REF: 1 << 6,
  REF_FIXED: 1 << 7,
} as const;

/** What is written to the destination: what is passed through is the source's. */
export const DIF_TARGET = {
  PASS_APP: 1 << 3,
  APP_INCREMENTS: 1 << 4,
  PASS_GUARD: 1 << 5,
  PASS_REF: 1 << 6,
  REF_FIXED: 1 << 7,
} as const;
export const DIF_TARGET_RESERVED = 0x07;

/** RESULT of an operation that found an error. */
export const DIF_RESULT = { GUARD: 1 << 0, APP: 1 << 1, REF: 1 << 2, ALL_F: 1 << 3 } as const;

const POLYNOMIAL = 0x8bb7;
const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ POLYNOMIAL;
  return crc;
});

/** The guard's CRC after the first `length` bytes. */
export function guardOf(register: number, bytes: Uint8Array, length: number): number {
  let crc = register;
  for (let i = 0; i < length; i++) {
    crc = ((crc << 8) & 0xffff) ^ (TABLE[(crc >>> 8) ^ (bytes[i] ?? 0)] ?? 0);
  }
  return crc;
}

/** The guard that a block begins with. */
export const guardSeed = (flags: number): number => ((flags & DIF_FLAG.INVERT_SEED) === 0 ? 0 : 0xffff);
/** The guard as the field has it. */
export const guardEnd = (crc: number, flags: number): number =>
  (flags & DIF_FLAG.INVERT_RESULT) === 0 ? crc : ~crc & 0xffff;

export const get16 = (field: Uint8Array, at: number): number =>
  ((field[at] ?? 0) << 8) | (field[at + 1] ?? 0);
export const get32 = (field: Uint8Array, at: number): number =>
  get16(field, at) * 2 ** 16 + get16(field, at + 2);
export function put16(field: Uint8Array, at: number, value: number): void {
  field[at] = value >>> 8;
  field[at + 1] = value;
}
/** @param value of 32 bits, signed or not */
export function put32(field: Uint8Array, at: number, value: number): void {
  put16(field, at, value >>> 16);
  put16(field, at + 2, value);
}
