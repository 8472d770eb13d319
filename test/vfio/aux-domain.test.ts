/**
 * Auxiliary domains, with the real unit: the default PASID that parts of functions share, what DMA by it meets, and
 * that it goes with the last of them, and not before.
 */
import { describe, expect, it } from 'vitest';
import { refuse } from '../../src/base/index.js';
import { ioasidFindBySpid, ioasidInspect, ioasidReports } from '../../src/ioasid/index.js';
import { IOMMU_FAULT_EVENT_WORD, IOMMU_FAULT_UNRECOVERABLE } from '../../src/spec/index.js';
import { FIRST_RID, must } from '../vtd-driver/lab.js';
import { allocBytes, bindBytes, freeBytes, Host, invalidateBytes, TestFunction, TestMdev } from './vm.js';

const PAGE = 0x10;
/** Parent drivers are told of it as of one that stands for requests without a PASID. */
class Part extends TestMdev {
  default: number | undefined;
  readonly told: string[] = [];
  bound({ guest, host }: { readonly guest: number | undefined; readonly host: number }): void {
    this.told.push('bound');
    if (guest === undefined) this.default = host;
  }
  unbound(host: number): void {
    this.told.push('unbound');
    if (this.default === host) this.default = undefined;
  }
}

/** What a function reads at a page of a PASID; undefined where it does not pass. */
function reads(host: Host, dma: Parameters<Host['lab']['access']>[0], pasid: number) {
  const accesses = host.lab.access(dma, [{ pasid, page: PAGE }]).filter(({ isWrite }) => !isWrite);
  return [...new Set(accesses.map((each) => (each.passed ? each.value : undefined)))];
}

function oneVm(options: ConstructorParameters<typeof Host>[0] = {}) {
  const host = new Host(options);
  const { dma, device } = host.plug();
  const before = host.resources;
  const [one, two] = [new Part('mdev1', device), new Part('mdev2', device)];
  const vm = host.newVm('vm1', [one, two]);
  vm.write(PAGE * 4096, Int32Array.of(0x1111));
  return { host, dma, device, before, one, two, vm };
}

/** Who holds ids, and how often. */
const held = ({ lab }: Host) =>
  ioasidReports(lab.bench.ioasids).map(({ id, set, holders }) => ({
    id,
    set,
    holders: holders.map(({ holder, count }) => `${holder} ${count}`),
  }));

describe.each([{ ats: false }, { ats: true }])('a default PASID, $ats', (options) => {
  it('leads to the memory of the VM, for all parts on one domain', () => {
    const { host, dma, one, two } = oneVm(options);
    const pasid = one.default ?? 0;
    expect(pasid).toBeGreaterThan(0);
    expect(two.default).toBe(pasid);
    expect(reads(host, dma, pasid)).toEqual([0x1111]);
    expect(reads(host, dma, 0)).toEqual([undefined]);
    expect(held(host)).toEqual([{ id: pasid, set: expect.any(String), holders: ['iommu 6a:02.0 2'] }]);
  });

  it('goes from a function with the last part of it that is detached', () => {
    const { host, dma, one, two, vm } = oneVm(options);
    const pasid = one.default ?? 0;
    must(host.run(vm.container.detachDomain(one)));
    // Once more is no error.
    must(host.run(vm.container.detachDomain(one)));
    expect([one.default, one.drained, two.default, two.drained]).toEqual([undefined, [pasid], pasid, []]);
    expect(reads(host, dma, pasid)).toEqual([0x1111]);
    must(host.run(vm.container.detachDomain(two)));
    expect(reads(host, dma, pasid)).toEqual([undefined]);
    expect(held(host)).toEqual([]);
    must(host.run(vm.container.attachDomain(two)));
    must(host.run(vm.container.attachDomain(two)));
    expect(reads(host, dma, two.default ?? 0)).toEqual([0x1111]);
  });

  it('is one number on several functions, and goes from each by itself', () => {
    const { host, dma, one, two, vm } = oneVm(options);
    const far = host.plug(FIRST_RID + 0x10);
    const three = new Part('mdev3', far.device);
    must(host.run(vm.container.addDevice(three)));
    const pasid = one.default ?? 0;
    expect(three.default).toBe(pasid);
    expect([reads(host, dma, pasid), reads(host, far.dma, pasid)]).toEqual([[0x1111], [0x1111]]);
    for (const each of [one, two]) must(host.run(vm.container.detachDomain(each)));
    expect([reads(host, dma, pasid), reads(host, far.dma, pasid)]).toEqual([[undefined], [0x1111]]);
    must(host.run(vm.container.attachDomain(one)));
    expect(one.default).toBe(pasid);
  });

  it('of another VM is another number, and leads to that one', () => {
    const { host, dma, device, one } = oneVm(options);
    const other = new Part('mdev3', device);
    const vm2 = host.newVm('vm2', [other]);
    vm2.write(PAGE * 4096, Int32Array.of(0x2222));
    expect(other.default).not.toBe(one.default);
    expect(reads(host, dma, other.default ?? 0)).toEqual([0x2222]);
    vm2.end();
    expect([reads(host, dma, one.default ?? 0), other.default]).toEqual([[0x1111], undefined]);
  });

  it('is neither the guest to free nor to bind, and leaves it its quota', () => {
    const { host, dma, one, vm } = oneVm(options);
    const pasid = one.default ?? 0;
    expect(vm.container.pasidRequest(freeBytes(pasid))).toMatchObject({ errno: 'EACCES' });
    expect(vm.container.pasidRequest(allocBytes(pasid))).toMatchObject({ errno: 'ENOSPC' });
    expect(host.run(vm.container.bindGpasid(one, bindBytes(7, pasid)))).toMatchObject({ errno: 'EACCES' });
    for (let i = 0; i < 1000; i++) must(vm.container.pasidRequest(allocBytes(1, 9999)));
    expect(reads(host, dma, pasid)).toEqual([0x1111]);
  });

  it('leaves nothing when the VM ends, but the tables of the function', () => {
    const { host, dma, before, one, vm } = oneVm(options);
    const pasid = one.default ?? 0;
    reads(host, dma, pasid);
    vm.end();
    expect(one.drained).toContain(pasid);
    expect(reads(host, dma, pasid)).toEqual([undefined]);
    expect({ ...host.resources, frames: 0 }).toEqual({ ...before, frames: 0 });
  });
});

