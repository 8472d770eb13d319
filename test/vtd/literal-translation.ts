/**
 * A translation request decided literally: VT-d's tables read with `bigint` shifts, one rule a line, by bit
 * numbers written down from the specification's tables (VT-d 4.1, chapters 3 and 9). Slow, and shares no code
 * with the walkers that it judges.
 *
 * Where the specification leaves the order of checks open, this takes: present, then reserved bits, then what
 * is not supported; in paging structures entry by entry, rights before reserved bits (as QEMU and VirtualBox do, the
 * latter after 7.1.3).
 */

/** What the tables lie in. */
export interface LiteralMachine {
  readonly isScalable: boolean;
  readonly cap: bigint;
  readonly ecap: bigint;
  readonly hostAddressWidth: bigint;
  readonly root: bigint;
  /** The 64-bit word at an address; undefined where there is no memory. */
  read(address: bigint): bigint | undefined;
}

export interface LiteralRequest {
  readonly rid: bigint;
  readonly pasid: bigint | undefined;
  readonly address: bigint;
  /** Without a PASID, 'x' asks for no more than 'r', and `isPrivileged` is not looked at. */
  readonly access: 'r' | 'w' | 'x';
  readonly isPrivileged: boolean;
}

/** A fault's code, or the address with the span of its translation in bytes and the rights that were granted. */
export type LiteralOutcome =
  | { readonly fault: number }
  | { readonly physical: bigint; readonly span: bigint; readonly rights: string };

class Fault extends Error {
  readonly code: number;
  constructor(code: number) {
    super(`fault ${code}`);
    this.code = code;
  }
}

const bits = (value: bigint, high: number, low = high): bigint =>
  (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);
const isSet = (value: bigint, bit: number): boolean => bits(value, bit) === 1n;
const check = (isGood: boolean, code: number): void => {
  if (!isGood) throw new Fault(code);
};

/** One request, to its end. */
export function literalTranslation(machine: LiteralMachine, request: LiteralRequest): LiteralOutcome {
  try {
    const access = request.pasid === undefined && request.access === 'x' ? 'r' : request.access;
    const asked = { ...request, access };
    return machine.isScalable ? scalable(machine, asked) : legacy(machine, asked);
  } catch (error) {
    if (error instanceof Fault) return { fault: error.code };
    throw error;
  }
}

/** An entry of some 64-bit words, or a fault where one of them can't be read. */
function entry(machine: LiteralMachine, address: bigint, words: number, code: number): bigint[] {
  return Array.from({ length: words }, (_, i) => {
    const word = machine.read(address + 8n * BigInt(i));
    if (word === undefined) throw new Fault(code);
    return word;
  });
}

/** Bits 63:12 hold an address of the host. */
const isHostPointer = (machine: LiteralMachine, word: bigint): boolean =>
  word >> machine.hostAddressWidth === 0n;
const pageOf = (word: bigint): bigint => (word >> 12n) << 12n;
const levelsOfAw = (machine: LiteralMachine, aw: bigint): number | undefined => {
  const isOffered = aw >= 1n && aw <= 3n && isSet(machine.cap, 8 + Number(aw));
  return isOffered ? Number(aw) + 2 : undefined;
};
const isInterrupt = (address: bigint): boolean => address >= 0xfee0_0000n && address <= 0xfeef_ffffn;

function legacy(machine: LiteralMachine, { rid, pasid, address, access }: LiteralRequest): LiteralOutcome {
  check(pasid === undefined, 0x31);
  check(!isInterrupt(address), 0x0e);
  const [rootLow = 0n, rootHigh = 0n] = entry(machine, machine.root + bits(rid, 15, 8) * 16n, 2, 0x08);
  check(isSet(rootLow, 0), 0x01);
  check(bits(rootLow, 11, 1) === 0n && isHostPointer(machine, rootLow) && rootHigh === 0n, 0x0a);
  const [low = 0n, high = 0n] = entry(machine, pageOf(rootLow) + bits(rid, 7, 0) * 16n, 2, 0x09);
  check(isSet(low, 0), 0x02);
  check(bits(low, 11, 4) === 0n && isHostPointer(machine, low), 0x0b);
  check(!isSet(high, 7) && bits(high, 63, 24) === 0n, 0x0b);
  const type = bits(low, 3, 2);
  check(type !== 3n && (type !== 1n || isSet(machine.ecap, 2)), 0x03);
  check(type !== 2n || isSet(machine.ecap, 6), 0x03);
  const levels = levelsOfAw(machine, bits(high, 2, 0));
  if (levels === undefined) throw new Fault(0x03);
  if (type === 2n) {
    check(isHostPointer(machine, address), 0x04);
    return { physical: address, span: 4096n, rights: 'rwu' };
  }
  const stage = { machine, levels, root: pageOf(low), execute: false };
  check(address >> secondWidth(stage) === 0n, 0x04);
  const found = secondStage(stage, address, { access: 0x07, root: 0x07, reserved: 0x0c }, (has) => {
    check(access === 'w' || has.includes('r'), 0x06);
    check(access !== 'w' || has.includes('w'), 0x05);
  });
  check(!isInterrupt(found.physical), 0x0e);
  return found;
}

