/** What VFIO refuses, and that nothing has changed then: also when memory runs out at any point. */
import { describe, expect, it } from 'vitest';
import { type Chooser, isRefusal, type Refusal } from '../../src/base/index.js';
import { IOMMU_NESTING_INFO } from '../../src/spec/index.js';
import { FIRST_RID, must } from '../vtd-driver/lab.js';
import {
  allocBytes,
  BothNumbers,
  bindBytes,
  freeBytes,
  Host,
  mapBytes,
  TestFunction,
  TestMdev,
  unmapBytes,
} from './vm.js';

function twoVms() {
  const host = new Host();
  const { device } = host.plug();
  const [one, two] = [new TestMdev('mdev1', device), new TestMdev('mdev2', device)];
  const [vm1, vm2] = [host.newVm('vm1', [one]), host.newVm('vm2', [two])];
  return { host, device, one, two, vm1, vm2 };
}

type Made = ReturnType<typeof twoVms>;

describe('a bind is refused', () => {
  const CASES: readonly [string, string, (of: Made) => Refusal | undefined][] = [
    ['of an id of another VM', 'EACCES', ({ vm2, two }) => vm2.bind(two, 101, 202)],
    ['of an id that is free', 'ENOENT', ({ vm1, one }) => vm1.bind(one, 101, 203)],
    ['of the id 0', 'ENOENT', ({ vm1, one }) => vm1.bind(one, 101, 0)],
    ['for a device of another VM', 'ENODEV', ({ vm1, two }) => vm1.bind(two, 101, 202)],
    [
      'with a root that the VM does not have',
      'EINVAL',
      ({ host, vm1, one }) => host.run(vm1.container.bindGpasid(one, bindBytes(101, 202, 2 ** 40))),
    ],
    ['twice', 'EBUSY', ({ vm1, one }) => must(vm1.bind(one, 101, 202)) ?? vm1.bind(one, 101, 202)],
    [
      'of a guest PASID that stands for another',
      'EBUSY',
      ({ vm1, one }) => {
        must(vm1.container.pasidRequest(allocBytes(204)));
        must(vm1.bind(one, 101, 204));
        const refusal = vm1.bind(one, 101, 202);
        must(vm1.unbind(one, 101, 204));
        must(vm1.container.pasidRequest(freeBytes(204)));
        return refusal;
      },
    ],
    [
      'with another first stage than the entry has',
      'EBUSY',
      ({ host, device, vm1, one }) => {
        const other = new TestMdev('mdev3', device);
        must(host.run(vm1.container.addDevice(other)));
        must(vm1.bind(one, 101, 202));
        return host.run(vm1.container.bindGpasid(other, bindBytes(101, 202, 2)));
      },
    ],
  ];

  it.each(CASES)('%s', (_what, errno, tries) => {
    const made = twoVms();
    const { host, vm1, one } = made;
    must(vm1.container.pasidRequest(allocBytes(202)));
    // Tables come with the first bind, and stay.
    must(vm1.bind(one, 7, 202));
    must(vm1.unbind(one, 7, 202));
    const before = host.resources;
    expect(tries(made)).toMatchObject({ errno });
    expect(host.resources).toEqual(before);
    vm1.unbind(one, 101, 202);
    expect(vm1.bind(one, 102, 202)).toBeUndefined();
  });
});

it('an unbind of what is not bound, or not by that number, is refused', () => {
  const { vm1, vm2, one, two } = twoVms();
  vm1.allocAndBind(one, 101, 202);
  expect(vm2.unbind(two, 101, 202)).toMatchObject({ errno: 'EACCES' });
  expect(vm1.unbind(one, 102, 202)).toMatchObject({ errno: 'EINVAL' });
  must(vm1.container.pasidRequest(allocBytes(203)));
  expect(vm1.unbind(one, 101, 203)).toMatchObject({ errno: 'ENOENT' });
  expect(vm1.unbind(one, 101, 204)).toMatchObject({ errno: 'ENOENT' });
});

it('PASIDs are of the range and the quota, and of the VM', () => {
  const { host, vm1, vm2 } = twoVms();
  expect(vm1.container.pasidRequest(allocBytes(300, 400))).toBe(300);
  expect(vm1.container.pasidRequest(allocBytes(300, 300))).toMatchObject({ errno: 'ENOSPC' });
  expect(vm2.container.pasidRequest(freeBytes(300))).toMatchObject({ errno: 'EACCES' });
  expect(vm2.container.pasidRequest(freeBytes(1, 1000))).toBe(0);
  expect(vm1.container.pasidRequest(allocBytes(300, 300))).toMatchObject({ errno: 'ENOSPC' });
  for (let i = 1; i < 1000; i++) must(vm1.container.pasidRequest(allocBytes(1, 9999)));
  expect(vm1.container.pasidRequest(allocBytes(1, 9999))).toMatchObject({ errno: 'EDQUOT' });
  host.run(vm1.container.close());
  expect(vm1.container.pasidRequest(allocBytes(1, 9999))).toMatchObject({ errno: 'ENODEV' });
});

it('memory is mapped once, in whole mappings, and where devices can use it', () => {
  const { host, vm1 } = twoVms();
  const { container, base } = vm1;
  const before = host.resources;
  const map = (page: number, first: number, count: number) =>
    host.run(container.mapDma(mapBytes(page, first, count)));
  expect(map(base, 20, 8)).toMatchObject({ errno: 'EEXIST' });
  expect(map(base, 0xfee00 - 2, 4)).toMatchObject({ errno: 'EINVAL' });
  expect(map(base, 2 ** 40, 1)).toMatchObject({ errno: 'EINVAL' });
  expect(map(base + 20, 100, 8)).toMatchObject({ errno: 'EFAULT' });
  expect(host.run(container.unmapDma(unmapBytes(2, 4)))).toMatchObject({ errno: 'EINVAL' });
  expect(host.run(container.unmapDma(unmapBytes(200, 4)))).toBeUndefined();
  expect(host.resources).toEqual(before);
});

