/**
 * From a requester to its translation: root table → context table → PASID directory → PASID table, and the
 * legacy root and context tables (VT-d 3.4 and 9.1 to 9.6). One pure step a table: an entry is judged by itself
 * and taken apart into a record that the caller owns. What depends on the request (is its PASID in the
 * directory, may it ask for a page) is the walk's business.
 *
 * A step answers 0, or the fault's reason; the check for "present" comes first, then reserved bits, then whether
 * what is programmed makes sense.
 */
import {
  AW_LEVELS,
  CONTEXT_ENTRY,
  FAULT,
  hasBits,
  hasReservedBits,
  PASID_DIRECTORY_ENTRY,
  PASID_TABLE_ENTRY,
  PGTT,
  ROOT_ENTRY,
  SCALABLE_CONTEXT_ENTRY,
  SCALABLE_ROOT_ENTRY,
  TT,
} from '../../spec/index.js';
import type { UnitFormat } from './format.js';

const legacyRoot = ROOT_ENTRY;
const scalableRoot = SCALABLE_ROOT_ENTRY;
const legacy = CONTEXT_ENTRY;
const scalable = SCALABLE_CONTEXT_ENTRY;
const directory = PASID_DIRECTORY_ENTRY;
const pasid = PASID_TABLE_ENTRY;

/** Sizes in bytes and entries of the tables. */
export const ROOT_ENTRY_BYTES = ROOT_ENTRY.bytes;
export const DIRECTORY_ENTRY_BYTES = PASID_DIRECTORY_ENTRY.bytes;
export const PASID_ENTRY_BYTES = PASID_TABLE_ENTRY.bytes;
/** PASIDs a PASID table; a directory is indexed by the bits above. */
export const PASIDS_PER_TABLE = 64;

/** Where in its table the context entry of a device and function stands, in bytes. */
export const contextEntryOffset = (isScalable: boolean, devfn: number): number =>
  isScalable ? (devfn & 0x7f) * scalable.bytes : devfn * legacy.bytes;

/** Entries of a PASID directory, by the context entry's PDTS. */
export const directoryEntries = (pdts: number): number => 128 << pdts;

/** How a requester's addresses are translated. */
export type Translation = 'first-stage' | 'second-stage' | 'nested' | 'pass-through';

/** The context entry of a device. Either a legacy one, which translates by itself, or one that leads to PASIDs. */
export interface Context {
  /** Translation and translated requests (ATS) are allowed. */
  deviceTlb: boolean;
  /** Scalable mode: requests with PASID are allowed. */
  pasidEnabled: boolean;
  /** Scalable mode: page requests are allowed. */
  pageRequests: boolean;
  /** Scalable mode: PASIDs below this are in the directory. */
  pasidLimit: number;
  /** Scalable mode: frame of the PASID directory. */
  directory: number;
  /** Scalable mode: the PASID of requests without one, and whether they are privileged. */
  ridPasid: number;
  ridPrivilege: boolean;
  /** Faults of its requests are not recorded (FPD). */
  silenced: boolean;
}

/** How addresses are translated: from a PASID table entry, or from a legacy context entry. */
export interface AddressSpace {
  translation: Translation;
  domain: number;
  /** First stage: frame of its root (a guest-physical one where nested), and its levels. */
  firstRoot: number;
  firstLevels: number;
  /** Second stage: frame of its root, and its levels. */
  secondRoot: number;
  secondLevels: number;
  /** Requests with privilege are allowed, and write protection holds for them too. */
  supervisorRequests: boolean;
  writeProtect: boolean;
  /** Execute requests are allowed. */
  executeRequests: boolean;
  /** Accessed and dirty bits of the second stage are kept. */
  secondAccessedDirty: boolean;
  /** The extended accessed bit of the first stage is kept. */
  extendedAccessed: boolean;
  /** Paging structures are read as CPUs see them, written back or not. */
  snoopsWalks: boolean;
  /** Faults of its requests are not recorded: FPD of this entry, or of one that led here. */
  silenced: boolean;
}

/** A {@link Context} to be filled. */
export const emptyContext = (): Context => ({
  deviceTlb: false,
  pasidEnabled: false,
  pageRequests: false,
  pasidLimit: 0,
  directory: 0,
  ridPasid: 0,
  ridPrivilege: false,
  silenced: false,
});

/** An {@link AddressSpace} to be filled. */
export const emptyAddressSpace = (): AddressSpace => ({
  translation: 'pass-through',
  domain: 0,
  firstRoot: 0,
  firstLevels: 0,
  secondRoot: 0,
  secondLevels: 0,
  supervisorRequests: false,
  writeProtect: false,
  executeRequests: false,
  secondAccessedDirty: false,
  extendedAccessed: false,
  snoopsWalks: false,
  silenced: false,
});

/**
 * The steps of one requester's way to its translation. Each answers 0 or a fault's reason, and fills the record
 * that it is about.
 */
