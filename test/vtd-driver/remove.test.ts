/**
 * A device that goes: with all kinds of domains attached and caches full of them, under DMA, nothing of it is left, and
 * whoever comes in its place has nothing of it.
 */
import { describe, expect, it } from 'vitest';
import { Pasid, PciDevice } from '../../src/kernel/index.js';
import { Bench } from '../native-sva/machine.js';
import { FIRST_RID, Lab, type LabOptions, must, NO_PASID, wordOf } from './lab.js';

const PAGES = [0x10, 0x11];
const PASIDS = [Pasid.of(70), Pasid.of(0x1234)] as const;

/** A device with something attached everywhere, which caches have been filled with. */
function busy(options: LabOptions) {
  const lab = new Lab({ caches: { iotlb: 64, pasid: 16, context: 16 }, ...options });
  const neighbour = lab.plug(FIRST_RID + 1);
  const kept = lab.domain(neighbour.device, PAGES);
  must(lab.run(lab.iommu.attach(neighbour.device, NO_PASID, kept.domain)));
  const before = lab.bench.kernel.context.frames.inUse;
  const { dma, device } = lab.plug();
  const isLegacy = options.ecap?.['SMTS'] === 0;
  const spaces = [lab.domain(device, PAGES)];
  if (!isLegacy) spaces.push(lab.domain(device, PAGES, 'first-stage'));
  const reach = spaces.map(({ domain }, i) => {
    const pasid = isLegacy ? NO_PASID : (PASIDS[i] ?? NO_PASID);
    must(lab.run(lab.iommu.attach(device, pasid, domain)));
    return pasid;
  });
  const targets = reach.flatMap((pasid) => PAGES.map((page) => ({ pasid, page })));
  for (const { passed } of lab.access(dma, targets)) expect(passed).toBe(true);
  return { lab, dma, device, neighbour, kept, spaces, targets, before };
}

const UNITS: [string, LabOptions][] = [
  ['plain', {}],
  ['device TLBs', { ats: true }],
  ['caching mode', { cap: { CM: 1 } }],
  ['no snooping', { snoops: false }],
  ['legacy mode', { ecap: { SMTS: 0 } }],
  ['legacy mode, device TLBs', { ats: true, ecap: { SMTS: 0 } }],
  ['legacy mode, registers', { ecap: { SMTS: 0, QI: 0 } }],
];

describe.each(UNITS)('a device is removed: %s', (_name, options) => {
  it('and nothing of it is left, for it or for its neighbour', () => {
    const { lab, dma, device, neighbour, kept, spaces, targets, before } = busy(options);
    must(lab.run(lab.iommu.remove(device)));
    expect(lab.iommu.device(device.rid)).toBeUndefined();
    for (const { passed } of lab.access(dma, targets, 8)) expect(passed).toBe(false);
    lab.bench.units[0]?.translator.caches.pasids.visit((rid) => expect(rid).not.toBe(device.rid));
    for (const { domain, frames } of spaces) {
      expect(domain.free()).toBeUndefined();
      for (const frame of frames) lab.bench.kernel.context.frames.free(frame);
    }
    expect(lab.bench.kernel.context.frames.inUse).toBe(before);
    const others = lab.access(
      neighbour.dma,
      PAGES.map((page) => ({ pasid: 0, page })),
    );
    for (const { passed, isWrite, value, page } of others) {
      expect(passed && (isWrite || value === wordOf(kept.tag, PAGES.indexOf(page)))).toBe(true);
    }
  });

  it('while it does DMA, and reaches nothing from then on', () => {
    for (let seed = 1; seed <= 6; seed++) {
      const { lab, dma, device, spaces, targets } = busy({ ...options, seed });
      let isGone = false;
      const remove = function* () {
        must(yield* lab.iommu.remove(device));
        isGone = true;
        for (const { frames } of spaces) {
          for (const frame of frames) lab.bench.memory.write(frame * 4096, new Uint8Array(64));
        }
      };
      dma.go(150, targets);
      lab.bench.tasks.spawn('remove', remove());
      lab.bench.runAll();
      expect(isGone).toBe(true);
      expect(spaces.flatMap(({ frames }) => frames.map((frame) => lab.written(frame)))).not.toContain(
        0xffff_ffff,
      );
    }
  });
});

