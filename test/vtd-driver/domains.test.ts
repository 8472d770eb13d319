/**
 * DMA through each kind of domain, and what is left of a mapping when it is taken away: with caches full of it, on
 * every unit and device, nothing (bugs D4 to D6).
 */
import { describe, expect, it } from 'vitest';
import type { IommuDevice, PagingDomain } from '../../src/kernel/index.js';
import { IDENTITY, Pasid } from '../../src/kernel/index.js';
import type { Access, DmaFunction, Target } from './dma-function.js';
import { FIRST_RID, Lab, type LabOptions, must, NO_PASID, SECOND_RID, wordOf } from './lab.js';

const PASID = Pasid.of(70);
const LEGACY: LabOptions = { ecap: { SMTS: 0 } };
const REGISTERS: LabOptions = { ecap: { SMTS: 0, QI: 0 } };
const CACHING: LabOptions = { cap: { CM: 1 } };
const at = (pasid: number, ...pages: number[]): Target[] => pages.map((page) => ({ pasid, page }));
const passed = (accesses: readonly Access[]): boolean[] => accesses.map((each) => each.passed);

/** Whether all accesses came through, and those that read met these pages' frames. */
function met(accesses: readonly Access[], tag: number, pages: readonly number[]): boolean {
  return accesses.every(
    ({ passed, isWrite, value, page }) => passed && (isWrite || value === wordOf(tag, pages.indexOf(page))),
  );
}

const PAGES = [0x10, 0x11, 0x4_0000];

