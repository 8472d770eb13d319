/**
 * The MSI-X table of a virtual function, and its pending bits (PCIe 6.0, 6.1.4 and 7.7.2). What signals a vector
 * stands behind the VMM; where its message goes, the guest has written here.
 */
import { type Restorable, Words } from '../base/index.js';
import { MSI_X_TABLE_ENTRY, type Register, RegisterFile, RegisterMap, register } from '../spec/index.js';

const { ADDRESS, UPPER, DATA, MASK } = MSI_X_TABLE_ENTRY;
const ENTRY_BYTES = 16;
/** Each entry is masked after reset. */
const MASKED = 1n << 96n;

export interface MsixOptions {
  /** At most 32. */
  readonly vectors: number;
  readonly isEnabled: () => boolean;
  readonly isMasked: () => boolean;
  /** Sends a message. */
  readonly message: (address: number, data: number) => void;
}

export interface MsixState {
  readonly entries: Int32Array;
  readonly pending: number;
}

export class MsixTable implements Restorable {
  readonly bytes: number;
  readonly #options: MsixOptions;
  readonly #entries: readonly Register[];
  readonly #file: RegisterFile;
  readonly #pending = new Words(1, 1);

  constructor(options: MsixOptions) {
    this.#options = options;
    this.bytes = options.vectors * ENTRY_BYTES;
    this.#entries = Array.from({ length: options.vectors }, (_, i) =>
      register(`MSIX${i}`, { offset: i * ENTRY_BYTES, layout: MSI_X_TABLE_ENTRY, reset: MASKED }),
    );
    this.#file = new RegisterFile(new RegisterMap(this.#entries, this.bytes), () => this.unmasked());
  }

  read32(offset: number): number {
    return this.#file.read32(offset);
  }

  write32(offset: number, value: number): void {
    this.#file.write32(offset, value);
  }

  /** The pending bits of the first 32 vectors. */
  get pending(): number {
    return this.#pending.words[0] ?? 0;
  }

  /** Sends a vector's message, or keeps it pending while that is masked. */
  signal(vector: number): void {
    const entry = this.#entries[vector];
    if (entry === undefined) return;
    const { isEnabled, isMasked, message } = this.#options;
    const bit = 1 << vector;
    if (!isEnabled() || isMasked() || this.#file.get(entry, MASK) === 1) {
      this.#pending.set(0, this.pending | bit);
      return;
    }
    this.#pending.set(0, this.pending & ~bit);
    const address = this.#file.get(entry, UPPER) * 2 ** 32 + this.#file.get(entry, ADDRESS) * 4;
    message(address, this.#file.get(entry, DATA) | 0);
  }

  /** To be called when an entry, or MSI-X as a whole, may have been unmasked. */
  unmasked(): void {
    this.#entries.forEach((_, vector) => {
      if ((this.pending & (1 << vector)) !== 0) this.signal(vector);
    });
  }

  save(): MsixState {
    return { entries: this.#file.words.slice(), pending: this.pending };
  }

  /** Nothing is sent by it: what is pending waits, as it did, until it is unmasked. */
  load({ entries, pending }: MsixState): void {
    this.#file.load(entries);
    this.#pending.set(0, pending);
  }

  mark(): void {
    this.#file.mark();
    this.#pending.mark();
  }

  restore(): void {
    this.#file.restore();
    this.#pending.restore();
  }
}
