/** What tells a virtual unit that entries have changed, and what it does then. */
import { describe, expect, test } from 'vitest';
import { DEVICES, FRAME, RawGuest } from '../../../test/vmm/raw-guest.js';
import {
  CONTEXT_CACHE_INVALIDATION,
  DEVICE_TLB_INVALIDATION,
  encode,
  IOTLB_INVALIDATION,
  PASID_CACHE_INVALIDATION,
  PASID_DEVICE_TLB_INVALIDATION,
  PASID_IOTLB_INVALIDATION,
  PGTT,
} from '../../spec/index.js';

const [FIRST, SECOND] = DEVICES;
const CHANGED = 1;
const GONE = 2;
const NEW = 3;

/** Two PASIDs bound through both devices; then one entry changed, one gone, one new, and nothing told. */
function changed(): RawGuest {
  const guest = new RawGuest().enable();
  for (let i = 0; i < 3; i++) guest.alloc();
  guest.setEntry(CHANGED, { root: 0x10, did: 5 });
  guest.setEntry(GONE, { root: 0x11, did: 6 });
  guest.submit(encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 3 }));
  guest.runAll();
  guest.host.take();
  guest.setEntry(CHANGED, { root: 0x20, did: 5 });
  guest.setEntry(GONE, {});
  guest.setEntry(NEW, { root: 0x12, did: 7 });
  return guest;
}

/** What was bound (+) and unbound (-): `+1@32`. */
const changes = (guest: RawGuest): string[] =>
  guest.host.take().flatMap((done) => {
    if (done.what === 'bind') return [`+${done.binding.guestPasid}@${done.rid}`];
    return done.what === 'unbind' ? [`-${done.pair.guestPasid}@${done.rid}`] : [];
  });

const ofDevice = (rid: number): string[] => [`-1@${rid}`, `+1@${rid}`, `-2@${rid}`, `+3@${rid}`];
const ALL = DEVICES.flatMap(ofDevice);
const ONE = DEVICES.flatMap((rid) => [`-1@${rid}`, `+1@${rid}`]);

const queued =
  (descriptor: Int32Array) =>
  (guest: RawGuest): void =>
    guest.submit(descriptor);
const pasidCache = (values: Parameters<typeof encode<'G' | 'DID' | 'PASID'>>[1]) =>
  queued(encode(PASID_CACHE_INVALIDATION, { TYPE: 7, ...values }));
const contexts = (values: Parameters<typeof encode<'G' | 'DID' | 'SID' | 'FM'>>[1]) =>
  queued(encode(CONTEXT_CACHE_INVALIDATION, { TYPE: 1, ...values }));
/** CCMD: ICC, CIRG, FM, SID. */
const ccmd =
  (granularity: number, rid = 0) =>
  (guest: RawGuest): void =>
    guest.iommu.write64(0x28, rid << 16, (1 << 31) | (granularity << 29));

test.each<[string, (guest: RawGuest) => void, readonly string[]]>([
  ['a global PASID-cache invalidation', pasidCache({ G: 3 }), ALL],
  ['a domain-selective one', pasidCache({ G: 0, DID: 7 }), ALL],
  ['a PASID-selective one', pasidCache({ G: 1, DID: 5, PASID: CHANGED }), ONE],
  ['one of a PASID that the domain does not have', pasidCache({ G: 1, DID: 9, PASID: CHANGED }), ONE],
  ['a global context-cache invalidation', contexts({ G: 1 }), ALL],
  ['a domain-selective one', contexts({ G: 2, DID: 5 }), ALL],
  ['a device-selective one', contexts({ G: 3, SID: SECOND }), ofDevice(SECOND)],
  ['a device-selective one that leaves bits out', contexts({ G: 3, SID: FIRST ^ 7, FM: 3 }), ofDevice(FIRST)],
  ['a global one by register', ccmd(1), ALL],
  ['a domain-selective one by register', ccmd(2), ALL],
  ['a device-selective one by register', ccmd(3, FIRST), ofDevice(FIRST)],
  ['a new root pointer', (guest) => guest.latch(FRAME.OTHER_ROOT), ALL],
  ['first use', (guest) => guest.iommu.unknownPasid(NEW), DEVICES.map((rid) => `+3@${rid}`)],
  [
    'translation going off',
    (guest) => guest.command(1 << 26),
    DEVICES.flatMap((rid) => [`-1@${rid}`, `-2@${rid}`]),
  ],
  ['a reset', (guest) => guest.iommu.reset(), DEVICES.flatMap((rid) => [`-1@${rid}`, `-2@${rid}`])],
  [
    'a device that goes',
    (guest) => guest.iommu.removeDevice(FIRST),
    [`-1@${FIRST}`, `-2@${FIRST}`, ...ofDevice(SECOND)],
  ],
])('%s tells', (_what, tell, expected) => {
  const guest = changed();
  tell(guest);
  guest.runAll();
  expect(changes(guest).toSorted()).toEqual([...expected].toSorted());
  expect(guest.host.wrong).toEqual([]);
});

