/** A virtual VT-d unit under the kernel's own driver. */
import { describe, expect, test } from 'vitest';
import type { Refusal } from '../../src/base/index.js';
import { PAGE_RESPONSE, RIGHT } from '../../src/hardware/index.js';
import { CAP_REG, ECAP_REG, FAULT } from '../../src/spec/index.js';
import { endpoint, Guest, must, process, RID, SECOND_RID } from './guest.js';

const DEVICE = endpoint(RID);

/** What the host was asked to bind and unbind since the last call. */
const bindings = (guest: Guest): string[] =>
  guest.host.take().flatMap((done) => {
    if (done.what === 'bind') return [`bind ${done.binding.guestPasid} → ${done.binding.hostPasid}`];
    return done.what === 'unbind' ? [`unbind ${done.pair.guestPasid} → ${done.pair.hostPasid}`] : [];
  });

const faultsOf = (guest: Guest): unknown[] =>
  guest.platform.events.filter(({ kind }) => kind === 'iommu:fault').map(({ fields }) => fields);

test('binds and unbinds with the numbers of both sides, whose only relation is the list of pairs', () => {
  const guest = new Guest().boot(DEVICE);
  const [first, second] = [guest.alloc(), guest.alloc()];
  expect([first, second]).toEqual([101, 202]);
  must(guest.run(guest.driver.attach(DEVICE, first, process(0x123))));
  expect([...guest.host.bound.values()]).toMatchObject([
    { guestPasid: 101, hostPasid: 202, root: 0x123, levels: 4, supervisorRequests: false },
  ]);
  const domain = process(0x124);
  must(guest.run(guest.driver.attach(DEVICE, second, domain)));
  must(guest.run(guest.driver.detach(DEVICE, second, { domain, mute: false })));
  expect(bindings(guest)).toEqual(['bind 101 → 202', 'bind 202 → 101', 'unbind 202 → 101']);
  expect(guest.free(second)).toBe(0);
  expect([[...guest.host.mine], guest.host.wrong, guest.iommu.isBusy]).toEqual([[202], [], false]);
});

test("a guest's wait descriptor never completes before the host has finished the operation", () => {
  const guest = new Guest().boot(DEVICE);
  const pasid = guest.alloc();
  guest.host.isHeld = true;
  const results: (Refusal | undefined)[] = [];
  const attach = function* () {
    results.push(yield* guest.driver.attach(DEVICE, pasid, process(0x123)));
  };
  guest.context.tasks.spawn('attach', attach());
  let turn = 0;
  const step = (): boolean => guest.context.tasks.step({ choose: (n) => turn++ % n });
  for (let i = 0; i < 500; i++) step();
  expect([guest.host.underWay, guest.host.bound.size, results]).toEqual([1, 0, []]);
  guest.host.isHeld = false;
  while (step());
  expect([guest.host.bound.size, results, guest.early]).toEqual([1, [undefined], 0]);
});

describe('with caching mode off', () => {
  const attached = () => {
    const guest = new Guest({ cachingMode: false }).boot(DEVICE);
    const pasid = guest.alloc();
    must(guest.run(guest.driver.attach(DEVICE, pasid, process(0x123))));
    expect(bindings(guest)).toEqual([]);
    return { guest, pasid };
  };

  test('a wide flush finds the new entry', () => {
    const { guest } = attached();
    must(guest.run(guest.driver.addDevice(endpoint(SECOND_RID))));
    must(guest.run(guest.driver.removeDevice(endpoint(SECOND_RID))));
    expect(bindings(guest)).toEqual(['bind 101 → 202']);
  });

  test('its first use finds it', () => {
    const { guest, pasid } = attached();
    guest.iommu.unknownPasid(pasid);
    guest.runAll();
    expect([bindings(guest), faultsOf(guest)]).toEqual([['bind 101 → 202'], []]);
  });
});

