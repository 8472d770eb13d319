/** What a guest does while its VMM is at work for it on the host. */
import { expect, test } from 'vitest';
import { DEVICES, FRAME, RawGuest } from '../../../test/vmm/raw-guest.js';
import {
  encode,
  INVALIDATION_WAIT,
  PASID_CACHE_INVALIDATION,
  PASID_DEVICE_TLB_INVALIDATION,
} from '../../spec/index.js';

const [RID] = DEVICES;
const FLUSH = encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 3 });
const ICC = 1 << 31;
const TES = 1 << 31;
const ICE = 1 << 5;

/** One PASID bound, through one device; from now on the host finishes nothing. */
function held(): RawGuest {
  const guest = new RawGuest();
  guest.iommu.removeDevice(DEVICES[1]);
  guest.enable();
  guest.setEntry(guest.alloc(), { root: 0x10 });
  guest.submit(FLUSH);
  guest.runAll();
  guest.host.take();
  guest.host.isHeld = true;
  return guest;
}

function release(guest: RawGuest): void {
  guest.host.isHeld = false;
  guest.runAll();
}

const free = (guest: RawGuest, pasid: number): void => guest.iommu.write64(0xe00, 2 | (pasid << 16), 0);

test('a PASID freed, and given again with the same numbers, while it is being bound', () => {
  const guest = held();
  const pasid = guest.alloc();
  guest.setEntry(pasid, { root: 0x11 });
  guest.submit(FLUSH);
  guest.runSome(5);
  expect(guest.host.underWay).toBe(1);
  free(guest, pasid);
  expect(guest.alloc()).toBe(pasid);
  release(guest);
  expect([guest.host.bound.size, guest.iommu.bindingOf(RID, pasid), guest.host.wrong]).toEqual([
    1,
    undefined,
    [],
  ]);
  guest.submit(FLUSH);
  guest.runAll();
  expect([guest.host.bound.size, guest.host.wrong]).toEqual([2, []]);
});

test('a wait after a PASID was freed while it is bound: not before the host has torn it down', () => {
  const guest = held();
  free(guest, 1);
  guest.setEntry(1, {});
  guest.submit(FLUSH);
  guest.submit(
    encode(INVALIDATION_WAIT, { TYPE: 5, SW: 1, STATUS_DATA: 2, STATUS_ADDR: FRAME.STATUS * 1024 }),
  );
  guest.runSome(50);
  expect([guest.host.underWay, guest.word(FRAME.STATUS, 0)]).toEqual([1, 0]);
  release(guest);
  expect([guest.host.bound.size, guest.word(FRAME.STATUS, 0), guest.host.wrong]).toEqual([0, 2, []]);
});

test('the same two numbers again, after the host has torn down what they were bound to: bound anew', () => {
  const guest = held();
  guest.host.isHeld = false;
  guest.host.chooser = { choose: (_n, what) => (what === 'teardown' ? 1 : 0) };
  const before = guest.iommu.hostPasidOf(1);
  free(guest, 1);
  expect([guest.alloc(), guest.iommu.hostPasidOf(1), guest.host.bound.size]).toEqual([1, before, 0]);
  guest.runAll();
  expect(guest.host.boundAs(RID, 1)).toMatchObject({ hostPasid: before, root: 0x10 });
  expect([guest.iommu.bindingOf(RID, 1), guest.host.wrong]).toEqual([guest.host.boundAs(RID, 1), []]);
});

test('a command given again while it is in progress is done when the last one is', () => {
  const guest = held();
  const pasid = guest.alloc();
  guest.setEntry(pasid, { root: 0x20 });
  guest.iommu.write32(0x2c, ICC | (1 << 29));
  guest.runSome(5);
  guest.setEntry(pasid, { root: 0x30 });
  guest.iommu.write32(0x2c, ICC | (1 << 29));
  guest.host.isHeld = false;
  const seen: number[] = [];
  while (guest.tasks.runnable > 0) {
    guest.runSome(1);
    if (guest.iommu.read32(0x2c) >= 0) seen.push(guest.iommu.bindingOf(RID, pasid)?.root ?? 0);
  }
  expect([new Set(seen), guest.host.wrong]).toEqual([new Set([0x30]), []]);
});

test('a reset while translation is going on', () => {
  const guest = held();
  guest.host.isHeld = false;
  guest.command(1 << 26);
  guest.runAll();
  guest.host.isHeld = true;
  guest.command(TES | (1 << 26));
  guest.runSome(5);
  expect(guest.host.underWay).toBe(1);
  guest.iommu.reset();
  release(guest);
  expect([guest.iommu.read32(0x1c), guest.host.bound.size, guest.host.mine.size]).toEqual([0, 0, 0]);
});

test('a reset while a device is being told to forget', () => {
  const guest = held();
  guest.submit(encode(PASID_DEVICE_TLB_INVALIDATION, { TYPE: 8, SID: RID, PASID: 1 }));
  guest.runSome(5);
  expect(guest.host.underWay).toBe(1);
  guest.iommu.reset();
  guest.enable();
  release(guest);
  expect([guest.iommu.read32(0x34) & ICE, guest.iommu.read32(0x80), guest.host.wrong]).toEqual([0, 0, []]);
});
