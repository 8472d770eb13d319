/** Literal machines as the walkers take them: simulated memory, a unit's format, requests. */
import {
  DeviceTables,
  type FrameRange,
  Memory,
  NO_PASID,
  type Request,
  RIGHT,
  type UnitFormat,
  unitFormat,
  Walk,
} from '../../src/hardware/index.js';
import { wordsOf } from '../../src/spec/index.js';
import type { LiteralMachine, LiteralOutcome, LiteralRequest } from './literal-translation.js';

/** Memory with 64-bit words at their addresses. */
export function memoryOf(
  words: Iterable<readonly [bigint, bigint]>,
  ...ranges: readonly FrameRange[]
): Memory {
  const memory = new Memory(ranges);
  for (const [address, word] of words) {
    const bytes = new Uint8Array(wordsOf(BigInt.asUintN(64, word)).buffer);
    if (!memory.write(Number(address), bytes)) throw new Error(`no memory at 0x${address.toString(16)}`);
  }
  return memory;
}

/** What a machine's unit reads. */
export function formatOf({ cap, ecap, hostAddressWidth }: Omit<LiteralMachine, 'read'>): UnitFormat {
  return unitFormat({
    cap: wordsOf(cap),
    ecap: wordsOf(ecap),
    hostAddressWidth: Number(hostAddressWidth),
  });
}

/** A walk in a machine's tables. */
export const walkOf = (machine: Omit<LiteralMachine, 'read'>, memory: Memory): Walk =>
  new Walk(memory, Number(machine.root >> 12n), new DeviceTables(formatOf(machine), machine.isScalable));

const ACCESS = { r: RIGHT.READ, w: RIGHT.WRITE, x: RIGHT.READ | RIGHT.EXECUTE };

/** A literal request as a walk takes it. */
export const requestOf = ({ rid, pasid, address, access, isPrivileged }: LiteralRequest): Request => ({
  rid: Number(rid),
  pasid: pasid === undefined ? NO_PASID : Number(pasid),
  page: Number(address >> 12n),
  rights: ACCESS[access] | (isPrivileged ? 0 : RIGHT.USER),
});

/** How a walk that is over ended, in the words of a literal translation. */
export function outcomeOf(walk: Walk, { address }: LiteralRequest): LiteralOutcome {
  if (walk.stage !== 'done') return { fault: walk.fault };
  const rights =
    (walk.rights & RIGHT.READ ? 'r' : '') +
    (walk.rights & RIGHT.WRITE ? 'w' : '') +
    (walk.rights & RIGHT.EXECUTE ? 'x' : '') +
    (walk.rights & RIGHT.USER ? 'u' : '');
  return {
    physical: (BigInt(walk.target) << 12n) | (address & 0xfffn),
    span: BigInt(walk.pages) << 12n,
    rights,
  };
}
