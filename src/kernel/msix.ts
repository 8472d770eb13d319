/** Vectors of a function's MSI-X table (PCIe 6.0, 7.7.2.5). */
import { encode, MSI_X_TABLE_ENTRY } from '../spec/index.js';
import type { KernelContext } from './context.js';

const ENTRY_BYTES = 16;
const CONTROL_AT = 12;

/** Where an interrupt is sent to. */
export interface InterruptMessage {
  readonly address: number;
  readonly data: number;
}

/**
 * Has a vector send a message from now on.
 *
 * @param table the address of the function's table
 */
export function routeVector(
  { platform }: KernelContext,
  table: number,
  { vector, address, data }: InterruptMessage & { readonly vector: number },
): void {
  const entry = encode(MSI_X_TABLE_ENTRY, {
    ADDRESS: Math.floor((address % 2 ** 32) / 4),
    UPPER: Math.floor(address / 2 ** 32),
    DATA: data,
  });
  for (const [i, word] of entry.entries()) platform.mmio.write32(table + vector * ENTRY_BYTES + i * 4, word);
}

/** Has a vector keep silent; what it would have said is pending. */
export function maskVector({ platform }: KernelContext, table: number, vector: number): void {
  platform.mmio.write32(table + vector * ENTRY_BYTES + CONTROL_AT, 1);
}