test('an entry changes for all devices that share it, which takes all of them off it first', () => {
  for (const invalidate of [pasidCache({ G: 3 }), pasidCache({ G: 1, DID: 5, PASID: CHANGED })]) {
    const guest = new RawGuest().enable();
    guest.host.isShared = true;
    guest.setEntry(guest.alloc(), { root: 0x10 });
    invalidate(guest);
    guest.runAll();
    guest.setEntry(CHANGED, { root: 0x20 });
    invalidate(guest);
    guest.runAll();
    expect(DEVICES.map((rid) => guest.host.boundAs(rid, CHANGED)?.root)).toEqual([0x20, 0x20]);
  }
});

test.each([
  ['ICC and RTPS', 0x2c, (guest: RawGuest) => ccmd(1)(guest), 31, 0],
  ['IVT', 0x10c, (guest: RawGuest) => guest.iommu.write64(0x108, 0, (1 << 31) | (1 << 28)), 31, 0],
  ['RTPS', 0x1c, (guest: RawGuest) => guest.latch(FRAME.OTHER_ROOT), 30, 1],
  ['TES', 0x1c, (guest: RawGuest) => guest.command(1 << 26), 31, 0],
] as const)('%s says that it is done only when the host has done it', (_what, offset, tell, bit, done) => {
  const guest = changed();
  guest.host.isHeld = true;
  tell(guest);
  for (let i = 0; i < 50; i++) guest.tasks.step({ choose: () => 0 });
  expect([guest.host.underWay, (guest.iommu.read32(offset) >>> bit) & 1]).toEqual([1, 1 - done]);
  guest.host.isHeld = false;
  guest.runAll();
  expect((guest.iommu.read32(offset) >>> bit) & 1).toBe(done);
});

