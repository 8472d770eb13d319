/**
 * Compares what the twins have seen of a case. Where they differ, the model has to have done what the
 * specification allows, and QEMU that, or what a quirk of its own makes of it. All else is a difference.
 */
import type { Case, Operation, Seen } from './case.js';
import { Legal, namesContext, type Outcome, outcomeOf, sharedOutcomes } from './legal.js';
import { DEVICES } from './machine.js';
import { compareMemory } from './memory.js';
import { type Circumstances, type QuirkName, theirOutcomes } from './quirks.js';
import type { Comparison } from './run.js';

export interface Difference {
  /** Its index in the case's operations; undefined: what is in memory at the end. */
  readonly operation: number | undefined;
  readonly what: string;
  /** What the specification allows, where that was asked. */
  readonly allowed: readonly string[];
  readonly ours: string;
  readonly theirs: string;
}

export interface Verdict {
  readonly differences: readonly Difference[];
  /** How often each quirk explained something. */
  readonly quirks: ReadonlyMap<QuirkName, number>;
  readonly dmas: number;
  /** DMAs that the twins did in different ways, both of which the specification allows. */
  readonly open: number;
  /** Whether accessed and dirty bits were compared: not where either twin may have walked less than the other. */
  readonly isMarked: boolean;
  /** Frames that QEMU may have written to and nobody has looked at: they are to be cleared. */
  readonly lost: ReadonlySet<number>;
}

/** A unit's registers, and what else a verdict hangs on. */
export interface Unit extends Omit<Circumstances, 'isContextCached'> {
  readonly cap: bigint;
  readonly ecap: bigint;
}

const FRAME_BYTES = 4096;

/** The quirks by which QEMU walks tables that the model does not walk, and marks them, or the reverse. */
const WALKING: ReadonlySet<QuirkName> = new Set<QuirkName>([
  'context-capabilities',
  'pasid-directory-reserved',
  'pasid-entry-reserved',
  'pasid-present-cached',
  'pasid-type-cached',
  'pass-through-lingers',
  'first-stage-width',
  'first-stage-1g',
]);

/** What was seen of a case, judged. */
export function judge(each: Case, unit: Unit, comparison: Comparison): Verdict {
  const judging = new Judging(each, unit, comparison.ours.frames);
  each.operations.forEach((operation, index) => {
    judging.operation(operation, index, {
      ours: comparison.ours.operations[index] ?? {},
      theirs: comparison.theirs.operations[index] ?? {},
    });
  });
  return judging.end(comparison);
}

/** What both have seen of one operation. */
interface Pair {
  readonly ours: Seen;
  readonly theirs: Seen;
}

class Judging {
  readonly #unit: Unit;
  /** The frames that were looked at in the end. */
  readonly #frames: ReadonlyMap<number, unknown>;
  readonly #legal: Legal;
  readonly #differences: Difference[] = [];
  readonly #quirks = new Map<QuirkName, number>();
  /** Frames that QEMU may have written to, and nobody has looked at. */
  readonly #lost = new Set<number>();
  /** Where writes went that only one twin did, or each to another place. */
  readonly #strays = new Set<number>();
  readonly #contexts = new Set<number>();
  #dmas = 0;
  #open = 0;
  #isMarked = true;

  constructor(each: Case, unit: Unit, frames: ReadonlyMap<number, unknown>) {
    this.#frames = frames;
    this.#unit = unit;
    this.#legal = new Legal(each, unit);
  }

  operation(operation: Operation, index: number, pair: Pair): void {
    if (operation.do === 'dma') this.#dma(operation, index, pair);
    else this.#command(operation, index, pair);
    const isRefused = pair.ours['FSTS'] === '0x10';
    this.#legal.follow(operation, isRefused);
    this.#followContexts(operation, isRefused);
  }

  end({ ours, theirs }: Comparison): Verdict {
    const circumstances = { isMarked: this.#isMarked, strays: this.#strays };
    for (const each of compareMemory({ ours: ours.frames, theirs: theirs.frames }, circumstances)) {
      if (each.quirk !== undefined) this.#count(each.quirk);
      else this.#differences.push({ operation: undefined, allowed: [], ...each });
    }
    return {
      differences: this.#differences,
      quirks: this.#quirks,
      dmas: this.#dmas,
      open: this.#open,
      isMarked: this.#isMarked,
      lost: this.#lost,
    };
  }

  /** What is no DMA has to look the same, but for descriptors that only one of both takes. */
  #command(operation: Operation, index: number, pair: Pair): void {
    const quirk = descriptorQuirk(operation, pair);
    if (quirk === undefined) this.#same(operation.do, index, pair);
    else this.#count(quirk);
  }

