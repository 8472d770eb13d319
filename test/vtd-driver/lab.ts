/**
 * A host with functions that do DMA, and domains whose frames say whose they are: what arrives shows which address
 * space a request met.
 */
import { isRefusal, type Refusal, type Task } from '../../src/base/index.js';
import type { Iommu, PagingDomain, RidDomain } from '../../src/kernel/index.js';
import { type IommuDevice, PAGE_BYTES, Pasid, PciDevice } from '../../src/kernel/index.js';
import { Bench, type BenchOptions } from '../native-sva/machine.js';
import { DmaFunction, type Target, WRITE_OFFSET } from './dma-function.js';

export const FIRST_RID = 0x6a10;
/** Behind the second unit, if there are two. */
export const SECOND_RID = 0x6b08;
export const NO_PASID = Pasid.of(0);

export interface LabOptions extends BenchOptions {
  readonly ats?: boolean;
  /** Takes ATS. */
  readonly pri?: boolean;
  readonly rid?: RidDomain;
}

export function must<T>(value: T | Refusal): T {
  if (isRefusal(value)) throw new Error(value.toString());
  return value as T;
}

export class Lab {
  readonly bench: Bench;
  readonly functions: DmaFunction[] = [];
  /** How many page frames are granted before one is refused, with `framesMayFail`; none is, if it is negative. */
  granted = -1;
  readonly #options: LabOptions;
  #tag = 0;

  constructor(options: LabOptions = {}) {
    const { ecap, ...rest } = options;
    this.#options = options;
    this.bench = new Bench({ devices: 0, ...rest, ecap: { SSTS: 1, NEST: 1, ...ecap } });
    const { chooser } = this.bench;
    this.bench.chooser = {
      choose: (n, what) => (what === 'page frame' ? Number(this.granted-- === 0) : chooser.choose(n, what)),
    };
  }

  get iommu(): Iommu {
    return this.bench.kernel.iommu;
  }

  run<T>(task: Task<T>): T {
    return this.bench.run(task);
  }

  /** Plugs a function in, without telling the kernel. */
  insert(rid: number): DmaFunction {
    const { bench } = this;
    const { ats = false, pri = false } = this.#options;
    const unit = rid === SECOND_RID ? (bench.units[1] ?? bench.units[0]) : bench.units[0];
    const added = new DmaFunction({
      ...{ rid, root: bench.root, ats, pri, pasidWidth: 20 },
      chooser: { choose: (n, what) => bench.chooser.choose(n, what) },
      timedOut: () => unit?.invalidationTimedOut(rid),
    });
    bench.root.attach(added);
    bench.engines.add(added);
    this.functions.push(added);
    return added;
  }

  /** Plugs a function in, and has the IOMMU core add it. */
  plug(rid = FIRST_RID): { dma: DmaFunction; device: IommuDevice } {
    const dma = this.insert(rid);
    const pci = new PciDevice(this.bench.kernel.context, rid);
    return { dma, device: must(this.run(this.iommu.add(pci, this.#options.rid ?? 'blocked'))) };
  }

  /** Frames of nobody's, whose first word tells a tag and their place. */
  frames(count: number): { tag: number; frames: number[] } {
    const tag = ++this.#tag;
    const frames = Array.from({ length: count }, (_, i) => {
      const owner = { kind: 'kernel', use: `data ${tag}` } as const;
      const frame = must(this.bench.kernel.context.frames.alloc(owner));
      this.bench.memory.write(frame * PAGE_BYTES, words(wordOf(tag, i)));
      return frame;
    });
    return { tag, frames };
  }

  /** A domain in which these pages lead to frames of its own. */
  domain(
    device: IommuDevice,
    pages: readonly number[],
    stage: PagingDomain['type'] = 'second-stage',
  ): { domain: PagingDomain; tag: number; frames: readonly number[] } {
    const { tag, frames } = this.frames(pages.length);
    const domain = must(this.iommu.allocPaging(device, { name: `domain ${tag}`, stage }));
    pages.forEach((page, i) => {
      must(this.run(domain.map({ page, frame: frames[i] ?? 0, count: 1, read: true, write: true })));
    });
    return { domain, tag, frames };
  }

  /**
   * A first stage in memory that a new second stage maps: these pages lead to frames of its own.
   *
   * @param first the guest frame from which on the second stage maps what is needed
   */
  nested(device: IommuDevice, pages: readonly number[], first = 0x5000) {
    const { tag, frames } = this.frames(pages.length);
    const parent = must(this.iommu.allocPaging(device, { name: `guest ${tag}`, stage: 'second-stage' }));
    const hosts = new Map<number, number>();
    const give = (frame: number): number => {
      const guest = first + hosts.size;
      hosts.set(guest, frame);
      must(this.run(parent.map({ page: guest, frame, count: 1, read: true, write: true })));
      return guest;
    };
    const root = give(this.frames(1).frames[0] ?? 0);
    pages.forEach((page, i) => {
      this.#mapGuest({ root, page, to: give(frames[i] ?? 0) }, { give, hosts });
    });
    const domain = must(this.iommu.allocNested(parent, { name: `nested ${tag}`, root }));
    return { domain, parent, tag, frames, hosts };
  }

  /** All accesses that a function makes to these targets now. */
  access(dma: DmaFunction, targets: readonly Target[], count = 24): DmaFunction['accesses'] {
    const before = dma.accesses.length;
    dma.go(count, targets);
    this.bench.runAll();
    return dma.accesses.slice(before);
  }

  /** What was written to a frame by DMA. */
  written(frame: number): number {
    const bytes = new Uint8Array(4);
    this.bench.memory.read(frame * PAGE_BYTES + WRITE_OFFSET, bytes);
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  get faults(): number {
    return this.bench.events.filter(({ kind }) => kind.startsWith('iommu:fault')).length;
  }

  /** Puts a page into a guest's first stage: P, RW and US are the low bits. */
  #mapGuest(
    { root, page, to }: { root: number; page: number; to: number },
    { give, hosts }: { give: (frame: number) => number; hosts: ReadonlyMap<number, number> },
  ): void {
    let table = root;
    for (let level = 4; level >= 1; level--) {
      const index = Math.floor(page / 512 ** (level - 1)) % 512;
      const at = (hosts.get(table) ?? 0) * PAGE_BYTES + index * 8;
      const entry = new Uint8Array(8);
      this.bench.memory.read(at, entry);
      const view = new DataView(entry.buffer);
      const known = Number(view.getBigUint64(0, true) >> 12n) % 2 ** 40;
      const next = level === 1 ? to : (entry[0] ?? 0) % 2 === 1 ? known : give(this.#table());
      view.setBigUint64(0, BigInt(next) * 4096n + 7n, true);
      this.bench.memory.write(at, entry);
      // The guest writes back what its unit does not snoop.
      this.bench.seen.write(at, entry);
      table = next;
    }
  }

  #table(): number {
    return must(this.bench.kernel.context.frames.alloc({ kind: 'kernel', use: 'guest table' }));
  }
}

/** What the `index`-th frame of a tag has in its first word. */
export const wordOf = (tag: number, index: number): number => tag * 0x1_0000 + index;

function words(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer);
}