function scalable(machine: LiteralMachine, request: LiteralRequest): LiteralOutcome {
  const { rid, pasid, address } = request;
  check(pasid !== undefined || !isInterrupt(address), 0x87);
  const halves = entry(machine, machine.root + bits(rid, 15, 8) * 16n, 2, 0x38);
  const half = halves[isSet(rid, 7) ? 1 : 0] ?? 0n;
  check(isSet(half, 0), 0x39);
  check(
    halves.every((word) => bits(word, 11, 1) === 0n && isHostPointer(machine, word)),
    0x3a,
  );
  const context = entry(machine, pageOf(half) + bits(rid, 6, 0) * 32n, 4, 0x40);
  const [low = 0n, high = 0n] = context;
  check(isSet(low, 0), 0x41);
  check(isGoodContext(machine, context), 0x42);
  check(pasid === undefined || isSet(low, 3), 0x45);
  const index = pasid ?? bits(high, 19, 0);
  check(index < 1n << (bits(low, 11, 9) + 13n), pasid === undefined ? 0x48 : 0x46);
  const [directory = 0n] = entry(machine, pageOf(low) + bits(index, 19, 6) * 8n, 1, 0x50);
  check(isSet(directory, 0), 0x51);
  check(bits(directory, 11, 2) === 0n && isHostPointer(machine, directory), 0x52);
  const words = entry(machine, pageOf(directory) + bits(index, 5, 0) * 64n, 8, 0x58);
  check(isSet(words[0] ?? 0n, 0), 0x59);
  const isPrivileged = pasid === undefined ? isSet(high, 20) : request.isPrivileged;
  const outcome = throughPasid(machine, words, { ...request, isPrivileged });
  if ('physical' in outcome) check(!isInterrupt(outcome.physical), 0x87);
  return outcome;
}

function isGoodContext({ ecap, ...machine }: LiteralMachine, words: readonly bigint[]): boolean {
  const [low = 0n, high = 0n, ...rest] = words;
  return (
    bits(low, 8, 5) === 0n &&
    isHostPointer({ ecap, ...machine }, low) &&
    bits(high, 63, 21) === 0n &&
    rest.every((word) => word === 0n) &&
    (!isSet(low, 2) || isSet(ecap, 2)) && // DTE: DT
    (!isSet(low, 3) || isSet(ecap, 40)) && // PASIDE: PASID
    (!isSet(low, 4) || isSet(ecap, 29)) && // PRE: PRS
    (bits(high, 19, 0) === 0n || isSet(ecap, 49)) && // RID_PASID: RPS
    (!isSet(high, 20) || isSet(ecap, 53)) // RID_PRIV: RPRIVS
  );
}

function isGoodPasidEntry(machine: LiteralMachine, words: readonly bigint[]): boolean {
  const [w0 = 0n, w1 = 0n, w2 = 0n, ...rest] = words;
  const { ecap } = machine;
  const isNested = bits(w0, 8, 6) === 3n;
  return (
    !isSet(w0, 5) &&
    bits(w0, 11, 10) === 0n &&
    isHostPointer(machine, w0) &&
    bits(w1, 22, 16) === 0n &&
    bits(w1, 31, 30) === 0n &&
    bits(w2, 11, 8) === 0n &&
    (isNested || isHostPointer(machine, w2)) &&
    rest.every((word) => word === 0n) &&
    (!isSet(w0, 9) || isSet(ecap, 45)) && // SSADE: SSADS
    (!isSet(w1, 23) || isSet(ecap, 48)) && // PWSNP: SMPWCS
    (!isSet(w1, 24) || isSet(ecap, 7)) && // PGSNP: SC
    ((bits(w1, 29, 25) === 0n && bits(w1, 63, 32) === 0n) || isSet(ecap, 25)) && // CD, EMTE, EMT, PAT: MTS
    (!isSet(w2, 0) || isSet(ecap, 31)) && // SRE: SRS
    (!isSet(w2, 1) || isSet(ecap, 30)) && // ERE: ERS
    (!isSet(w2, 7) || isSet(ecap, 34)) // EAFE: EAFS
  );
}

