/**
 * Compares what the twins have seen of a case. What differs is held against what the specification allows, and
 * against QEMU's quirks; what neither explains is a difference.
 */
import type { Case, Seen } from './case.js';
import { Legal, type Outcome, outcomeOf, sharedOutcomes } from './legal.js';
import { type Circumstances, type QuirkName, theirOutcomes } from './quirks.js';
import type { Comparison } from './run.js';

export interface Difference {
  /** Its index in the case's operations; undefined: what is in memory at the end. */
  readonly operation: number | undefined;
  readonly what: string;
  readonly ours: string;
  readonly theirs: string;
}

export interface Verdict {
  readonly differences: readonly Difference[];
  /** How often each quirk explained something. */
  readonly quirks: ReadonlyMap<QuirkName, number>;
  /** DMAs that were compared, and those where both were right in different ways, something being pending. */
  readonly dmas: number;
  readonly open: number;
}

const text = ({ record, went, data }: Outcome): string => [record, went ?? data].join(' → ');
const seenText = (seen: Seen): string => [seen['record'], seen['went'] ?? seen['data']].join(' → ');

export function judge(
  each: Case,
  unit: { cap: bigint; ecap: bigint } & Circumstances,
  { ours, theirs }: Comparison,
): Verdict {
  const legal = new Legal(each, unit);
  const differences: Difference[] = [];
  const quirks = new Map<QuirkName, number>();
  let dmas = 0;
  let open = 0;
  each.operations.forEach((operation, index) => {
    const mine = ours.operations[index] ?? {};
    const other = theirs.operations[index] ?? {};
    if (operation.do === 'dma') {
      dmas++;
      if (seenText(mine) !== seenText(other)) {
        const request = Legal.request(operation, index);
        const right = new Set<string>();
        const allowed = new Map<string, readonly QuirkName[]>();
        for (const tables of legal.tables()) {
          right.add(text(outcomeOf(tables, request)));
          for (const outcome of sharedOutcomes(tables, request)) right.add(text(outcome));
          for (const expected of theirOutcomes(tables, request, unit)) {
            const key = text(expected.outcome);
            const known = allowed.get(key);
            if (known === undefined || known.length > expected.quirks.length)
              allowed.set(key, expected.quirks);
          }
        }
        const used = right.has(seenText(other)) ? [] : allowed.get(seenText(other));
        if (!right.has(seenText(mine)) || used === undefined) {
          differences.push({
            operation: index,
            what: `DMA (${[...right].join(' | ')})`,
            ours: seenText(mine),
            theirs: seenText(other),
          });
        } else if (used.length === 0) open++;
        for (const quirk of used ?? []) quirks.set(quirk, (quirks.get(quirk) ?? 0) + 1);
      }
    } else {
      for (const name of Object.keys(mine)) {
        const [a = '', b = ''] = [mine[name], other[name]];
        if (a !== b)
          differences.push({ operation: index, what: `${operation.do} ${name}`, ours: a, theirs: b });
      }
    }
    legal.follow(operation, mine['FSTS'] === '0x10');
  });
  for (const [frame, bytes] of ours.frames) {
    const other = theirs.frames.get(frame) ?? new Uint8Array();
    if (Buffer.compare(bytes, other) === 0) continue;
    const [a, b] = [bytes, other].map((x) => new DataView(x.buffer, x.byteOffset, x.byteLength)) as [
      DataView,
      DataView,
    ];
    for (let i = 0; i < 4096; i += 8) {
      const [x, y] = [a.getBigUint64(i, true), b.getBigUint64(i, true)];
      if (x !== y)
        differences.push({
          operation: undefined,
          what: `memory 0x${(frame * 4096 + i).toString(16)}`,
          ours: `0x${x.toString(16)}`,
          theirs: `0x${y.toString(16)}`,
        });
    }
  }
  return { differences, quirks, dmas, open };
}
