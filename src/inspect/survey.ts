/**
 * Who can reach what: every requester that a unit's tables know, its PASIDs, how each is translated and what it
 * maps. What is broken is reported at its place, and the rest still shown.
 */
import { hex } from '../base/index.js';
import {
  ABSENT,
  type AddressSpace,
  contextEntryOffset,
  DeviceTables,
  DIRECTORY_ENTRY_BYTES,
  FRAME_BYTES,
  type FrameReader,
  hasFirstStage,
  PASID_ENTRY_BYTES,
  PASIDS_PER_TABLE,
  ROOT_ENTRY_BYTES,
} from '../hardware/index.js';
import { FAULT, FAULT_REASONS } from '../spec/index.js';
import { bdf } from './bdf.js';
import { mappedRanges } from './mapping.js';
import { type SurveyLimits, SurveyLog } from './survey-log.js';
import type { DeviceSurvey, MappedRange, PasidSurvey, Survey } from './survey-types.js';
import type { Unit } from './unit.js';

/** Restricts a survey. */
export interface SurveyFilter {
  readonly rid?: number | undefined;
  readonly pasid?: number | undefined;
  /** How far it goes in tables that lead to one another without end. */
  readonly limits?: SurveyLimits | undefined;
}

/** The name of an entry in messages, put together where there is something to say. */
type Where = () => string;

/** Reasons that say nothing but "there is none". */
const NOT_PRESENT: ReadonlySet<number> = new Set([
  FAULT.ROOT_NOT_PRESENT,
  FAULT.SM_ROOT_NOT_PRESENT,
  FAULT.CONTEXT_NOT_PRESENT,
  FAULT.SM_CONTEXT_NOT_PRESENT,
  FAULT.PASID_DIRECTORY_NOT_PRESENT,
  FAULT.PASID_NOT_PRESENT,
]);

/** Goes through all tables of a unit. */
export function surveyUnit(unit: Unit, memory: FrameReader, filter: SurveyFilter = {}): Survey {
  return new Surveyor(unit, memory, filter).run();
}

class Surveyor {
  readonly #unit: Unit;
  readonly #memory: FrameReader;
  readonly #filter: SurveyFilter;
  readonly #tables: DeviceTables;
  readonly #log: SurveyLog;
  /** What was found below each root: functions of one domain share their tables. */
  readonly #rangesByRoot = new Map<string, readonly MappedRange[]>();

  constructor(unit: Unit, memory: FrameReader, filter: SurveyFilter) {
    this.#unit = unit;
    this.#memory = memory;
    this.#filter = filter;
    this.#log = new SurveyLog(filter.limits);
    this.#tables = new DeviceTables(unit.format, unit.mode === 'scalable');
  }

