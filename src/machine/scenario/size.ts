/** Sizes, as scenarios write them: `64 MiB`. */
import { assert } from '../../base/index.js';

const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** The bytes of a size that the schema has checked. */
export function sizeBytes(text: string): number {
  const [count = '', unit = ''] = text.split(' ');
  const factor = UNITS[unit];
  assert(factor !== undefined, `${text} is no size`);
  return Number(count) * factor;
}
