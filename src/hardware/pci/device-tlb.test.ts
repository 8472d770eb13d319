/** A function's translations: what hits, and what invalidations remove. */
import { expect, test } from 'vitest';
import { firstChooser } from '../../base/index.js';
import { NONE } from '../cache/slots.js';
import { RIGHT } from '../paging/step.js';
import { DeviceTlb } from './device-tlb.js';
import { emptyCompletion } from './root-complex.js';

const { READ, WRITE, USER } = RIGHT;
const ALL = 2 ** 52;

/** PASIDs 5 and 6 with pages 0x10 (one page) and 0x200 to 0x3ff, and page 0x20 for every PASID. */
function filled(): DeviceTlb {
  const tlb = new DeviceTlb({ name: 'atc', entries: 8, chooser: firstChooser });
  const put = (pasid: number, page: number, frame: number, pages: number, isGlobal = false): void => {
    tlb.fill(
      { pasid, page, rights: 0 },
      { ...emptyCompletion(), frame, pages, rights: READ | USER, isGlobal },
    );
  };
  for (const pasid of [5, 6]) {
    put(pasid, 0x10, pasid, 1);
    put(pasid, 0x210, 0x1000 + 0x10, 512);
  }
  put(5, 0x20, 0x99, 1, true);
  return tlb;
}

const at = (tlb: DeviceTlb, pasid: number, page: number, rights = READ | USER): number =>
  tlb.frameOf({ pasid, page, rights });

/** Which of all is still there. */
const left = (tlb: DeviceTlb): string =>
  [5, 6]
    .flatMap((pasid) => [0x10, 0x3ff, 0x20].map((page) => (at(tlb, pasid, page) === NONE ? '-' : 'x')))
    .join('');

test('hits where an entry grants all that is asked', () => {
  const tlb = filled();
  expect([at(tlb, 5, 0x10), at(tlb, 6, 0x10), at(tlb, 5, 0x3ff), at(tlb, 9, 0x20)]).toEqual([
    5, 6, 0x11ff, 0x99,
  ]);
  expect([at(tlb, 5, 0x10, READ | WRITE | USER), at(tlb, 5, 0x11), at(tlb, -1, 0x10)]).toEqual([
    NONE,
    NONE,
    NONE,
  ]);
});

test('an answer that grants nothing is not kept', () => {
  const tlb = filled();
  tlb.fill({ pasid: 7, page: 1, rights: READ }, { ...emptyCompletion(), rights: 0 });
  expect(tlb.used).toBe(5);
});

test.each([
  ['a page', { pasid: 5, page: 0x10, pages: 1, isGlobal: false }, '-xxxxx'],
  ['a page of a large one', { pasid: 5, page: 0x212, pages: 1, isGlobal: false }, 'x-xxxx'],
  ['a page that holds for all, by one PASID', { pasid: 6, page: 0x20, pages: 1, isGlobal: false }, 'xx-xx-'],
  ['a PASID', { pasid: 5, page: 0, pages: ALL, isGlobal: false }, '---xx-'],
  ['a page of all PASIDs', { pasid: 0, page: 0x10, pages: 1, isGlobal: true }, '-xx-xx'],
  ['all', { pasid: 0, page: 0, pages: ALL, isGlobal: true }, '------'],
])('an invalidation of %s', (_, fields, expected) => {
  const tlb = filled();
  tlb.mark();
  tlb.invalidate({ rid: 0, itag: 0, ...fields });
  expect(left(tlb)).toBe(expected);
  tlb.restore();
  expect(left(tlb)).toBe('xxxxxx');
});

test('shows what it holds, and forgets it', () => {
  const tlb = filled();
  const shown = (): string[] => {
    const found: string[] = [];
    tlb.visit(({ pasid, page, pages }) => {
      found.push(`${pasid ?? 'all'}:${page.toString(16)}+${pages}`);
    });
    return found.toSorted();
  };
  expect(shown()).toEqual(['5:10+1', '5:200+512', '6:10+1', '6:200+512', 'all:20+1']);
  tlb.clear();
  expect([shown(), tlb.used]).toEqual([[], 0]);
});
