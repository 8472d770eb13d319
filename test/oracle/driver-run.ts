/**
 * What the kernel's driver does in a recorded run: domains are made, mapped, attached to devices, put in each other's
 * place, unmapped and freed, while the devices make DMA to pages that are mapped, were mapped, or never are.
 */
import { isRefusal } from '../../src/base/index.js';
import {
  type Attachment,
  type IommuDevice,
  type PagingDomain,
  Pasid,
  type RidDomain,
} from '../../src/kernel/index.js';
import { must } from '../vtd-driver/lab.js';
import { RecordedHost } from './recorded-host.js';

const NO_PASID = Pasid.of(0);
/** Pages that domains map, one at a time: neighbours, and some under other tables. */
const NEAR = [0x10, 0x11, 0x12, 0x1ff, 0x1_0000];
/** Not for a first stage: QEMU holds its addresses against AW, which the driver leaves zero (`first-stage-width`). */
const FAR = [0x4_0000, 0x123_4567];
/** A run of pages that is a large one where the unit has such, and the frames that it leads to. */
const RUN = { page: 0x400, frame: 0x600, count: 512 };
const RUN_PAGES = [0x400, 0x405, 0x5ff];
const UNMAPPED = [0x13, 0x600, 0x1_8000];
const DOMAINS = 3;
/** Which device is what, by its place. */
const [USER, LATE, OWN, PASSING] = [0, 1, 2, 3];

/** A domain, and the pages that it maps by themselves. */
interface Space {
  readonly domain: PagingDomain;
  readonly frames: Map<number, number>;
  hasRun: boolean;
}

/** What a device has attached; no space: a domain that the kernel made for it. */
interface Use {
  readonly attachment: Attachment;
  readonly space: Space | undefined;
}

/** Notes the beginning of {@link DriverRun.unmapUnderUse}'s unmap. */
export const UNMAP_UNDER_USE = 'a page that was used is unmapped';

type Operation = (run: DriverRun) => void;

export class DriverRun {
  readonly host: RecordedHost;
  readonly #devices = new Map<number, IommuDevice>();
  readonly #attached = new Map<number, Use>();
  readonly #spaces: Space[] = [];
  readonly #pages: readonly number[];
  #made = 0;

  /** @param unit CAP and ECAP of QEMU's */
  constructor(unit: { cap: bigint; ecap: bigint }, seed: number) {
    this.host = new RecordedHost(unit, seed);
    for (const page of RUN_PAGES) this.host.tag(page - RUN.page + RUN.frame);
    this.#plug(USER, 'blocked');
    this.#plug(OWN, 'dma');
    const isFirstStage = this.#device(OWN).attachments.get(NO_PASID)?.domain.type === 'first-stage';
    this.#pages = isFirstStage ? NEAR : [...NEAR, ...FAR];
    for (let i = 0; i < DOMAINS; i++) this.#spaces.push(this.#newSpace());
  }

  /** One operation after the other, each with DMA around and in it; some devices come while they go on. */
  go(operations: number): void {
    this.#operate(operations / 3);
    this.#plug(LATE, 'blocked');
    this.#operate(operations / 3);
    this.#plug(PASSING, 'identity');
    this.#operate(operations / 3);
    this.#sendAll(8);
    this.host.bench.runAll();
  }

  /** A page is used, taken away, and asked for again: it must not be there any more. */
  unmapUnderUse(): void {
    const { host } = this;
    const space = this.#newSpace();
    this.#attachTo(USER, space);
    this.#map(space, 0x10);
    this.#dma(USER, [0x10]);
    host.note(UNMAP_UNDER_USE);
    this.#unmap(space, 0x10);
    host.note('and is asked for');
    this.#dma(USER, [0x10]);
    host.note('end of that');
    this.detach(USER);
  }

  map(): void {
    const space = this.#pick(this.#spaces);
    if (!space.hasRun && this.host.random.below(4) === 0) {
      this.host.note(`map a run in ${space.domain.name}`);
      must(this.host.bench.run(space.domain.map({ ...RUN, read: true, write: true })));
      space.hasRun = true;
      return;
    }
    const page = this.#pick(this.#pages);
    if (!space.frames.has(page)) this.#map(space, page);
  }

  unmap(): void {
    const space = this.#pick(this.#spaces);
    const pages = [...space.frames.keys()];
    if (space.hasRun && this.host.random.below(3) === 0) {
      this.host.note(`unmap the run of ${space.domain.name}`);
      must(this.host.bench.run(space.domain.unmap([{ first: RUN.page, last: RUN.page + RUN.count - 1 }])));
      space.hasRun = false;
    } else if (pages.length > 0) this.#unmap(space, this.#pick(pages));
  }

