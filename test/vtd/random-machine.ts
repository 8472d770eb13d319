/**
 * Machines at random whose tables lie close together: a pool of frames that serve as any kind of paging
 * structure, so that walks go deep, loop, share tables and find every kind of damage. Written by bit numbers,
 * without the layouts.
 */
import { Random } from '../../src/base/index.js';
import type { LiteralMachine, LiteralRequest } from './literal-translation.js';

/** A machine as 64-bit words by their addresses. */
export interface RandomMachine extends LiteralMachine {
  readonly words: ReadonlyMap<bigint, bigint>;
  /** The frames that are there; words that nobody wrote are zero. */
  readonly lastFrame: number;
}

const FRAMES = 32;
const LAST_FRAME = 80;
const ROOT = 32n;
const CONTEXTS = 33n;
const DIRECTORY = 40n;
const PASID_TABLE = 74n;

/** Requesters: of the lower and the upper context table, on two buses. */
export const RIDS = [0x0018n, 0x00f9n, 0x0100n];
const PASIDS = [0n, 1n, 63n, 64n, 8191n, 8192n, 0xf_ffffn];
/** Indices that tables of the pool have entries at. */
const INDICES = [...Array.from({ length: FRAMES }, (_, i) => BigInt(i)), 254n, 255n, 256n, 510n, 511n];
const WIDTHS = [39n, 42n, 46n, 48n, 52n];

/** Draws from a seed's sequence. */
export class Draw {
  readonly #random: Random;
  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  below(n: number): number {
    return this.#random.below(n);
  }

  /** True so many times in a thousand. */
  often(perMille: number): boolean {
    return this.below(1000) < perMille;
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  }

  bit(perMille: number, bit: number): bigint {
    return this.often(perMille) ? 1n << BigInt(bit) : 0n;
  }

  /** One bit from `low` to `high`, so many times in a thousand. */
  damage(perMille: number, high: number, low: number): bigint {
    return this.often(perMille) ? 1n << BigInt(low + this.below(high - low + 1)) : 0n;
  }
}

/**
 * The machine of a seed.
 *
 * @param isLayered whether each frame of the pool serves as a table of one level only, so that tables do not
 *   loop and are few enough to be enumerated
 */
export function randomMachine(seed: number, isLayered = false): RandomMachine {
  const draw = new Draw(seed);
  /** How many of a thousand choices go wrong. */
  const noise = draw.pick([0, 0, 10, 60]);
  const isScalable = draw.often(800);
  const words = new Map<bigint, bigint>();
  const { cap, ecap } = capabilities(draw, noise);
  for (let frame = 0; frame < FRAMES; frame++) {
    if (isLayered) fillLayered(words, frame, { draw, noise });
    else fillPaging(words, BigInt(frame), { draw, noise });
  }
  /** Each entry its own, as the specification wants of entries that lead to different tables. */
  let domain = 0n;
  const set = (frame: bigint, index: bigint, ...quads: bigint[]): void => {
    for (const [i, quad] of quads.entries()) words.set(frame * 4096n + (index + BigInt(i)) * 8n, quad);
  };
  for (const bus of [0n, 1n]) set(ROOT, bus * 2n, ...rootEntry({ draw, noise }, isScalable));
  for (const rid of RIDS) {
    for (const frame of [CONTEXTS, CONTEXTS + 1n]) {
      if (isScalable) set(frame, (rid & 0x7fn) * 4n, ...scalableContext({ draw, noise }, ecap));
      else set(frame, (rid & 0xffn) * 2n, ...legacyContext({ draw, noise }, isLayered, ++domain));
    }
  }
  for (const pasid of PASIDS) {
    const pointer = draw.often(noise) ? 200n : PASID_TABLE + BigInt(draw.below(2));
    const p = draw.bit(1000 - noise, 0);
    set(DIRECTORY, pasid >> 6n, (pointer << 12n) | p | draw.bit(100, 1) | draw.damage(noise, 63, 2));
    for (const table of [PASID_TABLE, PASID_TABLE + 1n]) {
      set(table, (pasid & 63n) * 8n, ...pasidEntry({ draw, noise }, { ecap, isLayered, domain: ++domain }));
    }
  }
  return {
    isScalable,
    cap,
    ecap,
    hostAddressWidth: draw.pick(WIDTHS),
    root: (draw.often(noise) ? 200n : ROOT) << 12n,
    words,
    lastFrame: LAST_FRAME,
    read: (address) => (address >> 12n <= BigInt(LAST_FRAME) ? (words.get(address) ?? 0n) : undefined),
  };
}

