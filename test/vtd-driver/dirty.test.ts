/**
 * What DMA has written to, as hardware marks it; and DMA that has to snoop. Both are switched under live attachments,
 * by a bit of their entries.
 */
import { describe, expect, it } from 'vitest';
import { type IommuDevice, type PageRange, Pasid } from '../../src/kernel/index.js';
import { PASID_TABLE_ENTRY } from '../../src/spec/index.js';
import { WRITE_OFFSET } from './dma-function.js';
import { FIRST_RID, Lab, type LabOptions, must, NO_PASID, SECOND_RID } from './lab.js';

const PASID = Pasid.of(70);
const PAGES = [0x10, 0x11, 0x12, 0x4_0000];
const ALL: PageRange = { first: 0, last: 2 ** 30 };

/** The pages of ranges, one by one. */
const pagesOf = (ranges: readonly PageRange[]): number[] =>
  ranges.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, i) => first + i));

const UNITS: [string, LabOptions][] = [
  ['plain', {}],
  ['device TLBs', { ats: true }],
  ['caching mode', { cap: { CM: 1 } }],
];

describe.each(UNITS)('dirty pages: %s', (_name, options) => {
  it.each(['second-stage', 'first-stage'] as const)('of a %s are those that were written to', (stage) => {
    for (let seed = 1; seed <= 4; seed++) {
      const lab = new Lab({ ...options, seed, ecap: { SSADS: 1 } });
      const { dma, device } = lab.plug();
      const { domain } = lab.domain(device, PAGES, stage);
      must(lab.run(lab.iommu.attach(device, PASID, domain)));
      // With caches full of what was not marked.
      lab.access(
        dma,
        PAGES.map((page) => ({ pasid: PASID, page })),
      );
      must(lab.run(lab.iommu.trackDirty(domain, true)));
      expect(must(lab.run(domain.readAndClearDirty(ALL)))).toEqual([]);
      for (const some of [PAGES.slice(0, 2), PAGES.slice(1, 2), PAGES]) {
        const accesses = lab.access(
          dma,
          some.map((page) => ({ pasid: PASID, page })),
          12,
        );
        const written = new Set(accesses.flatMap(({ isWrite, page }) => (isWrite ? [page] : [])));
        // A device TLB asks for leave to write, and the page is marked then.
        const marked = options.ats === true ? new Set(some) : written;
        const dirty = pagesOf(must(lab.run(domain.readAndClearDirty(ALL))));
        expect([...written].filter((page) => !dirty.includes(page))).toEqual([]);
        expect(dirty.filter((page) => !marked.has(page))).toEqual([]);
        expect(must(lab.run(domain.readAndClearDirty(ALL)))).toEqual([]);
      }
      must(lab.run(lab.iommu.trackDirty(domain, false)));
      expect(lab.faults).toBe(0);
    }
  });

  it('of a guest are marked in its second stage', () => {
    const lab = new Lab({ ...options, ecap: { SSADS: 1 } });
    const { dma, device } = lab.plug();
    const { domain, parent, frames, hosts } = lab.nested(device, [0x10, 0x11]);
    must(lab.run(lab.iommu.attach(device, PASID, domain)));
    lab.access(dma, [{ pasid: PASID, page: 0x10 }]);
    must(lab.run(lab.iommu.trackDirty(parent, true)));
    const accesses = lab.access(dma, [{ pasid: PASID, page: 0x11 }], 16);
    expect(accesses.some(({ isWrite }) => isWrite)).toBe(true);
    const dirty = pagesOf(must(lab.run(parent.readAndClearDirty(ALL))));
    const guestOf = (frame: number | undefined) => [...hosts].find(([, host]) => host === frame)?.[0] ?? 0;
    expect(dirty).toContain(guestOf(frames[1]));
    expect(dirty).not.toContain(guestOf(frames[0]));
  });

  it('are never missed by who copies them while DMA goes on', () => {
    for (let seed = 1; seed <= 8; seed++) {
      const lab = new Lab({ ...options, seed, ecap: { SSADS: 1 } });
      const { dma, device } = lab.plug();
      const { domain, frames } = lab.domain(device, PAGES);
      must(lab.run(lab.iommu.attach(device, NO_PASID, domain)));
      must(lab.run(lab.iommu.trackDirty(domain, true)));
      const copies = new Map<number, number>();
      const round = function* () {
        const dirty = pagesOf(must(yield* domain.readAndClearDirty(ALL)));
        for (const page of dirty) {
          const frame = frames[PAGES.indexOf(page)] ?? 0;
          copies.set(frame, lab.written(frame));
        }
        // What a later write leaves is another value.
        for (const frame of copies.keys()) {
          if (lab.written(frame) !== copies.get(frame)) continue;
          lab.bench.memory.write(frame * 4096 + WRITE_OFFSET, new Uint8Array(4));
          copies.set(frame, 0);
        }
        yield 'next round';
      };
      dma.go(
        200,
        PAGES.map((page) => ({ pasid: 0, page })),
      );
      const rounds = function* () {
        for (let i = 0; i < 12; i++) yield* round();
      };
      lab.bench.tasks.spawn('copy', rounds());
      lab.bench.runAll();
      // DMA has stopped: what is dirty now is copied, and then both are the same.
      for (const page of pagesOf(must(lab.run(domain.readAndClearDirty(ALL))))) {
        const frame = frames[PAGES.indexOf(page)] ?? 0;
        copies.set(frame, lab.written(frame));
      }
      for (const [frame, copy] of copies) expect(lab.written(frame)).toBe(copy);
    }
  });
});

