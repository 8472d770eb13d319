/**
 * The interrupts of an Intel DSA device: the MSI-X table and its pending bits in BAR0, and who may have a
 * completion interrupt on which entry (PCIe 6.0, 6.1.4 and 7.7.2; Intel DSA Architecture Specification, 341204,
 * revision 3.0, 3.7, 5.4 and 9.2.22). There is no interrupt message storage.
 */
import { type Restorable, Words } from '../../base/index.js';
import {
  DSA_MSIXPERM,
  DSA_TABLE,
  type DsaRegisterTable,
  MSI_X_TABLE_ENTRY,
  type Register,
  type RegisterFile,
} from '../../spec/index.js';
import type { DsaParts } from './ports.js';

const { ADDRESS, UPPER, DATA, MASK } = MSI_X_TABLE_ENTRY;
const { IGNORE, PASID_EN, PASID } = DSA_MSIXPERM;

/** The entry that all but completions use. */
export const DEVICE_VECTOR = 0;

export class Interrupts implements Restorable {
  readonly #table: DsaRegisterTable;
  readonly #registers: RegisterFile;
  readonly #parts: DsaParts;
  readonly #pending = new Words(2);

  constructor(table: DsaRegisterTable, registers: RegisterFile, parts: DsaParts) {
    this.#table = table;
    this.#registers = registers;
    this.#parts = parts;
  }

  /** Whether a descriptor with this PASID (negative for none) may name this entry. */
  isAllowed(handle: number, pasid: number): boolean {
    const permission = this.#table.MSIXPERM[handle];
    if (permission === undefined) return false;
    const { words } = this.#registers;
    if (PASID_EN.get(words, permission.at) !== (pasid >= 0 ? 1 : 0)) return false;
    return pasid < 0 || PASID.get(words, permission.at) === pasid;
  }

  /** A completion interrupt. */
  complete(handle: number): void {
    const permission = this.#table.MSIXPERM[handle];
    if (permission === undefined || IGNORE.get(this.#registers.words, permission.at) === 1) return;
    this.signal(handle);
  }

  /** Sends the message of an entry, or keeps it pending while that is masked. */
  signal(vector: number): void {
    const entry = this.#table.MSIX[vector];
    if (entry === undefined) return;
    const { config } = this.#parts;
    if (!config.isMsixEnabled || config.isMsixMasked || this.#registers.get(entry, MASK) === 1) {
      this.#setPending(vector, true);
      return;
    }
    this.#setPending(vector, false);
    this.#send(entry);
  }

  /** To be called when an entry, or MSI-X as a whole, may have been unmasked. */
  unmasked(): void {
    this.#table.MSIX.forEach((_, vector) => {
      if (this.isPending(vector)) this.signal(vector);
    });
  }

  isPending(vector: number): boolean {
    return (((this.#pending.words[vector >> 5] ?? 0) >>> (vector & 31)) & 1) === 1;
  }

  /** What a read of the pending bit array gives. */
  readPending(offset: number): number {
    return this.#pending.words[(offset - DSA_TABLE.MSIX_PBA) >> 2] ?? 0;
  }

  reset(): void {
    this.#pending.set(0, 0);
    this.#pending.set(1, 0);
  }

  mark(): void {
    this.#pending.mark();
  }

  restore(): void {
    this.#pending.restore();
  }

  #send(entry: Register): void {
    const address = this.#registers.get(entry, UPPER) * 2 ** 32 + this.#registers.get(entry, ADDRESS) * 4;
    const data = this.#registers.get(entry, DATA) | 0;
    this.#parts.upstream.interrupt(this.#parts.rid, address, data);
  }

  #setPending(vector: number, isPending: boolean): void {
    const bit = 1 << (vector & 31);
    const word = this.#pending.words[vector >> 5] ?? 0;
    const next = isPending ? word | bit : word & ~bit;
    if (next !== word) this.#pending.set(vector >> 5, next);
  }
}