/** A PASID table entry that is present. */
function throughPasid(
  machine: LiteralMachine,
  words: readonly bigint[],
  request: LiteralRequest,
): LiteralOutcome {
  const { cap, ecap } = machine;
  const [w0 = 0n, , w2 = 0n] = words;
  check(isGoodPasidEntry(machine, words), 0x5a);
  const type = bits(w0, 8, 6);
  const capabilityOf: Record<string, number> = { 1: 47, 2: 46, 3: 26, 4: 6 };
  const capability = capabilityOf[type.toString()];
  if (capability === undefined || !isSet(ecap, capability)) throw new Fault(0x5b);
  const hasFirst = type === 1n || type === 3n;
  const hasSecond = type === 2n || type === 3n;
  const mode = bits(w2, 3, 2);
  check(!hasFirst || mode === 0n || (mode === 1n && isSet(cap, 60)), 0x5b);
  const secondLevels = hasSecond ? levelsOfAw(machine, bits(w0, 4, 2)) : 0;
  if (secondLevels === undefined) throw new Fault(0x5b);
  check(!request.isPrivileged || !hasFirst || isSet(w2, 0), 0x5d);
  const execute = isSet(w2, 1);
  check(request.access !== 'x' || execute, 0x5c);

  const { address } = request;
  const keep = (rights: string): string => (execute ? rights : rights.replace('x', ''));
  if (type === 4n) {
    check(isHostPointer(machine, address), 0x83);
    return { physical: address, span: 4096n, rights: keep('rwxu') };
  }
  const second = { machine, levels: secondLevels, root: pageOf(w0), execute };
  if (type === 2n) {
    check(address >> secondWidth(second) === 0n, 0x84);
    const found = secondStage(second, address, SCALABLE_FAULTS, (has) => checkSecond(has, request));
    return { ...found, rights: keep(found.rights) };
  }
  const first = { levels: 4 + Number(mode), root: pageOf(w2), writeProtect: isSet(w2, 4) };
  const found = firstStage(first, type === 3n ? second : undefined, machine, request);
  return { ...found, rights: keep(found.rights) };
}

const SCALABLE_FAULTS = { access: 0x78, root: 0x7b, reserved: 0x7a };

function checkSecond(has: string, { access }: LiteralRequest): void {
  check(has.includes(access === 'w' ? 'w' : 'r') && (access !== 'x' || has.includes('x')), 0x79);
}

interface SecondTable {
  readonly machine: LiteralMachine;
  readonly levels: number;
  readonly root: bigint;
  readonly execute: boolean;
}

/** Bits of an address that a second stage translates: the lesser of its levels' and MGAW. */
function secondWidth({ machine, levels }: SecondTable): bigint {
  const mgaw = bits(machine.cap, 21, 16) + 1n;
  const ofLevels = BigInt(levels * 9 + 12);
  return mgaw < ofLevels ? mgaw : ofLevels;
}

interface Found {
  readonly physical: bigint;
  readonly span: bigint;
  readonly rights: string;
}

const intersection = (a: string, b: string): string => [...a].filter((right) => b.includes(right)).join('');

