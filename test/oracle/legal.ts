/**
 * What may become of a request: by the tables as they are, and where software has not yet invalidated what it
 * changed, by the tables as they were. Decided by the literal translation, which shares no code with the model.
 *
 * The specification leaves open whether what is cached is used, so of each change that is pending, the old entry
 * may hold or the new one, for each independently. An entry that was not present is not cached (but in caching
 * mode): such a change is never pending.
 */
import { type LiteralMachine, type LiteralRequest, literalTranslation } from '../vtd/literal-translation.js';
import type { Case, Entry, Operation } from './case.js';
import { ROOT_FRAME, signatureAt } from './layout.js';
import { DEVICES, HOLE, RAM_FRAMES } from './machine.js';

/** The tables at some time, as the literal translation takes them. */
export type Tables = LiteralMachine;

/** The domains that software uses; others come of damage alone. */
const DOMAINS: ReadonlySet<number> = new Set([1, 2]);

/** A change whose invalidations are not complete. */
interface Pending {
  readonly address: bigint;
  readonly old: readonly bigint[];
  readonly entry: Entry;
  /** What is to be invalidated next: context, PASID, translations. */
  stage: 'context' | 'pasid' | 'translations';
  /** The domain that what is cached of it is tagged with; undefined: nobody can tell. */
  readonly domain: number | undefined;
}

const bits = (word: bigint, high: number, low = high): number =>
  Number((word >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));

const isMemory = (address: bigint): boolean => {
  const frame = address >> 12n;
  return frame < BigInt(RAM_FRAMES) && (frame < BigInt(HOLE.first) || frame >= BigInt(HOLE.end));
};

/** Follows a case, operation by operation. */
export class Legal {
  readonly #isScalable: boolean;
  readonly #cap: bigint;
  readonly #ecap: bigint;
  readonly #words: Map<bigint, bigint>;
  #pending: Pending[] = [];
  /** PASID table entries for pass-through that were changed and duly invalidated, the context cache since not. */
  #lingering: { readonly address: bigint; readonly old: readonly bigint[] }[] = [];

  constructor({ isScalable, words }: Case, { cap, ecap }: { cap: bigint; ecap: bigint }) {
    this.#isScalable = isScalable;
    this.#cap = cap;
    this.#ecap = ecap;
    this.#words = new Map(words);
  }

  /** Changes without all their invalidations. */
  get pending(): number {
    return this.#pending.length;
  }

  /** Takes an operation in that was done; `isRefused` of a descriptor. */
  follow(operation: Operation, isRefused: boolean): void {
    if (operation.do === 'store') this.#change(operation);
    else if (operation.do === 'latch' || operation.do === 'toggle') this.#switch(operation.do);
    else if ((operation.do === 'invalidate' || operation.do === 'mistake') && !isRefused) {
      this.#invalidate(operation.words);
    }
  }

