/**
 * Cases at random: tables of one mode that are mostly sound, with pages of every size and mixed rights, at most a
 * few bits of them broken; then DMAs among changes of the tables, each followed by the invalidations that it
 * needs, by some of them, or by none.
 */
import { Draw } from '../vtd/random-machine.js';
import type { Case, Entry, Operation, PlacedWord } from './case.js';
import {
  CONTEXT_FRAMES,
  DATA_FRAMES_A_PAGE,
  DATA_PAGES,
  DIRECTORY_FRAMES,
  FIRST_TABLE_FRAME,
  NOWHERE,
  PASID_TABLE_FRAMES,
  ROOT_FRAME,
} from './layout.js';
import { DEVICES, type Kind } from './machine.js';

/** What a case is drawn for. */
export interface Target {
  readonly mode: Kind['mode'];
  readonly cap: bigint;
  readonly ecap: bigint;
}

const OPERATIONS = { least: 12, most: 40 };
/** So many changes may be without their invalidations at a time: what is legal then has to be enumerated. */
const MOST_PENDING = 4;
const PAGE = 12n;
const at = (frame: number, index = 0): bigint => (BigInt(frame) << PAGE) + BigInt(index * 8);
const to = (frame: number | bigint): bigint => BigInt(frame) << PAGE;
const has = (word: bigint, bit: number): boolean => ((word >> BigInt(bit)) & 1n) === 1n;
const pagesOf = (level: number): bigint => 1n << BigInt(9 * (level - 1));

/** A paging entry that was made: where, and what of the address space it spans. */
interface Placed {
  readonly address: bigint;
  readonly level: number;
  readonly isLeaf: boolean;
  readonly page: bigint;
  readonly space: Space;
}

/** An address space: a tree of paging structures under a domain's number. */
interface Space {
  readonly domain: number;
  readonly levels: number;
  readonly root: number;
  readonly placed: Placed[];
}

/** The case of a seed. */
export function generate(seed: number, target: Target): Case {
  return new Generator(new Draw(seed), target).case();
}

class Generator {
  readonly #draw: Draw;
  readonly #target: Target;
  readonly #isFirst: boolean;
  readonly #isScalable: boolean;
  readonly #words = new Map<bigint, bigint>();
  readonly #spaces: Space[] = [];
  readonly #operations: Operation[] = [];
  /** Pages that DMAs go to: those that are mapped, and their neighbours. */
  readonly #pages: bigint[] = [];
  #nextTable = FIRST_TABLE_FRAME;
  #pending = 0;

  constructor(draw: Draw, target: Target) {
    this.#draw = draw;
    this.#target = target;
    this.#isFirst = target.mode === 'first-stage';
    this.#isScalable = target.mode !== 'legacy';
  }

