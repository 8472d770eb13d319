import { describe, expect, test } from 'vitest';
import { bindBytes, bytesOf, invalidateBytes } from '../../../test/vfio/vm.js';
import {
  IOMMU_CACHE_INVALIDATE,
  IOMMU_GPASID_BIND,
  IOMMU_PAGE_RESPONSE,
  VFIO_DMA_MAP,
  VFIO_DMA_UNMAP,
  VFIO_PASID_REQUEST,
} from '../../spec/index.js';
import {
  parseBind,
  parseDmaMap,
  parseDmaUnmap,
  parseInvalidation,
  parsePasidRequest,
  parseResponse,
  parseUnbind,
} from './arguments.js';

const MAP = { ARGSZ: 32, READ: 1, WRITE: 1, VADDR: 0x7000, IOVA: 0x3000, SIZE: 0x2000 };
const UNMAP = { ARGSZ: 24, IOVA: 0x3000, SIZE: 0x2000 };
const REQUEST = { ARGSZ: 16, ALLOC: 1, MIN: 1, MAX: 9 };
const RESPONSE = { ARGSZ: 24, VERSION: 1, PASID_VALID: 1, PASID: 101, GRPID: 3 };
const BIND = {
  ...{ ARGSZ: 72, VERSION: 1, FORMAT: 1, ADDR_WIDTH: 48, GPASID_VALID: 1 },
  ...{ GPGD: 0x5000, HPASID: 202, GPASID: 101 },
};

const map = (values: Partial<Record<keyof typeof MAP, number | bigint>>) =>
  parseDmaMap(bytesOf(VFIO_DMA_MAP, { ...MAP, ...values }));
const unmap = (values: object) => parseDmaUnmap(bytesOf(VFIO_DMA_UNMAP, { ...UNMAP, ...values }));
const request = (values: object) => parsePasidRequest(bytesOf(VFIO_PASID_REQUEST, { ...REQUEST, ...values }));
const response = (values: object) => parseResponse(bytesOf(IOMMU_PAGE_RESPONSE, { ...RESPONSE, ...values }));
const bind = (values: object) => parseBind(bytesOf(IOMMU_GPASID_BIND, { ...BIND, ...values }));

/** An invalidation with some bytes changed. */
function invalidation(changes: Readonly<Record<number, number>>, length = 56) {
  const bytes = invalidateBytes(101, 0x12);
  for (const [at, value] of Object.entries(changes)) bytes[Number(at)] = value;
  return parseInvalidation(bytes.subarray(0, length));
}

/** Any argument with one byte changed. */
function changed(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = value;
  return copy;
}

describe('arguments that are right', () => {
  test('say what they say', () => {
    expect(map({})).toEqual({ first: 3, last: 4, page: 7, read: true, write: true });
    expect(unmap({})).toEqual({ first: 3, last: 4 });
    expect(request({})).toEqual({ kind: 'alloc', min: 1, max: 9 });
    expect(request({ ALLOC: 0, FREE: 1 })).toMatchObject({ kind: 'free' });
    expect(response({ CODE: 1 })).toEqual({ guestPasid: 101, group: 3, response: 'invalid request' });
    expect(bind({ SRE: 1, WPE: 1, ADDR_WIDTH: 57 })).toEqual({
      ...{ hostPasid: 202, guestPasid: 101 },
      stage: { root: 5, levels: 5, supervisor: true, writeProtect: true, extendedAccessed: false },
    });
    const iotlb = { iotlb: true, deviceTlb: false, pasidCache: false };
    expect(invalidation({})).toEqual({ ...iotlb, guestPasid: 101, range: { first: 0x12, last: 0x12 } });
  });

  test('of a bind without a guest PASID name the host PASID by itself', () => {
    expect(bind({ GPASID_VALID: 0 })).toMatchObject({ hostPasid: 202, guestPasid: 202 });
  });

  test('of an unbind are the PASIDs, and end before what only a unit of one kind knows', () => {
    const short = changed(bindBytes(101, 202), 0, 56).subarray(0, 56);
    const pasids = { hostPasid: 202, guestPasid: 101, mute: false };
    expect(parseUnbind(short)).toEqual(pasids);
    expect(parseUnbind(bytesOf(IOMMU_GPASID_BIND, { ...BIND, FPD: 1 }))).toEqual({ ...pasids, mute: true });
    const noStage = bytesOf(IOMMU_GPASID_BIND, { ...BIND, ADDR_WIDTH: 0, GPGD: 5, CD: 1 });
    expect(parseUnbind(noStage)).toEqual(pasids);
    expect(parseBind(short)).toMatchObject({ errno: 'EINVAL' });
  });

  test('of an invalidation may name a domain alone, which means all that the VM has', () => {
    expect(invalidation({ 9: 0 }, 56)).toEqual({ iotlb: true, deviceTlb: false, pasidCache: false });
    expect(invalidation({ 16: 2 })).toMatchObject({ guestPasid: undefined });
    expect(invalidation({ 8: 7, 9: 1 })).toEqual({
      ...{ iotlb: true, deviceTlb: true, pasidCache: true, guestPasid: 101 },
    });
  });

  test('may be longer than what is known', () => {
    const longer = new Uint8Array(100);
    longer.set(changed(bindBytes(101, 202), 0, 100));
    expect(parseBind(longer)).toMatchObject({ hostPasid: 202 });
  });
});