interface Damage {
  readonly draw: Draw;
  readonly noise: number;
}

function capabilities(draw: Draw, noise: number): { cap: bigint; ecap: bigint } {
  const mgaw = draw.pick([37n, 38n, 47n, 47n, 56n, 63n]);
  const has = (bit: number): bigint => draw.bit(noise === 0 ? 1000 : 850, bit);
  const cap = 6n | (mgaw << 16n) | has(9) | has(10) | has(11) | has(34) | has(35) | has(56) | has(60);
  const ecap = [2, 6, 7, 25, 26, 29, 30, 31, 34, 40, 43, 45, 46, 47, 48, 49, 53].reduce(
    (sum, bit) => sum | has(bit),
    19n << 35n,
  );
  return { cap, ecap };
}

/** Entries that are good for either stage: bits 0 and 1 are P and RW, or R and W; bit 2 is US, or X. */
function fillPaging(words: Map<bigint, bigint>, frame: bigint, { draw, noise }: Damage): void {
  const isPlain = draw.often(500);
  for (const index of INDICES) {
    const isLeaf = draw.often(60);
    const good = isLeaf
      ? draw.pick([0n, 0n, 0n, 1n << 18n, 1n << 30n, 0xf_ee00n])
      : BigInt(draw.below(FRAMES));
    const odd = draw.pick([0xf_ee05n, 0xf_edffn, 0xf_ef00n, 77n, 1n << 27n]);
    const address = (draw.often(noise) ? odd : good) << 12n;
    const rights = isPlain ? 7n : draw.bit(970, 0) | draw.bit(940, 1) | draw.bit(960, 2) | draw.bit(60, 63);
    const ps = isLeaf ? 1n << 7n : 0n;
    const pat = isLeaf ? draw.bit(noise, 12) : 0n;
    words.set(frame * 4096n + index * 8n, address | rights | ps | pat | draw.damage(noise, 63, 3));
  }
}

/** Of layered machines: the level of the tables that a frame serves as. */
const levelOf = (frame: number): number => (frame % 5) + 1;

/** A frame of the pool, for a root of so many levels. */
function rootFrame(draw: Draw, levels: number, isLayered: boolean): bigint {
  const frames = Array.from({ length: FRAMES }, (_, i) => i);
  return BigInt(draw.pick(isLayered ? frames.filter((frame) => levelOf(frame) === levels) : frames));
}

/** Tables of one level; a table of level 1 maps most pages of the pool to themselves, so that nested walks go on. */
function fillLayered(words: Map<bigint, bigint>, frame: number, { draw, noise }: Damage): void {
  const level = levelOf(frame);
  const indices = level === 1 ? INDICES : [0n, 1n, 255n, 256n, 511n];
  for (const index of indices) {
    const isLeaf = level > 1 && draw.often(60);
    const same = level === 1 && draw.often(850) ? index : BigInt(draw.below(FRAMES));
    const below = level === 1 ? same : rootFrame(draw, level - 1, true);
    const target = isLeaf ? draw.pick([0n, 1n << 9n, 1n << 18n, 0xf_ee00n, 0xc_0000n]) : below;
    const rights = draw.bit(970, 0) | draw.bit(940, 1) | draw.bit(960, 2) | draw.bit(60, 63);
    const ps = isLeaf ? 1n << 7n : 0n;
    words.set(BigInt(frame) * 4096n + index * 8n, (target << 12n) | rights | ps | draw.damage(noise, 63, 3));
  }
}

function rootEntry({ draw, noise }: Damage, isScalable: boolean): [bigint, bigint] {
  const half = (): bigint =>
    (draw.often(noise) ? 200n << 12n : CONTEXTS << 12n) |
    draw.bit(1000 - noise, 0) |
    draw.damage(noise, 63, 1);
  return isScalable ? [half(), half()] : [half(), draw.damage(noise, 63, 0)];
}

function legacyContext({ draw, noise }: Damage, isLayered: boolean, domain: bigint): [bigint, bigint] {
  const type = draw.pick([0n, 0n, 1n, 2n, draw.often(noise) ? 3n : 0n]);
  const aw = draw.often(noise) ? BigInt(draw.below(8)) : draw.pick([1n, 2n, 3n]);
  const low = rootFrame(draw, Math.min(Math.max(Number(aw), 1), 3) + 2, isLayered) << 12n;
  const ignored = BigInt(draw.below(16)) << 3n;
  return [
    low | draw.bit(1000 - noise, 0) | draw.bit(100, 1) | (type << 2n) | draw.damage(noise, 63, 4),
    aw | ignored | (domain << 8n) | draw.damage(noise, 63, 7),
  ];
}

