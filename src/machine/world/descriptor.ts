/** A step's submission as a DSA descriptor. */

import type { Named } from '../../rules/index.js';
import {
  DSA_COMPARE,
  DSA_DRAIN,
  DSA_FLAG,
  DSA_MEMFILL,
  DSA_MEMMOVE,
  DSA_NOOP,
  DSA_OPCODE,
  encode,
} from '../../spec/index.js';
import type { Submission } from '../scenario/schema.js';

/** Of a completion record. */
export const RECORD_BYTES = 32;

/** Where the operands lie, as the process sees them. */
export interface Operands {
  readonly record: number;
  readonly from: number;
  readonly into: number;
  readonly bytes: number;
  /** Of the interrupt that it asks for. */
  readonly handle?: number | undefined;
}

/** The 64 bytes of a descriptor; its PASID comes from the CPU, or from the queue. */
export function descriptorBytes(submission: Submission, operands: Operands): Uint8Array {
  return new Uint8Array(descriptorWords(submission, operands).buffer);
}

function descriptorWords(
  submission: Submission,
  { record, from, into, bytes, handle }: Operands,
): Int32Array {
  const blocks = submission['block-on-fault'] ? DSA_FLAG.BOF : 0;
  const ends = DSA_FLAG.CRAV | DSA_FLAG.RCR | (handle === undefined ? 0 : DSA_FLAG.RCI);
  const FLAGS = ends | blocks;
  const [RECORD, HANDLE, XFER_SIZE] = [record, handle ?? 0, bytes];
  // Each written out: this is asked for each descriptor, and the engine knows an object by where it is made.
  switch (submission.operation) {
    case 'noop':
      return encode(DSA_NOOP, { OPCODE: DSA_OPCODE.NOOP, FLAGS: ends, RECORD, HANDLE });
    case 'drain':
      return encode(DSA_DRAIN, { OPCODE: DSA_OPCODE.DRAIN, FLAGS: ends, RECORD, HANDLE });
    case 'memmove':
      return encode(DSA_MEMMOVE, {
        OPCODE: DSA_OPCODE.MEMMOVE,
        FLAGS,
        RECORD,
        HANDLE,
        XFER_SIZE,
        SRC: from,
        DST: into,
      });
    case 'compare':
      return encode(DSA_COMPARE, {
        OPCODE: DSA_OPCODE.COMPARE,
        FLAGS,
        RECORD,
        HANDLE,
        XFER_SIZE,
        SRC1: from,
        SRC2: into,
      });
    case 'fill': {
      const PATTERN = BigInt(submission.pattern ?? 0) * 0x0101_0101_0101_0101n;
      return encode(DSA_MEMFILL, {
        OPCODE: DSA_OPCODE.MEMFILL,
        FLAGS,
        RECORD,
        HANDLE,
        XFER_SIZE,
        DST: into,
        PATTERN,
      });
    }
  }
}

/** What the device may read and write for it. */
export function namedBy({ operation }: Submission, { record, from, into, bytes }: Operands): Named[] {
  const source = { address: from, bytes, isWritten: false };
  const target = { address: into, bytes, isWritten: operation !== 'compare' };
  const own = { address: record, bytes: RECORD_BYTES, isWritten: true };
  switch (operation) {
    case 'noop':
    case 'drain':
      return [own];
    case 'fill':
      return [target, own];
    case 'memmove':
    case 'compare':
      return [source, target, own];
  }
}
