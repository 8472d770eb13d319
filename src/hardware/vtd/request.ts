/**
 * What a device asks of an IOMMU, as far as a translation needs it (PCIe 6.0, 6.20; VT-d 4.1, 3.2 and 3.14).
 */
import type { FrameRange } from '../memory.js';

/** A request without a PASID. */
export const NO_PASID = -1;

/** What a device asks for. */
export interface Request {
  /** Bus, device, function: 16 bits. */
  readonly rid: number;
  /** A PASID, or {@link NO_PASID}. */
  readonly pasid: number;
  /** The address without its low 12 bits, as a number of 52 bits. */
  readonly page: number;
  /**
   * Needed: `RIGHT.READ`, WRITE or EXECUTE; a request with privilege has none of USER. A request without
   * a PASID can ask for neither (PCIe carries both beside the PASID): its privilege is the context entry's
   * RID_PRIV, and its EXECUTE is not looked at.
   */
  readonly rights: number;
}

/** Interrupt requests are writes without a PASID to this range; no translation may lead there (VT-d 3.14). */
export const INTERRUPT_FRAMES: FrameRange = { first: 0xfee00, last: 0xfeeff };

const { first, last } = INTERRUPT_FRAMES;

export const isInterruptFrame = (frame: number): boolean => frame >= first && frame <= last;
