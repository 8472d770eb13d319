/** What requests without a PASID meet, as a guest's entry of PASID 0 says it, and what becomes of it on the host. */
import { describe, expect, test } from 'vitest';
import { DEVICES, FRAME, RawGuest } from '../../../test/vmm/raw-guest.js';
import { refuse } from '../../base/index.js';
import {
  DEVICE_TLB_INVALIDATION,
  encode,
  IOTLB_INVALIDATION,
  PASID_CACHE_INVALIDATION,
  PASID_IOTLB_INVALIDATION,
  PASID_TABLE_ENTRY,
  PGTT,
  SCALABLE_CONTEXT_ENTRY,
} from '../../spec/index.js';

const [FIRST, SECOND] = DEVICES;
const OWN_DIRECTORY = 12;
const OWN_TABLE = 13;

/** The entry of PASID 0, told. */
function entry(guest: RawGuest, of: Parameters<RawGuest['setEntry']>[1]): string[] {
  guest.setEntry(0, of);
  guest.submit(encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 1, PASID: 0 }));
  guest.runAll();
  return changes(guest);
}

const changes = (guest: RawGuest): string[] =>
  guest.host.take().map((done) => {
    if (done.what === 'bind')
      return `bind ${done.binding.guestPasid}@${done.rid} to ${done.binding.hostPasid}`;
    if (done.what === 'unbind') return `unbind ${done.pair.guestPasid}@${done.rid}`;
    if (done.what === 'invalidate')
      return `${done.invalidation.cache} ${done.invalidation.guestPasid}@${done.rid}`;
    return `${done.what} ${done.rid}`;
  });

/** Translation is on, with no entries. */
function blocked(): RawGuest {
  const guest = new RawGuest().enable();
  guest.runAll();
  guest.host.take();
  return guest;
}

