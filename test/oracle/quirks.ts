/**
 * Where QEMU's unit does what the specification does not say, or says otherwise: each quirk with its reason, and a
 * rule that tells exactly what QEMU answers then. A difference is allowed if such rules lead from what the
 * specification says to what QEMU does; and by nothing else.
 *
 * Seen in QEMU 11.1.3 (Debian 1:11.1.3+ds-1), `hw/i386/intel_iommu.c`.
 */
import { type LiteralRequest, literalTranslation } from '../vtd/literal-translation.js';
import { NOWHERE } from './layout.js';
import {
  carriedOut,
  ENTRY_FAULTS,
  isInterruptAddress,
  isSilenced,
  type Outcome,
  outcomeOf,
  pathOf,
  refused,
  type Tables,
} from './legal.js';

/** The quirks of a DMA's outcome; `docs/oracle.md` is about the same list. */
export const QUIRKS = {
  'interrupt-range-read':
    'Reads of the interrupt range are no faults: QEMU answers zeros, for an area of its own lies there.',
  'pass-through-width':
    'A pass-through device is taken out of the unit: its addresses are not held against the width (0x04, 0x83).',
  'legacy-root-access':
    'A root of a second stage that cannot be read is an invalid context entry (0x03), not 0x07.',
  'scalable-codes':
    'Root, context and second-stage faults have the codes of legacy mode in scalable mode too (0x01 for 0x39, 0x05 for 0x79 ...).',
  'context-capabilities':
    'DTE, PASIDE, PRE, RID_PASID and RID_PRIV are not reserved without their capability.',
  'pasid-directory-reserved': 'Reserved bits of a PASID directory entry are not looked at.',
  'pasid-entry-reserved': 'Reserved bits of a PASID table entry are not looked at.',
  'pasid-type-first':
    'PGTT and AW of a PASID table entry are judged before P: an entry of zeros is invalid (0x5b).',
  'pasid-present-cached':
    'P of a PASID table entry counts only when the context entry is read, not when it is cached.',
  'pass-through-lingers':
    'A device stays in pass-through after its PASID table entry was changed and the PASID cache invalidated, until the context cache is.',
  'interrupt-entry-cache':
    'Interrupt-entry-cache invalidations are taken without interrupt remapping (ECAP.IR).',
  'page-group-response':
    'Page-group responses are taken without page requests (ECAP.PRS), and in queues of 128 bits.',
  'interrupt-page':
    'A page that a translation leads to is held against the interrupt range as a whole, not the address alone.',
  'wait-without-effect': 'A wait descriptor that neither writes status nor interrupts is an error.',
  'one-mark-is-enough': 'A write sets neither A nor D of a first-stage leaf that has either of them already.',
  'interrupt-marked':
    'A first-stage leaf that leads to the interrupt range is marked (A, D) although the request is blocked.',
  'pasid-type-cached':
    'PGTT of a PASID table entry is not looked at if the context entry is cached and has FPD: the stage is the one that the unit has.',
  'pasid-fault-fpd':
    'FPD of PASID directory and table does not silence what is wrong with the PASID table entry.',
  'context-reserved-fpd': 'FPD of a context entry does not silence that its reserved bits are set.',
  'first-stage-width':
    'First-stage addresses are held against the width that AW of the PASID entry says, 48 bits at most.',
  'first-stage-1g': 'fs1gp=off leaves 1 GiB pages of the first stage working.',
  'snoop-scalable':
    'In scalable mode SNP of a second-stage leaf is not reserved without ECAP.SC, for the sake of a guest that sets it.',
  'transient-mapping':
    'With stale-tm=on, bit 62 of a second-stage leaf is not reserved (as before revision 3.2).',
} as const;
export type QuirkName = keyof typeof QUIRKS;

/** What QEMU may answer, and by which quirks. */
export interface Expected {
  readonly outcome: Outcome;
  readonly quirks: readonly QuirkName[];
}

/** What of the kind of unit and of the case so far the rules look at. */
export interface Circumstances {
  /** QEMU's `stale-tm`. */
  readonly hasTransientMappings: boolean;
  /** Whether QEMU may have the requester's context entry cached. */
  readonly isContextCached: boolean;
}

/** All that QEMU may answer to a request that meets these tables. */
export function theirOutcomes(
  tables: Tables,
  request: LiteralRequest,
  circumstances: Circumstances,
): Expected[] {
  if (isInterruptAddress(request.address)) {
    if (request.access === 'w') return [{ outcome: outcomeOf(tables, request), quirks: [] }];
    return [{ outcome: { record: 'none', data: '0x0' }, quirks: ['interrupt-range-read'] }];
  }
  return variants(tables, request, circumstances).flatMap((each) => {
    const { found, quirks } = each;
    if (!('physical' in found)) return recorded({ ...each, fault: found.fault }, request);
    // What is read is what is there, not what QEMU takes entries for.
    return [{ outcome: carriedOut(tables, request, found.physical), quirks }];
  });
}

