/** The entries of a function's MSI-X table (PCIe 6.0, 7.7.2.5), as a driver writes them. */
import { encode, MSI_X_TABLE_ENTRY } from '../spec/index.js';
import type { KernelContext } from './context.js';
import type { MsixLocation } from './pci.js';

const ENTRY_BYTES = MSI_X_TABLE_ENTRY.bytes;
const CONTROL_AT = ENTRY_BYTES - 4;

/** Has a vector send a message, or masks it. What is pending is sent when the mask goes. */
export function writeMsix(
  { platform: { mmio } }: KernelContext,
  { address: table }: MsixLocation,
  of: { readonly vector: number; readonly message: { address: number; data: number } | undefined },
): void {
  const at = table + of.vector * ENTRY_BYTES;
  if (of.message === undefined) {
    mmio.write32(at + CONTROL_AT, 1);
    return;
  }
  const { address, data } = of.message;
  const entry = encode(MSI_X_TABLE_ENTRY, {
    ADDRESS: Math.floor((address % 2 ** 32) / 4),
    UPPER: Math.floor(address / 2 ** 32),
    DATA: data,
  });
  // The control word is last: a message goes where the whole entry says.
  for (const [i, word] of entry.entries()) mmio.write32(at + i * 4, word);
}
