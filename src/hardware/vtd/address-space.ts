/**
 * What an address space, as its PASID table entry says, makes of its paging structures: which format its second stage
 * has and how far it reaches, what is granted before the first entry is read, and what a request needs of the first
 * stage (VT-d 4.1, 3.6, 3.7 and 9.6).
 */
import type { SecondStage } from '../paging/second-stage.js';
import { ALL_RIGHTS, pagesPerEntry, RIGHT } from '../paging/step.js';
import type { AddressSpace } from './device-tables.js';
import type { UnitFormat } from './format.js';

/** Constants of this module: the engine folds them, and would load what is imported at each use. */
const { WRITE, EXECUTE, USER } = RIGHT;
const ALL = ALL_RIGHTS;

/** The second stage's format for an address space: whether X counts hangs on its PASID entry. */
export const secondStageOf = (format: UnitFormat, space: AddressSpace): SecondStage =>
  space.executeRequests ? format.executableSecondStage : format.secondStage;

/** Whether a page lies beyond what the second stage of an address space translates. */
export const isBeyondSecond = (page: number, { secondLevels }: AddressSpace, format: UnitFormat): boolean =>
  page >= pagesPerEntry(secondLevels + 1) || page >= format.guestPageLimit;

/** What an address space grants before its paging structures are looked at. */
export const rightsOfEntry = ({ executeRequests }: AddressSpace): number =>
  executeRequests ? ALL : ALL & ~EXECUTE;

/**
 * What the first stage has to grant to a request for `rights`. READ it does by being there; privileged writes may
 * pass without WRITE.
 */
export function neededOfFirst(rights: number, isPrivileged: boolean, { writeProtect }: AddressSpace): number {
  if (!isPrivileged) return (rights & (WRITE | EXECUTE)) | USER;
  return rights & (writeProtect ? WRITE | EXECUTE : EXECUTE);
}
