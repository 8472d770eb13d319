/**
 * What becomes of a translation request that finds a fault, after VT-d 4.1, 7.1.3: a page that is not there, or
 * grants less, is no error (nothing is granted, nothing recorded: the function may ask for the page); the rest is
 * recorded, and answered Completer Abort where the paging structures are at fault, Unsupported Request before.
 *
 * Which of those two answers goes with which fault was not compared with the specification's own table.
 */
import { FAULT } from '../../spec/index.js';
import { COMPLETION, type CompletionStatus } from '../pci/ports.js';

/** Faults that say that a page may not be used in one way: it may yet be used in another. */
const DENIALS: ReadonlySet<number> = new Set([
  FAULT.WRITE_DENIED,
  FAULT.READ_DENIED,
  FAULT.SECOND_STAGE_DENIED,
  FAULT.SM_WRITE_DENIED,
  FAULT.SM_READ_DENIED,
  FAULT.EXECUTE_DENIED,
  FAULT.ERE_CLEAR,
]);

/** Faults that a page request may mend: they are no errors of a translation request, which is granted nothing. */
const RECOVERABLE: ReadonlySet<number> = new Set([
  ...DENIALS,
  FAULT.ADDRESS_BEYOND_WIDTH,
  FAULT.FIRST_STAGE_NOT_PRESENT,
  FAULT.NOT_CANONICAL,
  FAULT.USER_DENIED,
  FAULT.SM_ADDRESS_BEYOND_WIDTH,
  FAULT.SECOND_STAGE_ADDRESS_BEYOND_WIDTH,
]);

/** Faults of the paging structures themselves. */
const ABORTS: ReadonlySet<number> = new Set([
  FAULT.PAGING_ENTRY_ACCESS,
  FAULT.PAGING_ENTRY_RESERVED,
  FAULT.FIRST_STAGE_ACCESS,
  FAULT.FIRST_STAGE_RESERVED,
  FAULT.FIRST_STAGE_ROOT_ACCESS,
  FAULT.NESTED_ADDRESS_BEYOND_WIDTH,
  FAULT.NESTED_ROOT_READ_DENIED,
  FAULT.NESTED_READ_DENIED,
  FAULT.NESTED_WRITE_DENIED,
  FAULT.SECOND_STAGE_ACCESS,
  FAULT.SECOND_STAGE_RESERVED,
  FAULT.SECOND_STAGE_ROOT_ACCESS,
]);

/** Whether less may yet be granted. */
export const isDenial = (fault: number): boolean => DENIALS.has(fault);

/** How a translation request that failed is completed. */
export function completionStatus(fault: number): CompletionStatus {
  if (RECOVERABLE.has(fault)) return COMPLETION.SUCCESS;
  return ABORTS.has(fault) ? COMPLETION.COMPLETER_ABORT : COMPLETION.UNSUPPORTED_REQUEST;
}