describe.each([
  ['a second stage', 'second-stage'],
  ['a first stage', 'first-stage'],
] as const)('%s', (_what, stage) => {
  it.each([NO_PASID, PASID])('translates what its pages lead to, and nothing else: PASID %i', (pasid) => {
    for (const ats of [false, true]) {
      const lab = new Lab({ ats });
      const { dma, device } = lab.plug();
      const { domain, tag } = lab.domain(device, PAGES, stage);
      const attachment = must(lab.run(lab.iommu.attach(device, pasid, domain)));
      expect(met(lab.access(dma, at(pasid, ...PAGES)), tag, PAGES)).toBe(true);
      expect(lab.faults).toBe(0);
      // A page that is not mapped; the other kind of request.
      expect(passed(lab.access(dma, at(pasid, 0x12), 1))).toEqual([false]);
      expect(passed(lab.access(dma, at(pasid === NO_PASID ? PASID : 0, 0x10), 1))).toEqual([false]);
      expect(domain.free()).toMatchObject({ errno: 'EBUSY' });
      must(lab.run(lab.iommu.detach(attachment)));
      expect(passed(lab.access(dma, at(pasid, 0x10), 1))).toEqual([false]);
      const { inUse } = lab.bench.kernel.context.frames;
      expect(domain.free()).toBeUndefined();
      expect(lab.bench.kernel.context.frames.inUse).toBeLessThan(inUse);
    }
  });

  it('keeps what may not be written from being written', () => {
    const lab = new Lab();
    const { dma, device } = lab.plug();
    const { domain } = lab.domain(device, [], stage);
    const [frame = 0] = lab.frames(1).frames;
    must(lab.run(domain.map({ page: 5, frame, count: 1, read: true, write: false })));
    expect(domain.leaf(5)).toEqual({ frame, read: true, write: false });
    must(lab.run(lab.iommu.attach(device, NO_PASID, domain)));
    for (const { passed, isWrite } of lab.access(dma, at(0, 5), 16)) expect(passed).toBe(!isWrite);
    expect(lab.written(frame)).toBe(0);
    const writeOnly = lab.run(domain.map({ page: 6, frame, count: 1, read: false, write: true }));
    expect(writeOnly).toEqual(
      stage === 'first-stage' ? expect.objectContaining({ errno: 'EINVAL' }) : undefined,
    );
  });

  it('has large pages where they fit, and splits those that are cut', () => {
    const lab = new Lab({ cap: { SSLPS: 1 } });
    const { dma, device } = lab.plug();
    const domain = must(lab.iommu.allocPaging(device, { name: 'large', stage }));
    const { inUse } = lab.bench.kernel.context.frames;
    // Frames 0x200 to 0x5ff are two large pages, and one page beside them.
    const mapping = { page: 0x1400, frame: 0x200, count: 0x401, read: true, write: true };
    must(lab.run(domain.map(mapping)));
    // Two tables on the way down, and one for the page beside.
    expect(lab.bench.kernel.context.frames.inUse - inUse).toBe(3);
    expect(domain.leaf(0x15ff)).toMatchObject({ frame: 0x3ff });
    must(lab.run(lab.iommu.attach(device, NO_PASID, domain)));
    lab.bench.memory.write(0x4ab * 4096, Uint8Array.of(1, 2, 3, 4));
    const reads = lab.access(dma, at(0, 0x16ab)).filter(({ isWrite }) => !isWrite);
    expect(reads.map(({ value }) => value)).toEqual(reads.map(() => 0x0403_0201));
    // One cut of the first page makes a table of it, one within the second one too; both times the rest stays.
    expect(lab.run(domain.unmap([{ first: 0x1400, last: 0x1401 }]))).toBe(2);
    expect(lab.run(domain.unmap([{ first: 0x16ac, last: 0x16ac }]))).toBe(1);
    expect(lab.bench.kernel.context.frames.inUse - inUse).toBe(6);
    expect([0x1401, 0x1402, 0x16ac].map((page) => domain.leaf(page)?.frame)).toEqual([
      undefined,
      0x202,
      undefined,
    ]);
    const left = lab.access(dma, at(0, 0x16ab)).filter(({ isWrite }) => !isWrite);
    expect(left.map(({ value }) => value)).toEqual(left.map(() => 0x0403_0201));
    expect(passed(lab.access(dma, at(0, 0x1400, 0x16ac), 8))).not.toContain(true);
    expect(lab.run(domain.unmap([{ first: 0x1400, last: 0x15ff }]))).toBe(0x1fe);
    // The device's PASID table has come, and the table for the page beside has gone.
    expect(lab.run(domain.unmap([{ first: 0, last: 0x2_0000 }]))).toBe(0x200);
    expect(lab.bench.kernel.context.frames.inUse - inUse).toBe(3);
    must(lab.run(domain.map({ ...mapping, count: 1 })));
    expect(lab.run(domain.unmap([{ first: 0, last: 2 ** 35 - 1 }]))).toBe(1);
    expect(lab.bench.kernel.context.frames.inUse - inUse).toBe(1);
    expect(passed(lab.access(dma, at(0, 0x16ab), 1))).toEqual([false]);
  });

  it.each([
    ['pages that are mapped', { page: 0x10 }, 'EEXIST'],
    ['a run that meets them', { page: 0xf, count: 4 }, 'EEXIST'],
    ['pages beyond its end', { page: 2 ** 36 }, 'EINVAL'],
    ['the pages of interrupts', { page: 0xfedff, count: 2 }, 'EINVAL'],
    ['no pages', { count: 0 }, 'EINVAL'],
    ['no rights', { page: 3, read: false, write: false }, 'EINVAL'],
  ])('does not map %s, and is as it was', (_name, change, errno) => {
    const lab = new Lab();
    const { device } = lab.plug();
    const { domain, frames } = lab.domain(device, PAGES, stage);
    const { inUse } = lab.bench.kernel.context.frames;
    const mapping = { page: 0x20, frame: frames[0] ?? 0, count: 1, read: true, write: true, ...change };
    expect(lab.run(domain.map(mapping))).toMatchObject({ errno });
    expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
    expect([0xf, 0x12, 3].map((page) => domain.leaf(page))).toEqual([undefined, undefined, undefined]);
    expect(lab.run(domain.unmap([{ first: 3, last: 2 }]))).toMatchObject({ errno: 'EINVAL' });
  });

  it('maps nothing when a page frame is refused, whichever', () => {
    for (let granted = 0; granted < 3; granted++) {
      const lab = new Lab({ framesMayFail: true });
      const { device } = lab.plug();
      const { domain } = lab.domain(device, [], stage);
      must(lab.run(lab.iommu.attach(device, NO_PASID, domain)));
      const { inUse } = lab.bench.kernel.context.frames;
      lab.granted = granted;
      const mapping = { page: 0x1ff, frame: 0x700, count: 2, read: true, write: true };
      expect(lab.run(domain.map(mapping))).toMatchObject({ errno: 'ENOMEM' });
      expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
      expect(domain.leaf(0x1ff)).toBeUndefined();
      must(lab.run(domain.map(mapping)));
      expect(domain.leaf(0x200)?.frame).toBe(0x701);
    }
  });
});

