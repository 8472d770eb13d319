/**
 * What a unit does not advertise is refused, with one errno for what it does not have at all, and another for a domain
 * that is not made for it; and what it does advertise works, at each width.
 */
import { describe, expect, it } from 'vitest';
import { type Errno, isRefusal } from '../../src/base/index.js';
import type { Domain, IommuDevice } from '../../src/kernel/index.js';
import { IDENTITY, Pasid } from '../../src/kernel/index.js';
import { FIRST_RID, Lab, type LabOptions, must, NO_PASID, SECOND_RID, wordOf } from './lab.js';

const PASID = Pasid.of(70);
const LEGACY: LabOptions = { ecap: { SMTS: 0 } };
const [SAGAW_39, SAGAW_48, SAGAW_57] = [2, 4, 8];

type Want = 'identity' | 'first-stage' | 'second-stage' | 'nested';

/** Makes a domain for a device as a unit that has everything would walk it. */
function wanted(device: IommuDevice, want: Want, change: object = {}): Domain {
  const stage = { name: 'd', root: 0x500, levels: 4, largestLeaf: 1, writeBack() {} };
  const second = { ...stage, type: 'second-stage', width: 48 } as const;
  const nested = { levels: 4, supervisor: false, writeProtect: false, extendedAccessed: false };
  switch (want) {
    case 'identity':
      return { ...IDENTITY, name: device.name };
    case 'first-stage':
      return { ...stage, type: 'first-stage', ...change };
    case 'second-stage':
      return { ...second, ...change };
    case 'nested':
      return {
        type: 'nested',
        name: 'n',
        root: 0x500,
        parent: { ...second, ...change },
        ...nested,
        ...change,
      };
  }
}

const ROWS: [string, LabOptions, Want, number, object, Errno | undefined][] = [
  ['everything', {}, 'first-stage', 0, {}, undefined],
  ['everything', {}, 'second-stage', PASID, {}, undefined],
  ['everything', {}, 'nested', PASID, {}, undefined],
  ['everything', {}, 'identity', PASID, {}, undefined],
  ['no first stage', { ecap: { FSTS: 0 } }, 'first-stage', 0, {}, 'EOPNOTSUPP'],
  ['no second stage', { ecap: { SSTS: 0 } }, 'second-stage', 0, {}, 'EOPNOTSUPP'],
  ['no nested', { ecap: { NEST: 0 } }, 'nested', 0, {}, 'EOPNOTSUPP'],
  ['no second stage', { ecap: { SSTS: 0 } }, 'nested', 0, {}, 'EOPNOTSUPP'],
  ['no pass-through', { ecap: { PT: 0 } }, 'identity', 0, {}, 'EOPNOTSUPP'],
  ['no PASIDs', { ecap: { PASID: 0 } }, 'second-stage', PASID, {}, 'EOPNOTSUPP'],
  ['no PASIDs', { ecap: { PASID: 0 } }, 'second-stage', 0, {}, undefined],
  ['6 bits of PASIDs', { ecap: { PSS: 5 } }, 'second-stage', PASID, {}, 'EINVAL'],
  ['7 bits of PASIDs', { ecap: { PSS: 6 } }, 'second-stage', PASID, {}, undefined],
  ['39 bits', { cap: { SAGAW: SAGAW_39 } }, 'second-stage', 0, {}, 'EINVAL'],
  ['39 bits', { cap: { SAGAW: SAGAW_39 } }, 'nested', 0, {}, 'EINVAL'],
  ['39 bits', { cap: { SAGAW: SAGAW_39 } }, 'second-stage', 0, { levels: 3, width: 39 }, undefined],
  ['57 bits', { cap: { SAGAW: SAGAW_57, MGAW: 56 } }, 'second-stage', 0, {}, 'EINVAL'],
  ['57 bits', { cap: { SAGAW: SAGAW_57, MGAW: 56 } }, 'second-stage', 0, { levels: 5, width: 57 }, undefined],
  ['addresses of 46 bits', { cap: { MGAW: 45 } }, 'second-stage', 0, {}, 'EINVAL'],
  ['addresses of 46 bits', { cap: { MGAW: 45 } }, 'second-stage', 0, { width: 46 }, undefined],
  ['no large pages', {}, 'second-stage', 0, { largestLeaf: 2 }, 'EINVAL'],
  ['2 MiB pages', { cap: { SSLPS: 1 } }, 'second-stage', 0, { largestLeaf: 2 }, undefined],
  ['2 MiB pages', { cap: { SSLPS: 1 } }, 'second-stage', 0, { largestLeaf: 3 }, 'EINVAL'],
  ['no first-stage 1 GiB pages', {}, 'first-stage', 0, { largestLeaf: 3 }, 'EINVAL'],
  ['first-stage 1 GiB pages', { cap: { FS1GP: 1 } }, 'first-stage', 0, { largestLeaf: 3 }, undefined],
  ['4 levels', {}, 'first-stage', 0, { levels: 5 }, 'EINVAL'],
  ['5 levels', { cap: { FS5LP: 1 } }, 'first-stage', 0, { levels: 5 }, undefined],
  ['no supervisor requests', {}, 'nested', 0, { supervisor: true }, 'EINVAL'],
  ['supervisor requests', { ecap: { SRS: 1 } }, 'nested', 0, { supervisor: true }, undefined],
  ['no extended accessed', {}, 'nested', 0, { extendedAccessed: true }, 'EINVAL'],
  ['extended accessed', { ecap: { EAFS: 1 } }, 'nested', 0, { extendedAccessed: true }, undefined],
  ['legacy mode', LEGACY, 'first-stage', 0, {}, 'EOPNOTSUPP'],
  ['legacy mode', LEGACY, 'nested', 0, {}, 'EOPNOTSUPP'],
  ['legacy mode', LEGACY, 'second-stage', PASID, {}, 'EOPNOTSUPP'],
  ['legacy mode', LEGACY, 'second-stage', 0, {}, undefined],
  ['legacy mode', LEGACY, 'identity', 0, {}, undefined],
  ['legacy mode and ATS', { ...LEGACY, ats: true }, 'identity', 0, {}, 'EOPNOTSUPP'],
];