it('a part that does not drain stays attached, and can be tried again', () => {
  const { host, dma, one, vm } = oneVm();
  const pasid = one.default ?? 0;
  one.refusal = refuse('EIO', 'it does not drain');
  expect(host.run(vm.container.detachDomain(one))).toMatchObject({ errno: 'EIO' });
  expect(reads(host, dma, pasid)).toEqual([0x1111]);
  one.refusal = undefined;
  must(host.run(vm.container.attachDomain(one)));
  expect([one.default, one.told]).toEqual([pasid, ['bound', 'unbound', 'bound']]);
  must(host.run(vm.container.detachDomain(one)));
  expect([one.default, one.told.length]).toEqual([undefined, 4]);
});

it('what hardware does not let go of is not handed out again', () => {
  const { host, one, two, vm, dma } = oneVm({ ats: true });
  const pasid = one.default ?? 0;
  must(host.run(vm.container.detachDomain(one)));
  dma.deaf = 1000;
  expect(host.run(vm.container.detachDomain(two))).toMatchObject({ errno: 'EIO' });
  expect(ioasidInspect(host.lab.bench.ioasids, pasid)).toMatchObject({ state: 'ACTIVE' });
  dma.deaf = 0;
  must(host.run(vm.container.detachDomain(two)));
  expect(held(host)).toEqual([]);
});

describe.each(['blocked', 'identity'] as const)('a whole function, which began with %s', (rid) => {
  function whole() {
    const host = new Host({ rid });
    const { dma, device } = host.plug();
    const one = new TestFunction('whole', device);
    const before = reads(host, dma, 0);
    const vm = host.newVm('vm1', [one]);
    vm.write(PAGE * 4096, Int32Array.of(0x1111));
    return { host, dma, one, vm, before };
  }

  it('needs no PASID: its requests without one are blocked, and meet the memory again', () => {
    const { host, dma, one, vm } = whole();
    expect([reads(host, dma, 0), held(host)]).toEqual([[0x1111], []]);
    must(host.run(vm.container.detachDomain(one)));
    must(host.run(vm.container.detachDomain(one)));
    expect([reads(host, dma, 0), one.drained]).toEqual([[undefined], [0]]);
    must(host.run(vm.container.attachDomain(one)));
    expect(reads(host, dma, 0)).toEqual([0x1111]);
  });

  it('has a first stage for them in their own entry', () => {
    const { host, dma, one, vm } = whole();
    vm.map(PAGE, 2, 0x3333);
    must(host.run(vm.container.detachDomain(one)));
    vm.allocAndBind(one, 0, 202);
    expect([reads(host, dma, 0), reads(host, dma, 202)]).toEqual([[0x3333], [undefined]]);
    expect(host.run(vm.container.attachDomain(one))).toMatchObject({ errno: 'EBUSY' });
    must(vm.unbind(one, 0, 202));
    expect(reads(host, dma, 0)).toEqual([undefined]);
  });

  it.each(['attached', 'detached'])('%s has what it had before when it leaves', (how) => {
    const { host, dma, one, vm, before } = whole();
    if (how === 'detached') must(host.run(vm.container.detachDomain(one)));
    must(host.run(vm.container.removeDevice(one)));
    expect(reads(host, dma, 0)).toEqual(before);
  });
});

