/**
 * What is done to both: to the lab's QEMU, and to our model of the same machine. One step is a store to memory, an
 * access to a register of the unit, or a DMA; both twins answer it in the same terms.
 */

export type Step =
  /** 64-bit words to memory. */
  | { readonly do: 'store'; readonly address: bigint; readonly words: readonly bigint[] }
  /** The bytes of some frames, as an array for each. */
  | { readonly do: 'load'; readonly frames: readonly number[] }
  /** A register write, and what it sets off is over when the next step begins. */
  | { readonly do: 'write'; readonly offset: number; readonly bytes: 4 | 8; readonly value: bigint }
  | { readonly do: 'read'; readonly offset: number; readonly bytes: 4 | 8 }
  /**
   * A DMA of 4 bytes by one of the devices: a write of {@link PATTERN}, or a read. What was read goes to `slot`
   * of the device's buffer.
   */
  | { readonly do: 'dma'; readonly device: number; readonly address: bigint; readonly slot: number }
  /** The words in the first `slots` of a device's buffer. Translation has to be off. */
  | { readonly do: 'drain'; readonly device: number; readonly slots: number };

/**
 * What a step answers: the register's value; for a write by DMA, whether it was done (a read answers nothing: its
 * data do, later); frames; the words of a buffer.
 */
export type Answer = bigint | boolean | readonly Uint8Array[] | readonly number[] | undefined;

export interface Twin {
  /** Does the steps in order; an answer each. */
  run(steps: readonly Step[]): Promise<readonly Answer[]>;
}

/** What a write by DMA leaves, as `iommu-testdev` defines it. */
export const PATTERN = 0x1234_5678;
/** Where a device's buffer is drained to: a frame that cases leave alone. */
export const DRAIN_FRAME = 0x202;
