/**
 * The registers of a whole accelerator, as its guest finds them: the function's own, without what a guest cannot have
 * (Intel DSA 3.0, 9.2.2, 9.2.3).
 *
 * - Interrupt message storage: an entry is the address and the data of a message, and what a guest writes there would
 * be
 *   sent to the host's CPUs, where they are whatever the host calls so. GENCAP says that there is none; where the table
 *   is, reads give 0 and writes are lost. Its own interrupts a guest has by MSI-X, which the VMM forwards.
 * - Shared mode, where the guest is to have no shared queues: WQCAP says that there is none.
 */
import type { MmioRegion } from '../hardware/index.js';
import { DSA_GENCAP_REG, DSA_OFFSETS_REG, DSA_STRIDE, DSA_WQCAP_REG, type Field } from '../spec/index.js';

const [GENCAP, WQCAP, OFFSETS] = [0x10, 0x20, 0x60];
const TABLE_UNIT = 0x100;
const IMS_UNIT = 256;

/** Registers as accesses of 4 bytes. */
export type Words = Pick<MmioRegion, 'name' | 'bytes' | 'read32' | 'write32'>;

/** The word that a field of a register is in, and its bits there. */
const bitsOf = (register: number, { low, width }: Field): readonly [at: number, bits: number] => [
  register + (low >> 5) * 4,
  ((1 << width) - 1) << (low % 32),
];

const [STORAGE_AT, STORAGE] = bitsOf(GENCAP, DSA_GENCAP_REG.IMS_SIZE);
const [SHARED_AT, SHARED] = bitsOf(WQCAP, DSA_WQCAP_REG.SHARED);

export class ShownRegisters {
  readonly name: string;
  readonly bytes: number;
  readonly #registers: Words;
  readonly #hasSharedMode: boolean;
  /** Where message storage is: from `first` on, as far as `end`. */
  #storage = { first: 0, end: 0 };

  /** @param registers the function's, as they are */
  constructor(registers: Words, of: { readonly hasSharedMode: boolean }) {
    this.name = registers.name;
    this.bytes = registers.bytes;
    this.#registers = registers;
    this.#hasSharedMode = of.hasSharedMode;
  }

  /**
   * Finds out where things are, which are there for good. To be called when the function answers, before a guest does.
   */
  learn(): void {
    const { read32 } = this.#registers;
    const offsets = Int32Array.from({ length: 4 }, (_, i) => read32(OFFSETS + i * 4));
    const capabilities = Int32Array.from({ length: 2 }, (_, i) => read32(GENCAP + i * 4));
    const first = DSA_OFFSETS_REG.IMS.get(offsets, 0) * TABLE_UNIT;
    const entries = DSA_GENCAP_REG.IMS_SIZE.get(capabilities, 0) * IMS_UNIT;
    this.#storage = { first, end: first + entries * DSA_STRIDE.IMS };
  }

  readonly read32 = (offset: number): number => {
    if (this.#isStorage(offset)) return 0;
    const word = this.#registers.read32(offset);
    if (offset === STORAGE_AT) return word & ~STORAGE;
    return offset === SHARED_AT && !this.#hasSharedMode ? word & ~SHARED : word;
  };

  readonly write32 = (offset: number, value: number): void => {
    if (!this.#isStorage(offset)) this.#registers.write32(offset, value);
  };

  #isStorage(offset: number): boolean {
    const { first, end } = this.#storage;
    return offset >= first && offset < end;
  }
}