  run(): Survey {
    const devices = this.#devices();
    return { devices, problems: this.#log.problems, tables: this.#log.tables };
  }

  #devices(): DeviceSurvey[] {
    const { mode, root } = this.#unit;
    if (mode === 'abort-dma' || mode === 'reserved') return [];
    if (!this.#hasTable(root, 'root table', () => 'RTADDR')) return [];
    const devices: DeviceSurvey[] = [];
    for (let bus = 0; bus < 256; bus++) {
      if (this.#filter.rid === undefined || this.#filter.rid >> 8 === bus) devices.push(...this.#bus(bus));
    }
    return devices;
  }

  #bus(bus: number): DeviceSurvey[] {
    const { isScalable } = this.#tables;
    const at = this.#memory.at(this.#unit.root, (bus * ROOT_ENTRY_BYTES) / 4);
    const half = isScalable ? 0x80 : 0x100;
    const devices: DeviceSurvey[] = [];
    for (let devfn = 0; devfn < 256; devfn += half) {
      const where = (): string =>
        `root entry of bus ${bus.toString(16).padStart(2, '0')} at ${hex(this.#unit.root * FRAME_BYTES + bus * ROOT_ENTRY_BYTES)}`;
      if (!this.#judge(this.#tables.rootStep(this.#memory.words, at, devfn), where)) continue;
      const table = this.#tables.next;
      const name = isScalable
        ? `scalable-mode context table of bus ${bus.toString(16)}`
        : `context table of bus ${bus.toString(16)}`;
      if (!this.#hasTable(table, name, where)) continue;
      for (let i = devfn; i < devfn + half; i++) devices.push(...this.#device((bus << 8) | i, table));
    }
    return devices;
  }

  #device(rid: number, table: number): DeviceSurvey[] {
    if (this.#filter.rid !== undefined && this.#filter.rid !== rid) return [];
    if (this.#log.isOver('pasids')) return [];
    const { isScalable } = this.#tables;
    const offset = contextEntryOffset(isScalable, rid & 0xff);
    const where = (): string => `context entry of ${bdf(rid)} at ${hex(table * FRAME_BYTES + offset)}`;
    const at = this.#memory.at(table, offset / 4);
    if (!this.#judge(this.#tables.contextStep(this.#memory.words, at), where)) return [];
    if (!isScalable && !this.#log.take('pasids', where)) return [];
    const pasids = isScalable ? this.#directory(rid, where) : [this.#pasid(rid, 0, where)];
    return [{ rid, pasids }];
  }

  #directory(rid: number, where: Where): PasidSurvey[] {
    const { directory, pasidLimit } = this.#tables.context;
    const entries = pasidLimit / PASIDS_PER_TABLE;
    const perFrame = FRAME_BYTES / DIRECTORY_ENTRY_BYTES;
    const pasids: PasidSurvey[] = [];
    for (let first = 0; first < entries && !this.#isOver(); first += perFrame) {
      const frame = directory + first / perFrame;
      if (!this.#hasTable(frame, `PASID directory of ${bdf(rid)}`, where)) continue;
      if (!this.#log.take('directories', where)) break;
      for (let i = first; i < Math.min(entries, first + perFrame); i++) {
        if (this.#filter.pasid !== undefined && Math.floor(this.#filter.pasid / PASIDS_PER_TABLE) !== i)
          continue;
        const offset = (i % perFrame) * DIRECTORY_ENTRY_BYTES;
        const at = this.#memory.at(frame, offset / 4);
        if (this.#isZero(at)) continue;
        const name = (): string =>
          `PASID directory entry ${i} of ${bdf(rid)} at ${hex(frame * FRAME_BYTES + offset)}`;
        if (!this.#judge(this.#tables.directoryStep(this.#memory.words, at), name)) continue;
        pasids.push(...this.#pasidTable(rid, i * PASIDS_PER_TABLE, name));
      }
    }
    return pasids;
  }

  #pasidTable(rid: number, first: number, from: Where): PasidSurvey[] {
    const frame = this.#tables.next;
    const isThere = this.#hasTable(frame, `PASID table of ${bdf(rid)}, PASIDs from ${first}`, from);
    const pasids: PasidSurvey[] = [];
    if (!this.#log.take('directories', from)) return pasids;
    for (let i = 0; isThere && i < PASIDS_PER_TABLE; i++) {
      const pasid = first + i;
      if (this.#filter.pasid !== undefined && this.#filter.pasid !== pasid) continue;
      const offset = i * PASID_ENTRY_BYTES;
      const at = this.#memory.at(frame, offset / 4);
      if (this.#isZero(at)) continue;
      const where = (): string =>
        `PASID table entry of ${bdf(rid)} PASID ${pasid} at ${hex(frame * FRAME_BYTES + offset)}`;
      if (!this.#judge(this.#tables.pasidStep(this.#memory.words, at), where)) continue;
      if (!this.#log.take('pasids', where)) break;
      pasids.push(this.#pasid(rid, pasid, where));
    }
    return pasids;
  }

  #isOver(): boolean {
    return this.#log.isOver('pasids') || this.#log.isOver('directories');
  }

  /** Most entries are: nothing is present, nor can it be malformed, whose first 8 bytes are zero. */
  #isZero(at: number): boolean {
    return this.#memory.words[at] === 0 && this.#memory.words[at + 1] === 0;
  }

  /** What the entry just stepped through maps. */
  #pasid(rid: number, pasid: number, where: Where): PasidSurvey {
    const { space } = this.#tables;
    const { translation, domain } = space;
    const isPassThrough = translation === 'pass-through';
    const root = hasFirstStage(translation) ? space.firstRoot : space.secondRoot;
    return {
      pasid,
      translation,
      domain,
      canExecute: space.executeRequests,
      root: isPassThrough ? undefined : root,
      secondRoot: translation === 'nested' ? space.secondRoot : undefined,
      ranges: isPassThrough ? [] : this.#ranges(space, `${bdf(rid)} PASID ${pasid}`, where),
    };
  }

  #ranges(space: AddressSpace, owner: string, where: Where): readonly MappedRange[] {
    const { translation, firstRoot, firstLevels, secondRoot, secondLevels } = space;
    const grants = [space.executeRequests, space.supervisorRequests];
    const key = [translation, firstRoot, firstLevels, secondRoot, secondLevels, ...grants].join();
    const known = this.#rangesByRoot.get(key);
    if (known !== undefined) return known;
    const ranges = mappedRanges(space, {
      memory: this.#memory,
      format: this.#unit.format,
      log: this.#log,
      owner,
      from: where(),
    });
    this.#rangesByRoot.set(key, ranges);
    return ranges;
  }

  /** Whether a table is there, which the entry called `from` points to; reported where it is not. */
  #hasTable(frame: number, name: string, from: Where): boolean {
    const isThere = this.#memory.at(frame, 0) !== ABSENT;
    if (!isThere) {
      const what = `points to ${hex(frame * FRAME_BYTES)}, outside of memory`;
      this.#log.report(from(), what);
    } else {
      this.#log.tables.set(frame, name);
    }
    return isThere;
  }

  /** Whether an entry can be gone on from; what is wrong with it is reported, unless it is just not present. */
  #judge(fault: number, where: Where): boolean {
    if (fault === 0) return true;
    if (!NOT_PRESENT.has(fault)) {
      const reason = FAULT_REASONS[fault];
      const what = `${reason?.text ?? 'faulty'}, fault ${hex(fault)} ${reason?.name ?? ''}`.trim();
      this.#log.report(where(), what);
    }
    return false;
  }
}
