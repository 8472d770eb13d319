/**
 * What is said of an error, wherever it is recorded (Intel DSA Architecture Specification, 341204, revision 3.0, 5.8).
 */

/** The descriptor that an error is about. */
export interface ErrorDescriptor {
  readonly words: Int32Array;
  readonly wq: number;
  /** Negative for none. */
  readonly pasid: number;
  readonly isPrivileged: boolean;
  /** Where it was one of a batch. */
  readonly batchIndex?: number;
  /** Names the batch. */
  readonly batchId?: number;
}

/** An error, as SWERROR has it; what is left out is zero. */
export interface SoftwareError {
  readonly error: number;
  readonly descriptor?: ErrorDescriptor;
  readonly isWrite?: boolean;
  readonly info?: number;
  readonly fault?: bigint;
  /** The completion record that could not be written; for the event log. */
  readonly record?: Int32Array;
}
