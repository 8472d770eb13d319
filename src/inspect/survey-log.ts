/**
 * What a survey finds out beside the mappings: what is wrong, and what lies in which frame. And how far it goes:
 * damaged tables can lead to one another without end, and whoever wrote them may have meant it, so that work and
 * room are bounded, and a bound that was reached is said.
 */
import type { Problem } from './survey-types.js';

/** The bounds of one survey. */
export interface SurveyLimits {
  /** Ranges that are kept. */
  readonly ranges: number;
  /** Paging structures that are gone through. */
  readonly tables: number;
  /** Frames of PASID directories and PASID tables that are gone through. */
  readonly directories: number;
  /** PASIDs that are gone through. */
  readonly pasids: number;
  /** How often, in one address space, structures are gone through that were before: some are shared rightly. */
  readonly repeats: number;
  /** Problems that are listed. */
  readonly problems: number;
}

/** Beyond any real machine: the structures alone would map 8 TiB in 4 KiB pages. */
export const SURVEY_LIMITS: SurveyLimits = {
  ranges: 2 ** 20,
  tables: 2 ** 21,
  directories: 2 ** 17,
  pasids: 2 ** 18,
  repeats: 2 ** 12,
  problems: 1000,
};

/** What is used up of {@link SurveyLimits}. */
export type Bounded = 'ranges' | 'tables' | 'directories' | 'pasids';

export class SurveyLog {
  readonly limits: SurveyLimits;
  /** What lies in each frame, by its number. */
  readonly tables = new Map<number, string>();
  readonly #problems = new Map<string, Problem>();
  readonly #used: Record<Bounded, number> = { ranges: 0, tables: 0, directories: 0, pasids: 0 };
  #unlisted = 0;

  constructor(limits: SurveyLimits = SURVEY_LIMITS) {
    this.limits = limits;
  }

  /** What is wrong, in the order it was found; the last one says how many more there are. */
  get problems(): readonly Problem[] {
    const listed = [...this.#problems.values()];
    if (this.#unlisted === 0) return listed;
    return [...listed, { where: 'the tables', what: `have ${this.#unlisted} more problems, not listed` }];
  }

  /** Notes a problem, once. */
  report(where: string, what: string): void {
    const key = `${where}\n${what}`;
    if (this.#problems.has(key)) return;
    if (this.#problems.size < this.limits.problems) this.#problems.set(key, { where, what });
    else this.#unlisted++;
  }

  /** Whether a bound has been passed: what follows need not be looked at. */
  isOver(what: Bounded): boolean {
    return this.#used[what] > this.limits[what];
  }

  /** Whether one more of `what` is within bounds. The first that is not is reported, at `where`. */
  take(what: Bounded, where: () => string): boolean {
    const used = ++this.#used[what];
    if (used === this.limits[what] + 1) {
      this.report(where(), `is where this ends: ${this.limits[what]} ${NAMES[what]} have been gone through`);
    }
    return used <= this.limits[what];
  }
}

const NAMES: Readonly<Record<Bounded, string>> = {
  ranges: 'ranges',
  tables: 'paging structures',
  directories: 'PASID directories and tables',
  pasids: 'PASIDs',
};
