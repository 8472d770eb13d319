/**
 * One domain in the place of another while DMA goes on: every request meets the old space or the new one, none is
 * refused, and once `replace` has returned none meets the old one (bugs D2, F1). What fails on one device is as it was
 * on all (bugs F2, F3).
 */
import { describe, expect, it } from 'vitest';
import { isRefusal, type Refusal, type Task } from '../../src/base/index.js';
import type { Attachment, Domain, IommuDevice, Pasid as PasidType } from '../../src/kernel/index.js';
import { IDENTITY, Pasid } from '../../src/kernel/index.js';
import type { Access, DmaFunction, Target } from './dma-function.js';
import { FIRST_RID, Lab, type LabOptions, must, NO_PASID, SECOND_RID, wordOf } from './lab.js';

const SEEDS = Array.from({ length: 12 }, (_, i) => i + 1);
const PAGES = 3;

type Kind = 'identity' | 'second-stage' | 'first-stage' | 'nested';

/** A space whose pages lead to frames of its own. */
interface Space {
  readonly domain: Domain;
  readonly tag: number;
  readonly frames: readonly number[];
  /** Whether nothing uses it any more: frees it then. */
  free(): unknown;
}

/** Spaces of one device, in which the same pages lead to something: in the identity domain that is their frames. */
function spaces(lab: Lab, device: IommuDevice, kinds: readonly Kind[]): { pages: number[]; made: Space[] } {
  const plain = lab.frames(PAGES);
  const pages = plain.frames;
  const made = kinds.map((kind): Space => {
    if (kind === 'identity') return { domain: IDENTITY, ...plain, free: () => undefined };
    if (kind === 'nested') {
      const nested = lab.nested(device, pages);
      return { ...nested, free: () => nested.parent.free() };
    }
    const own = lab.domain(device, pages, kind);
    return { ...own, free: () => own.domain.free() };
  });
  return { pages, made };
}

/** The place in `spaces` of the one that an access met; -1 if it met none. */
function metBy(access: Access, pages: readonly number[], made: readonly Space[]): number {
  const index = pages.indexOf(access.page);
  return made.findIndex(({ tag }) => access.passed && access.value === wordOf(tag, index));
}

/** Replaces while functions do DMA; what all their accesses met, before the end and after it. */
function replaceUnderDma(
  lab: Lab,
  of: { functions: readonly DmaFunction[]; targets: readonly Target[]; replace: Task<unknown> },
): { during: Access[]; after: Access[]; result: unknown } {
  const { functions, targets, replace } = of;
  let result: unknown;
  for (const each of functions) {
    each.era = 0;
    each.accesses.length = 0;
    each.go(150, targets);
  }
  const body = function* (): Task {
    yield 'let DMA begin';
    result = yield* replace;
    for (const each of functions) each.era = 1;
  };
  lab.bench.tasks.spawn('replace', body());
  lab.bench.runAll();
  for (const each of functions) each.go(20, targets);
  lab.bench.runAll();
  const all = functions.flatMap(({ accesses }) => accesses);
  return {
    during: all.filter(({ era }) => era === 0),
    after: all.filter(({ era }) => era === 1),
    result,
  };
}

const SCALABLE: [Kind, Kind][] = [
  ['second-stage', 'second-stage'],
  ['second-stage', 'first-stage'],
  ['first-stage', 'nested'],
  ['nested', 'second-stage'],
  ['nested', 'nested'],
  ['identity', 'second-stage'],
  ['second-stage', 'identity'],
];
const LEGACY: [Kind, Kind][] = [
  ['second-stage', 'second-stage'],
  ['identity', 'second-stage'],
  ['second-stage', 'identity'],
];
const PASIDS: PasidType[] = [NO_PASID, Pasid.of(70)];

const CASES = [
  ...SCALABLE.flatMap(([from, to]) =>
    PASIDS.map((pasid) => ({ from, to, pasid, options: {} as LabOptions })),
  ),
  ...SCALABLE.map(([from, to]) => ({ from, to, pasid: Pasid.of(70), options: { ats: true } as LabOptions })),
  ...LEGACY.map(([from, to]) => ({
    from,
    to,
    pasid: NO_PASID,
    options: { ecap: { SMTS: 0 } } as LabOptions,
  })),
  ...SCALABLE.map(([from, to]) => ({
    ...{ from, to, pasid: Pasid.of(70), options: { snoops: false } as LabOptions },
  })),
  ...LEGACY.map(([from, to]) => ({
    ...{ from, to, pasid: NO_PASID, options: { snoops: false, ecap: { SMTS: 0 } } as LabOptions },
  })),
  ...LEGACY.map(([from, to]) => ({
    ...{ from, to, pasid: NO_PASID, options: { ecap: { SMTS: 0, QI: 0 } } as LabOptions },
  })),
  { from: 'second-stage', to: 'nested', pasid: NO_PASID, options: { cap: { CM: 1 } } as LabOptions },
  { from: 'first-stage', to: 'first-stage', pasid: NO_PASID, options: { ats: true } as LabOptions },
] as const;

