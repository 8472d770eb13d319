/** A guest that writes nonsense, and sense among it, to all that it can reach: the host stays as it should be. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEVICES, RawGuest } from '../../../test/vmm/raw-guest.js';
import {
  CONTEXT_CACHE_INVALIDATION,
  encode,
  FSTS_REG,
  GSTS_REG,
  INVALIDATION_WAIT,
  IOTLB_INVALIDATION,
  PAGE_GROUP_RESPONSE,
  PASID_CACHE_INVALIDATION,
  PASID_DEVICE_TLB_INVALIDATION,
  PASID_IOTLB_INVALIDATION,
} from '../../spec/index.js';

type Act = (guest: RawGuest) => void;

const SOME_PASID = fc.nat(5);
const SOME_RID = fc.constantFrom(...DEVICES, 9);
const G = fc.nat(3);
const DID = fc.nat(8);
const AM = fc.nat(20);

const DESCRIPTOR = fc.oneof(
  fc
    .record({ TYPE: fc.constant(7), G, DID, PASID: SOME_PASID })
    .map((values) => encode(PASID_CACHE_INVALIDATION, values)),
  fc
    .record({ TYPE: fc.constant(1), G, SID: SOME_RID, FM: G })
    .map((values) => encode(CONTEXT_CACHE_INVALIDATION, values)),
  fc.record({ TYPE: fc.constant(2), G, DID, AM }).map((values) => encode(IOTLB_INVALIDATION, values)),
  fc
    .record({ TYPE: fc.constant(6), G, DID, PASID: SOME_PASID, AM })
    .map((values) => encode(PASID_IOTLB_INVALIDATION, values)),
  fc
    .record({ TYPE: fc.constant(8), SID: SOME_RID, PASID: SOME_PASID, G: fc.nat(1) })
    .map((values) => encode(PASID_DEVICE_TLB_INVALIDATION, values)),
  fc
    .record({ TYPE: fc.constant(9), RID: SOME_RID, PP: fc.nat(1), PASID: SOME_PASID, PRGI: fc.nat(511) })
    .map((values) => encode(PAGE_GROUP_RESPONSE, values)),
  fc
    .record({ TYPE: fc.constant(5), SW: fc.nat(1), IF: fc.nat(1), STATUS_ADDR: fc.nat(0x1_0000) })
    .map((values) => encode(INVALIDATION_WAIT, values)),
);

/** Commands, queues, tables, status, interrupts, IVA and IOTLB, the last word of a fault record, virtual commands. */
const REGISTERS = [
  ...[0x18, 0x1c, 0x20, 0x28, 0x2c, 0x34, 0x38, 0x80, 0x88, 0x90, 0x9c, 0xa0, 0xc0, 0xc8, 0xd0, 0xdc, 0xe0],
  ...[0x100, 0x108, 0x10c, 0x22c, 0xe00, 0xe04, 0xe10],
];
const WORD = fc.oneof(
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.nat(31).map((bit) => 1 << bit),
  fc.constantFrom(0x1400, 0x5400, 0x8800, 0x60, -(2 ** 31) + 2 ** 26, 0x1_0001, 0x1_0002, 0x2_0002),
);

const request = { rid: SOME_RID, pasid: fc.integer({ min: -1, max: 5 }), page: fc.nat(), rights: fc.nat(15) };

/** What a guest can do, its devices, and its VMM; how often the VMM's task comes to run between. */
const acts: readonly [weight: number, fc.Arbitrary<Act>][] = [
  [8, DESCRIPTOR.map((each) => (guest) => guest.submit(each))],
  [1, fc.int32Array({ minLength: 8, maxLength: 8 }).map((each) => (guest) => guest.submit(each))],
  [
    1,
    fc.tuple(fc.constantFrom(...REGISTERS), WORD).map(
      ([at, low]) =>
        (guest) =>
          guest.iommu.write32(at, low),
    ),
  ],
  [
    1,
    fc.tuple(fc.nat(0x1100), WORD, WORD).map(
      ([at, low, high]) =>
        (guest) =>
          guest.iommu.write64(at, low, high),
    ),
  ],
  [
    1,
    fc.tuple(fc.nat(11), fc.nat(1023), WORD).map(
      ([frame, at, word]) =>
        (guest) =>
          guest.put(frame, at, [word]),
    ),
  ],
  [
    10,
    fc.tuple(SOME_PASID, fc.option(fc.nat(3)), DID).map(
      ([pasid, root, did]) =>
        (guest) =>
          guest.setEntry(pasid, root === null ? { isSilent: did % 2 === 1 } : { root, did }),
    ),
  ],
  [2, fc.nat(8).map((pasid) => (guest) => guest.iommu.unknownPasid(pasid))],
  [
    2,
    fc
      .record({ ...request, group: fc.nat(511), isLast: fc.boolean() })
      .map((each) => (guest) => guest.iommu.pageRequest(each)),
  ],
  [
    1,
    fc
      .record({ ...request, reason: fc.constantFrom(0x59, 0x79, 0x80) })
      .map((each) => (guest) => guest.iommu.fault(each)),
  ],
  [1, fc.constant((guest) => guest.iommu.reset())],
  [4, fc.constant((guest) => void guest.alloc())],
  [2, SOME_PASID.map((pasid) => (guest) => guest.iommu.write64(0xe00, 2 | (pasid << 16), 0))],
  [2, fc.constant((guest) => void guest.enable())],
  [1, fc.constantFrom(...DEVICES).map((rid) => (guest) => guest.iommu.removeDevice(rid))],
  [1, fc.constantFrom(...DEVICES).map((rid) => (guest) => guest.iommu.addDevice(rid))],
  [12, fc.nat(6).map((steps) => (guest) => guest.runSome(steps))],
];

const SOME_ACTS = fc.array(fc.oneof(...acts.map(([weight, arbitrary]) => ({ weight, arbitrary }))), {
  minLength: 100,
  maxLength: 400,
  size: 'max',
});

test('what the host is asked for makes sense, and the queue stops with an error or not at all', () => {
  const harmless = fc.property(SOME_ACTS, fc.infiniteStream(fc.nat(15)), (all, answers) => {
    const chooser = { choose: (n: number) => (answers.next().value ?? 0) % n };
    const guest = new RawGuest({ chooser }).enable();
    guest.host.whole.add(DEVICES[0]);
    for (const act of all) act(guest);
    guest.runAll();
    expect(guest.host.wrong).toEqual([]);
    if (isQueueGoing(guest)) expect(guest.iommu.read32(0x80)).toBe(guest.iommu.read32(0x88));
    for (const rid of DEVICES) {
      for (let pasid = 0; pasid < 8; pasid++) {
        expect(guest.iommu.bindingOf(rid, pasid)).toEqual(guest.host.boundAs(rid, pasid));
      }
    }
    guest.host.chooser = { choose: () => 0 };
    guest.iommu.reset();
    guest.runAll();
    expect([guest.host.bound.size, guest.host.mine.size, guest.host.wrong]).toEqual([0, 0, []]);
  });
  fc.assert(harmless, { numRuns: 100 });
});

/** Whether the queue is on, and no error has stopped it. */
function isQueueGoing({ iommu }: RawGuest): boolean {
  const [status, faults] = [Int32Array.of(iommu.read32(0x1c)), Int32Array.of(iommu.read32(0x34))];
  const isStopped = FSTS_REG.IQE.get(faults, 0) === 1 || FSTS_REG.ITE.get(faults, 0) === 1;
  return GSTS_REG.QIES.get(status, 0) === 1 && !isStopped;
}