  attach(): void {
    const index = this.#pick([...this.#devices.keys()]);
    if (this.#attached.has(index)) return;
    this.#attachTo(index, this.#pick(this.#spaces));
  }

  detach(index = this.#pick([...this.#devices.keys()])): void {
    // In QEMU pass-through goes on until the context cache is invalidated (`pass-through-lingers`).
    if (index === PASSING && this.host.isScalable) return;
    const found = this.#attached.get(index);
    if (found === undefined) return;
    this.host.note(`detach device ${index}`);
    must(this.host.bench.run(this.#iommu.detach(found.attachment)));
    this.#attached.delete(index);
  }

  replace(): void {
    const index = this.#pick([...this.#devices.keys()]);
    const found = this.#attached.get(index);
    const space = this.#pick(this.#spaces);
    if (found === undefined || found.space === space || index === PASSING) return;
    this.host.note(`replace on device ${index} by ${space.domain.name}`);
    const [made] = must(this.host.bench.run(this.#iommu.replace([found.attachment], space.domain)));
    if (made !== undefined) this.#attached.set(index, { attachment: made, space });
  }

  /** The last of a space's uses goes, then the space itself; its frames are somebody else's soon. */
  renew(): void {
    const index = this.host.random.below(this.#spaces.length);
    const space = this.#spaces[index];
    if (space === undefined) return;
    for (const [device, each] of [...this.#attached]) if (each.space === space) this.detach(device);
    this.host.note(`free ${space.domain.name}`);
    const refusal = space.domain.free();
    if (isRefusal(refusal)) throw new Error(refusal.why);
    for (const frame of space.frames.values()) this.host.bench.kernel.context.frames.free(frame);
    this.#spaces[index] = this.#newSpace();
  }

  get #iommu() {
    return this.host.bench.kernel.iommu;
  }

  #attachTo(index: number, space: Space): void {
    this.host.note(`attach ${space.domain.name} to device ${index}`);
    const task = this.#iommu.attach(this.#device(index), NO_PASID, space.domain);
    this.#attached.set(index, { attachment: must(this.host.bench.run(task)), space });
  }

  #device(index: number): IommuDevice {
    const device = this.#devices.get(index);
    if (device === undefined) throw new Error(`there is no device ${index}`);
    return device;
  }

  #newSpace(): Space {
    const options = { name: `domain ${++this.#made}` };
    return {
      domain: must(this.#iommu.allocPaging(this.#device(USER), options)),
      frames: new Map(),
      hasRun: false,
    };
  }

  #map(space: Space, page: number): void {
    const frame = this.host.dataFrame();
    const write = this.host.random.below(4) > 0;
    this.host.note(`map ${page.toString(16)} in ${space.domain.name}${write ? '' : ', to be read'}`);
    must(this.host.bench.run(space.domain.map({ page, frame, count: 1, read: true, write })));
    space.frames.set(page, frame);
  }

  #unmap(space: Space, page: number): void {
    this.host.note(`unmap ${page.toString(16)} of ${space.domain.name}`);
    must(this.host.bench.run(space.domain.unmap([{ first: page, last: page }])));
    this.host.bench.kernel.context.frames.free(space.frames.get(page) ?? 0);
    space.frames.delete(page);
  }

  #dma(index: number, pages: readonly number[]): void {
    this.host.devices[index]?.go(pages);
    this.host.bench.runAll();
  }

  #plug(index: number, rid: RidDomain): void {
    this.host.note(`plug device ${index}, ${rid}`);
    const device = this.host.plug(index, rid);
    this.#devices.set(index, device);
    const attachment = device.attachments.get(NO_PASID);
    if (attachment !== undefined) this.#attached.set(index, { attachment, space: undefined });
  }

  #operate(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#sendAll(3);
      this.#pick(OPERATIONS)(this);
    }
  }

  /** Each device gets some to do: half of it where its space maps something. */
  #sendAll(count: number): void {
    const everywhere = [...this.#pages, ...RUN_PAGES, ...UNMAPPED];
    for (const [index, device] of this.host.devices.entries()) {
      // In pass-through, where no kernel has anything.
      const pages = index === PASSING ? RUN_PAGES : everywhere;
      const mapped = [...(this.#attached.get(index)?.space?.frames.keys() ?? [])];
      const page = (): number =>
        this.#pick(mapped.length > 0 && this.host.random.below(2) === 0 ? mapped : pages);
      device.go(Array.from({ length: this.host.random.below(count + 1) }, page));
    }
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.host.random.below(from.length)] as T;
  }
}

const OPERATIONS: readonly Operation[] = [
  (run) => run.map(),
  (run) => run.map(),
  (run) => run.map(),
  (run) => run.unmap(),
  (run) => run.attach(),
  (run) => run.attach(),
  (run) => run.detach(),
  (run) => run.replace(),
  (run) => run.renew(),
];