describe('replace under DMA', () => {
  it.each(CASES)('$from → $to, PASID $pasid, $options', ({ from, to, pasid, options }) => {
    let old = 0;
    for (const seed of SEEDS) {
      const lab = new Lab({
        ...options,
        seed,
        caches: { iotlb: 4, pasid: 2, context: 2, forgets: seed % 2 === 0 },
      });
      const { dma, device } = lab.plug();
      const { pages, made } = spaces(lab, device, [from, to]);
      const [first, second] = made;
      if (first === undefined || second === undefined) throw new Error('no spaces');
      const attachment = must(lab.run(lab.iommu.attach(device, pasid, first.domain)));
      const targets = pages.map((page) => ({ pasid, page }));
      lab.access(dma, targets, 10);
      const inUse = lab.bench.kernel.context.frames.inUse;
      const replace = lab.iommu.replace([attachment], second.domain);
      const { during, after, result } = replaceUnderDma(lab, { functions: [dma], targets, replace });
      must(result as Refusal | undefined);
      const reads = during.filter(({ isWrite }) => !isWrite);
      for (const each of [...during, ...after]) expect(each.passed).toBe(true);
      for (const each of reads) expect(metBy(each, pages, made)).toBeGreaterThanOrEqual(0);
      for (const each of after.filter(({ isWrite }) => !isWrite)) {
        expect(metBy(each, pages, [second])).toBe(0);
      }
      old += reads.filter((each) => metBy(each, pages, [first]) === 0).length;
      expect(lab.faults).toBe(0);
      expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
      expect(device.attachments.get(pasid)?.domain).toBe(second.domain);
      expect(first.free()).toBeUndefined();
    }
    // DMA did go on while the old domain was there.
    expect(old).toBeGreaterThan(0);
  });

  it('leaves the other PASIDs of a device as they are', () => {
    for (const seed of SEEDS) {
      const lab = new Lab({ seed });
      const { dma, device } = lab.plug();
      const { pages, made } = spaces(lab, device, ['second-stage', 'first-stage', 'nested']);
      const [first, second, other] = made;
      if (first === undefined || second === undefined || other === undefined) throw new Error('no spaces');
      const attachment = must(lab.run(lab.iommu.attach(device, Pasid.of(65), first.domain)));
      const neighbour = must(lab.run(lab.iommu.attach(device, Pasid.of(66), other.domain)));
      const targets = pages.map((page) => ({ pasid: 66, page }));
      const replace = lab.iommu.replace([attachment], second.domain);
      const { during, after } = replaceUnderDma(lab, { functions: [dma], targets, replace });
      for (const each of [...during, ...after]) {
        expect(each.passed && (each.isWrite || metBy(each, pages, [other]) === 0)).toBe(true);
      }
      must(lab.run(lab.iommu.detach(neighbour)));
      expect(lab.access(dma, targets, 1)[0]?.passed).toBe(false);
    }
  });
});

/** Three devices, the last behind the second unit if there are two, all with one domain attached. */
function group(options: LabOptions) {
  const lab = new Lab({ units: 2, ...options });
  const plugged = [FIRST_RID, FIRST_RID + 8, SECOND_RID].map((rid) => lab.plug(rid));
  const devices = plugged.map(({ device }) => device);
  const functions = plugged.map(({ dma }) => dma);
  const [device] = devices;
  if (device === undefined) throw new Error('no device');
  const { pages, made } = spaces(lab, device, ['second-stage', 'second-stage', 'second-stage']);
  const [first, second, third] = made;
  if (first === undefined || second === undefined || third === undefined) throw new Error('no spaces');
  // Each device goes back to what it had: not all had the same.
  const had = [first, third, first];
  const attachments = devices.map((each, i) =>
    must(lab.run(lab.iommu.attach(each, NO_PASID, (had[i] ?? first).domain))),
  );
  return { lab, devices, functions, pages, made, second, had, attachments };
}

/** Every device has what it had, in the tables and on record. */
function expectUndone(of: ReturnType<typeof group>): void {
  const { lab, devices, functions, pages, had, attachments } = of;
  devices.forEach((device, i) => {
    expect(device.attachments.get(NO_PASID)).toBe(attachments[i]);
    expect(attachments[i]?.entry).toBe('present');
    const dma = functions[i];
    if (dma === undefined || lab.bench.root.functionAt(dma.rid) === undefined) return;
    const targets = pages.map((page) => ({ pasid: 0, page }));
    for (const each of lab.access(dma, targets)) {
      expect(each.passed && (each.isWrite || metBy(each, pages, [had[i] as Space]) === 0)).toBe(true);
    }
  });
}