describe('a unit with', () => {
  it.each(ROWS)('%s, %o: a domain %s for PASID %i, %o → %s', (_what, options, want, pasid, change, errno) => {
    const lab = new Lab(options);
    const { device } = lab.plug();
    const { inUse } = lab.bench.kernel.context.frames;
    const attached = lab.run(lab.iommu.attach(device, Pasid.of(pasid), wanted(device, want, change)));
    expect(isRefusal(attached) ? attached.errno : undefined).toBe(errno);
    if (!isRefusal(attached)) {
      must(lab.run(lab.iommu.detach(attached)));
      return;
    }
    expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
    expect(device.attachments.get(Pasid.of(pasid))).toBeUndefined();
  });

  it.each([
    ['39 bits', { cap: { SAGAW: SAGAW_39, MGAW: 38 } }, 3, 39],
    ['48 bits', { cap: { SAGAW: SAGAW_39 + SAGAW_48 } }, 4, 48],
    ['57 bits', { cap: { SAGAW: SAGAW_57, MGAW: 56 } }, 5, 57],
    ['all widths', { cap: { SAGAW: SAGAW_39 + SAGAW_48 + SAGAW_57, MGAW: 56 } }, 4, 48],
    ['48 bits, of which 42 are used', { cap: { MGAW: 41 } }, 4, 42],
    ['39 bits in legacy mode', { cap: { SAGAW: SAGAW_39, MGAW: 38 }, ecap: { SMTS: 0 } }, 3, 39],
    ['57 bits in legacy mode', { cap: { SAGAW: SAGAW_57, MGAW: 56 }, ecap: { SMTS: 0 } }, 5, 57],
  ] as [string, LabOptions, number, number][])(
    '%s has a domain that fits it: %o',
    (_what, options, levels, width) => {
      const lab = new Lab(options);
      const { dma, device } = lab.plug();
      const last = 2 ** (width - 12) - 1;
      const { domain, tag } = lab.domain(device, [last]);
      expect([domain.levels, domain.width]).toEqual([levels, width]);
      must(lab.run(lab.iommu.attach(device, NO_PASID, domain)));
      for (const { passed, isWrite, value } of lab.access(dma, [{ pasid: 0, page: last }])) {
        expect(passed && (isWrite || value === wordOf(tag, 0))).toBe(true);
      }
      const mapping = { page: last + 1, frame: 0x500, count: 1, read: true, write: true };
      expect(lab.run(domain.map(mapping))).toMatchObject({ errno: 'EINVAL' });
    },
  );

  it('no stage of a kind has no domain of it; one with first stages alone gives those', () => {
    const lab = new Lab({ ecap: { SSTS: 0 } });
    const { device } = lab.plug();
    const refused = lab.iommu.allocPaging(device, { name: 'd', stage: 'second-stage' });
    expect(refused).toMatchObject({ errno: 'EOPNOTSUPP' });
    const first = must(lab.iommu.allocPaging(device, { name: 'd' }));
    expect(first.type).toBe('first-stage');
    const nested = lab.iommu.allocNested(first, { name: 'n', root: 1 });
    expect(nested).toMatchObject({ errno: 'EINVAL' });
    const second = must(new Lab().iommu.allocPaging(new Lab().plug().device, { name: 'd' }));
    expect(second.type).toBe('second-stage');
    expect(lab.iommu.allocNested(second, { name: 'n', root: 2 ** 36 })).toMatchObject({ errno: 'EINVAL' });
  });

  it.each([
    [0, 0],
    [1, FIRST_RID],
  ])(
    'device TLBs, throttled or not (ECAP.DIT is %i), takes the invalidations that it asks for',
    (DIT, function_) => {
      const lab = new Lab({ ats: true, ecap: { DIT } });
      const { dma, device } = lab.plug();
      expect(device.throttledBy).toBe(function_);
      const attachment = must(lab.run(lab.iommu.attach(device, PASID, lab.domain(device, [5]).domain)));
      must(lab.run(lab.iommu.detach(attachment)));
      expect(dma.invalidations.length).toBeGreaterThan(0);
    },
  );

  it('no queue in scalable mode, or no width in legacy mode, is not used at all', () => {
    expect(() => new Lab({ ecap: { QI: 0 } })).toThrow(/dmar0 has no queue \(ECAP.QI\) for scalable mode/);
    expect(() => new Lab({ ...LEGACY, cap: { SAGAW: 0 } })).toThrow(/dmar0 has no second-stage width/);
  });

  it('16 domain ids gives 15, one for each domain however often it is attached; and all of them back', () => {
    const lab = new Lab({ cap: { ND: 0 } });
    const { device } = lab.plug();
    const attach = (pasid: number, domain: Domain) =>
      lab.run(lab.iommu.attach(device, Pasid.of(pasid), domain));
    const domains = Array.from({ length: 16 }, () => wanted(device, 'second-stage'));
    const attached = domains.slice(0, 15).map((domain, i) => must(attach(i, domain)));
    const { inUse } = lab.bench.kernel.context.frames;
    expect(attach(20, domains[15] as Domain)).toMatchObject({ errno: 'ENOSPC' });
    expect(lab.run(lab.iommu.replace(attached.slice(0, 1), domains[15] as Domain))).toMatchObject({
      errno: 'ENOSPC',
    });
    expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
    const again = must(attach(20, domains[3] as Domain));
    must(lab.run(lab.iommu.detach(attached[3] ?? again)));
    expect(attach(21, domains[15] as Domain)).toMatchObject({ errno: 'ENOSPC' });
    must(lab.run(lab.iommu.detach(again)));
    must(attach(21, domains[15] as Domain));
  });

  it('another beside it refuses what is not made for it', () => {
    const lab = new Lab({
      units: 2,
      cap: { SSLPS: 1 },
      secondCap: { SSLPS: 0 },
      secondEcap: { SMTS: 0, PASID: 0 },
    });
    const [one, other] = [lab.plug(), lab.plug(SECOND_RID)];
    const large = lab.domain(one.device, [1]);
    expect(lab.run(lab.iommu.attach(other.device, NO_PASID, large.domain))).toMatchObject({
      errno: 'EINVAL',
    });
    // What is made for the lesser one serves both, one of them in legacy mode.
    const { domain, tag } = lab.domain(other.device, [1]);
    for (const { device, dma } of [one, other]) {
      must(lab.run(lab.iommu.attach(device, NO_PASID, domain)));
      for (const { passed, isWrite, value } of lab.access(dma, [{ pasid: 0, page: 1 }])) {
        expect(passed && (isWrite || value === wordOf(tag, 0))).toBe(true);
      }
    }
    must(lab.run(domain.unmap([{ first: 1, last: 1 }])));
    for (const { dma } of [one, other]) {
      expect(lab.access(dma, [{ pasid: 0, page: 1 }]).some(({ passed }) => passed)).toBe(false);
    }
  });
});