  /** A root table that is latched anew invalidates all (CAP.ESRTPS); translation that is switched off, nothing. */
  #switch(how: 'latch' | 'toggle'): void {
    this.#lingering = [];
    if (how === 'latch') this.#pending = [];
  }

  /** The request that an operation makes. */
  static request({ device, page }: { device: number; page: bigint }, index: number): LiteralRequest {
    const { rid = 0, kind } = DEVICES[device] ?? {};
    return {
      rid: BigInt(rid),
      pasid: undefined,
      address: (page << 12n) + BigInt(index * 4),
      access: kind === 'edu' ? 'r' : 'w',
      isPrivileged: false,
    };
  }

  /** All tables that a request may meet, those of now first. */
  *tables(): Generator<Tables> {
    for (let chosen = 0; chosen < 2 ** this.#pending.length; chosen++) {
      const words = new Map(this.#words);
      this.#pending.toReversed().forEach(({ address, old }, i) => {
        if (((chosen >> i) & 1) === 0) return;
        old.forEach((word, at) => {
          words.set(address + BigInt(at * 8), word);
        });
      });
      yield this.#machine(words);
    }
  }

  /** Tables with an entry for pass-through that is gone, for a quirk of QEMU's. */
  *lingering(): Generator<Tables> {
    for (const { address, old } of this.#lingering) {
      const words = new Map(this.#words);
      old.forEach((word, at) => {
        words.set(address + BigInt(at * 8), word);
      });
      yield this.#machine(words);
    }
  }

  #machine(words: ReadonlyMap<bigint, bigint>): Tables {
    return {
      isScalable: this.#isScalable,
      cap: this.#cap,
      ecap: this.#ecap,
      hostAddressWidth: BigInt(bits(this.#cap, 21, 16) + 1),
      root: BigInt(ROOT_FRAME) << 12n,
      read: (address) => (isMemory(address) ? (words.get(address) ?? signatureAt(address)) : undefined),
    };
  }

  #change({ address, words, entry }: Extract<Operation, { do: 'store' }>): void {
    const old = words.map((_, i) => this.#words.get(address + BigInt(i * 8)) ?? 0n);
    words.forEach((word, i) => {
      this.#words.set(address + BigInt(i * 8), word);
    });
    const isCachingMode = bits(this.#cap, 7) === 1;
    const [first = 0n, second = 0n] = old;
    const isPresent = entry.of === 'second-stage' ? bits(first, 1, 0) !== 0 : bits(first, 0) === 1;
    if (!isPresent && !isCachingMode) return;
    const pending = { address, old, entry };
    switch (entry.of) {
      case 'root':
        this.#pending.push({ ...pending, stage: 'context', domain: undefined });
        break;
      case 'context': {
        const domain = this.#isScalable || !isPresent ? undefined : bits(second, 23, 8);
        this.#pending.push({ ...pending, stage: 'context', domain });
        break;
      }
      case 'pasid':
        this.#pending.push({
          ...pending,
          stage: 'pasid',
          domain: isPresent ? bits(second, 15, 0) : undefined,
        });
        break;
      default:
        this.#pending.push({ ...pending, stage: 'translations', domain: entry.domain });
    }
  }

  #invalidate(words: readonly bigint[]): void {
    if (bits(words[0] ?? 0n, 3, 0) === 1) this.#lingering = [];
    const isForeign = this.#hasForeignDomain();
    this.#pending = this.#pending.filter((each) => {
      const isOfPages = each.entry.of === 'first-stage' || each.entry.of === 'second-stage';
      const isGlobal = bits(words[0] ?? 0n, 5, 0) === 0x12;
      if (isForeign && isOfPages && !isGlobal) return true;
      const next = this.#next(each, words);
      const wasPasid = each.stage === 'pasid' && each.entry.of === 'pasid';
      if (wasPasid && next !== 'pasid' && bits(each.old[0] ?? 0n, 8, 6) === 4) this.#lingering.push(each);
      if (next !== undefined) each.stage = next;
      return next !== undefined;
    });
  }

  /** Whether a requester may have its translations under a domain that no invalidation by domain names. */
  #hasForeignDomain(): boolean {
    for (const tables of this.tables()) {
      for (const { rid } of DEVICES) {
        const domain = domainOf(tables, BigInt(rid));
        if (domain !== undefined && !DOMAINS.has(domain)) return true;
      }
    }
    return false;
  }

  /** What remains to be invalidated of a change after a descriptor; undefined: nothing. */
  #next(each: Pending, [low = 0n, high = 0n]: readonly bigint[]): Pending['stage'] | undefined {
    const granularity = bits(low, 5, 4);
    const isDomain = each.domain === bits(low, 31, 16);
    switch (bits(low, 3, 0)) {
      case 1:
        if (each.stage !== 'context' || !coversContext(each, low)) return each.stage;
        return this.#isScalable ? 'pasid' : 'translations';
      case 2: {
        if (each.stage !== 'translations') return each.stage;
        const { of } = each.entry;
        const isSecond = of === 'second-stage';
        const covers =
          granularity === 1 ||
          (granularity === 2 && isDomain && of !== 'first-stage') ||
          (granularity === 3 && isDomain && isSecond && coversPages(each.entry, high));
        return covers ? undefined : each.stage;
      }
      case 6: {
        if (each.stage !== 'translations' || !isDomain || bits(low, 51, 32) !== 0) return each.stage;
        const isFirst = each.entry.of === 'first-stage';
        const covers = isFirst && (granularity === 2 || coversPages(each.entry, high));
        return covers ? undefined : each.stage;
      }
      case 7: {
        if (each.stage !== 'pasid') return each.stage;
        const isPasid = granularity === 0 || bits(low, 51, 32) === 0;
        return granularity === 3 || (isDomain && isPasid) ? 'translations' : each.stage;
      }
      default:
        return each.stage;
    }
  }
}