export class DeviceTables {
  readonly format: UnitFormat;
  readonly isScalable: boolean;
  /** Filled by {@link DeviceTables.contextStep} in scalable mode. */
  context = emptyContext();
  /** Filled by {@link DeviceTables.pasidStep}, and in legacy mode by {@link DeviceTables.contextStep}. */
  space = emptyAddressSpace();
  /** What the steps fill: those above may be somebody else's, taken apart before. May be exchanged for others. */
  ownContext = this.context;
  ownSpace = this.space;
  /** Filled by the steps that lead to another table: its frame. */
  next = 0;
  /** Whether the entries so far disable fault processing (FPD), each for itself and all below it. */
  silenced = false;
  #contextSilenced = false;
  #directorySilenced = false;

  /**
   * @param format of the unit
   * @param isScalable whether the root table is a scalable-mode one (RTADDR.TTM)
   */
  constructor(format: UnitFormat, isScalable: boolean) {
    this.format = format;
    this.isScalable = isScalable;
  }

  /** Goes on from a context entry that was taken apart before. */
  takeContext(context: Context): void {
    this.context = context;
    this.#contextSilenced = context.silenced;
    this.#directorySilenced = context.silenced;
    this.silenced = context.silenced;
  }

  /** Goes on from a PASID table entry that was taken apart before. */
  takeSpace(space: AddressSpace): void {
    this.space = space;
    this.silenced = space.silenced;
  }

  /** A root entry → {@link DeviceTables.next}, the context table of `devfn`. */
  rootStep(words: Int32Array, at: number, devfn: number): number {
    const { isScalable } = this;
    const layout = isScalable ? scalableRoot : legacyRoot;
    const isUpper = isScalable && devfn >= 0x80;
    this.silenced = false;
    const present = isScalable ? (isUpper ? scalableRoot.UP : scalableRoot.LP) : legacyRoot.P;
    if (present.get(words, at) === 0) {
      return isScalable ? FAULT.SM_ROOT_NOT_PRESENT : FAULT.ROOT_NOT_PRESENT;
    }
    const pointer = isScalable ? (isUpper ? scalableRoot.UCTP : scalableRoot.LCTP) : legacyRoot.CTP;
    this.next = pointer.get(words, at);
    const { frameLimit } = this.format;
    // The bits of both pointers above the host address width are reserved, whichever half the request goes through.
    const other = isScalable ? (isUpper ? scalableRoot.LCTP : scalableRoot.UCTP).get(words, at) : 0;
    if (hasReservedBits(layout, words, at) || this.next >= frameLimit || other >= frameLimit) {
      return isScalable ? FAULT.SM_ROOT_RESERVED : FAULT.ROOT_RESERVED;
    }
    return 0;
  }

  /** A context entry → {@link DeviceTables.context}, or in legacy mode {@link DeviceTables.space}. */
  contextStep(words: Int32Array, at: number): number {
    this.context = this.ownContext;
    this.space = this.ownSpace;
    return this.isScalable ? this.#scalableContext(words, at) : this.#legacyContext(words, at);
  }

  /** A PASID directory entry → {@link DeviceTables.next}, the PASID table. */
  directoryStep(words: Int32Array, at: number): number {
    this.#directorySilenced = this.#contextSilenced || directory.FPD.get(words, at) === 1;
    this.silenced = this.#directorySilenced;
    if (directory.P.get(words, at) === 0) return FAULT.PASID_DIRECTORY_NOT_PRESENT;
    this.next = directory.SMPTBLPTR.get(words, at);
    const isMalformed = hasReservedBits(directory, words, at) || this.next >= this.format.frameLimit;
    return isMalformed ? FAULT.PASID_DIRECTORY_RESERVED : 0;
  }

  /** A PASID table entry → {@link DeviceTables.space}. */
  pasidStep(words: Int32Array, at: number): number {
    this.space = this.ownSpace;
    const { space, format } = this;
    this.silenced = this.#directorySilenced || pasid.FPD.get(words, at) === 1;
    space.silenced = this.silenced;
    if (pasid.P.get(words, at) === 0) return FAULT.PASID_NOT_PRESENT;
    if (hasBits(format.pasidReserved, words, at)) return FAULT.PASID_RESERVED;
    const translation = TRANSLATION_OF_PGTT[pasid.PGTT.get(words, at)];
    space.firstRoot = pasid.FSPTPTR.get(words, at);
    space.secondRoot = pasid.SSPTPTR.get(words, at);
    // A nested entry's first-stage root is a guest-physical address: the second stage judges it.
    const isFirstBeyond = space.firstRoot >= format.frameLimit && translation !== 'nested';
    // Bits of a domain that the unit has not are reserved.
    space.domain = pasid.DID.get(words, at);
    const isDomainBeyond = space.domain > format.largestDomain;
    if (isFirstBeyond || isDomainBeyond || space.secondRoot >= format.frameLimit) return FAULT.PASID_RESERVED;
    if (translation === undefined || !isOffered(format, translation)) return FAULT.PASID_INVALID;
    space.translation = translation;
    space.snoopsWalks = format.snoopsWalks && pasid.PWSNP.get(words, at) === 1;
    space.supervisorRequests = pasid.SRE.get(words, at) === 1;
    space.writeProtect = pasid.WPE.get(words, at) === 1;
    space.executeRequests = pasid.ERE.get(words, at) === 1;
    space.extendedAccessed = pasid.EAFE.get(words, at) === 1;
    space.secondAccessedDirty = pasid.SSADE.get(words, at) === 1;
    const first = hasFirstStage(translation) ? this.#firstStage(words, at) : clearFirst(space);
    if (first !== 0) return first;
    return hasSecondStage(translation) ? this.#secondStage(words, at) : clearSecond(space);
  }