test('a guest PASID that leads nowhere is recorded as a fault when it is used, once a device', () => {
  const guest = new Guest().boot(DEVICE, endpoint(SECOND_RID));
  const pasid = guest.alloc();
  guest.iommu.unknownPasid(pasid);
  guest.iommu.unknownPasid(7);
  guest.runAll();
  expect(faultsOf(guest).map((fields) => Object(fields))).toMatchObject([
    { rid: '00:04.0', pasid: 7, code: FAULT.PASID_DIRECTORY_NOT_PRESENT },
    { rid: '00:05.0', pasid: 7, code: FAULT.PASID_DIRECTORY_NOT_PRESENT },
    { rid: '00:04.0', pasid, code: FAULT.PASID_DIRECTORY_NOT_PRESENT },
    { rid: '00:05.0', pasid, code: FAULT.PASID_DIRECTORY_NOT_PRESENT },
  ]);
  expect(bindings(guest)).toEqual([]);
});

describe.each([
  { deviceTlbs: false, caches: ['both'] },
  { deviceTlbs: true, caches: ['iotlb', 'device-tlb'] },
])('a guest that sees device TLBs: $deviceTlbs', ({ deviceTlbs, caches }) => {
  test('has the pages of its process forgotten everywhere', () => {
    const device = { ...DEVICE, ats: deviceTlbs };
    const guest = new Guest({ deviceTlbs }).boot(device);
    const domain = process(0x123);
    must(guest.run(guest.driver.attach(device, guest.alloc(), domain)));
    guest.host.take();
    must(guest.run(guest.driver.flush(domain, [{ first: 0x7004, last: 0x7007 }])));
    const pages = { page: 0x7004, pages: 4 };
    expect(guest.host.take()).toMatchObject(
      caches.map((cache) => ({
        what: 'invalidate',
        rid: RID,
        invalidation: { cache, guestPasid: 101, pages },
      })),
    );
  });
});

test('a page request goes through the queue of the guest, and its answer to the host', () => {
  const guest = new Guest().boot(DEVICE);
  const pasid = guest.alloc();
  must(guest.run(guest.driver.attach(DEVICE, pasid, process(0x123))));
  guest.host.take();
  const request = { rid: RID, pasid, page: 0x55, rights: RIGHT.READ | RIGHT.USER, group: 3, isLast: true };
  guest.iommu.pageRequest(request);
  guest.runAll();
  expect(guest.requests).toMatchObject([{ rid: RID, pasid, page: 0x55, group: 3 }]);
  const response = { guestPasid: 101, group: 3, code: PAGE_RESPONSE.SUCCESS };
  expect(guest.host.take()).toEqual([{ what: 'respond', rid: RID, response }]);
});

test('a page request for what the guest has not bound is answered for it, and recorded', () => {
  const guest = new Guest().boot(DEVICE);
  guest.iommu.pageRequest({ rid: RID, pasid: 9, page: 5, rights: RIGHT.READ, group: 1, isLast: true });
  guest.runAll();
  const response = { guestPasid: 9, group: 1, code: PAGE_RESPONSE.INVALID_REQUEST };
  expect(guest.host.take()).toEqual([{ what: 'respond', rid: RID, response }]);
  expect(faultsOf(guest)).toMatchObject([{ pasid: 9, access: 'page request' }]);
});

test('a queue that is full answers by itself, until the guest has seen that it was', () => {
  const guest = new Guest().boot(DEVICE);
  const pasid = guest.alloc();
  must(guest.run(guest.driver.attach(DEVICE, pasid, process(0x123))));
  guest.host.take();
  for (let group = 0; group < 130; group++) {
    guest.iommu.pageRequest({
      rid: RID,
      pasid,
      page: group,
      rights: RIGHT.READ | RIGHT.USER,
      group,
      isLast: true,
    });
  }
  guest.runAll();
  const groups = guest.host.take().flatMap((done) => (done.what === 'respond' ? [done.response.group] : []));
  expect(groups.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 130 }, (_, i) => i));
  expect(guest.requests.length).toBe(127);
});

