/**
 * A device that is taken out of a container while its guest uses it: what is bound for it goes in the phases of every
 * tear-down, and devices beside it that have the same PASIDs notice nothing.
 */
import { expect, it } from 'vitest';
import { isRefusal, type Refusal, refuse, type Task } from '../../src/base/index.js';
import { ioasidFindBySpid } from '../../src/ioasid/index.js';
import { must } from '../vtd-driver/lab.js';
import { bindBytes, Host, pageRequestOf, TestMdev, type TestVm } from './vm.js';

const PAGE = 0x10;

/** Two parts of one function in one VM, both with PASID 202, and the first with 203 too. */
function shared() {
  const host = new Host({ ats: true });
  const { dma, device } = host.plug();
  const [one, two] = [new TestMdev('mdev1', device), new TestMdev('mdev2', device)];
  const vm = host.newVm('vm1', [one, two]);
  vm.map(PAGE, 0, 0x1111);
  vm.allocAndBind(one, 101, 202);
  must(vm.bind(two, 101, 202));
  vm.allocAndBind(one, 102, 203);
  const reads = (pasid: number): unknown => {
    const [first] = host.lab.access(dma, [{ pasid, page: PAGE }]).filter(({ isWrite }) => !isWrite);
    return first?.passed === true ? first.value : undefined;
  };
  return { host, dma, device, responses: dma.responses, one, two, vm, reads };
}

/** Has tasks begin, and notes how each ends. */
function begin(host: Host, tasks: Readonly<Record<string, Task<Refusal | undefined>>>): string[] {
  const ended: string[] = [];
  for (const [what, task] of Object.entries(tasks)) {
    const body = function* (): Task {
      const result = yield* task;
      ended.push(isRefusal(result) ? `${what}: ${result.errno}` : what);
    };
    host.lab.bench.tasks.spawn(what, body());
    host.lab.bench.runAll();
  }
  return ended;
}

const letGo = (host: Host, mdev: TestMdev): void => {
  mdev.isBusy = false;
  mdev.idle.wakeAll();
  host.lab.bench.runAll();
};

const remove = (host: Host, vm: TestVm, mdev: TestMdev): Refusal | undefined =>
  host.run(vm.container.removeDevice(mdev));

it('leaves nothing of its PASIDs; another that has one goes on, and another VM has the device', () => {
  const { host, one, two, vm, reads } = shared();
  must(remove(host, vm, one));
  expect([reads(202), reads(203)]).toEqual([0x1111, undefined]);
  expect(one.drained).toEqual(expect.arrayContaining([202, 203]));
  expect(two.drained).toEqual([]);
  expect(ioasidFindBySpid(vm.container.set, 101)).toBe(202);
  expect(ioasidFindBySpid(vm.container.set, 102)).toMatchObject({ errno: 'ENOENT' });
  expect(remove(host, vm, one)).toMatchObject({ errno: 'ENODEV' });
  const next = host.newVm('vm2', [one]);
  next.map(PAGE, 2, 0x2222);
  next.allocAndBind(one, 101, 303);
  expect([reads(303), reads(202)]).toEqual([0x2222, 0x1111]);
});

it('is bound to nothing from the beginning on, and who unbinds what no other device has waits for its end', () => {
  const { host, one, two, vm } = shared();
  one.isBusy = true;
  const ended = begin(host, {
    remove: vm.container.removeDevice(one),
    again: vm.container.removeDevice(one),
    bind: vm.container.bindGpasid(one, bindBytes(102, 203)),
    unbind: vm.container.unbindGpasid(one, bindBytes(102, 203)),
    shared: vm.container.unbindGpasid(one, bindBytes(101, 202)),
    last: vm.container.unbindGpasid(two, bindBytes(101, 202)),
  });
  // The last of those that have a PASID waits for all of them.
  expect(ended).toEqual(['again: ENODEV', 'shared']);
  letGo(host, one);
  expect(ended.toSorted()).toEqual(['again: ENODEV', 'bind: ENODEV', 'last', 'remove', 'shared', 'unbind']);
  expect(host.resources.tasks).toEqual([]);
});

it('has the page requests that may be of another told to that, and its own answered', () => {
  const { host, device, responses, one, two, vm } = shared();
  const [first, second] = [vm.listen(one), vm.listen(two)];
  host.request(device, 202, { group: 3 });
  host.request(device, 203, { group: 4 });
  one.isBusy = true;
  begin(host, { remove: vm.container.removeDevice(one) });
  host.request(device, 202, { group: 5 });
  host.request(device, 203, { group: 6 });
  expect(first.map(pageRequestOf).map(({ group }) => group)).toEqual([3, 4]);
  expect(second.map(pageRequestOf).map(({ group }) => group)).toEqual([3, 5]);
  expect(responses.map(({ group, code }) => [group, code])).toEqual([
    [4, 1],
    [6, 1],
  ]);
  letGo(host, one);
  for (const group of [3, 5]) must(vm.answer(two, 101, group));
  expect(responses.slice(2).map(({ group, code }) => [group, code])).toEqual([
    [3, 0],
    [5, 0],
  ]);
});

it('that does not let go keeps its ids and its owner, and can be tried again', () => {
  const { host, one, vm, reads } = shared();
  one.refusal = refuse('EIO', 'dead');
  expect(remove(host, vm, one)).toMatchObject({ errno: 'EIO' });
  expect(reads(203)).toBeUndefined();
  const other = host.newVm('vm2');
  expect(host.run(other.container.addDevice(one))).toMatchObject({ errno: 'EBUSY' });
  expect(vm.bind(one, 103, 204)).toMatchObject({ errno: 'ENOENT' });
  one.refusal = undefined;
  must(remove(host, vm, one));
  must(host.run(other.container.addDevice(one)));
});

it('is waited for by the end of its VM, which leaves nothing', () => {
  const { host, one, vm } = shared();
  const ids = host.resources.ids.available;
  one.isBusy = true;
  const ended = begin(host, { remove: vm.container.removeDevice(one), close: vm.container.close() as never });
  expect(ended).toEqual([]);
  letGo(host, one);
  expect(ended.toSorted()).toEqual(['close', 'remove']);
  vm.end();
  expect(host.resources).toMatchObject({ containers: 0, tasks: [], ids: { live: 0, available: ids + 1000 } });
});