describe.each([
  ['a mapping', parseDmaMap, bytesOf(VFIO_DMA_MAP, MAP)],
  ['an unmapping', parseDmaUnmap, bytesOf(VFIO_DMA_UNMAP, UNMAP)],
  ['a PASID request', parsePasidRequest, bytesOf(VFIO_PASID_REQUEST, REQUEST)],
  ['a bind', parseBind, bindBytes(101, 202)],
  ['an unbind', parseUnbind, changed(bindBytes(101, 202), 0, 56).subarray(0, 56)],
  ['an invalidation', parseInvalidation, invalidateBytes(101, 0x12)],
  ['a page response', parseResponse, bytesOf(IOMMU_PAGE_RESPONSE, RESPONSE)],
])('%s', (_what, parse, good) => {
  test('is refused if it says that it is too short', () => {
    expect(parse(changed(good, 0, 12))).toMatchObject({ errno: 'EINVAL' });
    expect(parse(changed(good, 0, good.length - 4))).toMatchObject({ errno: 'EINVAL' });
  });

  test('is refused if it is shorter than it says', () => {
    for (const length of [0, 3, 8, good.length - 1]) {
      expect(parse(good.subarray(0, length))).toMatchObject({ errno: 'EFAULT' });
    }
  });

  test('is never thrown at, whatever bytes it has', () => {
    for (let at = 4; at < good.length; at++) {
      for (const value of [0, 1, 0x80, 0xff]) expect(parse(changed(good, at, value))).toBeDefined();
    }
  });
});