describe('requests without a PASID', () => {
  test('meet the memory as it is until translation is on, and then nothing, if no entry says so', () => {
    const guest = new RawGuest();
    expect(changes(guest)).toEqual([]);
    guest.enable();
    guest.runAll();
    expect(changes(guest)).toEqual([`detach ${FIRST}`, `detach ${SECOND}`]);
    guest.command(1 << 26);
    guest.runAll();
    expect(changes(guest)).toEqual([`attach ${FIRST}`, `attach ${SECOND}`]);
  });

  test('that are passed through meet it too', () => {
    const guest = blocked();
    expect(entry(guest, { root: 0, pgtt: PGTT.PASS_THROUGH })).toEqual([
      `attach ${FIRST}`,
      `attach ${SECOND}`,
    ]);
    expect(entry(guest, { root: 0, pgtt: PGTT.PASS_THROUGH })).toEqual([]);
    guest.command(1 << 26);
    guest.runAll();
    expect(changes(guest)).toEqual([]);
  });

  test('that have a first stage are bound under a PASID of the host, one for the devices in one domain', () => {
    const guest = blocked();
    expect(entry(guest, { root: 0x10, did: 5 })).toEqual([
      `bind 0@${FIRST} to 500`,
      `bind 0@${SECOND} to 500`,
    ]);
    expect(guest.iommu.bindingOf(FIRST, 0)).toMatchObject({ root: 0x10, hostPasid: 500 });
    // Another root is another address space: each is off the old one before it has the new one.
    expect(entry(guest, { root: 0x11, did: 5 })).toEqual([
      `unbind 0@${FIRST}`,
      `bind 0@${FIRST} to 501`,
      `unbind 0@${SECOND}`,
      `bind 0@${SECOND} to 501`,
    ]);
    expect([...guest.host.mine]).toEqual([501]);
    expect(entry(guest, {})).toEqual([`unbind 0@${FIRST}`, `unbind 0@${SECOND}`]);
    expect([guest.host.mine.size, guest.host.wrong]).toEqual([0, []]);
  });

  test('of two domains are bound under two', () => {
    const guest = blocked();
    // A directory and a table of its own for the second device.
    const context = { P: 1, PASIDE: 1, PRE: 1, PASIDDIRPTR: OWN_DIRECTORY };
    guest.put(FRAME.CONTEXT, SECOND * 8, encode(SCALABLE_CONTEXT_ENTRY, context));
    guest.put(OWN_DIRECTORY, 0, [OWN_TABLE * 4096 + 1, 0]);
    const own = { P: 1, PGTT: PGTT.FIRST_STAGE, DID: 6, FSPTPTR: 0x10 };
    guest.put(OWN_TABLE, 0, encode(PASID_TABLE_ENTRY, own));
    expect(entry(guest, { root: 0x10, did: 5 })).toEqual([
      `bind 0@${FIRST} to 500`,
      `bind 0@${SECOND} to 501`,
    ]);
  });

  test.each([
    ['a second stage', { root: 1, pgtt: PGTT.SECOND_STAGE }],
    ['a nested one', { root: 1, pgtt: PGTT.NESTED }],
  ])('whose entry asks for %s, which the unit has not, stay blocked: their use is a fault', (_what, of) => {
    const guest = blocked();
    expect(entry(guest, of)).toEqual([]);
    guest.iommu.fault({ rid: FIRST, pasid: -1, page: 0x10, rights: 1, reason: 0x59 });
    expect(guest.iommu.read32(0x22c) & 0xff).not.toBe(0);
  });

  test('are flushed by domain, by PASID 0 and by device, at the host PASID behind them', () => {
    const guest = blocked();
    entry(guest, { root: 0x10, did: 5 });
    const told = (descriptor: Int32Array): string[] => {
      guest.submit(descriptor);
      guest.runAll();
      return changes(guest);
    };
    const both = [`iotlb 0@${FIRST}`, `iotlb 0@${SECOND}`];
    expect(told(encode(IOTLB_INVALIDATION, { TYPE: 2, G: 1 }))).toEqual(both);
    expect(told(encode(IOTLB_INVALIDATION, { TYPE: 2, G: 2, DID: 5 }))).toEqual(both);
    expect(told(encode(IOTLB_INVALIDATION, { TYPE: 2, G: 2, DID: 6 }))).toEqual([]);
    expect(told(encode(PASID_IOTLB_INVALIDATION, { TYPE: 6, G: 2, DID: 5, PASID: 0 }))).toEqual(both);
    expect(told(encode(DEVICE_TLB_INVALIDATION, { TYPE: 3, SID: SECOND }))).toEqual([
      `device-tlb 0@${SECOND}`,
    ]);
  });

  test('have nothing bound that the host refuses, and no PASID for it', () => {
    const guest = blocked();
    guest.host.chooser = { choose: (_n, what) => Number(what === 'bind is refused') };
    expect(entry(guest, { root: 0x10, did: 5 })).toEqual([]);
    expect([guest.host.mine.size, guest.iommu.bindingOf(FIRST, 0)]).toEqual([0, undefined]);
    guest.host.chooser = { choose: () => 0 };
    expect(entry(guest, { root: 0x10, did: 5 })).toHaveLength(2);
  });

  test('that the host has no PASID for stay blocked', () => {
    const guest = blocked();
    guest.host.allocPasid = () => refuse('EDQUOT', 'all are in use');
    expect(entry(guest, { root: 0x10, did: 5 })).toEqual([]);
    expect(guest.host.wrong).toEqual([]);
  });

  test('whose end hardware does not confirm keep their PASID, and the guest is told', () => {
    const guest = blocked();
    entry(guest, { root: 0x10, did: 5 });
    guest.host.chooser = { choose: (_n, what) => Number(what === 'unbind is not confirmed') };
    expect(entry(guest, {})).toEqual([]);
    expect([guest.host.mine.size, guest.iommu.read32(0x34) & 0x10]).toEqual([1, 0x10]);
  });

  test('of a device that comes to where one was blocked are blocked anew', () => {
    const guest = blocked();
    guest.iommu.removeDevice(SECOND);
    guest.runAll();
    guest.host.take();
    guest.iommu.addDevice(SECOND);
    guest.runAll();
    expect(changes(guest)).toEqual([`detach ${SECOND}`]);
  });

  test('are as after power-on when the VM has been reset', () => {
    const guest = blocked();
    entry(guest, { root: 0x10, did: 5 });
    guest.iommu.reset();
    guest.runAll();
    expect(changes(guest)).toEqual([
      ...[`unbind 0@${FIRST}`, `attach ${FIRST}`],
      ...[`unbind 0@${SECOND}`, `attach ${SECOND}`],
    ]);
    expect([guest.host.mine.size, guest.host.wrong]).toEqual([0, []]);
  });
});
