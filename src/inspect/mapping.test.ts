import { describe, expect, test } from 'vitest';
import { memoryOf, walkOf } from '../../test/vtd/machine-memory.js';
import { Draw, type RandomMachine, randomMachine, randomRequest } from '../../test/vtd/random-machine.js';
import { unitOf } from '../../test/vtd/unit.js';
import { INTERRUPT_FRAMES, NO_PASID, RIGHT, type Walk } from '../hardware/index.js';
import { rangeOf } from './mapping.js';
import { surveyUnit } from './survey.js';
import type { MappedRange, PasidSurvey, Survey } from './survey-types.js';

const ACCESSES = [RIGHT.READ, RIGHT.WRITE, RIGHT.READ | RIGHT.EXECUTE];

/** The pages on both sides of each end of some ranges, and pages at random. */
function pagesToTry(draw: Draw, ranges: readonly MappedRange[]): number[] {
  const picked = Array.from({ length: Math.min(ranges.length, 12) }, () => draw.pick(ranges));
  const ends = picked.flatMap(({ page, pages }) => [page - 1, page, page + pages - 1, page + pages]);
  const random = Array.from({ length: 30 }, () => Number(randomRequest(draw).address >> 12n));
  return [...ends, ...random].filter((page) => page >= 0 && page < 2 ** 52);
}

/** A frame if the ranges say that a request gets there, or false. */
function byRanges(ranges: readonly MappedRange[], page: number, rights: number): number | false {
  const range = rangeOf(ranges, page);
  if (range === undefined || (range.rights & rights) !== rights) return false;
  return range.frame + (page - range.page);
}

class Comparison {
  readonly #machine: RandomMachine;
  readonly #walk: Walk;
  readonly survey: Survey;
  granted = 0;
  denied = 0;

  constructor(machine: RandomMachine) {
    this.#machine = machine;
    const memory = memoryOf(machine.words, { first: 0, last: machine.lastFrame });
    this.#walk = walkOf(machine, memory);
    this.survey = surveyUnit(unitOf(machine), memory);
  }

  /** Whether all of an address space was gone through: no loop, no bound. */
  isWhole(rid: number, { ranges }: PasidSurvey): boolean {
    const { problems } = this.survey;
    return ranges.length > 0 && rid >= 0 && !problems.some(({ what }) => /^is (a loop|where)/.test(what));
  }

  compare(draw: Draw, rid: number, { pasid, ranges, translation }: PasidSurvey): void {
    for (const page of pagesToTry(draw, ranges)) {
      for (const access of ACCESSES) {
        for (const user of [RIGHT.USER, 0]) {
          if (user === 0 && !this.#tellsPrivileged(translation, access)) continue;
          this.#one(
            { rid, pasid: this.#machine.isScalable ? pasid : NO_PASID, page, rights: access | user },
            ranges,
          );
        }
      }
    }
  }

  /** Each range is there for a request that gets to it. */
  expectReached(draw: Draw, rid: number, { pasid, ranges }: PasidSurvey): void {
    for (const range of Array.from({ length: 8 }, () => draw.pick(ranges))) {
      const faults = ACCESSES.flatMap((access) => [access, access | RIGHT.USER]).map((rights) => {
        this.#walk.begin({
          rid,
          pasid: this.#machine.isScalable ? pasid : NO_PASID,
          page: range.page,
          rights,
        });
        return this.#walk.run() ? 0 : this.#walk.fault;
      });
      if (faults.includes(0x45)) return;
      expect({ range, isReached: faults.includes(0) }).toEqual({ range, isReached: true });
    }
  }

  /** Ranges do not show what a privileged write may do where WPE is clear, nor privilege in legacy tables. */
  #tellsPrivileged(translation: string, access: number): boolean {
    return this.#machine.isScalable && translation !== 'second-stage' && access !== RIGHT.WRITE;
  }

  #one(
    request: { rid: number; pasid: number; page: number; rights: number },
    ranges: readonly MappedRange[],
  ): void {
    const { page, pasid } = request;
    const isInterrupt = page >= INTERRUPT_FRAMES.first && page <= INTERRUPT_FRAMES.last;
    if (pasid === NO_PASID && (isInterrupt || (request.rights & RIGHT.EXECUTE) !== 0)) return;
    this.#walk.begin(request);
    const byWalk = this.#walk.run() && this.#walk.target;
    if (PASID_FAULTS.has(this.#walk.fault)) return;
    expect({ request, to: byRanges(ranges, page, request.rights) }).toEqual({ request, to: byWalk });
    if (byWalk === false) this.denied++;
    else this.granted++;
  }
}

/** What stops a request before its address space: PASIDs not enabled, no privileged or execute requests. */
const PASID_FAULTS = new Set([0x45, 0x5c, 0x5d]);

describe('ranges hold a page if and only if a walk grants it, with its frame', () => {
  test('in machines at random', () => {
    const counts = new Map<string, number>();
    let denied = 0;
    for (let seed = 0; seed < 24; seed++) {
      const comparison = new Comparison(randomMachine(seed, true));
      const draw = new Draw(seed);
      for (const { rid, pasids } of comparison.survey.devices) {
        for (const each of pasids.filter((pasid) => comparison.isWhole(rid, pasid))) {
          const before = comparison.granted;
          comparison.compare(draw, rid, each);
          comparison.expectReached(draw, rid, each);
          const { translation } = each;
          counts.set(translation, (counts.get(translation) ?? 0) + comparison.granted - before);
        }
      }
      denied += comparison.denied;
    }
    for (const translation of ['first-stage', 'second-stage', 'nested'])
      expect(counts.get(translation) ?? 0).toBeGreaterThan(1000);
    expect(denied).toBeGreaterThan(1000);
  }, 60_000);
});
