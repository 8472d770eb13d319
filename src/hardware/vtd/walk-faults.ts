/**
 * Where a walk stands, and which reason it fails for there, as far as that hangs on the unit's mode too (VT-d 4.1,
 * 7.1.3).
 */
import { FAULT } from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';

/** Where a walk stands: which table the next entry is read from. */
export type WalkStage =
  | 'root'
  | 'context'
  | 'pasid-directory'
  | 'pasid-table'
  | 'first-stage'
  | 'second-stage'
  | 'done'
  | 'fault';

/** Where a walk stands that fails. */
export interface Whereabouts {
  readonly stage: WalkStage;
  readonly isScalable: boolean;
  /** Whether the table is the root of its paging structure. */
  readonly isRoot: boolean;
}

/** The next entry can't be read. */
export function accessFault({ stage, isScalable, isRoot }: Whereabouts): number {
  switch (stage) {
    case 'root':
      return isScalable ? FAULT.SM_ROOT_ACCESS : FAULT.ROOT_ACCESS;
    case 'context':
      return isScalable ? FAULT.SM_CONTEXT_ACCESS : FAULT.CONTEXT_ACCESS;
    case 'pasid-directory':
      return FAULT.PASID_DIRECTORY_ACCESS;
    case 'pasid-table':
      return FAULT.PASID_TABLE_ACCESS;
    case 'first-stage':
      return isRoot ? FAULT.FIRST_STAGE_ROOT_ACCESS : FAULT.FIRST_STAGE_ACCESS;
    default:
      if (!isScalable) return FAULT.PAGING_ENTRY_ACCESS;
      return isRoot ? FAULT.SECOND_STAGE_ROOT_ACCESS : FAULT.SECOND_STAGE_ACCESS;
  }
}

/** The first stage does not grant `missing`, a set of rights that is not empty. */
export function deniedByFirst(missing: number): number {
  if ((missing & RIGHT.USER) !== 0) return FAULT.USER_DENIED;
  return (missing & RIGHT.WRITE) !== 0 ? FAULT.SM_WRITE_DENIED : FAULT.EXECUTE_DENIED;
}

/** The second stage does not grant `missing` of the request's own page. */
export function deniedBySecond(missing: number, isScalable: boolean): number {
  if (isScalable) return FAULT.SECOND_STAGE_DENIED;
  return (missing & RIGHT.WRITE) !== 0 ? FAULT.WRITE_DENIED : FAULT.READ_DENIED;
}
