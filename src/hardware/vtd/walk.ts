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
import { ABSENT, FRAME_WORDS, type FrameReader } from '../memory.js';
import { isCanonical } from '../paging/first-stage.js';
import type { SecondStage } from '../paging/second-stage.js';
import {
  ALL_RIGHTS,
  ENTRY,
  ENTRY_WORDS,
  type EntryKind,
  indexOf,
  offsetIn,
  pagingStep,
  RIGHT,
} from '../paging/step.js';
import { isBeyondSecond, neededOfFirst, rightsOfEntry, secondStageOf } from './address-space.js';
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
} from './device-tables.js';
import type { UnitFormat } from './format.js';
import { isInterruptFrame, NO_PASID, type Request } from './request.js';
import { tableWays } from './table-cache.js';
import { accessFault, deniedByFirst, deniedBySecond, type WalkStage } from './walk-faults.js';

/** More pages than any leaf spans. Small integers all the way: a walk that stores other numbers allocates. */
const ANY_SIZE = 1 << 30;
/** Pages that a leaf spans, by its level. */
const LEAF_PAGES = [1, 1, 1 << 9, 1 << 18];

/** Constants of this module: the engine folds them, and would load what is imported at each use. */
const NOT_THERE = ABSENT;
const { TABLE, ABSENT: NOTHING, MALFORMED } = ENTRY;
const { READ, EXECUTE, USER } = RIGHT;
const WORDS = ENTRY_WORDS;
const INVERSE_32 = 1 / 2 ** 32;
const ALL = ALL_RIGHTS;
const NONE = NO_PASID;
const PASIDS = PASIDS_PER_TABLE;
const DIRECTORY_ENTRIES = FRAME_WORDS / (DIRECTORY_ENTRY_BYTES / 4);