/** Tables as QEMU reads them, and what then follows. */
interface Variant {
  readonly tables: Tables;
  readonly found: ReturnType<typeof literalTranslation>;
  readonly quirks: readonly QuirkName[];
}

function variants(first: Tables, request: LiteralRequest, circumstances: Circumstances): Variant[] {
  const result: Variant[] = [];
  const todo: { tables: Tables; quirks: readonly QuirkName[] }[] = [{ tables: first, quirks: [] }];
  const push = (each: { tables: Tables; quirks: readonly QuirkName[] }, quirk: QuirkName, tables: Tables) => {
    if (!each.quirks.includes(quirk)) todo.push({ tables, quirks: [...each.quirks, quirk] });
  };
  for (let each = todo.pop(); each !== undefined; each = todo.pop()) {
    const { tables, quirks } = each;
    const found = literalTranslation(tables, request);
    const code = 'fault' in found ? found.fault : 0;
    const narrow = firstStageWidth(tables, request);
    if (narrow && !ENTRY_FAULTS.has(code)) {
      result.push({ tables, found: { fault: 0x80 }, quirks: [...quirks, 'first-stage-width'] });
      continue;
    }
    result.push({ tables, found, quirks });
    if ('physical' in found && touchesInterrupts(found)) {
      const fault = tables.isScalable ? 0x87 : 0x0e;
      result.push({ tables, found: { fault }, quirks: [...quirks, 'interrupt-page'] });
    }
    if (code === 0x42) push(each, 'context-capabilities', changed(tables, request, 'context'));
    if (code === 0x52) push(each, 'pasid-directory-reserved', changed(tables, request, 'directory'));
    if (code === 0x5a) push(each, 'pasid-entry-reserved', changed(tables, request, 'pasid'));
    if (code === 0x59) {
      if (circumstances.isContextCached) {
        push(each, 'pasid-present-cached', changed(tables, request, 'present'));
      }
      const typed = changed(tables, request, 'present');
      const then = literalTranslation(changed(typed, request, 'pasid'), request);
      if ('fault' in then && then.fault === 0x5b) {
        result.push({ tables, found: then, quirks: [...quirks, 'pasid-type-first'] });
      }
    }
    if (code === 0x5b && circumstances.isContextCached && isContextSilenced(tables, request)) {
      push(each, 'pasid-type-cached', changed(tables, request, 'typed'));
    }
    if (code === 0x72) push(each, 'first-stage-1g', { ...tables, cap: tables.cap | (1n << 56n) });
    if (code === 0x7a) push(each, 'snoop-scalable', { ...tables, ecap: tables.ecap | (1n << 7n) });
    if (code === 0x7a && circumstances.hasTransientMappings) {
      push(each, 'transient-mapping', withoutBit62(tables));
    }
    if (code === 0x04 || code === 0x83) {
      const passed = passesThrough(tables, request);
      if (passed) {
        result.push({
          tables,
          found: { physical: request.address, span: 4096n, rights: 'rwu' },
          quirks: [...quirks, 'pass-through-width'],
        });
      }
    }
  }
  return result;
}

interface Blocked extends Omit<Variant, 'found'> {
  readonly fault: number;
}

/** What becomes of a blocked request, with QEMU's codes and its ways with FPD. */
function recorded({ tables, fault, quirks }: Blocked, request: LiteralRequest): Expected[] {
  const [code, coded] = theirCode(tables, request, fault);
  const names = coded === undefined ? quirks : [...quirks, coded];
  const isQuiet = isSilenced(tables, request, fault);
  const result: Expected[] = [{ outcome: refused(request, isQuiet ? undefined : code), quirks: names }];
  if (!isQuiet) return result;
  if (fault >= 0x50 && fault < 0x60) {
    result.push({ outcome: refused(request, code), quirks: [...names, 'pasid-fault-fpd'] });
  }
  if (fault === 0x0b || fault === 0x42) {
    result.push({ outcome: refused(request, code), quirks: [...names, 'context-reserved-fpd'] });
  }
  return result;
}

/** By code of scalable mode, what QEMU says instead. */
const CODES: Readonly<Record<number, number>> = {
  ...{ 56: 0x08, 57: 0x01, 58: 0x0a, 64: 0x09, 65: 0x02, 66: 0x0b },
  ...{ 120: 0x07, 122: 0x0c, 123: 0x03, 132: 0x04 },
};