it('a device comes back, however often, with domain ids and frames to spare', () => {
  const lab = new Lab({ cap: { ND: 0, SAGAW: 4 }, rid: 'dma', ats: true });
  const { dma, device } = lab.plug();
  must(lab.run(lab.iommu.remove(device)));
  const { inUse } = lab.bench.kernel.context.frames;
  const pci = new PciDevice(lab.bench.kernel.context, FIRST_RID);
  for (let round = 0; round < 20; round++) {
    const again = must(lab.run(lab.iommu.add(pci, 'dma')));
    const [frame = 0] = lab.frames(1).frames;
    const space = again.dma.value;
    if (space === undefined) throw new Error('no DMA');
    const page = must(lab.run(space.map({ frame, count: 1, read: true, write: true })));
    expect(lab.access(dma, [{ pasid: 0, page }], 4).every(({ passed }) => passed)).toBe(true);
    must(lab.run(lab.iommu.remove(again)));
    lab.bench.kernel.context.frames.free(frame);
  }
  expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
});

it('a device that was pulled out is asked once, and nothing of it is left', () => {
  const { lab, dma, device, neighbour, spaces, before } = busy({ ats: true });
  dma.isOut = true;
  must(lab.run(lab.iommu.remove(device)));
  expect(lab.iommu.device(device.rid)).toBeUndefined();
  for (const { domain, frames } of spaces) {
    expect(domain.free()).toBeUndefined();
    for (const frame of frames) lab.bench.kernel.context.frames.free(frame);
  }
  expect(lab.bench.kernel.context.frames.inUse).toBe(before);
  // Not for each of what was attached: who is not there is not asked again.
  expect(dma.invalidations.length).toBeLessThan(2 * spaces.length + 2);
  expect(lab.access(neighbour.dma, [{ pasid: 0, page: PAGES[0] ?? 0 }])[0]?.passed).toBe(true);
});

it('a device that does not answer keeps what it may still use, and can be removed when it answers', () => {
  const { lab, dma, device, spaces, before } = busy({ ats: true });
  dma.deaf = 3;
  expect(lab.run(lab.iommu.remove(device))).toMatchObject({ errno: 'EIO' });
  const kept = spaces.filter(({ domain }) => domain.free() !== undefined);
  expect(kept.length).toBeGreaterThan(0);
  const refused = lab.run(
    lab.iommu.attach(device, Pasid.of(3), kept[0]?.domain ?? { type: 'identity', name: 'd' }),
  );
  expect(refused).toMatchObject({ errno: 'EBUSY' });
  const pci = new PciDevice(lab.bench.kernel.context, device.rid);
  expect(lab.run(lab.iommu.add(pci, 'blocked'))).toMatchObject({ errno: 'ENODEV' });
  must(lab.run(lab.iommu.remove(device)));
  for (const { domain } of kept) expect(domain.free()).toBeUndefined();
  for (const { frames } of spaces) for (const frame of frames) lab.bench.kernel.context.frames.free(frame);
  expect(lab.bench.kernel.context.frames.inUse).toBe(before);
});

it('an attachment is detached once, whoever does it, and however many', () => {
  for (let seed = 1; seed <= 10; seed++) {
    const { lab, device, spaces } = busy({ seed, ats: true });
    const attachments = device.attachments.values();
    const results: unknown[] = [];
    const detach = function* (at: number) {
      const attachment = attachments[at];
      if (attachment !== undefined) results.push(yield* lab.iommu.detach(attachment));
    };
    const remove = function* () {
      results.push(yield* lab.iommu.remove(device));
    };
    lab.bench.tasks.spawn('detach 0', detach(0));
    lab.bench.tasks.spawn('remove', remove());
    lab.bench.tasks.spawn('detach 0 too', detach(0));
    lab.bench.tasks.spawn('detach 1', detach(1));
    lab.bench.runAll();
    expect(results).toEqual([undefined, undefined, undefined, undefined]);
    for (const { domain } of spaces) expect(domain.free()).toBeUndefined();
  }
});

it('bindings of a process outlive the device, and are undone as always', () => {
  const bench = new Bench();
  const { iommu, sva, processes, context } = bench.kernel;
  const [device] = iommu.devices;
  const process = must(processes.spawn('alice'));
  if (device === undefined) throw new Error('no device');
  const binding = must(bench.run(sva.bind(device, process.mm)));
  must(bench.run(iommu.remove(device)));
  const again = must(bench.run(iommu.add(new PciDevice(context, device.rid), 'blocked')));
  const second = must(bench.run(sva.bind(again, process.mm)));
  expect(second.pasid).toBe(binding.pasid);
  must(bench.run(sva.unbind(binding)));
  expect(again.attachments.size).toBe(1);
  must(bench.run(sva.unbind(second)));
  expect(again.attachments.size).toBe(0);
});
