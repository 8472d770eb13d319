/** CRC-32C, as Intel DSA computes it (specification 341204, revision 3.0, 8.3.11): most significant bit first. */

const POLYNOMIAL = 0x1edc6f41;
const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ POLYNOMIAL : crc << 1;
  return crc;
});
const REVERSED = Uint8Array.from({ length: 256 }, (_, byte) => {
  let reversed = 0;
  for (let bit = 0; bit < 8; bit++) if ((byte & (1 << bit)) !== 0) reversed |= 0x80 >> bit;
  return reversed;
});

/** Its 32 bits in the other order. */
export function reversed32(value: number): number {
  const low = ((REVERSED[value & 0xff] ?? 0) << 24) | ((REVERSED[(value >>> 8) & 0xff] ?? 0) << 16);
  return low | ((REVERSED[(value >>> 16) & 0xff] ?? 0) << 8) | (REVERSED[value >>> 24] ?? 0);
}

/** Bytes that go into a CRC. */
export interface CrcInput {
  readonly bytes: Uint8Array;
  length: number;
  /** Whether each byte's bits are taken least significant first. */
  isReflected: boolean;
}

/** The register of the CRC after more bytes, a signed word. */
export function crc32c(register: number, { bytes, length, isReflected }: CrcInput): number {
  let crc = register;
  for (let i = 0; i < length; i++) {
    const byte = bytes[i] ?? 0;
    crc = (crc << 8) ^ (TABLE[(crc >>> 24) ^ (isReflected ? (REVERSED[byte] ?? 0) : byte)] ?? 0);
  }
  return crc;
}