describe('the identity domain and none', () => {
  it.each([
    {},
    LEGACY,
    { ats: true },
    { snoops: false },
    CACHING,
    { ...LEGACY, ...CACHING },
    REGISTERS,
  ] as LabOptions[])('let all of memory through, and nothing: %o', (options) => {
    const lab = new Lab(options);
    const { dma, device } = lab.plug();
    const { tag, frames } = lab.frames(3);
    expect(passed(lab.access(dma, at(0, ...frames), 1))).toEqual([false]);
    const attachment = must(lab.run(lab.iommu.attach(device, NO_PASID, IDENTITY)));
    expect(met(lab.access(dma, at(0, ...frames)), tag, frames)).toBe(true);
    must(lab.run(lab.iommu.detach(attachment)));
    expect(passed(lab.access(dma, at(0, ...frames), 1))).toEqual([false]);
  });

  it.each(['blocked', 'identity', 'dma'] as const)('are what a device begins with: %s', (rid) => {
    const lab = new Lab({ rid });
    const { dma, device } = lab.plug();
    const { tag, frames } = lab.frames(2);
    expect(passed(lab.access(dma, at(0, ...frames), 1))).toEqual([rid === 'identity']);
    const space = device.dma.value;
    expect(space === undefined).toBe(rid === 'blocked');
    if (space === undefined) return;
    const buffer = { frame: frames[0] ?? 0, count: 1, read: true, write: true };
    const page = must(lab.run(space.map(buffer)));
    expect(met(lab.access(dma, at(0, page)), tag, [page])).toBe(true);
    expect(page).toBe(rid === 'identity' ? buffer.frame : 0xfffff);
    must(lab.run(space.unmap(page)));
    expect(passed(lab.access(dma, at(0, page), 1))).toEqual([rid === 'identity']);
  });

  it('leave nothing of a device that its unit cannot serve', () => {
    const lab = new Lab({ rid: 'identity', ecap: { PT: 0 } });
    const { inUse } = lab.bench.kernel.context.frames;
    expect(() => lab.plug()).toThrow(/ENODEV: dmar0 has no pass-through/);
    expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
  });

  it('leave nothing of a device when a page frame is refused', () => {
    for (let granted = 0; granted < 6; granted++) {
      const lab = new Lab({ rid: 'dma', framesMayFail: true });
      // The context table of the bus stays.
      lab.plug(FIRST_RID + 1);
      const { inUse } = lab.bench.kernel.context.frames;
      lab.granted = granted;
      if (granted > 2) lab.plug();
      else {
        expect(() => lab.plug()).toThrow(/ENOMEM/);
        expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
      }
    }
  });
});

/** A domain on several devices, by PASID and without, behind two units; and a nested one that is built on it. */
function everywhere(options: LabOptions, stage: PagingDomain['type']) {
  const lab = new Lab({ units: 2, ...options });
  const plugged = [FIRST_RID, FIRST_RID + 8, SECOND_RID].map((rid) => lab.plug(rid));
  const [first] = plugged;
  if (first === undefined) throw new Error('no device');
  const isLegacy = options.ecap?.['SMTS'] === 0;
  const pasids = isLegacy ? [0] : [0, 70];
  const pages = Array.from({ length: 40 }, (_, i) => 0x1000 + i * 3);
  const made = lab.domain(first.device, pages, stage);
  const reach: { dma: DmaFunction; device: IommuDevice; pasid: number }[] = [];
  for (const { dma, device } of plugged) {
    for (const pasid of pasids) {
      must(lab.run(lab.iommu.attach(device, Pasid.of(pasid), made.domain)));
      reach.push({ dma, device, pasid });
    }
  }
  return { lab, plugged, pages, ...made, reach, isLegacy };
}

const UNITS: [string, LabOptions][] = [
  ['plain', {}],
  ['device TLBs', { ats: true }],
  ['no page-selective invalidation', { ats: true, cap: { PSI: 0 } }],
  ['small masks', { cap: { MAMV: 0 } }],
  ['caching mode', { cap: { CM: 1 } }],
  ['write buffers', { cap: { RWBF: 1 } }],
  ['no snooping', { snoops: false }],
  ['legacy mode and no snooping', { snoops: false, ecap: { SMTS: 0 } }],
  ['legacy mode', { ecap: { SMTS: 0 } }],
  ['legacy mode and device TLBs', { ats: true, ecap: { SMTS: 0 } }],
  ['legacy mode and caching mode', { cap: { CM: 1 }, ecap: { SMTS: 0 } }],
  ['registers in place of a queue', REGISTERS],
  ['registers, and no page-selective invalidation', { ...REGISTERS, cap: { PSI: 0 } }],
  ['registers, caching mode and no snooping', { ...REGISTERS, ...CACHING, snoops: false }],
];

