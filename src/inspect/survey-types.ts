/**
 * What was found in a unit's tables. Addresses stand as page and frame numbers here, and as hexadecimal text
 * where they are shown.
 */
import type { Translation } from '../hardware/index.js';

/** A run of pages that leads to a run of frames with the same rights, of which some request can make use. */
export interface MappedRange {
  readonly page: number;
  readonly frame: number;
  readonly pages: number;
  /** A set of `RIGHT` bits. */
  readonly rights: number;
}

/** Something wrong with a table, at its place. */
export interface Problem {
  /** Which entry of which table: `PASID table of 00:03.0, entry 0 at 0x6094000`. */
  readonly where: string;
  /** What is wrong with it. */
  readonly what: string;
}

/** One PASID of a device. A legacy context stands under PASID 0. */
export interface PasidSurvey {
  readonly pasid: number;
  readonly translation: Translation;
  readonly domain: number;
  /** Whether requests to execute are allowed at all. */
  readonly canExecute: boolean;
  /** Frame of the root of its tables: the first stage's where there is one; undefined for pass-through. */
  readonly root: number | undefined;
  /** Nested: frame of the second stage's root. */
  readonly secondRoot: number | undefined;
  /** Ascending by page, contiguous ones merged. */
  readonly ranges: readonly MappedRange[];
}

/** One requester with a present context entry. */
export interface DeviceSurvey {
  readonly rid: number;
  readonly pasids: readonly PasidSurvey[];
}

/** All that the tables say. */
export interface Survey {
  readonly devices: readonly DeviceSurvey[];
  readonly problems: readonly Problem[];
  /** What lies in each frame that was read, by its number. */
  readonly tables: ReadonlyMap<number, string>;
}
