/**
 * One request's way through a VT-d unit's tables (VT-d 3.4 to 3.8): root → context → PASID directory → PASID
 * table → first stage, second stage, or both (nested: every table of the first stage, and what it leads to,
 * lies at a guest-physical address that the second stage translates).
 *
 * A walk reads one entry a step, has no cache and writes nothing back; whoever drives it may look at the entry
 * before each step. The unit's model adds caches, accessed and dirty bits and fault records; `inspect` prints
 * the steps. A fault ends the walk with the specification's reason. Where one entry has several faults, a right
 * that it lacks is told before a reserved bit that it has: so QEMU does, and VirtualBox, which cites VT-d 7.1.3.
 */
import { Bug } from '../../base/index.js';
import { FAULT } from '../../spec/index.js';
import { ABSENT, FRAME_WORDS, type FrameRange, type FrameReader } from '../memory.js';
import { isCanonical } from '../paging/first-stage.js';
import {
  ALL_RIGHTS,
  ENTRY,
  ENTRY_WORDS,
  indexAt,
  offsetIn,
  pagesPerEntry,
  pagingStep,
  RIGHT,
} from '../paging/step.js';
import {
  type AddressSpace,
  type Context,
  contextEntryOffset,
  type DeviceTables,
  DIRECTORY_ENTRY_BYTES,
  hasFirstStage,
  PASID_ENTRY_BYTES,
  PASIDS_PER_TABLE,
  ROOT_ENTRY_BYTES,
  secondStageOf,
} from './device-tables.js';
import type { UnitFormat } from './format.js';

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
   * Needed: {@link RIGHT.READ}, WRITE or EXECUTE; a request with privilege has none of USER. A request without
   * a PASID can ask for neither (PCIe carries both beside the PASID): its privilege is the context entry's
   * RID_PRIV, and its EXECUTE is not looked at.
   */
  readonly rights: number;
}

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

/** Interrupt requests are writes without a PASID to this range; no translation may lead there (VT-d 3.14). */
export const INTERRUPT_FRAMES: FrameRange = { first: 0xfee00, last: 0xfeeff };

export const isInterruptFrame = (frame: number): boolean =>
  frame >= INTERRUPT_FRAMES.first && frame <= INTERRUPT_FRAMES.last;

/** More pages than any leaf spans. Small integers all the way: a walk that stores other numbers allocates. */
const ANY_SIZE = 1 << 30;
/** Pages that a leaf spans, by its level. */
const LEAF_PAGES = [1, 1, 1 << 9, 1 << 18];

export class Walk {
  readonly tables: DeviceTables;
  readonly #format: UnitFormat;
  readonly #memory: FrameReader;
  readonly #rootFrame: number;
  readonly #entry = pagingStep();

  stage: WalkStage = 'done';
  /** The request's reason to fail; 0 where it did not. */
  fault = 0;
  /** The PASID whose entry translates the request: its own, or RID_PASID. */
  pasid = 0;
  /** The next entry to be read: its table's frame, and the word in it. */
  frame = 0;
  word = 0;
  /** Of the table that the next entry is in, where it is a paging one: 1 to 5. */
  level = 0;
  /** Where in the memory's words the entry read last lies. */
  at = 0;
  /**
   * The result: the 4 KiB frame that the page leads to; how many pages, naturally aligned, go the same way; and
   * what their entries grant. (A privileged write may have been let through without WRITE, where WPE is clear.)
   */
  target = 0;
  pages = 0;
  rights = 0;

  #request: Request = { rid: 0, pasid: NO_PASID, page: 0, rights: 0 };
  /** Nested: where the first stage goes on once the second has translated the frame of its table; 0 for the result. */
  #firstLevel = 0;
  /** What the second stage translates: the request's page, or a guest-physical one. */
  readonly guest = { page: 0 };
  #needed = 0;
  #isPrivileged = false;
  /** The intersection of the first stage's rights; without a first stage, all that the entry before it allows. */
  #firstRights = ALL_RIGHTS;
  #firstPages = ANY_SIZE;

  /**
   * @param memory that the tables lie in
   * @param rootFrame of the root table (RTADDR.RTA)
   * @param tables how this unit reads them
   */
  constructor(memory: FrameReader, rootFrame: number, tables: DeviceTables) {
    this.#memory = memory;
    this.#rootFrame = rootFrame;
    this.tables = tables;
    this.#format = tables.format;
  }