function coversContext({ entry, domain }: Pending, low: bigint): boolean {
  const granularity = bits(low, 5, 4);
  if (granularity === 1) return true;
  if (entry.of !== 'context') return false;
  if (granularity === 2) return domain !== undefined && domain === bits(low, 31, 16);
  return namesRequester(low, entry.rid);
}

/** Whether a device-selective invalidation of the context cache names a requester. */
function namesRequester(low: bigint, rid: number): boolean {
  const mask = [0, 4, 6, 7][bits(low, 49, 48)] ?? 0;
  return ((rid ^ bits(low, 47, 32)) & ~mask) === 0;
}

/** Whether an invalidation of the context cache is of a requester's entry, domains not looked at. */
export const namesContext = (low: bigint, rid: number): boolean =>
  bits(low, 5, 4) !== 3 || namesRequester(low, rid);

/** Whether a page-selective invalidation covers all that an entry spans. With the hint, it leaves out non-leaves. */
function coversPages(entry: Entry, high: bigint): boolean {
  if (entry.of !== 'first-stage' && entry.of !== 'second-stage') return false;
  if (bits(high, 6) === 1 && !entry.isLeaf) return false;
  const pages = 1n << BigInt(bits(high, 5, 0));
  const first = ((high >> 12n) / pages) * pages;
  const page = entry.page & ((1n << 52n) - 1n);
  return page >= first && page + entry.pages <= first + pages;
}

/** What becomes of a request, in the words of what the twins see. */
export interface Outcome {
  readonly record: string;
  /** Of a write: where it went. */
  readonly went?: string;
  /** Of a read: what came. */
  readonly data?: string;
}

export const isInterruptAddress = (address: bigint): boolean =>
  address >= 0xfee0_0000n && address <= 0xfeef_ffffn;

/** A fault's record. */
export const faultRecord = ({ rid, address, access }: LiteralRequest, reason: number): string =>
  `reason 0x${reason.toString(16)}, page 0x${(address >> 12n).toString(16)}, rid 0x${rid.toString(16)}, ${
    access === 'r' ? 'read' : 'write'
  }`;

/** What the specification says becomes of a request. */
export function outcomeOf(tables: Tables, request: LiteralRequest): Outcome {
  if (isInterruptAddress(request.address) && request.access === 'w')
    return { record: 'none', went: 'elsewhere' };
  const found = literalTranslation(tables, request);
  if ('physical' in found) return carriedOut(tables, request, found.physical);
  return refused(request, isSilenced(tables, request, found.fault) ? undefined : found.fault);
}

export const refused = (request: LiteralRequest, reason: number | undefined): Outcome => ({
  record: reason === undefined ? 'none' : faultRecord(request, reason),
  ...(request.access === 'w' ? { went: 'nowhere' } : { data: '0x0' }),
});

export function carriedOut(tables: Tables, { access }: LiteralRequest, physical: bigint): Outcome {
  if (access === 'w')
    return { record: 'none', went: isMemory(physical) ? `0x${physical.toString(16)}` : 'nowhere' };
  const word = tables.read((physical >> 3n) << 3n) ?? 0n;
  const half = (physical & 4n) === 0n ? word & 0xffff_ffffn : word >> 32n;
  if (half === 0n || !isSignature(physical, half)) return { record: 'none', data: `0x${half.toString(16)}` };
  return { record: 'none', data: `of 0x${physical.toString(16)}` };
}

const isSignature = (address: bigint, half: bigint): boolean => {
  const whole = signatureAt((address >> 3n) << 3n);
  return whole !== 0n && half === ((address & 4n) === 0n ? whole & 0xffff_ffffn : whole >> 32n);
};