function scalableContext({ draw, noise }: Damage, ecap: bigint): bigint[] {
  const pdts = draw.pick([0n, 0n, 2n, 7n]);
  const offered = (bit: number, at: number, often = 500): bigint =>
    (ecap >> BigInt(bit)) & 1n || draw.often(noise) ? draw.bit(often, at) : 0n;
  const ridPasid = (ecap >> 49n) & 1n || draw.often(noise) ? draw.pick([0n, 0n, 1n, 64n, 9000n]) : 0n;
  const directory = (draw.often(noise) ? 200n : DIRECTORY) << 12n;
  return [
    directory |
      draw.bit(1000 - noise, 0) |
      draw.bit(100, 1) |
      offered(2, 2) |
      offered(40, 3, 950) |
      offered(29, 4) |
      (pdts << 9n) |
      draw.damage(noise, 63, 5),
    ridPasid | offered(53, 20, 300) | draw.damage(noise, 63, 20),
    draw.damage(noise, 63, 0),
    draw.damage(noise, 63, 0),
  ];
}

interface PasidOptions {
  readonly ecap: bigint;
  readonly isLayered: boolean;
  readonly domain: bigint;
}

function pasidEntry({ draw, noise }: Damage, { ecap, isLayered, domain }: PasidOptions): bigint[] {
  const offered = (bit: number, at: number): bigint =>
    (ecap >> BigInt(bit)) & 1n || draw.often(noise) ? draw.bit(500, at) : 0n;
  const type = draw.often(noise) ? BigInt(draw.below(8)) : draw.pick([1n, 1n, 2n, 2n, 3n, 3n, 3n, 4n]);
  const aw = draw.often(noise) ? BigInt(draw.below(8)) : draw.pick([1n, 2n, 3n]);
  const mode = draw.often(noise) ? BigInt(draw.below(4)) : draw.pick([0n, 0n, 1n]);
  const second = rootFrame(draw, Math.min(Math.max(Number(aw), 1), 3) + 2, isLayered) << 12n;
  const first = rootFrame(draw, 4 + Number(mode & 1n), isLayered) << 12n;
  const far = type === 3n ? draw.damage(noise + 20, 63, 38) : 0n;
  return [
    second |
      draw.bit(1000 - noise, 0) |
      draw.bit(100, 1) |
      (aw << 2n) |
      (type << 6n) |
      offered(45, 9) |
      draw.damage(noise, 63, 5),
    domain |
      offered(48, 23) |
      offered(7, 24) |
      offered(25, 25) |
      offered(25, 40) |
      draw.damage(noise, 63, 16),
    first |
      offered(31, 0) |
      offered(30, 1) |
      (mode << 2n) |
      draw.bit(500, 4) |
      draw.bit(100, 5) |
      offered(34, 7) |
      draw.damage(noise, 63, 8) |
      far,
    ...[0, 1, 2, 3, 4].map(() => draw.damage(noise / 4, 63, 0)),
  ];
}

/** A request that has something to find: indices that tables have entries at, canonical or not. */
export function randomRequest(draw: Draw): LiteralRequest {
  const levels = draw.pick([3, 4, 4, 5]);
  let page = 0n;
  for (let level = 0; level < levels; level++) page = (page << 9n) | draw.pick([0n, 1n, 2n, 3n, ...INDICES]);
  const isNegative = draw.often(800) && page >> BigInt(9 * levels - 1) === 1n;
  if (isNegative) page |= (1n << 52n) - (1n << BigInt(9 * levels));
  if (draw.often(30)) page |= 1n << BigInt(draw.below(52));
  if (draw.often(30)) page = draw.pick([0xf_ee00n, 0xf_eeffn, 0xf_ef00n]);
  return {
    rid: draw.often(950) ? draw.pick(RIDS) : BigInt(draw.below(0x1_0000)),
    pasid: draw.often(700) ? draw.pick(PASIDS) : undefined,
    address: (page << 12n) | 0xabcn,
    access: draw.pick(['r', 'w', 'w', 'x']),
    isPrivileged: draw.often(300),
  };
}
