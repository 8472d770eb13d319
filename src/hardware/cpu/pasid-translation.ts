/**
 * PASID translation in guest mode (Intel SDM volume 3, 26.5.8): one step through a directory and a table in the
 * host's memory, by ENQCMD and ENQCMDS each time; nothing of it is cached. An entry with a reserved bit counts as
 * one that is not there.
 */
import {
  hasReservedBits,
  VMX_PASID_DIRECTORY_ENTRY,
  VMX_PASID_INDEX,
  VMX_PASID_TABLE_ENTRY,
} from '../../spec/index.js';
import { ABSENT, type FrameReader } from '../memory.js';

const directoryEntry = VMX_PASID_DIRECTORY_ENTRY;
const tableEntry = VMX_PASID_TABLE_ENTRY;
const { P, ADDR } = VMX_PASID_DIRECTORY_ENTRY;
const { PASID, VALID } = VMX_PASID_TABLE_ENTRY;
const { HIGH_SHIFT, DIRECTORY_SHIFT, DIRECTORY_MASK, TABLE_MASK } = VMX_PASID_INDEX;
const DIRECTORY_ENTRY_WORDS = 2;
const ENTRY_BYTES = 4;
const FRAME_BYTES = 4096;

/** The frames of the two directories. */
export interface PasidDirectories {
  readonly low: number;
  readonly high: number;
}

/** The PASID that a guest's is translated to; -1 if to none, which is an exit. */
export function translatePasid(memory: FrameReader, directories: PasidDirectories, guest: number): number {
  const frame = tableOf(memory, directories, guest);
  const at = frame === ABSENT ? ABSENT : memory.at(frame, guest & TABLE_MASK);
  if (at === ABSENT) return -1;
  if (VALID.get(memory.words, at) === 0 || hasReservedBits(tableEntry, memory.words, at)) return -1;
  return PASID.get(memory.words, at);
}

/** An entry of the table, as it lies in memory. */
export interface PasidTranslationEntry {
  readonly address: number;
  readonly word: number;
}

/** The entry of a guest's PASID, whatever it says; undefined where no table is. For those who look on. */
export function pasidTranslationEntry(
  memory: FrameReader,
  directories: PasidDirectories,
  guest: number,
): PasidTranslationEntry | undefined {
  const frame = tableOf(memory, directories, guest);
  const index = guest & TABLE_MASK;
  const at = frame === ABSENT ? ABSENT : memory.at(frame, index);
  if (at === ABSENT) return undefined;
  return { address: frame * FRAME_BYTES + index * ENTRY_BYTES, word: memory.words[at] ?? 0 };
}

/** The frame of the table that a guest's PASID has its entry in, or ABSENT. */
function tableOf(memory: FrameReader, { low, high }: PasidDirectories, guest: number): number {
  const directory = guest >>> HIGH_SHIFT === 0 ? low : high;
  const at = memory.at(directory, ((guest >>> DIRECTORY_SHIFT) & DIRECTORY_MASK) * DIRECTORY_ENTRY_WORDS);
  if (at === ABSENT) return ABSENT;
  if (P.get(memory.words, at) === 0 || hasReservedBits(directoryEntry, memory.words, at)) return ABSENT;
  return ADDR.get(memory.words, at);
}
