import { describe, expect, test } from 'vitest';
import { isRefusal, type Refusal, refuse, type Task, UndoLog } from '../base/index.js';
import { NO_PASID, RIGHT } from '../hardware/index.js';
import type { FaultListener, VfioContainer, VfioDevice } from '../kernel/index.js';
import {
  decode,
  encode,
  FAULT,
  IOMMU_CACHE_INVALIDATE,
  IOMMU_FAULT,
  IOMMU_FAULT_BYTES,
  IOMMU_FAULT_EVENT_WORD,
  IOMMU_FAULT_PAGE_REQUEST,
  IOMMU_FAULT_REASON,
  IOMMU_FAULT_TYPE,
  IOMMU_FAULT_UNRECOVERABLE,
  IOMMU_GPASID_BIND,
  IOMMU_INV_ADDR,
  IOMMU_INV_PASID,
  IOMMU_PAGE_RESPONSE,
  type LayoutInfo,
  VFIO_DMA_MAP,
  VFIO_PASID_REQUEST,
} from '../spec/index.js';
import { dmaMap, VfioSide } from './vfio-side.js';

const RID = 0x0100;
const PAIR = { guestPasid: 101, hostPasid: 202 } as const;

/** What a structure says that is not zero. */
function fieldsOf(layout: LayoutInfo, bytes: Uint8Array, word = 0): Record<string, number> {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const said = decode(layout, words, word).fields.filter(({ value }) => value !== 0n);
  return Object.fromEntries(said.map(({ field, value }) => [field.name, Number(value)]));
}

function rig(answer?: Refusal) {
  const calls: (readonly [name: string, argument: Uint8Array])[] = [];
  const listeners: FaultListener[] = [];
  // As the container, they have read the argument when they return.
  const call = (name: string) => (device: VfioDevice, argument: Uint8Array) => {
    calls.push([`${name} ${device.name}`, argument.slice()]);
    return (function* (): Task<Refusal | undefined> {
      yield name;
      return answer;
    })();
  };
  const container = {
    pasidRequest(argument: Uint8Array): number | Refusal {
      calls.push(['pasid', argument]);
      return answer ?? 202;
    },
    bindGpasid: call('bind'),
    unbindGpasid: call('unbind'),
    invalidate: call('invalidate'),
    pageResponse: call('respond'),
    onFault: (_device: VfioDevice, listener: FaultListener) => void listeners.push(listener),
  };
  const side = new VfioSide(new UndoLog(), container as unknown as VfioContainer);
  side.add(RID, { name: 'mdev' } as VfioDevice);
  return { side, calls, listeners };
}

function run<T>(task: Task<T>): T {
  for (;;) {
    const { done, value } = task.next();
    if (done === true) return value;
  }
}