test('a fault of the host is in the records of the guest, with its own numbers', () => {
  const guest = new Guest().boot(DEVICE);
  const pasid = guest.alloc();
  must(guest.run(guest.driver.attach(DEVICE, pasid, process(0x123))));
  const rights = RIGHT.WRITE | RIGHT.USER;
  guest.iommu.fault({ rid: RID, pasid, page: 0x77, rights, reason: FAULT.SM_WRITE_DENIED });
  expect(faultsOf(guest)).toMatchObject([{ pasid: 101, page: '0x77000', access: 'write', code: 0x85 }]);
});

test('what the host does not confirm is not completed: the guest sees an error of the queue', () => {
  const guest = new Guest().boot(DEVICE);
  const domain = process(0x123);
  const pasid = guest.alloc();
  must(guest.run(guest.driver.attach(DEVICE, pasid, domain)));
  guest.host.chooser = { choose: (n, what) => (n > 1 && what === 'unbind is not confirmed' ? 1 : 0) };
  expect(guest.run(guest.driver.detach(DEVICE, pasid, { domain, mute: false }))).toMatchObject({
    errno: 'EIO',
  });
  expect(guest.host.bound.size).toBe(1);
  expect(guest.platform.events.map(({ kind }) => kind)).toContain('iommu:queue-error');
});

test('a reset unbinds everything and gives every number back', () => {
  const guest = new Guest().boot(DEVICE);
  must(guest.run(guest.driver.attach(DEVICE, guest.alloc(), process(0x123))));
  guest.alloc();
  guest.iommu.reset();
  guest.runAll();
  expect([guest.host.bound.size, guest.host.mine.size, guest.host.wrong]).toEqual([0, 0, []]);
  expect([guest.iommu.hostPasidOf(101), guest.iommu.read32(0x1c)]).toEqual([undefined, 0]);
});

test('a PASID freed while it is bound is unbound; its guest number may have a new life at once', () => {
  const guest = new Guest().boot(DEVICE);
  must(guest.run(guest.driver.attach(DEVICE, guest.alloc(), process(0x123))));
  expect([guest.free(101), guest.iommu.bindingOf(RID, 101), guest.alloc()]).toEqual([0, undefined, 202]);
  guest.runAll();
  expect(guest.alloc()).toBe(101);
  guest.iommu.unknownPasid(101);
  guest.runAll();
  expect([bindings(guest), guest.host.wrong]).toEqual([
    ['bind 101 → 202', 'unbind 101 → 202', 'bind 101 → 202'],
    [],
  ]);
  expect([guest.free(101), guest.free(101)]).toEqual([0, 16]);
});

test('the unit says that it has no second stage, and no PASID of its choice for requests without one', () => {
  const guest = new Guest();
  const [cap, ecap] = [new Int32Array(2), new Int32Array(2)];
  guest.iommu.read64(0x08, cap);
  guest.iommu.read64(0x10, ecap);
  const of = (
    ...fields: (keyof typeof ECAP_REG & ('NEST' | 'SSTS' | 'PT' | 'RPS' | 'FSTS' | 'VCS' | 'PRS'))[]
  ) => fields.map((field) => ECAP_REG[field].get(ecap, 0));
  expect(of('NEST', 'SSTS', 'RPS')).toEqual([0, 0, 0]);
  expect(of('FSTS', 'PT', 'VCS', 'PRS')).toEqual([1, 1, 1, 1]);
  expect([CAP_REG.CM.get(cap, 0), guest.iommu.read32(0xe30)]).toEqual([1, 1]);
});

test('goes back to where it was marked', () => {
  const guest = new Guest().boot(DEVICE);
  const pasid = guest.alloc();
  guest.platform.mark();
  must(guest.run(guest.driver.attach(DEVICE, pasid, process(0x123))));
  guest.platform.restore();
  guest.host.bound.clear();
  expect([guest.iommu.bindingOf(RID, pasid), guest.iommu.hostPasidOf(pasid)]).toEqual([undefined, 202]);
  must(guest.run(guest.driver.attach(DEVICE, pasid, process(0x124))));
  expect(guest.iommu.bindingOf(RID, pasid)).toMatchObject({ root: 0x124 });
});