describe('invalidations', () => {
  const of = (guest: RawGuest) =>
    guest.host.take().flatMap((done) => {
      if (done.what !== 'invalidate') return [];
      const { cache, guestPasid, pages } = done.invalidation;
      return [
        `${cache} ${guestPasid}@${done.rid}${pages === undefined ? '' : ` ${pages.page}+${pages.pages}`}`,
      ];
    });
  const two = (): RawGuest => {
    const guest = new RawGuest().enable();
    for (let pasid = guest.alloc(); pasid < 3; pasid = guest.alloc())
      guest.setEntry(pasid, { root: 1, did: 4 + pasid });
    guest.submit(encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 3 }));
    guest.runAll();
    guest.host.take();
    return guest;
  };

  test.each<[string, Int32Array, readonly string[]]>([
    [
      'all',
      encode(IOTLB_INVALIDATION, { TYPE: 2, G: 1 }),
      ['iotlb 1@32', 'iotlb 2@32', 'iotlb 1@40', 'iotlb 2@40'],
    ],
    ['a domain', encode(IOTLB_INVALIDATION, { TYPE: 2, G: 2, DID: 6 }), ['iotlb 2@32', 'iotlb 2@40']],
    ['a domain of nobody', encode(IOTLB_INVALIDATION, { TYPE: 2, G: 2, DID: 9 }), []],
    [
      'a PASID',
      encode(PASID_IOTLB_INVALIDATION, { TYPE: 6, G: 2, DID: 5, PASID: 1 }),
      ['iotlb 1@32', 'iotlb 1@40'],
    ],
    ['a PASID of another domain', encode(PASID_IOTLB_INVALIDATION, { TYPE: 6, G: 2, DID: 6, PASID: 1 }), []],
    [
      'pages of a PASID',
      encode(PASID_IOTLB_INVALIDATION, { TYPE: 6, G: 3, DID: 5, PASID: 1, ADDR: 9, AM: 1 }),
      ['iotlb 1@32 8+2', 'iotlb 1@40 8+2'],
    ],
    [
      "a device's PASID",
      encode(PASID_DEVICE_TLB_INVALIDATION, { TYPE: 8, SID: 40, PASID: 2, ADDR: 7 }),
      ['device-tlb 2@40 7+1'],
    ],
    [
      "all of a device's PASIDs",
      encode(PASID_DEVICE_TLB_INVALIDATION, { TYPE: 8, SID: 32, G: 1, ADDR: 7 }),
      ['device-tlb 1@32 7+1', 'device-tlb 2@32 7+1'],
    ],
    ['what a device asked for without PASID', encode(DEVICE_TLB_INVALIDATION, { TYPE: 3, SID: 32 }), []],
  ])('of %s', (_what, descriptor, expected) => {
    const guest = two();
    guest.submit(descriptor);
    guest.runAll();
    expect(of(guest).toSorted()).toEqual([...expected].toSorted());
    expect(guest.iommu.read32(0x80)).toBe(guest.iommu.read32(0x88));
  });

  test('of a device that is not there time out', () => {
    const guest = two();
    guest.submit(encode(DEVICE_TLB_INVALIDATION, { TYPE: 3, SID: 0x99 }));
    guest.runAll();
    expect(guest.iommu.read32(0x34) & 0x40).toBe(0x40);
  });
});

describe('an entry that is gone, and says that its faults are not recorded', () => {
  /** Bound through a whole function and a part, then silent. */
  function silent(): RawGuest {
    const guest = changed();
    guest.host.whole.add(FIRST);
    guest.setEntry(CHANGED, { isSilent: true });
    flush(guest);
    return guest;
  }
  const flush = (guest: RawGuest): void => {
    guest.submit(encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 1, DID: 5, PASID: CHANGED }));
    guest.runAll();
  };
  const ends = (guest: RawGuest): string[] => {
    const done = guest.host.take();
    expect(guest.host.wrong).toEqual([]);
    return done.flatMap((each) =>
      'pair' in each ? [`${each.what} ${each.pair.guestPasid}@${each.rid}`] : [],
    );
  };

  test('is muted on the host where nobody drains the device, and unbound where somebody does', () => {
    const guest = silent();
    expect(ends(guest)).toEqual([`mute ${CHANGED}@${FIRST}`, `unbind ${CHANGED}@${SECOND}`]);
    expect(guest.iommu.bindingOf(FIRST, CHANGED)).toBeUndefined();
    flush(guest);
    expect(ends(guest)).toEqual([]);
    guest.setEntry(CHANGED, {});
    flush(guest);
    expect(ends(guest)).toEqual([`unbind ${CHANGED}@${FIRST}`]);
  });

  test('is unbound before it is bound anew', () => {
    const guest = silent();
    guest.host.take();
    guest.setEntry(CHANGED, { root: 0x30, did: 5 });
    flush(guest);
    expect(changes(guest)).toEqual([`-1@${FIRST}`, `+1@${FIRST}`, `+1@${SECOND}`]);
    expect(guest.host.wrong).toEqual([]);
  });
});

