/**
 * The interrupts of an Intel DSA device: the MSI-X table and its pending bits in BAR0, interrupt message storage,
 * and who may have a completion interrupt on which entry (PCIe 6.0, 6.1.4 and 7.7.2; Intel DSA Architecture
 * Specification, 341204, revision 3.0, 3.7, 5.4, 9.2.22 and 9.2.25).
 */
import { type Restorable, Words } from '../../base/index.js';
import {
  DSA_IMS,
  DSA_MSIXPERM,
  DSA_STRIDE,
  DSA_TABLE,
  type DsaRegisterTable,
  MSI_X_TABLE_ENTRY,
  maskOf,
  type Register,
  type RegisterFile,
} from '../../spec/index.js';
import { IMS_TABLE, InterruptHandles, NO_ENTRY } from './interrupt-handles.js';
import { MessageStore } from './message-store.js';
import type { DsaParts } from './ports.js';

const { ADDRESS, UPPER, DATA, MASK } = MSI_X_TABLE_ENTRY;
const { IGNORE, PASID_EN, PASID } = DSA_MSIXPERM;

const IMS_CONTROL_WORD = DSA_IMS.PASID.low >> 5;
/** What of a word of permissions says whose the entry is. */
const [OWNER_BITS = 0] = maskOf(DSA_MSIXPERM, PASID_EN, PASID);

/** The entry that all but completions use. */
export const DEVICE_VECTOR = 0;

export class Interrupts implements Restorable {
  readonly #table: DsaRegisterTable;
  readonly #registers: RegisterFile;
  readonly #parts: DsaParts;
  readonly #pending = new Words(2);
  readonly ims: MessageStore;
  readonly handles: InterruptHandles;
  readonly #control = new Int32Array(1);

  constructor(
    table: DsaRegisterTable,
    registers: RegisterFile,
    { parts, ims, handles }: { readonly parts: DsaParts; readonly ims: number; readonly handles: number },
  ) {
    this.ims = new MessageStore(ims);
    this.handles = new InterruptHandles(handles);
    this.#table = table;
    this.#registers = registers;
    this.#parts = parts;
  }

  /** Whether there is such an entry, of MSI-X or, with IMS_TABLE, of interrupt message storage. */
  hasEntry(entry: number): boolean {
    const index = entry & ~IMS_TABLE;
    return index < ((entry & IMS_TABLE) === 0 ? this.#table.MSIXPERM.length : this.ims.entries);
  }

  /** Whether a descriptor with this PASID (negative for none) may name this handle, which has its table. */
  isAllowed(handle: number, pasid: number): boolean {
    const entry = this.handles.entryOf(handle);
    if (entry === NO_ENTRY || !this.hasEntry(entry)) return false;
    const isIms = (entry & IMS_TABLE) !== 0;
    const control = isIms ? this.#imsControl(entry) : this.#permission(entry);
    if (PASID_EN.get(control, 0) !== (pasid >= 0 ? 1 : 0)) return false;
    return pasid < 0 || PASID.get(control, 0) === pasid;
  }

  /** The entries whose permission is a PASID's; IMS_TABLE is set in those of interrupt message storage. */
  entriesOf(pasid: number): number[] {
    this.#control[0] = 0;
    PASID_EN.set(this.#control, 0, 1);
    PASID.set(this.#control, 0, pasid);
    const [wanted = 0] = this.#control;
    const found: number[] = [];
    const { MSIXPERM } = this.#table;
    const { words } = this.#registers;
    for (let entry = 0; entry < MSIXPERM.length; entry++) {
      if (((words[MSIXPERM[entry]?.at ?? 0] ?? 0) & OWNER_BITS) === wanted) found.push(entry);
    }
    const { entries, words: ims } = this.ims;
    for (let entry = 0; entry < entries; entry++) {
      if (((ims[this.ims.at(entry) + IMS_CONTROL_WORD] ?? 0) & OWNER_BITS) === wanted) {
        found.push(entry | IMS_TABLE);
      }
    }
    return found;
  }

  /** A completion interrupt. */
  complete(handle: number): void {
    const entry = this.handles.entryOf(handle);
    if (entry === NO_ENTRY || !this.hasEntry(entry)) return;
    const isIms = (entry & IMS_TABLE) !== 0;
    if (IGNORE.get(isIms ? this.#imsControl(entry) : this.#permission(entry), 0) === 1) return;
    if (isIms) this.#signalIms(entry & ~IMS_TABLE);
    else this.signal(entry);
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

  /** A write to a word of interrupt message storage. */
  writeIms(word: number, value: number): void {
    this.ims.write(word, value);
    const entry = Math.floor((word * 4) / DSA_STRIDE.IMS);
    if (this.ims.isPending(entry)) this.#signalIms(entry);
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
    this.ims.reset();
    this.handles.reset();
  }

  mark(): void {
    this.#pending.mark();
    this.ims.mark();
    this.handles.mark();
  }

  restore(): void {
    this.#pending.restore();
    this.ims.restore();
    this.handles.restore();
  }

  /** The word of an entry's PASID; both tables have its fields at the same bits. */
  #permission(entry: number): Int32Array {
    this.#control[0] = this.#registers.words[this.#table.MSIXPERM[entry]?.at ?? 0] ?? 0;
    return this.#control;
  }

  #imsControl(entry: number): Int32Array {
    this.#control[0] = this.ims.read(this.ims.at(entry & ~IMS_TABLE) + IMS_CONTROL_WORD);
    return this.#control;
  }

  /** Of interrupt message storage MSI-X's enable says nothing: an entry has its own mask. */
  #signalIms(entry: number): void {
    const { words } = this.ims;
    const at = this.ims.at(entry);
    const isMasked = DSA_IMS.MASK.get(words, at) === 1;
    this.ims.setPending(entry, isMasked);
    if (isMasked) return;
    const address = DSA_IMS.UPPER.get(words, at) * 2 ** 32 + DSA_IMS.ADDRESS.get(words, at) * 4;
    this.#parts.upstream.interrupt(this.#parts.rid, address, DSA_IMS.DATA.get(words, at) | 0);
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
