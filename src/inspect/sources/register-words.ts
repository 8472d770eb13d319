/**
 * A unit's registers from the words of the region that they lie in: by name, those that the unit has by its own
 * CAP and ECAP (VT-d 4.1, chapter 11).
 */
import { type Register, VTD_REGISTER, vtdRegisters } from '../../spec/index.js';
import type { UnitRegisters } from './source.js';

/**
 * Tells the registers apart.
 *
 * @param words the region, from its beginning; registers that lie beyond its end are left out
 * @returns them; undefined if the region is too short for any unit's
 */
export function registersFromWords(words: Int32Array): UnitRegisters | undefined {
  const read = ({ at, layout }: Register): bigint | undefined => {
    const count = layout.bytes / 4;
    if (at + count > words.length) return undefined;
    let value = 0n;
    for (let i = count - 1; i >= 0; i--) value = (value << 32n) | BigInt((words[at + i] ?? 0) >>> 0);
    return value;
  };
  const cap = read(VTD_REGISTER.CAP);
  const ecap = read(VTD_REGISTER.ECAP);
  if (cap === undefined || ecap === undefined || read(VTD_REGISTER.RTADDR) === undefined) return undefined;
  const { all, FRCD } = vtdRegisters({ cap, ecap });
  const values = new Map<string, bigint>();
  for (const register of all) {
    const value = FRCD.includes(register) ? undefined : read(register);
    if (value !== undefined) values.set(register.name, value);
  }
  const records = FRCD.map(read).filter((value) => value !== undefined);
  return { values, faultRecords: records.length === FRCD.length ? records : undefined };
}