  #legacyContext(words: Int32Array, at: number): number {
    const { space, format, context } = this;
    this.silenced = legacy.FPD.get(words, at) === 1;
    space.silenced = this.silenced;
    if (legacy.P.get(words, at) === 0) return FAULT.CONTEXT_NOT_PRESENT;
    const root = legacy.SSPTPTR.get(words, at);
    const domain = legacy.DID.get(words, at);
    const isBeyond = root >= format.frameLimit || domain > format.largestDomain;
    if (hasReservedBits(legacy, words, at) || isBeyond) return FAULT.CONTEXT_RESERVED;
    const type = legacy.TT.get(words, at);
    const levels = AW_LEVELS[legacy.AW.get(words, at)] ?? 0;
    const isOffered =
      type === TT.SECOND_STAGE ||
      (type === TT.SECOND_STAGE_DEVICE_TLB && format.deviceTlb) ||
      (type === TT.PASS_THROUGH && format.passThrough);
    if (!isOffered || !format.secondStageLevels.has(levels)) return FAULT.CONTEXT_INVALID;
    context.deviceTlb = type === TT.SECOND_STAGE_DEVICE_TLB;
    clearFirst(space);
    space.translation = type === TT.PASS_THROUGH ? 'pass-through' : 'second-stage';
    space.domain = domain;
    space.snoopsWalks = format.snoopsTables;
    space.secondRoot = type === TT.PASS_THROUGH ? 0 : root;
    space.secondLevels = levels;
    space.secondAccessedDirty = false;
    space.supervisorRequests = false;
    space.writeProtect = false;
    space.executeRequests = false;
    space.extendedAccessed = false;
    return 0;
  }

  #scalableContext(words: Int32Array, at: number): number {
    const { context, format } = this;
    this.#contextSilenced = scalable.FPD.get(words, at) === 1;
    this.#directorySilenced = this.#contextSilenced;
    this.silenced = this.#contextSilenced;
    context.silenced = this.#contextSilenced;
    if (scalable.P.get(words, at) === 0) return FAULT.SM_CONTEXT_NOT_PRESENT;
    context.directory = scalable.PASIDDIRPTR.get(words, at);
    if (hasBits(format.contextReserved, words, at)) return FAULT.SM_CONTEXT_RESERVED;
    context.deviceTlb = scalable.DTE.get(words, at) === 1;
    context.pasidEnabled = scalable.PASIDE.get(words, at) === 1;
    context.pageRequests = scalable.PRE.get(words, at) === 1;
    context.pasidLimit = directoryEntries(scalable.PDTS.get(words, at)) * PASIDS_PER_TABLE;
    context.ridPasid = scalable.RID_PASID.get(words, at);
    context.ridPrivilege = scalable.RID_PRIV.get(words, at) === 1;
    return 0;
  }

  #firstStage(words: Int32Array, at: number): number {
    const { space, format } = this;
    const mode = pasid.FSPM.get(words, at);
    if (mode > 1 || (mode === 1 && !format.firstStage5Levels)) return FAULT.PASID_INVALID;
    space.firstLevels = 4 + mode;
    return 0;
  }

  #secondStage(words: Int32Array, at: number): number {
    const { space, format } = this;
    space.secondLevels = AW_LEVELS[pasid.AW.get(words, at)] ?? 0;
    return format.secondStageLevels.has(space.secondLevels) ? 0 : FAULT.PASID_INVALID;
  }
}

const TRANSLATION_OF_PGTT: Readonly<Record<number, Translation>> = {
  [PGTT.FIRST_STAGE]: 'first-stage',
  [PGTT.SECOND_STAGE]: 'second-stage',
  [PGTT.NESTED]: 'nested',
  [PGTT.PASS_THROUGH]: 'pass-through',
};

export const hasFirstStage = (translation: Translation): boolean =>
  translation === 'first-stage' || translation === 'nested';
export const hasSecondStage = (translation: Translation): boolean =>
  translation === 'second-stage' || translation === 'nested';

function isOffered(format: UnitFormat, translation: Translation): boolean {
  switch (translation) {
    case 'first-stage':
      return format.firstStageTranslation;
    case 'second-stage':
      return format.secondStageTranslation;
    case 'nested':
      return format.nested;
    case 'pass-through':
      return format.passThrough;
  }
}

function clearFirst(space: AddressSpace): 0 {
  space.firstRoot = 0;
  space.firstLevels = 0;
  return 0;
}

function clearSecond(space: AddressSpace): 0 {
  space.secondRoot = 0;
  space.secondLevels = 0;
  return 0;
}