function secondStage(
  table: SecondTable,
  address: bigint,
  faults: { readonly access: number; readonly root: number; readonly reserved: number },
  judge: (rights: string) => void,
): Found {
  const { machine } = table;
  let base = table.root;
  let rights = 'rwxu';
  for (let level = table.levels; ; level--) {
    const shift = BigInt(12 + 9 * (level - 1));
    const at = base + ((address >> shift) & 511n) * 8n;
    const [word = 0n] = entry(machine, at, 1, level === table.levels ? faults.root : faults.access);
    const own =
      (isSet(word, 0) ? 'r' : '') +
      (isSet(word, 1) ? 'w' : '') +
      (table.execute && isSet(word, 2) ? 'x' : '');
    if (own === '') judge('');
    const isLeaf = level === 1 || isSet(word, 7);
    judge(own);
    check(isGoodSecond(machine, word, level, isLeaf), faults.reserved);
    rights = intersection(rights, `${own}u`);
    const target = bits(word, 51, 12) << 12n;
    if (isLeaf) return { physical: target + (address & ((1n << shift) - 1n)), span: 1n << shift, rights };
    base = target;
  }
}

function isGoodSecond(machine: LiteralMachine, word: bigint, level: number, isLeaf: boolean): boolean {
  const { cap, ecap, hostAddressWidth } = machine;
  if ((bits(word, 51, 12) << 12n) >> hostAddressWidth !== 0n) return false;
  if (isSet(word, 62)) return false; // TM
  if (isSet(word, 11) && !(isLeaf && isSet(ecap, 7))) return false; // SNP: SC
  if (!isLeaf || level === 1) return true;
  if (level === 2) return isSet(cap, 34) && bits(word, 20, 12) === 0n;
  return level === 3 && isSet(cap, 35) && bits(word, 29, 12) === 0n;
}

interface FirstTable {
  readonly levels: number;
  readonly root: bigint;
  readonly writeProtect: boolean;
}

function firstStage(
  table: FirstTable,
  second: SecondTable | undefined,
  machine: LiteralMachine,
  request: LiteralRequest,
): Found {
  const { address } = request;
  const top = address >> BigInt(table.levels * 9 + 11);
  check(top === 0n || top === (1n << BigInt(64 - (table.levels * 9 + 11))) - 1n, 0x80);
  let base = table.root;
  let rights = 'rwxu';
  for (let level = table.levels; ; level--) {
    const isRoot = level === table.levels;
    const host = hostOf(second, base, isRoot);
    const shift = BigInt(12 + 9 * (level - 1));
    const [word = 0n] = entry(machine, host + ((address >> shift) & 511n) * 8n, 1, isRoot ? 0x73 : 0x70);
    check(isSet(word, 0), 0x71);
    const isLeaf = level === 1 || isSet(word, 7);
    const own = `r${isSet(word, 1) ? 'w' : ''}${isSet(word, 63) ? '' : 'x'}${isSet(word, 2) ? 'u' : ''}`;
    rights = intersection(rights, own);
    check(request.isPrivileged || rights.includes('u'), 0x81);
    const mayWrite = rights.includes('w') || (request.isPrivileged && !table.writeProtect);
    check(request.access !== 'w' || mayWrite, 0x85);
    check(request.access !== 'x' || rights.includes('x'), 0x82);
    check(isGoodFirst(machine, word, level, isLeaf), 0x72);
    base = bits(word, 51, 12) << 12n;
    if (!isLeaf) continue;
    const guest = ((base >> shift) << shift) + (address & ((1n << shift) - 1n));
    if (second === undefined) return { physical: guest, span: 1n << shift, rights };
    check(guest >> secondWidth(second) === 0n, 0x74);
    const found = secondStage(second, guest, SCALABLE_FAULTS, (has) => checkSecond(has, request));
    const span = found.span < 1n << shift ? found.span : 1n << shift;
    return { physical: found.physical, span, rights: intersection(rights, found.rights) };
  }
}

/** Where a first-stage table lies: a guest-physical address, if there is a second stage. */
function hostOf(second: SecondTable | undefined, base: bigint, isRoot: boolean): bigint {
  if (second === undefined) return base;
  check(base >> secondWidth(second) === 0n, 0x74);
  const found = secondStage(second, base, SCALABLE_FAULTS, (has) => {
    check(has.includes('r'), isRoot ? 0x75 : 0x76);
  });
  return found.physical;
}

function isGoodFirst(machine: LiteralMachine, word: bigint, level: number, isLeaf: boolean): boolean {
  if ((bits(word, 51, 12) << 12n) >> machine.hostAddressWidth !== 0n) return false;
  if (!isLeaf || level === 1) return true;
  if (level === 2) return bits(word, 20, 13) === 0n;
  return level === 3 && isSet(machine.cap, 56) && bits(word, 29, 13) === 0n;
}
