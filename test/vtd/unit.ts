/** Literal machines as `inspect` takes them. */

import type { Unit } from '../../src/inspect/unit.js';
import { describeUnit } from '../../src/inspect/unit.js';
import type { LiteralMachine } from './literal-translation.js';

/** The unit of a machine, translating; further registers may be given by name. */
export function unitOf(
  { cap, ecap, root, isScalable, hostAddressWidth }: Omit<LiteralMachine, 'read'>,
  registers: Readonly<Record<string, bigint>> = {},
): Unit {
  const values = new Map(
    Object.entries({
      VER: 0x10n,
      CAP: cap,
      ECAP: ecap,
      GSTS: 0xc400_0000n,
      RTADDR: root | (isScalable ? 0x400n : 0n),
      ...registers,
    }),
  );
  return describeUnit({ values, faultRecords: undefined }, Number(hostAddressWidth));
}