describe('entries that the unit does not take', () => {
  /** The reason in the first fault record; 0 if it is empty. */
  const fault = ({ iommu }: RawGuest): number => (iommu.read32(0x22c) < 0 ? iommu.read32(0x22c) & 0xff : 0);

  test.each([
    ['nested', { root: 1, pgtt: PGTT.NESTED }],
    ['second-stage', { root: 1, pgtt: PGTT.SECOND_STAGE }],
    ['pass-through', { root: 1, pgtt: PGTT.PASS_THROUGH }],
    ['of a reserved type', { root: 1, pgtt: 7 }],
  ])('%s: nothing is bound, and its use is a fault', (_what, entry) => {
    const guest = new RawGuest().enable();
    const pasid = guest.alloc();
    guest.setEntry(pasid, entry);
    guest.iommu.unknownPasid(pasid);
    guest.runAll();
    expect([changes(guest), fault(guest)]).toEqual([[], 0x5b]);
  });

  test('what the host refuses is a fault on use, too', () => {
    const chooser = { choose: (_n: number, what: string) => (what === 'bind is refused' ? 1 : 0) };
    const guest = new RawGuest({ chooser }).enable();
    const pasid = guest.alloc();
    guest.setEntry(pasid, { root: 1 });
    guest.submit(encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 3 }));
    guest.runAll();
    expect([guest.iommu.read32(0x80), guest.iommu.read32(0x22c)]).toEqual([32, 0]);
    guest.iommu.unknownPasid(pasid);
    guest.runAll();
    expect(fault(guest)).toBe(0x5b);
  });
});

test.each([
  [false, 0xe00, 0xe10, 16, 16],
  [true, 0xe10, 0xe20, 8, 2],
])(
  'virtual commands, in the registers of before 3.3: %s',
  (oldVirtualCommands, command, response, shift, refused) => {
    const guest = new RawGuest({ oldVirtualCommands, pasidBits: 1 });
    const ask = (code: number, operand = 0): number => {
      guest.iommu.write64(command, code | (operand << shift), 0);
      return guest.iommu.read32(response);
    };
    expect([ask(1), ask(1), ask(2, 1), ask(2, 1), ask(3)]).toEqual([
      1 << shift,
      refused << 1,
      0,
      refused << 1,
      1 << 1,
    ]);
  },
);

test('a message goes wherever the guest says, and where there is no such address, nothing happens', () => {
  const guest = new RawGuest().enable();
  const [PECTL, PEADDR, PEUADDR] = [0xe0, 0xe8, 0xec];
  guest.iommu.write32(PEADDR, -1);
  guest.iommu.write32(PEUADDR, -1);
  guest.iommu.write32(PECTL, 0);
  guest.alloc();
  guest.setEntry(1, { root: 0x10 });
  guest.submit(encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 3 }));
  guest.runAll();
  guest.iommu.pageRequest({ rid: FIRST, pasid: 1, page: 5, rights: 1, group: 3, isLast: true });
  expect(guest.interrupts.length).toBe(1);
});

/** GSTS.TES and RTPS. */
const status = (guest: RawGuest): number => (guest.iommu.read32(0x1c) >>> 30) & 3;
const [TES, RTPS] = [2, 1];

test.each<[string, number, (guest: RawGuest) => void]>([
  ['a new root', RTPS, (guest) => guest.latch(FRAME.ROOT)],
  ['translation off', TES, (guest) => guest.command(1 << 26)],
])(
  "%s, not confirmed by the host's hardware, is not said to be done, and is when it is asked for again",
  (_, bit, act) => {
    const guest = new RawGuest().enable();
    guest.alloc();
    guest.setEntry(1, { root: 0x10 });
    guest.submit(encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G: 3 }));
    guest.runAll();
    expect([guest.host.bound.size, status(guest)]).toEqual([DEVICES.length, TES | RTPS]);
    const before = bit === TES ? TES : 0;
    guest.setEntry(1, {});
    guest.host.chooser = { choose: (_n, what) => (what === 'unbind is not confirmed' ? 1 : 0) };
    act(guest);
    guest.runAll();
    expect([guest.host.bound.size, status(guest) & bit]).toEqual([DEVICES.length, before]);
    guest.host.chooser = { choose: () => 0 };
    act(guest);
    guest.runAll();
    expect([guest.host.bound.size, status(guest) & bit]).toEqual([0, bit === TES ? 0 : RTPS]);
  },
);