it('without memory for it, nothing is left', () => {
  for (let granted = 0; granted < 6; granted++) {
    const host = new Host({ framesMayFail: true });
    const { device } = host.plug();
    const part = new Part('mdev1', device);
    const vm = host.newVm('vm1');
    const before = host.resources;
    host.lab.granted = granted;
    const refusal = host.run(vm.container.addDevice(part));
    host.lab.granted = -1;
    if (refusal === undefined) return;
    expect([refusal.errno, part.default]).toEqual(['ENOMEM', undefined]);
    expect(host.resources).toEqual(before);
  }
  throw new Error('it is never enough');
});

describe('a first stage for requests that have no PASID in the guest', () => {
  const WITHOUT = 0;

  function bound(options: ConstructorParameters<typeof Host>[0] = {}) {
    const made = oneVm(options);
    const { host, one, vm } = made;
    vm.map(PAGE, 2, 0x3333);
    must(host.run(vm.container.detachDomain(one)));
    vm.allocAndBind(one, WITHOUT, 202);
    return made;
  }

  it('is bound once the memory is not what they meet', () => {
    const { host, one, vm } = oneVm();
    must(vm.container.pasidRequest(allocBytes(202)));
    expect(vm.bind(one, WITHOUT, 202)).toMatchObject({ errno: 'EBUSY' });
    must(host.run(vm.container.detachDomain(one)));
    must(vm.bind(one, WITHOUT, 202));
    must(vm.container.pasidRequest(allocBytes(203)));
    expect(vm.bind(one, WITHOUT, 203)).toMatchObject({ errno: 'EBUSY' });
  });

  it.each([{ ats: false }, { ats: true }])(
    'is what the device meets by a PASID that is no SPID, $ats',
    (options) => {
      const { host, dma, one, two, vm } = bound(options);
      expect([one.default, two.default === one.default]).toEqual([202, false]);
      expect([reads(host, dma, 202), reads(host, dma, two.default ?? 0)]).toEqual([[0x3333], [0x1111]]);
      expect(ioasidFindBySpid(vm.container.set, WITHOUT)).toMatchObject({ errno: 'ENOENT' });
      // What the guest says of its requests without a PASID reaches the host's.
      vm.map(PAGE, 3, 0x4444);
      must(host.run(vm.container.invalidate(one, invalidateBytes(WITHOUT, PAGE))));
      expect(reads(host, dma, 202)).toEqual([0x4444]);
    },
  );

  it('tells the guest of faults as of requests without a PASID, and of no page requests', () => {
    const { host, device, dma, one, vm } = bound();
    const told = vm.listen(one);
    host.lab.access(dma, [{ pasid: 202, page: 0x99 }], 1);
    const valid = told.map((words) =>
      IOMMU_FAULT_UNRECOVERABLE.PASID_VALID.get(words, IOMMU_FAULT_EVENT_WORD),
    );
    expect(valid).toEqual([0]);
    host.request(device, 202);
    expect([told.length, dma.responses.map(({ code }) => code)]).toEqual([1, [1]]);
  });

  it('is undone as any other, and the memory is there again', () => {
    const { host, dma, one, vm } = bound();
    must(vm.unbind(one, WITHOUT, 202));
    expect([one.default, one.drained.includes(202), reads(host, dma, 202)]).toEqual([
      undefined,
      true,
      [undefined],
    ]);
    must(vm.container.pasidRequest(freeBytes(202)));
    must(host.run(vm.container.attachDomain(one)));
    expect(reads(host, dma, one.default ?? 0)).toEqual([0x1111]);
  });

  it('goes with its PASID, and with its VM', () => {
    const { host, dma, one, vm } = bound();
    must(vm.container.pasidRequest(freeBytes(202)));
    host.lab.bench.runAll();
    expect([one.default, reads(host, dma, 202)]).toEqual([undefined, [undefined]]);
    vm.allocAndBind(one, WITHOUT, 204);
    vm.end();
    expect([one.default, held(host)]).toEqual([undefined, []]);
  });
});