/** Where a requester's entries stand, as far as they can be read. */
export interface Path {
  readonly context?: bigint;
  readonly directory?: bigint;
  readonly pasid?: bigint;
}

export function pathOf({ isScalable, root, read }: Tables, rid: bigint): Path {
  const page = (word: bigint | undefined): bigint => ((word ?? 0n) >> 12n) << 12n;
  const isUpper = isScalable && (rid & 0x80n) !== 0n;
  const top = read(root + (rid >> 8n) * 16n + (isUpper ? 8n : 0n));
  if (top === undefined || bits(top, 0) === 0) return {};
  const context = page(top) + (isScalable ? (rid & 0x7fn) * 32n : (rid & 0xffn) * 16n);
  const low = read(context);
  if (!isScalable || low === undefined || bits(low, 0) === 0) return { context };
  const directory = page(low);
  const table = read(directory);
  if (table === undefined || bits(table, 0) === 0) return { context, directory };
  return { context, directory, pasid: page(table) };
}

/** Faults that no FPD silences: of what comes before the entries that have it, or of accesses to them. */
const UNQUALIFIED = new Set([0x01, 0x08, 0x09, 0x0a, 0x30, 0x38, 0x39, 0x3a, 0x40, 0x50, 0x58]);

/** Whether FPD of the entries on the way keeps a fault from being recorded. */
export function isSilenced(tables: Tables, { rid, address }: LiteralRequest, fault: number): boolean {
  if (UNQUALIFIED.has(fault) || isInterruptAddress(address)) return false;
  const { context, directory, pasid } = pathOf(tables, rid);
  const isSet = (at: bigint | undefined): boolean => at !== undefined && bits(tables.read(at) ?? 0n, 1) === 1;
  if (isSet(context)) return true;
  if (!tables.isScalable || fault < 0x50) return false;
  return isSet(directory) || (fault > 0x52 && isSet(pasid));
}

/** The domain that what is cached for a requester is tagged with; undefined where nothing is. */
function domainOf(tables: Tables, rid: bigint): number | undefined {
  const { context, pasid } = pathOf(tables, rid);
  const at = tables.isScalable ? pasid : context;
  const [low, high] = [at, at === undefined ? undefined : at + 8n].map((each) =>
    each === undefined ? undefined : tables.read(each),
  );
  if (low === undefined || high === undefined || bits(low, 0) === 0) return undefined;
  const passes = tables.isScalable ? bits(low, 8, 6) === 4 : bits(low, 3, 2) === 2;
  if (passes) return undefined;
  return tables.isScalable ? bits(high, 15, 0) : bits(high, 23, 8);
}

/** Faults that are found before the paging structures are looked at. */
export const ENTRY_FAULTS: ReadonlySet<number> = new Set([
  ...[0x01, 0x02, 0x03, 0x08, 0x09, 0x0a, 0x0b],
  ...[0x38, 0x39, 0x3a, 0x40, 0x41, 0x42, 0x43, 0x46, 0x48, 0x50, 0x51, 0x52, 0x58, 0x59, 0x5a, 0x5b],
]);

/**
 * What the specification lets become of a request by way of others: translations are tagged by domain, not by
 * requester, and so are the ways to tables: those of another requester of the domain may serve this one too. (Where
 * software keeps the rule that a domain has one set of tables, they are the same.)
 */
export function* sharedOutcomes(tables: Tables, request: LiteralRequest): Generator<Outcome> {
  const domain = domainOf(tables, request.rid);
  const own = literalTranslation(tables, request);
  if (domain === undefined || ('fault' in own && ENTRY_FAULTS.has(own.fault))) return;
  for (const { rid } of DEVICES) {
    if (BigInt(rid) === request.rid || domainOf(tables, BigInt(rid)) !== domain) continue;
    const found = literalTranslation(tables, { ...request, rid: BigInt(rid) });
    if ('physical' in found) yield carriedOut(tables, request, found.physical);
    else if (!ENTRY_FAULTS.has(found.fault))
      yield refused(request, isSilenced(tables, request, found.fault) ? undefined : found.fault);
  }
}