describe("the host's side, over VFIO", () => {
  test('maps memory by the addresses of the VMM and of the guest', () => {
    expect(fieldsOf(VFIO_DMA_MAP, dmaMap({ gfn: 0x100, pages: 3, page: 0x7f_0000_0000 }))).toEqual({
      ...{ ARGSZ: 32, READ: 1, WRITE: 1, IOVA: 0x10_0000, SIZE: 0x3000 },
      VADDR: 0x7f_0000_0000 * 4096,
    });
  });

  test('asks for PASIDs and gives them back', () => {
    const { side, calls } = rig();
    expect([side.allocPasid(5, 9), side.freePasid(202)]).toEqual([202, undefined]);
    expect(calls.map(([, argument]) => fieldsOf(VFIO_PASID_REQUEST, argument))).toEqual([
      { ARGSZ: 16, ALLOC: 1, MIN: 5, MAX: 9 },
      { ARGSZ: 16, FREE: 1, MIN: 202, MAX: 202 },
    ]);
    const refusing = rig(refuse('ENOSPC', 'none'));
    expect([isRefusal(refusing.side.allocPasid(1, 2)), isRefusal(refusing.side.freePasid(1))]).toEqual([
      true,
      true,
    ]);
  });

  test('binds and unbinds by both numbers', () => {
    const { side, calls } = rig();
    const stage = {
      root: 0x1234,
      levels: 5,
      supervisorRequests: true,
      writeProtect: true,
      extendedAccessed: false,
    };
    run(side.bind(RID, { ...PAIR, ...stage }));
    run(side.unbind(RID, PAIR));
    run(side.unbind(RID, PAIR, { mute: true }));
    const both = { ARGSZ: 72, VERSION: 1, FORMAT: 1, GPASID_VALID: 1, GPASID: 101, HPASID: 202 };
    expect(calls.map(([name, argument]) => [name, fieldsOf(IOMMU_GPASID_BIND, argument)])).toEqual([
      ['bind mdev', { ...both, ADDR_WIDTH: 57, GPGD: 0x123_4000, SRE: 1, WPE: 1 }],
      ['unbind mdev', { ...both, ADDR_WIDTH: 48 }],
      ['unbind mdev', { ...both, ADDR_WIDTH: 48, FPD: 1 }],
    ]);
  });

  test.each([
    ['iotlb', { IOTLB: 1 }],
    ['device-tlb', { DEV_IOTLB: 1 }],
    ['both', { IOTLB: 1, DEV_IOTLB: 1 }],
  ] as const)('invalidates %s: a PASID, or pages of it', (cache, flags) => {
    const { side, calls } = rig();
    run(side.invalidate(RID, { cache, guestPasid: 101, pages: undefined, leafOnly: false }));
    run(side.invalidate(RID, { cache, guestPasid: 101, leafOnly: true, pages: { page: 0x40, pages: 8 } }));
    const [whole, pages] = calls.map(([, argument]) => argument);
    if (whole === undefined || pages === undefined) throw new Error('no calls');
    expect(fieldsOf(IOMMU_CACHE_INVALIDATE, whole)).toEqual({
      ARGSZ: 32,
      VERSION: 1,
      GRANULARITY: 1,
      ...flags,
    });
    expect(fieldsOf(IOMMU_INV_PASID, whole, 4)).toEqual({ PASID_VALID: 1, PASID: 101 });
    expect(fieldsOf(IOMMU_CACHE_INVALIDATE, pages)).toEqual({
      ARGSZ: 56,
      VERSION: 1,
      GRANULARITY: 2,
      ...flags,
    });
    const scope = { PASID_VALID: 1, LEAF: 1, PASID: 101, GRANULE_SIZE: 4096, NB_GRANULES: 8 };
    expect(fieldsOf(IOMMU_INV_ADDR, pages, 4)).toMatchObject(scope);
  });

  test.each([
    [0, undefined],
    [1, 1],
    [0xf, 2],
    [7, 2],
  ])('answers page requests with PCIe code %i as %s', (code, CODE) => {
    const { side, calls } = rig();
    run(side.respond(RID, { guestPasid: 101, group: 3, code }));
    const said = { ARGSZ: 24, VERSION: 1, PASID_VALID: 1, PASID: 101, GRPID: 3, ...(CODE && { CODE }) };
    expect(calls.map(([, argument]) => fieldsOf(IOMMU_PAGE_RESPONSE, argument))).toEqual([said]);
  });

  test('knows no other devices', () => {
    const { side, calls } = rig();
    const refused = [run(side.unbind(7, PAIR)), run(side.respond(7, { guestPasid: 1, group: 0, code: 0 }))];
    expect([refused.map((each) => each?.errno), calls]).toEqual([['ENODEV', 'ENODEV'], []]);
  });

  test.each([
    ['a read of a user', 1, FAULT.USER_DENIED],
    ['a privileged read', 9, FAULT.SM_READ_DENIED],
    ['a write', 3, FAULT.SM_WRITE_DENIED],
    ['an execution', 5, FAULT.EXECUTE_DENIED],
  ])('a denied access is told as what it was: %s', (_what, PERM, reason) => {
    const { side, listeners } = rig();
    const told: unknown[] = [];
    side.listen(RID, { pageRequest: () => {}, fault: (fault) => void told.push(fault.reason) });
    const words = new Int32Array(IOMMU_FAULT_BYTES / 4);
    IOMMU_FAULT.TYPE.set(words, 0, IOMMU_FAULT_TYPE.UNRECOVERABLE);
    const denied = encode(IOMMU_FAULT_UNRECOVERABLE, { REASON: IOMMU_FAULT_REASON.PERMISSION, PERM });
    words.set(denied, IOMMU_FAULT_EVENT_WORD);
    listeners[0]?.(new Uint8Array(words.buffer));
    expect(told).toEqual([reason]);
  });

  test('tells the virtual unit of page requests and faults', () => {
    const { side, listeners } = rig();
    const told: unknown[] = [];
    side.listen(RID, { pageRequest: (each) => void told.push(each), fault: (each) => void told.push(each) });
    const [tell] = listeners;
    const report = (type: number, event: Int32Array): void => {
      const words = new Int32Array(IOMMU_FAULT_BYTES / 4);
      IOMMU_FAULT.TYPE.set(words, 0, type);
      words.set(event, IOMMU_FAULT_EVENT_WORD);
      tell?.(new Uint8Array(words.buffer));
    };
    const at = { ADDR: 0x7f_0000_5000 };
    const request = { PASID_VALID: 1, LAST_PAGE: 1, PASID: 101, GRPID: 4, PERM: 3, ...at };
    report(IOMMU_FAULT_TYPE.PAGE_REQUEST, encode(IOMMU_FAULT_PAGE_REQUEST, request));
    report(
      IOMMU_FAULT_TYPE.UNRECOVERABLE,
      encode(IOMMU_FAULT_UNRECOVERABLE, { REASON: 3, ADDR_VALID: 1, PERM: 9, ...at }),
    );
    const page = 0x7f0_0005;
    expect(told).toEqual([
      { rid: RID, pasid: 101, page, rights: RIGHT.READ | RIGHT.WRITE | RIGHT.USER, group: 4, isLast: true },
      { rid: RID, pasid: NO_PASID, page, rights: RIGHT.READ, reason: FAULT.PASID_NOT_PRESENT },
    ]);
  });
});