describe('dirty pages', () => {
  it('of a large page are all of it, and of its parts when it has been split', () => {
    for (const stage of ['second-stage', 'first-stage'] as const) {
      const lab = new Lab({ ecap: { SSADS: 1 }, cap: { SSLPS: 1 } });
      const { dma, device } = lab.plug();
      const domain = must(lab.iommu.allocPaging(device, { name: 'large', stage }));
      must(lab.run(domain.map({ page: 0x1400, frame: 0x200, count: 0x200, read: true, write: true })));
      must(lab.run(lab.iommu.attach(device, NO_PASID, domain)));
      must(lab.run(lab.iommu.trackDirty(domain, true)));
      lab.access(dma, [{ pasid: 0, page: 0x1403 }], 16);
      expect(must(lab.run(domain.readAndClearDirty(ALL)))).toEqual([{ first: 0x1400, last: 0x15ff }]);
      lab.access(dma, [{ pasid: 0, page: 0x1403 }], 16);
      expect(lab.run(domain.unmap([{ first: 0x1500, last: 0x15ff }]))).toBe(0x100);
      const left = pagesOf(must(lab.run(domain.readAndClearDirty(ALL))));
      expect([left.length, left[0], left.at(-1)]).toEqual([0x100, 0x1400, 0x14ff]);
      lab.access(dma, [{ pasid: 0, page: 0x1403 }], 16);
      expect(must(lab.run(domain.readAndClearDirty(ALL)))).toEqual([{ first: 0x1403, last: 0x1403 }]);
    }
  });

  it('are refused where nothing marks them', () => {
    const lab = new Lab({ units: 2, secondEcap: { SSADS: 1 } });
    const [lesser, better] = [lab.plug(FIRST_RID), lab.plug(SECOND_RID)];
    const one = lab.domain(lesser.device, PAGES).domain;
    must(lab.run(lab.iommu.attach(lesser.device, NO_PASID, one)));
    expect(lab.run(lab.iommu.trackDirty(one, true))).toMatchObject({ errno: 'EOPNOTSUPP' });
    expect(lab.run(one.readAndClearDirty(ALL))).toMatchObject({ errno: 'EINVAL' });
    const other = lab.domain(better.device, PAGES).domain;
    must(lab.run(lab.iommu.attach(better.device, NO_PASID, other)));
    must(lab.run(lab.iommu.trackDirty(other, true)));
    expect(lab.run(lab.iommu.attach(lesser.device, PASID, other))).toMatchObject({ errno: 'EINVAL' });
    const nested = must(lab.iommu.allocNested(other, { name: 'n', root: 1 }));
    expect(lab.run(lab.iommu.attach(lesser.device, PASID, nested))).toMatchObject({ errno: 'EINVAL' });
  });

  it('are not tracked where walks do not snoop: the marks pass the caches of CPUs by', () => {
    for (const stage of ['second-stage', 'first-stage'] as const) {
      const lab = new Lab({ snoops: false, ecap: { SSADS: 1 } });
      const { device } = lab.plug();
      const { domain } = lab.domain(device, PAGES, stage);
      const attached = must(lab.run(lab.iommu.attach(device, NO_PASID, domain)));
      expect(lab.run(lab.iommu.trackDirty(domain, true))).toMatchObject({ errno: 'EOPNOTSUPP' });
      must(lab.run(lab.iommu.detach(attached)));
      must(lab.run(lab.iommu.trackDirty(domain, true)));
      expect(lab.run(lab.iommu.attach(device, NO_PASID, domain))).toMatchObject({ errno: 'EINVAL' });
    }
  });

  it('a table for the parts of a page may be refused: nothing has changed', () => {
    const lab = new Lab({ cap: { SSLPS: 1 }, framesMayFail: true });
    const { device } = lab.plug();
    const domain = must(lab.iommu.allocPaging(device, { name: 'large', stage: 'second-stage' }));
    must(lab.run(domain.map({ page: 0x1400, frame: 0x200, count: 0x200, read: true, write: true })));
    const { inUse } = lab.bench.kernel.context.frames;
    lab.granted = 0;
    expect(lab.run(domain.unmap([{ first: 0x1401, last: 0x1401 }]))).toMatchObject({ errno: 'ENOMEM' });
    expect(domain.leaf(0x1401)?.frame).toBe(0x201);
    expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
  });
});

