/**
 * Decides what differs in the replay of a scenario. Its unit takes its time and its accelerators translate; QEMU's
 * unit is done with its queue before the write of the tail returns, and nobody sends it anything. Each difference that
 * follows from that is told exactly by one of these rules; any other counts.
 */
import type { Recorded } from './recorded-host.js';
import type { Difference } from './replay.js';
import { MEMORY } from './replay-judge.js';

export type Reason =
  | 'other capabilities'
  | 'nothing is translated'
  | 'nobody asks for pages'
  | 'done at once';

interface Place {
  readonly recording: readonly Recorded[];
  readonly found: Difference;
}

const UNIT = 0xfed9_0000;
const [IQT, PQA] = [UNIT + 0x88, UNIT + 0xd0];
/** A and D of a first-stage entry. */
const MARKS = 0x60n;
const [PENDING, DONE] = ['0x1', '0x2'];

/** The reason for each difference that there is one for; the others. */
export function judgeScenario(
  recording: readonly Recorded[],
  differences: readonly Difference[],
): { reasons: ReadonlyMap<Reason, number>; others: readonly Difference[] } {
  const reasons = new Map<Reason, number>();
  const others = differences.filter((found) => {
    const reason = RULES.find(([, holds]) => holds({ recording, found }))?.[0];
    if (reason !== undefined) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    return reason === undefined;
  });
  return { reasons, others };
}

const RULES: readonly (readonly [Reason, (of: Place) => boolean])[] = [
  // The scenario's unit has several fault records, and says so.
  ['other capabilities', ({ found: { what } }) => what === 'CAP, read' || what === 'ECAP, read'],
  [
    'nothing is translated',
    ({ found }) => {
      const [ours, theirs] = valuesOf(found);
      const more = ours ^ theirs;
      return (
        found.what.startsWith(MEMORY) &&
        (ours & 1n) === 1n &&
        (more & ~MARKS) === 0n &&
        (theirs & more) === 0n
      );
    },
  ],
  // The tail stays where the driver's own writes have put it; no request is pending.
  [
    'nobody asks for pages',
    ({ found: { what, theirs } }) => /^(PRS|PQT)(, read)?$/.test(what) && theirs === '0x0',
  ],
  [
    'nobody asks for pages',
    ({ recording, found: { what, theirs } }) => {
      const queue = lastWrite(recording, PQA) ?? -1n;
      return theirs === '0x0' && addressOf(what) >> 12n === queue >> 12n;
    },
  ],
  // The head is where the tail was written; in ours it is on its way.
  [
    'done at once',
    ({ recording, found: { what, index, theirs } }) =>
      what === 'IQH, read' && BigInt(theirs) === lastWrite(recording.slice(0, index), IQT),
  ],
  // The status of a wait descriptor that was in the queue.
  [
    'done at once',
    ({ recording, found: { what, index, ours, theirs } }) => {
      if (ours !== PENDING || theirs !== DONE) return false;
      const at = Number(addressOf(what));
      const stored = recording.findLast(
        (each, i) => i < index && each.did === 'store' && each.address === at,
      );
      return stored?.did === 'store' && stored.data.length === 4 && stored.data[0] === Number(PENDING);
    },
  ],
];

const valuesOf = ({ ours, theirs }: Difference): [bigint, bigint] => [BigInt(ours), BigInt(theirs)];

/** The address that a difference in memory is at; -1 if it is none. */
function addressOf(what: string): bigint {
  const [, address] = /^memory at (0x[0-9a-f]+), loaded$/.exec(what) ?? [];
  return address === undefined ? -1n : BigInt(address);
}

function lastWrite(recording: readonly Recorded[], address: number): bigint | undefined {
  const found = recording.findLast((each) => each.did === 'write' && each.address === address);
  return found?.did === 'write' ? found.value : undefined;
}