  case(): Case {
    const draw = this.#draw;
    for (const domain of [1, 2]) this.#makeSpace(domain);
    this.#makeDevices();
    for (let breaks = draw.pick([0, 0, 0, 1, 1, 2]); breaks > 0; breaks--) this.#break();
    const words: PlacedWord[] = [...this.#words];
    const count = OPERATIONS.least + draw.below(OPERATIONS.most - OPERATIONS.least);
    while (this.#operations.length < count) this.#operate();
    return { isScalable: this.#isScalable, words, operations: this.#operations };
  }

  // Tables

  #makeSpace(domain: number): void {
    const draw = this.#draw;
    const has48 = has(this.#target.cap, 10);
    const levels = this.#isFirst || (has48 && draw.often(700)) ? 4 : 3;
    const space: Space = { domain, levels, root: this.#nextTable++, placed: [] };
    this.#spaces.push(space);
    for (let count = 2 + draw.below(4); count > 0; count--) this.#map(space, this.#page(levels));
  }

  /** A page that large pages over data frames reach as well. */
  #page(levels: number): bigint {
    const draw = this.#draw;
    const indices = [
      BigInt(draw.below(DATA_FRAMES_A_PAGE)),
      draw.pick([0x10n, 0x10n, 0x12n]),
      draw.pick([0n, 0n, 1n, 255n, 511n]),
      levels === 4 ? draw.pick([0n, 0n, 1n, 255n, 256n, 511n]) : 0n,
    ];
    const page = indices.reduce((sum, index, i) => sum | (index << BigInt(9 * i)), 0n);
    const isUpper = this.#isFirst && page >> 35n === 1n;
    return isUpper ? page | (0xffffn << 36n) : page;
  }

  /** Makes the way to a page, with a leaf of any size, unless a leaf is in the way already. */
  #map(space: Space, page: bigint): void {
    const draw = this.#draw;
    const leafLevel = draw.pick([1, 1, 2, 2, 3]);
    let table = space.root;
    this.#pages.push(page, page, page ^ 1n);
    for (let level = space.levels; ; level--) {
      const address = at(table, Number((page >> BigInt(9 * (level - 1))) & 511n));
      const span = pagesOf(level);
      const known = this.#words.get(address);
      if (known !== undefined && (level === 1 || has(known, 7))) return;
      if (level <= leafLevel) {
        this.#place(space, { address, level, isLeaf: true, page: (page / span) * span }, this.#leaf(level));
        return;
      }
      if (known === undefined) {
        const next = this.#nextTable++;
        const word = to(next) | this.#rights(false);
        this.#place(space, { address, level, isLeaf: false, page: (page / span) * span }, word);
        table = next;
      } else {
        table = Number((known >> PAGE) & 0xff_ffffn);
      }
    }
  }

  #place(space: Space, placed: Omit<Placed, 'space'>, word: bigint): void {
    this.#words.set(placed.address, word);
    space.placed.push({ ...placed, space });
  }

  #leaf(level: number): bigint {
    const draw = this.#draw;
    const base = draw.pick(DATA_PAGES);
    const size = level > 1 ? 1n << 7n : 0n;
    const interrupts = level === 3 ? 0xc_0000 : 0xf_ee00;
    const memory = level === 1 ? base + draw.below(DATA_FRAMES_A_PAGE) : level === 2 ? base : 0;
    const frame = draw.often(30) ? interrupts : memory;
    return (
      to(frame) |
      size |
      this.#rights(true) |
      draw.bit(200, this.#isFirst ? 8 : 5) |
      (this.#isFirst ? draw.bit(300, 6) : 0n)
    );
  }

  /** Mostly all; the user's right is given up seldom, for it is never enough. */
  #rights(isLeaf: boolean): bigint {
    const draw = this.#draw;
    const most = isLeaf ? 820 : 975;
    if (this.#isFirst)
      return 1n | draw.bit(most, 1) | draw.bit(985, 2) | draw.bit(100, 63) | draw.bit(300, 5);
    return draw.bit(most, 0) | draw.bit(most, 1) | (isLeaf ? draw.bit(100, 2) : 0n);
  }

  #makeDevices(): void {
    const draw = this.#draw;
    const [lower, upper] = CONTEXT_FRAMES;
    this.#words.set(at(ROOT_FRAME), to(lower) | 1n);
    if (this.#isScalable) this.#words.set(at(ROOT_FRAME, 1), to(upper) | 1n);
    PASID_TABLE_FRAMES.forEach((frame, i) => {
      if (!this.#isScalable) return;
      this.#words.set(at(DIRECTORY_FRAMES[i] ?? 0), to(frame) | 1n | draw.bit(30, 1));
      this.#setWords(at(frame), this.#pasidEntry(draw.pick(this.#spaces)));
    });
    for (const { rid } of DEVICES) this.#setWords(this.#contextAddress(rid), this.#contextEntry());
  }

  #setWords(address: bigint, words: readonly bigint[]): void {
    words.forEach((word, i) => {
      this.#words.set(address + BigInt(i * 8), word);
    });
  }

  #contextAddress(rid: number): bigint {
    if (!this.#isScalable) return at(CONTEXT_FRAMES[0], (rid & 0xff) * 2);
    return at(CONTEXT_FRAMES[rid & 0x80 ? 1 : 0], (rid & 0x7f) * 4);
  }

  #contextEntry(): bigint[] {
    const draw = this.#draw;
    if (this.#isScalable) {
      const deviceTlb = has(this.#target.ecap, 2) ? draw.bit(300, 2) : 0n;
      const low = to(draw.pick(DIRECTORY_FRAMES)) | 1n | draw.bit(50, 1) | deviceTlb;
      return [low | (BigInt(draw.below(4)) << 9n), 0n, 0n, 0n];
    }
    const { domain, levels, root } = draw.pick(this.#spaces);
    const type = draw.often(120) ? 2n : has(this.#target.ecap, 2) && draw.often(300) ? 1n : 0n;
    const high = BigInt(levels - 2) | (BigInt(domain) << 8n) | (BigInt(draw.below(16)) << 3n);
    return [to(root) | (type << 2n) | 1n | draw.bit(50, 1), high];
  }

  #pasidEntry({ domain, levels, root }: Space): bigint[] {
    const draw = this.#draw;
    const width = BigInt(levels - 2) << 2n;
    const fault = draw.bit(50, 1);
    const did = BigInt(domain);
    const isPass = draw.often(120);
    if (isPass) return [1n | (4n << 6n) | width | fault, did, 0n, 0n, 0n, 0n, 0n, 0n];
    if (!this.#isFirst) return [to(root) | 1n | (2n << 6n) | width | fault, did, 0n, 0n, 0n, 0n, 0n, 0n];
    const aw = draw.often(900) ? width : BigInt(draw.below(8)) << 2n;
    return [1n | (1n << 6n) | aw | fault, did, to(root) | draw.bit(300, 4), 0n, 0n, 0n, 0n, 0n];
  }

  /** One bit of one word, or a pointer that leads out of memory or to where interrupts go. */
  #break(): void {
    const draw = this.#draw;
    const [address, word] = draw.pick([...this.#words]);
    const isLeaf = this.#spaces.some(({ placed }) =>
      placed.some((each) => each.address === address && each.isLeaf),
    );
    this.#words.set(address, this.#broken(word, isLeaf));
  }

  #broken(word: bigint, isLeaf = false): bigint {
    const draw = this.#draw;
    const pointer = isLeaf ? draw.pick([NOWHERE, 0xfee00n << PAGE, 0xfee08n << PAGE]) : NOWHERE;
    if (draw.often(200)) return (word & 0xfffn) | pointer;
    if (draw.often(150)) return word ^ 1n;
    // The bits that most is said of: size, SNP, transient mapping, the highest of an address, XD.
    if (draw.often(250)) return word ^ (1n << BigInt(draw.pick([7, 8, 11, 12, 38, 39, 47, 48, 51, 62, 63])));
    return word ^ (1n << BigInt(draw.below(64)));
  }

  // Operations

  #operate(): void {
    const draw = this.#draw;
    const what = draw.below(100);
    if (what < 66) this.#dma();
    else if (what < 86) this.#change();
    else if (what < 92) this.#invalidate(this.#anyInvalidation());
    else if (what < 95) this.#operations.push({ do: 'mistake', words: this.#mistake() });
    else if (what < 97) this.#flush();
    else if (what < 99) this.#operations.push({ do: 'latch' });
    else this.#operations.push({ do: 'toggle' });
    if (this.#pending >= MOST_PENDING) this.#flush();
  }

  #dma(): void {
    const draw = this.#draw;
    const last = this.#operations.findLast((operation) => operation.do === 'dma');
    const page = last !== undefined && draw.often(300) ? last.page : this.#anyPage();
    this.#operations.push({ do: 'dma', device: this.#anyDevice(), page });
  }

  #anyDevice(): number {
    return this.#draw.below(DEVICES.length);
  }

  #anyPage(): bigint {
    const draw = this.#draw;
    const page = draw.pick(this.#pages);
    const what = draw.below(100);
    if (what < 86) return page;
    if (what < 90) return page ^ (1n << BigInt(draw.below(52)));
    if (what < 92) return draw.pick([0xfee00n, 0xfeeffn, 0xfedffn, 0xfef00n]);
    if (what < 95) return draw.pick(DATA_PAGES.map(BigInt)) + BigInt(draw.below(DATA_FRAMES_A_PAGE));
    return page ^ (1n << BigInt(draw.below(4)));
  }

  #change(): void {
    const draw = this.#draw;
    const what = draw.below(100);
    if (what < 70) this.#changePaging();
    else if (what < 85 || !this.#isScalable) this.#changeContext();
    else this.#changePasid();
  }

  #store(address: bigint, words: readonly bigint[], entry: Entry): readonly bigint[] {
    const old = words.map((_, i) => this.#words.get(address + BigInt(i * 8)) ?? 0n);
    this.#setWords(address, words);
    this.#operations.push({ do: 'store', address, words, entry });
    this.#pending++;
    return old;
  }

  #changePaging(): void {
    const draw = this.#draw;
    const { address, level, isLeaf, page, space } = draw.pick(draw.pick(this.#spaces).placed);
    const old = this.#words.get(address) ?? 0n;
    const inside = this.#pages.filter((each) => each >= page && each < page + pagesOf(level));
    const probe = { page: draw.pick(inside.length === 0 ? this.#pages : inside), device: this.#anyDevice() };
    if (draw.often(600)) this.#operations.push({ do: 'dma', ...probe });
    const word = this.#changed(old, level, isLeaf);
    const of = this.#isFirst ? 'first-stage' : 'second-stage';
    const pages = pagesOf(level);
    this.#store(address, [word], { of, domain: space.domain, page, pages, isLeaf });
    if (draw.often(650)) this.#flushPages(space.domain, page, { level, isLeaf });
    else if (draw.often(300)) this.#invalidate(this.#anyInvalidation());
    if (draw.often(800)) this.#operations.push({ do: 'dma', ...probe });
  }

  #changed(old: bigint, level: number, isLeaf: boolean): bigint {
    const draw = this.#draw;
    const what = draw.below(100);
    if (what < 25) return 0n;
    if (what < 65 && isLeaf) return this.#leaf(level);
    if (what < 85) return (old & ~7n & ~(1n << 63n)) | this.#rights(isLeaf);
    return this.#broken(old, isLeaf);
  }

  #changeContext(): void {
    const draw = this.#draw;
    const device = this.#anyDevice();
    const rid = DEVICES[device]?.rid ?? 0;
    const probe = { page: draw.pick(this.#pages), device };
    if (draw.often(600)) this.#operations.push({ do: 'dma', ...probe });
    const address = this.#contextAddress(rid);
    const words = this.#contextEntry();
    if (draw.often(200)) words[0] = 0n;
    else if (draw.often(150)) words[0] = this.#broken(words[0] ?? 0n);
    const old = this.#store(address, words, { of: 'context', rid });
    const domain = this.#isScalable ? 1 : Number(((old[1] ?? 0n) >> 8n) & 0xffffn);
    if (draw.often(650)) this.#flushContext(rid, domain);
    else if (draw.often(300)) this.#invalidate(this.#anyInvalidation());
    if (draw.often(800)) this.#operations.push({ do: 'dma', ...probe });
  }

  #changePasid(): void {
    const draw = this.#draw;
    const probe = { page: draw.pick(this.#pages), device: this.#anyDevice() };
    if (draw.often(600)) this.#operations.push({ do: 'dma', ...probe });
    const address = at(draw.pick(PASID_TABLE_FRAMES));
    const words = this.#pasidEntry(draw.pick(this.#spaces));
    if (draw.often(200)) words[0] = draw.pick([0n, 2n, (words[0] ?? 0n) & ~1n]);
    else if (draw.often(150)) words[0] = this.#broken(words[0] ?? 0n);
    const old = this.#store(address, words, { of: 'pasid' });
    const domain = Number((old[1] ?? 0n) & 0xffffn);
    if (draw.often(650)) this.#flushPasid(domain);
    else if (draw.often(300)) this.#invalidate(this.#anyInvalidation());
    if (draw.often(800)) this.#operations.push({ do: 'dma', ...probe });
  }

  // Invalidations

  #invalidate(words: readonly bigint[]): void {
    this.#operations.push({ do: 'invalidate', words });
  }

  /** Of pages that one entry spans, or of all that a domain has. */
  #flushPages(domain: number, page: bigint, { level, isLeaf }: { level: number; isLeaf: boolean }): void {
    const draw = this.#draw;
    this.#pending--;
    const did = BigInt(domain) << 16n;
    const isPage = level <= 3 && draw.often(700);
    if (!isPage) {
      this.#invalidate([this.#isFirst ? 0x26n | did : draw.pick([0x22n | did, 0x12n]), 0n]);
      return;
    }
    const mask = BigInt(9 * (level - 1)) + BigInt(draw.often(200) ? draw.below(2) : 0);
    const most = 18n;
    const hint = isLeaf ? draw.bit(300, 6) : 0n;
    const range = ((page & ((1n << 52n) - 1n)) << PAGE) | (mask > most ? most : mask) | hint;
    this.#invalidate([this.#isFirst ? 0x36n | did : 0x32n | did, range]);
  }

  #flushContext(rid: number, domain: number): void {
    const draw = this.#draw;
    this.#pending--;
    const isDevice = draw.often(600);
    this.#invalidate([isDevice ? 0x31n | (BigInt(rid) << 32n) | (BigInt(domain) << 16n) : 0x11n, 0n]);
    if (this.#isScalable) this.#invalidate([0x37n, 0n]);
    const did = BigInt(domain) << 16n;
    this.#invalidate([this.#isScalable ? 0x12n : draw.pick([0x12n, 0x22n | did]), 0n]);
  }

  #flushPasid(domain: number): void {
    const draw = this.#draw;
    this.#pending--;
    const did = BigInt(domain) << 16n;
    this.#invalidate([draw.pick([0x17n | did, 0x07n | did, 0x37n]), 0n]);
    this.#invalidate([this.#isFirst ? draw.pick([0x26n | did, 0x12n]) : draw.pick([0x22n | did, 0x12n]), 0n]);
  }

  #flush(): void {
    this.#pending = 0;
    this.#invalidate([0x11n, 0n]);
    if (this.#isScalable) this.#invalidate([0x37n, 0n]);
    this.#invalidate([0x12n, 0n]);
  }

  #anyInvalidation(): bigint[] {
    const draw = this.#draw;
    const did = BigInt(1 + draw.below(2)) << 16n;
    const rid = BigInt(draw.pick(DEVICES).rid) << 32n;
    const page = (draw.pick(this.#pages) & ((1n << 52n) - 1n)) << PAGE;
    const mask = BigInt(draw.pick([0, 0, 1, 3, 9, 18]));
    const some = [
      ...[
        [0x11n, 0n],
        [0x21n | did, 0n],
        [0x31n | rid | did | (BigInt(draw.below(4)) << 48n), 0n],
      ],
      ...[
        [0x12n, 0n],
        [0x22n | did, 0n],
        [0x32n | did, page | mask],
        [0x15n, 0n],
      ],
    ];
    if (this.#isScalable) {
      some.push(
        [0x07n | did, 0n],
        [0x17n | did, 0n],
        [0x37n, 0n],
        [0x26n | did, 0n],
        [0x36n | did, page | mask],
      );
    }
    return draw.pick(some);
  }

  /** A descriptor with a bit changed. One that both writes status and interrupts would end QEMU. */
  #mistake(): bigint[] {
    const draw = this.#draw;
    const words = [...this.#anyInvalidation(), 0n, 0n].slice(0, this.#isScalable ? 4 : 2);
    const index = draw.below(words.length);
    words[index] = (words[index] ?? 0n) ^ (1n << BigInt(draw.below(64)));
    const [first = 0n] = words;
    if ((first & 0x3fn) === 0x35n) words[0] = first ^ 0x20n;
    return words;
  }
}