/** The PASID table entries that a unit takes in from now on. */
function entriesTaken(lab: Lab): { PGSNP: number; SSADE: number }[] {
  const taken: { PGSNP: number; SSADE: number }[] = [];
  const unit = lab.bench.units[0];
  if (unit === undefined) throw new Error('no unit');
  unit.translator.audit = (_request, words, at) => {
    const { PGSNP, SSADE } = PASID_TABLE_ENTRY;
    taken.push({ PGSNP: PGSNP.get(words, at), SSADE: SSADE.get(words, at) });
  };
  return taken;
}

describe('DMA that has to snoop', () => {
  const SNOOPING: LabOptions = { ecap: { SC: 1 } };
  const access = (lab: Lab, { dma }: ReturnType<Lab['plug']>, page: number): boolean =>
    lab.access(dma, [{ pasid: 0, page }], 8).every(({ passed }) => passed);
  const attach = (lab: Lab, device: IommuDevice, domain: Parameters<Lab['iommu']['attach']>[2]) =>
    lab.run(lab.iommu.attach(device, NO_PASID, domain));

  it('says so in the entry of a first stage, also of one that is attached', () => {
    const lab = new Lab(SNOOPING);
    const plugged = lab.plug();
    const { domain } = lab.domain(plugged.device, PAGES, 'first-stage');
    must(attach(lab, plugged.device, domain));
    expect(access(lab, plugged, 0x10)).toBe(true);
    const taken = entriesTaken(lab);
    must(lab.run(lab.iommu.enforceCoherency(domain)));
    expect(access(lab, plugged, 0x10)).toBe(true);
    expect(taken.map(({ PGSNP }) => PGSNP)).toEqual([1]);
  });

  it('says so in each leaf of a second stage, which is empty before', () => {
    for (const options of [SNOOPING, { ecap: { SC: 1, SMTS: 0 } }]) {
      const lab = new Lab(options);
      const plugged = lab.plug();
      const full = lab.domain(plugged.device, PAGES).domain;
      expect(lab.run(lab.iommu.enforceCoherency(full))).toMatchObject({ errno: 'EBUSY' });
      const { domain } = lab.domain(plugged.device, []);
      must(attach(lab, plugged.device, domain));
      must(lab.run(lab.iommu.enforceCoherency(domain)));
      const [frame = 0] = lab.frames(1).frames;
      must(lab.run(domain.map({ page: 5, frame, count: 1, read: true, write: true })));
      expect(access(lab, plugged, 5)).toBe(true);
      must(lab.run(lab.iommu.enforceCoherency(domain)));
    }
  });

  it('is refused where a unit cannot make it', () => {
    const lab = new Lab({ units: 2, secondEcap: { SC: 1 } });
    const [lesser, better] = [lab.plug(FIRST_RID), lab.plug(SECOND_RID)];
    for (const stage of ['second-stage', 'first-stage'] as const) {
      const { domain } = lab.domain(lesser.device, [], stage);
      const attached = must(attach(lab, lesser.device, domain));
      expect(lab.run(lab.iommu.enforceCoherency(domain))).toMatchObject({ errno: 'EOPNOTSUPP' });
      must(lab.run(lab.iommu.detach(attached)));
      must(lab.run(lab.iommu.enforceCoherency(domain)));
      expect(attach(lab, lesser.device, domain)).toMatchObject({ errno: 'EINVAL' });
      const other = must(attach(lab, better.device, domain));
      must(lab.run(lab.iommu.detach(other)));
    }
  });
});