function theirCode(
  tables: Tables,
  { rid, access }: LiteralRequest,
  code: number,
): [number, QuirkName | undefined] {
  if (!tables.isScalable) {
    const { context = 0n } = pathOf(tables, rid);
    const root = ((tables.read(context) ?? 0n) >> 12n) << 12n;
    const isRoot = code === 0x07 && tables.read(root) === undefined;
    return isRoot ? [0x03, 'legacy-root-access'] : [code, undefined];
  }
  if (code === 0x79) return [access === 'w' ? 0x05 : 0x06, 'scalable-codes'];
  const instead = CODES[code];
  return instead === undefined ? [code, undefined] : [instead, 'scalable-codes'];
}

/** An entry as QEMU reads it: without the bits that it ignores, and with P. */
function changed(
  tables: Tables,
  { rid }: LiteralRequest,
  what: 'context' | 'directory' | 'pasid' | 'present' | 'typed',
): Tables {
  const path = pathOf(tables, rid);
  const base = what === 'present' || what === 'typed' ? path.pasid : path[what];
  if (base === undefined) return tables;
  const { read } = tables;
  const width = tables.hostAddressWidth;
  const isSecond = (((read(base) ?? 0n) >> 6n) & 7n) === 2n;
  const isFirst = (((read(base) ?? 0n) >> 6n) & 7n) === 1n;
  const pointer = (word: bigint): bigint => (word >> width === 0n ? (word >> 12n) << 12n : NOWHERE);
  const change = (index: bigint, word: bigint): bigint => {
    switch (what) {
      case 'present':
        return index === 0n ? asPresent(word, tables.ecap) : word;
      case 'typed':
        return index === 0n ? withStage(word, tables.ecap) : word;
      case 'context':
        return index === 0n ? word & ~0x1cn : index === 1n ? word & ~0x1f_ffffn : word;
      case 'directory':
        return index === 0n ? pointer(word) | (word & 3n) : word;
      case 'pasid':
        if (index === 0n) return (word & 0x1dfn) | (isSecond ? pointer(word) : 0n);
        if (index === 1n) return word & 0xffffn;
        return index === 2n && isFirst ? (word & 0xcn) | pointer(word) : 0n;
    }
  };
  const words = { context: 4n, directory: 1n, pasid: 8n, present: 8n, typed: 8n }[what];
  return {
    ...tables,
    read: (address) => {
      const word = read(address);
      const index = (address - base) >> 3n;
      return word === undefined || address < base || index >= words
        ? word
        : BigInt.asUintN(64, change(index, word));
    },
  };
}

/** An entry that is not present as QEMU takes it: never for pass-through, but for the stage that the unit has. */
function asPresent(word: bigint, ecap: bigint): bigint {
  const type = (word >> 6n) & 7n;
  return type === 4n ? withStage(word, ecap) | 1n : word | 1n;
}

/** An entry as of the stage that the unit has. */
const withStage = (word: bigint, ecap: bigint): bigint =>
  (word & ~(7n << 6n)) | ((((ecap >> 47n) & 1n) === 1n ? 1n : 2n) << 6n);

function isContextSilenced(tables: Tables, { rid }: LiteralRequest): boolean {
  const { context } = pathOf(tables, rid);
  return context !== undefined && (((tables.read(context) ?? 0n) >> 1n) & 1n) === 1n;
}

const withoutBit62 = (tables: Tables): Tables => ({
  ...tables,
  read: (address) => {
    const word = tables.read(address);
    return word === undefined ? undefined : word & ~(1n << 62n);
  },
});

/** Whether an address is not canonical by the width that AW of its PASID entry says. */
function firstStageWidth(tables: Tables, { rid, address }: LiteralRequest): boolean {
  if (!tables.isScalable) return false;
  const { pasid } = pathOf(tables, rid);
  const low = pasid === undefined ? 0n : (tables.read(pasid) ?? 0n);
  if (((low >> 6n) & 7n) !== 1n) return false;
  const width = 30n + 9n * ((low >> 2n) & 7n);
  const top = address >> ((width > 48n ? 48n : width) - 1n);
  return top !== 0n && top !== (1n << (65n - (width > 48n ? 48n : width))) - 1n;
}

/** Whether the page of a translation, large or small, has a part of the interrupt range in it. */
function touchesInterrupts({ physical, span }: { physical: bigint; span: bigint }): boolean {
  const first = (physical / span) * span;
  return first <= 0xfeef_ffffn && first + span > 0xfee0_0000n;
}

function passesThrough(tables: Tables, { rid }: LiteralRequest): boolean {
  const { context, pasid } = pathOf(tables, rid);
  if (!tables.isScalable) return context !== undefined && (((tables.read(context) ?? 0n) >> 2n) & 3n) === 2n;
  return pasid !== undefined && (((tables.read(pasid) ?? 0n) >> 6n) & 7n) === 4n;
}