describe('replace on several devices', () => {
  it.each([{}, { ats: true }, { ecap: { SMTS: 0, PASID: 0 } }])('is done on all of them: %o', (options) => {
    for (const seed of SEEDS.slice(0, 5)) {
      const { lab, functions, pages, made, second, attachments, devices } = group({ ...options, seed });
      const targets = pages.map((page) => ({ pasid: 0, page }));
      const replace = lab.iommu.replace(attachments, second.domain);
      const { during, after, result } = replaceUnderDma(lab, { functions, targets, replace });
      const replaced = must(result as Refusal | readonly Attachment[]);
      expect(replaced.map(({ device }) => device)).toEqual(devices);
      for (const each of [...during, ...after]) expect(each.passed).toBe(true);
      for (const each of after.filter(({ isWrite }) => !isWrite))
        expect(metBy(each, pages, [second])).toBe(0);
      for (const each of made.filter(({ domain }) => domain !== second.domain)) {
        expect(each.free()).toBeUndefined();
      }
      expect(lab.faults).toBe(0);
    }
  });

  it.each([1, 2, 3, 4])('is undone when page frame %i is refused', (nth) => {
    for (const seed of SEEDS.slice(0, 4)) {
      const of = group({ seed, framesMayFail: true });
      const { lab, attachments, second } = of;
      const inUse = lab.bench.kernel.context.frames.inUse;
      lab.granted = nth - 1;
      const result = lab.run(lab.iommu.replace(attachments, second.domain));
      if (nth > 3) {
        expect(isRefusal(result)).toBe(false);
        continue;
      }
      expect(result).toMatchObject({ errno: 'ENOMEM' });
      expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
      expectUndone(of);
      expect(lab.faults).toBe(0);
      expect(second.free()).toBeUndefined();
    }
  });

  it.each([0, 1, 2])('is undone, under DMA, when device %i does not answer', (nth) => {
    for (const seed of SEEDS) {
      const of = group({ seed, ats: true });
      const { lab, attachments, second, functions, pages, made } = of;
      const inUse = lab.bench.kernel.context.frames.inUse;
      // As often as the queue tries: then it answers again.
      (functions[nth] as DmaFunction).deaf = 3;
      const targets = pages.map((page) => ({ pasid: 0, page }));
      const replace = lab.iommu.replace(attachments, second.domain);
      const { during, after, result } = replaceUnderDma(lab, { functions, targets, replace });
      expect(result).toMatchObject({ errno: 'EIO' });
      for (const each of [...during, ...after]) expect(each.passed).toBe(true);
      for (const each of during.filter(({ isWrite }) => !isWrite)) {
        expect(metBy(each, pages, made)).toBeGreaterThanOrEqual(0);
      }
      expectUndone(of);
      expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
      expect(lab.faults).toBe(0);
      expect(second.free()).toBeUndefined();
    }
  });

  it.each([0, 1, 2])('keeps what a device may still use that never answers: %i', (nth) => {
    const of = group({ ats: true });
    const { lab, attachments, second, functions } = of;
    const inUse = lab.bench.kernel.context.frames.inUse;
    (functions[nth] as DmaFunction).deaf = 1000;
    expect(lab.run(lab.iommu.replace(attachments, second.domain))).toMatchObject({ errno: 'EIO' });
    expectUndone(of);
    expect(lab.bench.events.filter(({ kind }) => kind === 'iommu:replace-unconfirmed')).toHaveLength(1);
    // Its copy of the table, and the domain.
    expect(lab.bench.kernel.context.frames.inUse).toBe(inUse + 1);
    expect(second.free()).toMatchObject({ errno: 'EBUSY' });
  });

  it('is refused on all when one unit does not have the domain', () => {
    const of = group({ secondEcap: { NEST: 0 } });
    const { lab, attachments, devices, pages } = of;
    const nested = lab.nested(devices[0] as IommuDevice, pages);
    const inUse = lab.bench.kernel.context.frames.inUse;
    expect(lab.run(lab.iommu.replace(attachments, nested.domain))).toMatchObject({ errno: 'EOPNOTSUPP' });
    expectUndone(of);
    expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
    expect(nested.parent.free()).toBeUndefined();
  });

  it('is refused for what is on its way out, and for one that is named twice', () => {
    const { lab, attachments, second } = group({});
    const [one] = attachments as [Attachment];
    expect(lab.run(lab.iommu.replace([one, one], second.domain))).toMatchObject({ errno: 'EINVAL' });
    must(lab.run(lab.iommu.detach(one)));
    expect(lab.run(lab.iommu.replace(attachments, second.domain))).toMatchObject({ errno: 'EBUSY' });
  });
});