  /** Which devices' context entries may be cached. */
  #followContexts(operation: Operation, isRefused: boolean): void {
    if (operation.do === 'dma') this.#contexts.add(operation.device);
    if (operation.do === 'latch' || operation.do === 'toggle') this.#contexts.clear();
    if (isRefused || (operation.do !== 'invalidate' && operation.do !== 'mistake')) return;
    const [low = 0n] = operation.words;
    if ((low & 0xfn) !== 1n) return;
    DEVICES.forEach(({ rid }, device) => {
      if (namesContext(low, rid)) this.#contexts.delete(device);
    });
  }

  #count(quirk: QuirkName): void {
    this.#quirks.set(quirk, (this.#quirks.get(quirk) ?? 0) + 1);
  }

  #same(what: string, index: number, { ours, theirs }: Pair): void {
    for (const name of Object.keys(ours)) {
      const [mine = '', other = ''] = [ours[name], theirs[name]];
      if (mine === other) continue;
      this.#differences.push({
        operation: index,
        what: `${what}: ${name}`,
        allowed: [],
        ours: mine,
        theirs: other,
      });
    }
  }

  #dma(operation: Extract<Operation, { do: 'dma' }>, index: number, { ours, theirs }: Pair): void {
    this.#dmas++;
    if (this.#legal.pending > 0) this.#isMarked = false;
    const [mine, other] = [seenText(ours), seenText(theirs)];
    if (mine === other) {
      this.#same('DMA', index, { ours, theirs });
      // Faults that FPD silences look the same, whatever they are and however far the walk has come.
      if (ours['record'] === 'none' && isRefused(ours)) this.#isMarked = false;
      return;
    }
    for (const seen of [ours, theirs]) this.#statusOf(seen, index);
    for (const { went } of [ours, theirs]) {
      if (went?.startsWith('0x')) this.#strays.add(Number(went));
    }
    const { right, expected } = this.#answers(operation, index);
    const used = right.has(other) ? [] : expected.get(other);
    if (right.has(mine) && used !== undefined) {
      if (used.length === 0) this.#open++;
      for (const quirk of used) {
        this.#count(quirk);
        if (WALKING.has(quirk)) this.#isMarked = false;
      }
    } else {
      this.#differences.push({
        operation: index,
        what: 'DMA',
        allowed: [...right],
        ours: mine,
        theirs: other,
      });
    }
  }

  /** A write by QEMU alone, to a frame that the model never touched, is not looked for: it went elsewhere. */
  #asSeen(outcome: Outcome): Outcome {
    if (outcome.went?.startsWith('0x') !== true) return outcome;
    const frame = Math.floor(Number(outcome.went) / FRAME_BYTES);
    if (this.#frames.has(frame)) return outcome;
    this.#lost.add(frame);
    return { ...outcome, went: 'elsewhere' };
  }

  /** The status registers say of a fault what its record says. */
  #statusOf(seen: Seen, index: number): void {
    const [FSTS, FECTL] = seen['record'] === 'none' ? ['0x0', '0x80000000'] : ['0x2', '0xc0000000'];
    this.#same('status', index, { ours: { FSTS, FECTL }, theirs: seen });
  }

  /** What the specification lets a DMA do, and what QEMU's quirks make of that. */
  #answers(operation: Extract<Operation, { do: 'dma' }>, index: number) {
    const request = Legal.request(operation, index);
    const circumstances = { ...this.#unit, isContextCached: this.#contexts.has(operation.device) };
    const right = new Set<string>();
    const expected = new Map<string, readonly QuirkName[]>();
    const expect = (outcome: Outcome, quirks: readonly QuirkName[]): void => {
      const key = text(this.#asSeen(outcome));
      const known = expected.get(key);
      if (known === undefined || known.length > quirks.length) expected.set(key, quirks);
    };
    for (const tables of this.#legal.tables()) {
      right.add(text(outcomeOf(tables, request)));
      for (const outcome of sharedOutcomes(tables, request)) right.add(text(outcome));
      for (const { outcome, quirks } of theirOutcomes(tables, request, circumstances))
        expect(outcome, quirks);
    }
    for (const tables of this.#legal.lingering()) {
      for (const { outcome, quirks } of theirOutcomes(tables, request, circumstances)) {
        expect(outcome, [...quirks, 'pass-through-lingers']);
      }
    }
    return { right, expected };
  }
}

/** Why one twin takes a descriptor that the other refuses; both have to go on alike after that. */
function descriptorQuirk(operation: Operation, { ours, theirs }: Pair): QuirkName | undefined {
  if (operation.do !== 'mistake') return undefined;
  if (ours['IQH then'] !== theirs['IQH then'] || ours['FSTS then'] !== theirs['FSTS then']) return undefined;
  const [low = 0n] = operation.words;
  const [mine, other] = [ours['FSTS'], theirs['FSTS']];
  const isTakenByThem = mine === '0x10' && other === '0x0';
  if ((low & 0xfn) === 4n && isTakenByThem) return 'interrupt-entry-cache';
  if ((low & 0xfn) === 9n && isTakenByThem) return 'page-group-response';
  if ((low & 0x3fn) === 5n && mine === '0x0' && other === '0x10') return 'wait-without-effect';
  return undefined;
}

const isRefused = ({ went, data }: Seen): boolean => went === 'nowhere' || data === '0x0';

const text = ({ record, went, data }: Outcome): string => [record, went ?? data].join(' → ');
const seenText = (seen: Seen): string => [seen['record'], seen['went'] ?? seen['data']].join(' → ');