it('a device has one owner, a function or a part of it', () => {
  const { host, device, one, vm2 } = twoVms();
  const whole = new TestFunction('whole', device);
  expect(host.run(vm2.container.addDevice(one))).toMatchObject({ errno: 'EBUSY' });
  expect(host.run(vm2.container.addDevice(whole))).toMatchObject({ errno: 'EBUSY' });
  const far = host.plug(FIRST_RID + 0x10).device;
  must(host.run(vm2.container.addDevice(new TestFunction('far', far))));
  expect(host.run(vm2.container.addDevice(new TestMdev('part', far)))).toMatchObject({ errno: 'EBUSY' });
  host.run(vm2.container.close());
  const again = host.newVm('vm3', []);
  must(host.run(again.container.addDevice(new TestMdev('part', far))));
});

it('without nested translation there is none, and a process has one container', () => {
  const host = new Host({ ecap: { NEST: 0 } });
  const { device } = host.plug();
  const vm = host.newVm('vm1');
  const nested = host.run(vm.container.addDevice(new TestMdev('mdev', device)));
  expect(nested).toMatchObject({ errno: 'ENODEV' });
  const { vfio } = host.lab.bench.kernel;
  expect(vfio.open(vm.process)).toMatchObject({ errno: 'EEXIST' });
  expect(IOMMU_NESTING_INFO.BIND_PGTBL.get(new Int32Array(vm.container.info().buffer), 0)).toBe(0);
});

it('nested translation is told as it is', () => {
  const { vm1 } = twoVms();
  const words = new Int32Array(vm1.container.info().buffer);
  const { BIND_PGTBL, CACHE_INVLD, PASID_BITS, ADDR_WIDTH, ECAP_REG } = IOMMU_NESTING_INFO;
  expect([BIND_PGTBL, CACHE_INVLD, PASID_BITS, ADDR_WIDTH].map((field) => field.get(words, 0))).toEqual([
    ...[1, 1, 20, 48],
  ]);
  expect((ECAP_REG.getBig(words, 0) >> 26n) & 1n).toBe(1n);
});

describe('without memory', () => {
  it.each([
    ['a part of a function', TestMdev],
    ['a whole one', TestFunction],
    ['a whole one with both numbers', BothNumbers],
  ])('for the n-th frame, a VM that is made with %s leaves what was before', (_, Device) => {
    const host = new Host({ framesMayFail: true });
    const { device } = host.plug();
    const mdev = new Device('mdev1', device);
    const { kernel } = host.lab.bench;
    // A function keeps its tables.
    must(attempt(host, mdev));
    for (const process of kernel.processes.all) host.run(kernel.processes.kill(process));
    const before = host.resources;
    let refused = 0;
    for (let n = 0; ; n++) {
      host.lab.granted = n;
      const refusal = attempt(host, mdev);
      host.lab.granted = -1;
      host.lab.bench.runAll();
      for (const process of kernel.processes.all) host.run(kernel.processes.kill(process));
      if (refusal === undefined) break;
      expect([n, refusal.errno, host.resources]).toEqual([n, 'ENOMEM', before]);
      refused++;
    }
    expect(refused).toBeGreaterThan(10);
  });

  it('for the n-th record of the IOASID core, a life of a PASID leaves what was before', () => {
    let left = -1;
    const ioasidFaults: Chooser = { choose: () => Number(left-- === 0) };
    const host = new Host({ ioasidFaults });
    const { device } = host.plug();
    const mdev = new TestMdev('mdev1', device);
    must(attempt(host, mdev));
    const { kernel } = host.lab.bench;
    for (const process of kernel.processes.all) host.run(kernel.processes.kill(process));
    const before = host.resources;
    let refused = 0;
    for (let n = 0; ; n++) {
      left = n;
      const refusal = attempt(host, mdev);
      const isOver = left >= 0;
      left = -1;
      for (const process of kernel.processes.all) host.run(kernel.processes.kill(process));
      expect([n, host.resources]).toEqual([n, before]);
      if (refusal !== undefined) refused++;
      if (isOver) break;
    }
    expect(refused).toBeGreaterThan(4);
  });
});

/** The whole life of a VM with one PASID; the first refusal. */
function attempt(host: Host, mdev: TestMdev): Refusal | undefined {
  const { kernel } = host.lab.bench;
  const process = kernel.processes.spawn('vm');
  if (isRefusal(process)) return process;
  const container = kernel.vfio.open(process);
  if (isRefusal(container)) return container;
  const life = (): Refusal | undefined => {
    const base = host.run(process.mm.mmap(8));
    if (isRefusal(base)) return base;
    const made = host.run(container.mapDma(mapBytes(base, 0, 8))) ?? host.run(container.addDevice(mdev));
    if (made !== undefined) return made;
    const id = container.pasidRequest(allocBytes(1, 999));
    if (isRefusal(id)) return id;
    return (
      host.run(container.bindGpasid(mdev, bindBytes(101, id))) ??
      host.run(container.unbindGpasid(mdev, bindBytes(101, id))) ??
      host.run(container.bindGpasid(mdev, bindBytes(102, id)))
    );
  };
  const refusal = life();
  host.run(container.close());
  return refusal;
}