  /**
   * Begins the walk of a request, which is kept by reference until the walk ends.
   *
   * A write without a PASID to the interrupt range is an interrupt request, which whoever drives the walk takes
   * out before; what else is asked of that range without a PASID fails.
   */
  begin(request: Request): void {
    this.#request = request;
    this.fault = 0;
    this.#needed = request.pasid === NO_PASID ? request.rights & ~RIGHT.EXECUTE : request.rights;
    this.#isPrivileged = (request.rights & RIGHT.USER) === 0;
    this.#firstRights = ALL_RIGHTS;
    this.#firstPages = ANY_SIZE;
    this.#goTo('root', this.#rootFrame, (request.rid >>> 8) * ROOT_ENTRY_BYTES);
    if (request.pasid !== NO_PASID && !this.tables.isScalable) this.#fail(FAULT.PASID_IN_LEGACY_MODE);
    if (request.pasid === NO_PASID && isInterruptFrame(request.page)) this.#fail(this.#interruptFault());
  }

  /** Walks to the end; whether the request is granted. */
  run(): boolean {
    while (this.stage !== 'done' && this.stage !== 'fault') this.step();
    return this.stage === 'done';
  }

  /** Reads on until the walk leaves the second stage. */
  runSecond(): void {
    do this.step();
    while (this.stage === 'second-stage');
  }

  /** Reads the next entry. */
  step(): void {
    const at = this.#memory.at(this.frame);
    this.at = at + this.word;
    const fault = at === ABSENT ? this.#accessFault() : this.#read(this.#memory.words, this.at);
    if (fault !== 0) this.#fail(fault);
  }

  /**
   * Goes on from an entry that somebody kept, instead of reading it: the context entry, right after
   * {@link Walk.begin}; or the PASID table entry, after the context entry.
   */
  take(stage: 'context' | 'pasid-table', words: Int32Array, at: number): void {
    this.stage = stage;
    const fault = this.#read(words, at);
    if (fault !== 0) this.#fail(fault);
  }

  /** Goes on from a context entry that somebody kept as it was taken apart. */
  takeContext(context: Context): void {
    this.tables.takeContext(context);
    const fault = this.#afterContext();
    if (fault !== 0) this.#fail(fault);
  }

  /** The same, after it, with the PASID table entry. */
  takeSpace(space: AddressSpace): void {
    this.tables.takeSpace(space);
    const fault = this.#afterPasidEntry();
    if (fault !== 0) this.#fail(fault);
  }

  /** What the first stage's entries so far grant. */
  get firstRights(): number {
    return this.#firstRights;
  }

  /** Goes on at a first-stage table further down, the way to which somebody kept; `rights` are those of that way. */
  skipToFirst(level: number, frame: number, rights: number): void {
    this.#firstRights &= rights;
    this.#firstLevel = level;
    // Ways to tables that the second stage lets nobody mark are not kept.
    this.rights = ALL_RIGHTS;
    const fault = this.#deniedByFirst();
    if (fault !== 0) this.#fail(fault);
    else this.#readFirst(frame);
  }

  /** The same in the second stage. */
  skipToSecond(level: number, frame: number, rights: number): void {
    this.rights = rights;
    this.level = level;
    const fault = this.#deniedBySecond(rights);
    if (fault !== 0) this.#fail(fault);
    else this.#readSecond(frame);
  }