describe.each(UNITS)('an unmap: %s', (_what, options) => {
  it.each(['second-stage', 'first-stage'] as const)('leaves nothing in any cache: %s', (stage) => {
    if (stage === 'first-stage' && options.ecap?.['SMTS'] === 0) return;
    const { lab, pages, tag, domain, reach, frames } = everywhere(options, stage);
    const [gone, stays] = [pages.slice(0, 2), pages.slice(2, 4)];
    for (const { dma, pasid } of reach) {
      expect(met(lab.access(dma, at(pasid, ...gone, ...stays)), tag, pages)).toBe(true);
    }
    expect(lab.faults).toBe(0);
    expect(lab.run(domain.unmap([{ first: gone[0] ?? 0, last: gone[1] ?? 0 }]))).toBe(2);
    const written = frames.slice(0, 2).map((frame) => lab.written(frame));
    for (const { dma, pasid } of reach) {
      expect(passed(lab.access(dma, at(pasid, ...gone), 12))).not.toContain(true);
      expect(met(lab.access(dma, at(pasid, ...stays)), tag, pages)).toBe(true);
    }
    expect(frames.slice(0, 2).map((frame) => lab.written(frame))).toEqual(written);
    // What is mapped in its place is seen.
    const other = lab.frames(1);
    const mapping = { page: gone[0] ?? 0, frame: other.frames[0] ?? 0, count: 1, read: true, write: true };
    must(lab.run(domain.map(mapping)));
    for (const { dma, pasid } of reach) {
      expect(met(lab.access(dma, at(pasid, mapping.page)), other.tag, [mapping.page])).toBe(true);
    }
  });

  it('of many ranges costs few invalidations, and leaves nothing either', () => {
    const { lab, pages, domain, reach, tag } = everywhere(options, 'second-stage');
    for (const { dma, pasid } of reach) {
      expect(met(lab.access(dma, at(pasid, ...pages), 100), tag, pages)).toBe(true);
    }
    const before = reach.map(({ dma }) => dma.invalidations.length);
    expect(lab.run(domain.unmap(pages.map((page) => ({ first: page, last: page }))))).toBe(pages.length);
    reach.forEach(({ dma }, i) => {
      expect(dma.invalidations.length - (before[i] ?? 0)).toBeLessThanOrEqual(2);
    });
    for (const { dma, pasid } of reach) {
      expect(passed(lab.access(dma, at(pasid, ...pages), 60))).not.toContain(true);
    }
  });

  it('while DMA goes on lets no byte into what it has taken', () => {
    for (let seed = 1; seed <= 6; seed++) {
      const { lab, pages, domain, reach, frames } = everywhere({ ...options, seed }, 'second-stage');
      for (const { dma, pasid } of reach) lab.access(dma, at(pasid, pages[0] ?? 0), 4);
      for (const { dma } of reach) dma.go(120, at(reach.at(-1)?.pasid ?? 0, ...pages.slice(0, 2)));
      const [frame = 0] = frames;
      let isTaken = false;
      const unmap = function* () {
        must(yield* domain.unmap([{ first: pages[0] ?? 0, last: pages[0] ?? 0 }]));
        lab.bench.memory.write(frame * 4096, new Uint8Array(64));
        isTaken = true;
      };
      lab.bench.tasks.spawn('unmap', unmap());
      lab.bench.runAll();
      expect(isTaken).toBe(true);
      expect(lab.written(frame)).toBe(0);
    }
  });
});

describe('a nested domain', () => {
  it.each([{}, { ats: true }, { cap: { CM: 1 } }, { snoops: false }] as LabOptions[])(
    'translates by both stages, and notices when either changes: %o',
    (options) => {
      for (const pasid of [NO_PASID, PASID]) {
        const lab = new Lab(options);
        const { dma, device } = lab.plug();
        const { domain, parent, tag, frames, hosts } = lab.nested(device, PAGES);
        const attachment = must(lab.run(lab.iommu.attach(device, pasid, domain)));
        expect(met(lab.access(dma, at(pasid, ...PAGES)), tag, PAGES)).toBe(true);
        expect(lab.faults).toBe(0);
        // The guest's page 0x10 stays in its own table; the second stage no longer leads it on.
        const guest = [...hosts].find(([, host]) => host === frames[0])?.[0] ?? 0;
        must(lab.run(parent.unmap([{ first: guest, last: guest }])));
        expect(passed(lab.access(dma, at(pasid, PAGES[0] ?? 0), 8))).not.toContain(true);
        expect(met(lab.access(dma, at(pasid, ...PAGES.slice(1))), tag, PAGES)).toBe(true);
        expect(parent.free()).toMatchObject({ errno: 'EBUSY' });
        must(lab.run(lab.iommu.detach(attachment)));
        expect(parent.free()).toBeUndefined();
      }
    },
  );

  it('leaves nothing of itself to who comes after it with its numbers', () => {
    for (let seed = 1; seed <= 8; seed++) {
      const lab = new Lab({ seed, ats: seed % 2 === 0 });
      const { dma, device } = lab.plug();
      const one = lab.nested(device, PAGES);
      const two = lab.nested(device, PAGES, 0x6000);
      for (const each of [one, two, one]) {
        const attachment = must(lab.run(lab.iommu.attach(device, PASID, each.domain)));
        expect(met(lab.access(dma, at(PASID, ...PAGES)), each.tag, PAGES)).toBe(true);
        must(lab.run(lab.iommu.detach(attachment)));
      }
    }
  });
});
