import { hex } from '../base/index.js';

/** The address, or the size, of a number of pages as `0x…`: it may need all 64 bits. */
export const pageHex = (page: number): string => hex(BigInt(page) << 12n);