  /** Takes the entry in. This and what it leads to answer 0 or why the request fails. */
  #read(words: Int32Array, at: number): number {
    // Most frequent first: 20 of a nested walk's 28 entries are the second stage's.
    switch (this.stage) {
      case 'second-stage':
        return this.#second(words, at);
      case 'first-stage':
        return this.#first(words, at);
      case 'root':
        return this.#root(words, at);
      case 'context':
        return this.#context(words, at);
      case 'pasid-directory':
        return this.#directory(words, at);
      case 'pasid-table':
        return this.#pasidEntry(words, at);
      default:
        throw new Bug(`a step of a walk that is over (${this.stage})`);
    }
  }

  #root(words: Int32Array, at: number): number {
    const devfn = this.#request.rid & 0xff;
    const fault = this.tables.rootStep(words, at, devfn);
    if (fault !== 0) return fault;
    return this.#goTo('context', this.tables.next, contextEntryOffset(this.tables.isScalable, devfn));
  }

  #context(words: Int32Array, at: number): number {
    const fault = this.tables.contextStep(words, at);
    return fault !== 0 ? fault : this.#afterContext();
  }

  #afterContext(): number {
    const { tables } = this;
    if (!tables.isScalable) {
      this.pasid = 0;
      return this.#beginTranslation();
    }
    const { context } = tables;
    const hasPasid = this.#request.pasid !== NO_PASID;
    if (hasPasid && !context.pasidEnabled) return FAULT.PASIDE_CLEAR;
    this.pasid = hasPasid ? this.#request.pasid : context.ridPasid;
    if (!hasPasid) this.#isPrivileged = context.ridPrivilege;
    if (this.pasid >= context.pasidLimit)
      return hasPasid ? FAULT.PASID_BEYOND_DIRECTORY : FAULT.RID_PASID_BEYOND_DIRECTORY;
    const index = Math.floor(this.pasid / PASIDS_PER_TABLE);
    const perFrame = FRAME_WORDS / (DIRECTORY_ENTRY_BYTES / 4);
    return this.#goTo(
      'pasid-directory',
      context.directory + Math.floor(index / perFrame),
      (index % perFrame) * DIRECTORY_ENTRY_BYTES,
    );
  }

  #directory(words: Int32Array, at: number): number {
    const fault = this.tables.directoryStep(words, at);
    if (fault !== 0) return fault;
    return this.#goTo('pasid-table', this.tables.next, (this.pasid % PASIDS_PER_TABLE) * PASID_ENTRY_BYTES);
  }

  #pasidEntry(words: Int32Array, at: number): number {
    const fault = this.tables.pasidStep(words, at);
    return fault !== 0 ? fault : this.#afterPasidEntry();
  }

  #afterPasidEntry(): number {
    const { space } = this.tables;
    if (this.#isPrivileged && !space.supervisorRequests && hasFirstStage(space.translation)) {
      return FAULT.SRE_CLEAR;
    }
    const isExecute = (this.#needed & RIGHT.EXECUTE) !== 0;
    if (isExecute && !space.executeRequests) return FAULT.ERE_CLEAR;
    return this.#beginTranslation();
  }

  #beginTranslation(): number {
    const { space, isScalable } = this.tables;
    const { page } = this.#request;
    if (!space.executeRequests) this.#firstRights = ALL_RIGHTS & ~RIGHT.EXECUTE;
    switch (space.translation) {
      case 'pass-through':
        if (page >= this.#format.frameLimit)
          return isScalable ? FAULT.SM_ADDRESS_BEYOND_WIDTH : FAULT.ADDRESS_BEYOND_WIDTH;
        return this.#finish(page, 1, this.#firstRights);
      case 'second-stage':
        this.#firstLevel = 0;
        return this.#beginSecond(page);
      default:
        if (!isCanonical(page, space.firstLevels)) return FAULT.NOT_CANONICAL;
        return this.#beginFirst(space.firstRoot, space.firstLevels);
    }
  }

  /** Goes on at the first-stage table of `level` that lies in `frame`: a guest's one where nested. */
  #beginFirst(frame: number, level: number): number {
    this.#firstLevel = level;
    if (this.tables.space.translation === 'nested') return this.#beginSecond(frame);
    return this.#readFirst(frame);
  }

  #readFirst(frame: number): number {
    this.level = this.#firstLevel;
    return this.#goTo('first-stage', frame, indexAt(this.#request.page, this.level) * ENTRY_WORDS * 4);
  }

  #first(words: Int32Array, at: number): number {
    const kind = this.#format.firstStage.step(this.level, words, at, this.#entry);
    if (kind === ENTRY.ABSENT) return FAULT.FIRST_STAGE_NOT_PRESENT;
    this.#firstRights &= this.#entry.rights;
    const denied = this.#deniedByFirst();
    if (denied !== 0) return denied;
    if (kind === ENTRY.MALFORMED) return FAULT.FIRST_STAGE_RESERVED;
    if (kind === ENTRY.TABLE) return this.#beginFirst(this.#entry.frame, this.level - 1);
    this.#firstPages = LEAF_PAGES[this.level] ?? 1;
    const frame = this.#entry.frame + offsetIn(this.#request.page, this.level);
    if (this.tables.space.translation !== 'nested')
      return this.#finish(frame, this.#firstPages, this.#firstRights);
    this.#firstLevel = 0;
    return this.#beginSecond(frame);
  }

  /** Why the first stage does not grant what is asked for; 0 if it does so far. */
  #deniedByFirst(): number {
    const needed = this.#needed;
    const granted = this.#firstRights;
    if (!this.#isPrivileged && (granted & RIGHT.USER) === 0) return FAULT.USER_DENIED;
    const mayIgnoreReadOnly = this.#isPrivileged && !this.tables.space.writeProtect;
    if ((needed & RIGHT.WRITE) !== 0 && (granted & RIGHT.WRITE) === 0 && !mayIgnoreReadOnly) {
      return FAULT.SM_WRITE_DENIED;
    }
    return (needed & RIGHT.EXECUTE) !== 0 && (granted & RIGHT.EXECUTE) === 0 ? FAULT.EXECUTE_DENIED : 0;
  }

  #beginSecond(page: number): number {
    const { space, isScalable } = this.tables;
    this.guest.page = page;
    if (page >= pagesPerEntry(space.secondLevels + 1) || page >= this.#format.guestPageLimit) {
      if (!isScalable) return FAULT.ADDRESS_BEYOND_WIDTH;
      return space.translation === 'nested'
        ? FAULT.NESTED_ADDRESS_BEYOND_WIDTH
        : FAULT.SECOND_STAGE_ADDRESS_BEYOND_WIDTH;
    }
    this.level = space.secondLevels;
    return this.#readSecond(space.secondRoot);
  }

  #readSecond(frame: number): number {
    return this.#goTo('second-stage', frame, indexAt(this.guest.page, this.level) * ENTRY_WORDS * 4);
  }

  #second(words: Int32Array, at: number): number {
    const { isScalable, space } = this.tables;
    const kind = secondStageOf(this.#format, space).step(this.level, words, at, this.#entry);
    const granted = kind === ENTRY.ABSENT ? 0 : this.#entry.rights;
    const denied = this.#deniedBySecond(granted);
    if (denied !== 0) return denied;
    if (kind === ENTRY.MALFORMED) {
      return isScalable ? FAULT.SECOND_STAGE_RESERVED : FAULT.PAGING_ENTRY_RESERVED;
    }
    this.rights = this.level === space.secondLevels ? granted : this.rights & granted;
    if (kind === ENTRY.TABLE) {
      this.level--;
      return this.#readSecond(this.#entry.frame);
    }
    const pages = LEAF_PAGES[this.level] ?? 1;
    const frame = this.#entry.frame + offsetIn(this.guest.page, this.level);
    if (this.#firstLevel !== 0) return this.#readFirst(frame);
    return this.#finish(frame, Math.min(pages, this.#firstPages), this.rights & this.#firstRights);
  }

  /** Why the second stage does not grant what is asked for; 0 if it does. A first-stage table must be readable. */
  #deniedBySecond(granted: number): number {
    const { isScalable, space } = this.tables;
    if (this.#firstLevel !== 0) {
      if ((granted & RIGHT.READ) !== 0) return 0;
      return this.#firstLevel === space.firstLevels
        ? FAULT.NESTED_ROOT_READ_DENIED
        : FAULT.NESTED_READ_DENIED;
    }
    const missing = this.#needed & ~(granted | RIGHT.USER);
    if (missing === 0) return 0;
    if (isScalable) return FAULT.SECOND_STAGE_DENIED;
    return (missing & RIGHT.WRITE) !== 0 ? FAULT.WRITE_DENIED : FAULT.READ_DENIED;
  }

  #goTo(stage: WalkStage, frame: number, offset: number): number {
    this.stage = stage;
    this.frame = frame;
    this.word = offset >> 2;
    return 0;
  }

  #finish(target: number, pages: number, rights: number): number {
    if (isInterruptFrame(target)) return this.#interruptFault();
    this.target = target;
    this.pages = pages;
    this.rights = rights;
    this.stage = 'done';
    return 0;
  }

  #interruptFault(): number {
    return this.tables.isScalable ? FAULT.SM_INTERRUPT_ADDRESS : FAULT.INTERRUPT_ADDRESS;
  }

  #fail(reason: number): void {
    this.fault = reason;
    this.stage = 'fault';
  }

  /** The reason of a walk whose next entry can't be read. */
  #accessFault(): number {
    const { isScalable, space } = this.tables;
    switch (this.stage) {
      case 'root':
        return isScalable ? FAULT.SM_ROOT_ACCESS : FAULT.ROOT_ACCESS;
      case 'context':
        return isScalable ? FAULT.SM_CONTEXT_ACCESS : FAULT.CONTEXT_ACCESS;
      case 'pasid-directory':
        return FAULT.PASID_DIRECTORY_ACCESS;
      case 'pasid-table':
        return FAULT.PASID_TABLE_ACCESS;
      case 'first-stage':
        return this.level === space.firstLevels ? FAULT.FIRST_STAGE_ROOT_ACCESS : FAULT.FIRST_STAGE_ACCESS;
      default:
        if (!isScalable) return FAULT.PAGING_ENTRY_ACCESS;
        return this.level === space.secondLevels ? FAULT.SECOND_STAGE_ROOT_ACCESS : FAULT.SECOND_STAGE_ACCESS;
    }
  }
}