/** A paging table the way to which somebody kept: its level, its frame, and what the entries that led there grant. */
export interface KeptTable {
  readonly level: number;
  readonly frame: number;
  readonly rights: number;
}

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
  /** The request's page, and what the second stage translates: that one, or a guest-physical one; in halves. */
  pageLow = 0;
  pageHigh = 0;
  guestLow = 0;
  guestHigh = 0;
  /** The intersection of the first stage's rights; without a first stage, all that the entry before it allows. */
  firstRights = ALL_RIGHTS;
  /** The second-stage tables that {@link Walk.runSecond} has come through. */
  readonly ways = tableWays();

  #request: Request = { rid: 0, pasid: NO_PASID, page: 0, rights: 0 };
  /** Nested: where the first stage goes on once the second has translated the frame of its table; 0 for the result. */
  #firstLevel = 0;
  #firstPages = ANY_SIZE;
  #needed = 0;
  #isPrivileged = false;
  #isNested = false;
  #secondStage: SecondStage;
  /** What each entry has to grant, of the first stage and of the second. */
  #firstNeeded = 0;
  #secondNeeded = 0;

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
    this.#secondStage = tables.format.secondStage;
  }

  /**
   * Begins the walk of a request, which is kept by reference until the walk ends.
   *
   * A write without a PASID to the interrupt range is an interrupt request, which whoever drives the walk takes
   * out before; what else is asked of that range without a PASID fails.
   */
  begin(request: Request): void {
    this.#goTo('root', this.#rootFrame, (request.rid >>> 8) * ROOT_ENTRY_BYTES);
    this.#take(request);
  }

  /**
   * Begins the walk of a request whose context entry and PASID table entry somebody kept, in scalable mode, as they
   * were taken apart: at its first paging entry.
   *
   * @returns false for a request that fails whatever the entries say
   */
  beginWithin(request: Request, context: Context, space: AddressSpace): boolean {
    this.#take(request);
    if (this.fault !== 0) return false;
    this.tables.takeContext(context);
    let fault = this.#choosePasid(context);
    if (fault === 0) {
      this.tables.takeSpace(space);
      fault = this.#afterPasidEntry();
    }
    if (fault !== 0) this.#fail(fault);
    return true;
  }

  #take(request: Request): void {
    const { page, pasid, rights } = request;
    this.#request = request;
    this.pageLow = page | 0;
    this.pageHigh = (page * INVERSE_32) | 0;
    this.fault = 0;
    this.#needed = pasid === NONE ? rights & ~EXECUTE : rights;
    this.#isPrivileged = (rights & USER) === 0;
    this.firstRights = ALL;
    this.#firstPages = ANY_SIZE;
    if (pasid !== NONE) {
      if (!this.tables.isScalable) this.#fail(FAULT.PASID_IN_LEGACY_MODE);
    } else if (this.pageHigh === 0 && isInterruptFrame(this.pageLow)) {
      this.#fail(this.#interruptFault());
    }
  }

  /** Walks to the end; whether the request is granted. */
  run(): boolean {
    while (this.stage !== 'done' && this.stage !== 'fault') this.step();
    return this.stage === 'done';
  }

  /** Reads the next entry. */
  step(): void {
    const { stage } = this;
    if (stage === 'second-stage') this.stepSecond();
    else if (stage === 'first-stage') this.stepFirst();
    else this.#stepTables();
  }

  /** Reads the next entry, which is one of the first stage. */
  stepFirst(): void {
    this.at = this.#memory.at(this.frame, this.word);
    const fault = this.at === NOT_THERE ? this.#accessFault() : this.#first(this.#memory.words, this.at);
    if (fault !== 0) this.#fail(fault);
  }

  /** Reads the next entry, which is one of the second stage. */
  stepSecond(): void {
    this.at = this.#memory.at(this.frame, this.word);
    if (this.at === NOT_THERE) this.#fail(this.#accessFault());
    else this.#second(this.#secondStage.step(this.level, this.#memory.words, this.at, this.#entry));
  }

  /**
   * Reads on until the walk leaves the second stage, which it is in: as {@link Walk.stepSecond} would, 20 times in a
   * nested walk. What leads on to a table is dealt with here, in locals that the engine keeps in registers.
   *
   * @returns the level of the entry read last; {@link Walk.ways} has the tables in between
   */
  runSecond(): number {
    const memory = this.#memory;
    const format = this.#secondStage;
    const entry = this.#entry;
    const needed = this.#secondNeeded;
    const { guestLow, guestHigh } = this;
    const { frames, rights: granted } = this.ways;
    let { level, frame, rights } = this;
    for (;;) {
      const at = memory.at(frame, indexOf(guestLow, guestHigh, level) * WORDS);
      if (at === NOT_THERE) break;
      const kind = format.step(level, memory.words, at, entry);
      if (kind !== TABLE || (needed & ~entry.rights) !== 0) {
        this.#reach(level, frame, rights);
        this.at = at;
        this.#second(kind);
        return level;
      }
      level--;
      frame = entry.frame;
      rights &= entry.rights;
      frames[level] = frame;
      granted[level] = rights;
    }
    this.#reach(level, frame, rights);
    this.#fail(this.#accessFault());
    return level;
  }

  /**
   * Goes on from an entry that somebody kept, instead of reading it: the context entry, right after
   * {@link Walk.begin}; or the PASID table entry, after the context entry.
   */
  take(stage: 'context' | 'pasid-table', words: Int32Array, at: number): void {
    this.stage = stage;
    const fault = this.#table(words, at);
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

  /** Goes on at a first-stage table further down, the way to which somebody kept. */
  skipToFirst({ level, frame, rights }: KeptTable): void {
    this.firstRights &= rights;
    this.#firstLevel = level;
    // Ways to tables that the second stage lets nobody mark are not kept.
    this.rights = ALL;
    const missing = this.#firstNeeded & ~this.firstRights;
    if (missing !== 0) this.#fail(deniedByFirst(missing));
    else this.#readFirst(frame);
  }

  /** The same in the second stage. */
  skipToSecond({ level, frame, rights }: KeptTable): void {
    this.rights = rights;
    this.level = level;
    if ((this.#secondNeeded & ~rights) !== 0) this.#fail(this.#deniedBySecond(rights));
    else this.#readSecond(frame);
  }

  /** Where {@link Walk.runSecond} has got to. */
  #reach(level: number, frame: number, rights: number): void {
    this.level = level;
    this.rights = rights;
    this.#readSecond(frame);
  }

  /** Reads the next entry, which is one of the tables of devices and PASIDs. */
  #stepTables(): void {
    this.at = this.#memory.at(this.frame, this.word);
    const fault = this.at === NOT_THERE ? this.#accessFault() : this.#table(this.#memory.words, this.at);
    if (fault !== 0) this.#fail(fault);
  }

  /** Takes the entry in. This and what it leads to answer 0 or why the request fails. */
  #table(words: Int32Array, at: number): number {
    switch (this.stage) {
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
    const fault = this.#choosePasid(context);
    if (fault !== 0) return fault;
    const index = (this.pasid / PASIDS) | 0;
    const frame = context.directory + ((index / DIRECTORY_ENTRIES) | 0);
    return this.#goTo('pasid-directory', frame, (index % DIRECTORY_ENTRIES) * DIRECTORY_ENTRY_BYTES);
  }

  /** Which PASID's entry translates the request, and with which privilege. */
  #choosePasid(context: Context): number {
    let { pasid } = this.#request;
    if (pasid === NONE) {
      pasid = context.ridPasid;
      this.#isPrivileged = context.ridPrivilege;
      if (pasid >= context.pasidLimit) return FAULT.RID_PASID_BEYOND_DIRECTORY;
    } else {
      if (!context.pasidEnabled) return FAULT.PASIDE_CLEAR;
      if (pasid >= context.pasidLimit) return FAULT.PASID_BEYOND_DIRECTORY;
    }
    this.pasid = pasid;
    return 0;
  }

  #directory(words: Int32Array, at: number): number {
    const fault = this.tables.directoryStep(words, at);
    if (fault !== 0) return fault;
    return this.#goTo('pasid-table', this.tables.next, (this.pasid % PASIDS) * PASID_ENTRY_BYTES);
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
    const isExecute = (this.#needed & EXECUTE) !== 0;
    if (isExecute && !space.executeRequests) return FAULT.ERE_CLEAR;
    return this.#beginTranslation();
  }

  #beginTranslation(): number {
    const { space } = this.tables;
    this.firstRights = rightsOfEntry(space);
    this.#secondStage = secondStageOf(this.#format, space);
    this.#isNested = space.translation === 'nested';
    switch (space.translation) {
      case 'pass-through':
        return this.#passThrough();
      case 'second-stage':
        this.#firstLevel = 0;
        return this.#beginSecond(this.#request.page);
      default:
        if (!isCanonical(this.pageHigh, space.firstLevels)) return FAULT.NOT_CANONICAL;
        this.#firstNeeded = neededOfFirst(this.#needed, this.#isPrivileged, space);
        return this.#beginFirst(space.firstRoot, space.firstLevels);
    }
  }

  #passThrough(): number {
    const { page } = this.#request;
    if (page < this.#format.frameLimit) return this.#finish(page, 1, this.firstRights);
    return this.tables.isScalable ? FAULT.SM_ADDRESS_BEYOND_WIDTH : FAULT.ADDRESS_BEYOND_WIDTH;
  }

  /** Goes on at the first-stage table of `level` that lies in `frame`: a guest's one where nested. */
  #beginFirst(frame: number, level: number): number {
    this.#firstLevel = level;
    return this.#isNested ? this.#beginSecond(frame) : this.#readFirst(frame);
  }

  #readFirst(frame: number): number {
    const level = this.#firstLevel;
    this.level = level;
    this.stage = 'first-stage';
    this.frame = frame;
    this.word = indexOf(this.pageLow, this.pageHigh, level) * WORDS;
    return 0;
  }

  #first(words: Int32Array, at: number): number {
    const { level } = this;
    const entry = this.#entry;
    const kind = this.#format.firstStage.step(level, words, at, entry);
    if (kind === NOTHING) return FAULT.FIRST_STAGE_NOT_PRESENT;
    this.firstRights &= entry.rights;
    const missing = this.#firstNeeded & ~this.firstRights;
    if (missing !== 0) return deniedByFirst(missing);
    if (kind === MALFORMED) return FAULT.FIRST_STAGE_RESERVED;
    if (kind === TABLE) return this.#beginFirst(entry.frame, level - 1);
    this.#firstPages = LEAF_PAGES[level] ?? 1;
    const frame = entry.frame + offsetIn(this.pageLow, level);
    if (!this.#isNested) return this.#finish(frame, this.#firstPages, this.firstRights);
    this.#firstLevel = 0;
    return this.#beginSecond(frame);
  }

  #beginSecond(page: number): number {
    const { secondLevels, secondRoot } = this.tables.space;
    this.guestLow = page | 0;
    this.guestHigh = (page * INVERSE_32) | 0;
    if (isBeyondSecond(page, this.tables.space, this.#format)) {
      if (!this.tables.isScalable) return FAULT.ADDRESS_BEYOND_WIDTH;
      return this.#isNested ? FAULT.NESTED_ADDRESS_BEYOND_WIDTH : FAULT.SECOND_STAGE_ADDRESS_BEYOND_WIDTH;
    }
    // A first-stage table must be readable; marks in it are whoever drives the walk's business.
    this.#secondNeeded = this.#firstLevel !== 0 ? READ : this.#needed & ~USER;
    this.rights = ALL;
    this.level = secondLevels;
    return this.#readSecond(secondRoot);
  }

  #readSecond(frame: number): number {
    this.stage = 'second-stage';
    this.frame = frame;
    this.word = indexOf(this.guestLow, this.guestHigh, this.level) * WORDS;
    return 0;
  }

  /** Goes on from an entry of the second stage that was judged. */
  #second(kind: EntryKind): void {
    const { level } = this;
    const entry = this.#entry;
    const granted = kind === NOTHING ? 0 : entry.rights;
    let fault = 0;
    if (granted === 0 || (this.#secondNeeded & ~granted) !== 0) {
      fault = this.#deniedBySecond(granted);
    } else if (kind === MALFORMED) {
      fault = this.tables.isScalable ? FAULT.SECOND_STAGE_RESERVED : FAULT.PAGING_ENTRY_RESERVED;
    } else {
      this.rights &= granted;
      if (kind === TABLE) {
        this.level = level - 1;
        this.#readSecond(entry.frame);
      } else {
        fault = this.#afterSecond(entry.frame + offsetIn(this.guestLow, level));
      }
    }
    if (fault !== 0) this.#fail(fault);
  }

  /** Goes on in the frame that the second stage has translated to. */
  #afterSecond(frame: number): number {
    if (this.#firstLevel !== 0) return this.#readFirst(frame);
    const pages = Math.min(LEAF_PAGES[this.level] ?? 1, this.#firstPages);
    return this.#finish(frame, pages, this.rights & this.firstRights);
  }

  #deniedBySecond(granted: number): number {
    const { isScalable, space } = this.tables;
    if (this.#firstLevel === 0) return deniedBySecond(this.#secondNeeded & ~granted, isScalable);
    return this.#firstLevel === space.firstLevels ? FAULT.NESTED_ROOT_READ_DENIED : FAULT.NESTED_READ_DENIED;
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
    const { stage, level } = this;
    const { isScalable, space } = this.tables;
    const isRoot = level === (stage === 'first-stage' ? space.firstLevels : space.secondLevels);
    return accessFault({ stage, isScalable, isRoot });
  }
}