describe('is EINVAL:', () => {
  test.each<[string, unknown]>([
    ['a version that is unknown: bind', bind({ VERSION: 2 })],
    ['a version that is unknown: unbind', parseUnbind(changed(bindBytes(1, 2), 4, 2))],
    ['an unknown flag: unbind', parseUnbind(changed(bindBytes(1, 2), 16, 5))],
    ['muted: bind', bind({ FPD: 1 })],
    ['padding: unbind', parseUnbind(changed(bindBytes(1, 2), 48, 1))],
    ['a format that is unknown: unbind', parseUnbind(changed(bindBytes(1, 2), 8, 2))],
    ['a host PASID of 21 bits: unbind', parseUnbind(changed(bindBytes(1, 2), 34, 0x10))],
    ['a version that is unknown: response', response({ VERSION: 0 })],
    ['a version that is unknown: invalidation', invalidation({ 4: 2 })],
    ['an unknown flag: mapping', parseDmaMap(changed(bytesOf(VFIO_DMA_MAP, MAP), 4, 7))],
    ['an unknown flag: unmapping', parseDmaUnmap(changed(bytesOf(VFIO_DMA_UNMAP, UNMAP), 4, 2))],
    ['an unknown flag: request', parsePasidRequest(changed(bytesOf(VFIO_PASID_REQUEST, REQUEST), 4, 5))],
    ['an unknown flag: bind', parseBind(changed(bindBytes(1, 2), 16, 3))],
    ["an unknown flag of VT-d's: bind", parseBind(changed(bindBytes(1, 2), 56, 0x80))],
    ['an unknown flag: response', parseResponse(changed(bytesOf(IOMMU_PAGE_RESPONSE, RESPONSE), 8, 3))],
    ['an unknown flag: invalidation', invalidation({ 16: 9 })],
    ['an unknown cache', invalidation({ 8: 9 })],
    ['no cache', invalidation({ 8: 0 })],
    ['padding: bind', parseBind(changed(bindBytes(1, 2), 48, 1))],
    ['padding: invalidation', invalidation({ 10: 1 })],
    ['a mapping without rights', map({ READ: 0, WRITE: 0 })],
    ['a mapping of nothing', map({ SIZE: 0 })],
    ['a mapping of half a page', map({ SIZE: 0x800 })],
    ['a mapping from within a page', map({ VADDR: 0x7001 })],
    ['a mapping to within a page', map({ IOVA: 0x3001 })],
    ['a mapping beyond all addresses', map({ IOVA: 2n ** 64n - 4096n })],
    ['an unmapping of nothing', unmap({ SIZE: 0 })],
    ['an unmapping that asks what was written', unmap({ GET_DIRTY_BITMAP: 1 })],
    ['a request for neither', request({ ALLOC: 0 })],
    ['a request for both', request({ FREE: 1 })],
    ['a range that ends before it begins', request({ MIN: 10 })],
    ['a range beyond 2^31', request({ MAX: 2 ** 31 + 1 })],
    ['a format that is unknown', bind({ FORMAT: 2 })],
    ['a width that there is not', bind({ ADDR_WIDTH: 39 })],
    ['a root within a page', bind({ GPGD: 0x5008 })],
    ['a root beyond all addresses', bind({ GPGD: 2n ** 63n })],
    ['a memory type', bind({ EMTE: 1 })],
    ['a host PASID of 21 bits', bind({ HPASID: 2 ** 20 })],
    ['a host PASID of 64 bits', bind({ HPASID: 2n ** 63n + 5n })],
    ['a guest PASID of 21 bits', bind({ GPASID: 2 ** 20 })],
    ['an answer without a PASID', response({ PASID_VALID: 0 })],
    ['an answer of 21 bits', response({ PASID: 2 ** 20 })],
    ['an answer of a code that is unknown', response({ CODE: 3 })],
    ['a granularity that is unknown', invalidation({ 9: 3 })],
    ['a domain of a device TLB', invalidation({ 8: 2, 9: 0 })],
    ['addresses of the PASID cache', invalidation({ 8: 5 })],
    ['a PASID that is not named', invalidation({ 9: 1, 16: 0 })],
    ['a PASID of 21 bits', invalidation({ 26: 0x10 })],
    ['a granule that is no power of two', invalidation({ 41: 0x30 })],
    ['a granule of less than a page', invalidation({ 41: 0x08 })],
    ['no granules', invalidation({ 48: 0 })],
    ['granules beyond all addresses', invalidation({ 55: 0xff })],
  ])('%s', (_what, refusal) => {
    expect(refusal).toMatchObject({ errno: 'EINVAL' });
  });

  test('an invalidation that is too short for its granularity', () => {
    const bytes = changed(invalidateBytes(101, 0x12), 0, 16);
    expect(parseInvalidation(bytes)).toMatchObject({ errno: 'EINVAL' });
    expect(parseInvalidation(changed(bytes, 9, 1))).toMatchObject({ errno: 'EINVAL' });
    expect(IOMMU_CACHE_INVALIDATE.bytes).toBe(16);
    expect(parseInvalidation(changed(bytes, 9, 0))).toEqual({
      ...{ iotlb: true, deviceTlb: false, pasidCache: false },
    });
  });
});
