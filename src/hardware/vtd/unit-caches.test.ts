/** What an invalidation of second-stage pages takes of nested translations: those of its domain, and no other. */
import { expect, test } from 'vitest';
import { firstChooser } from '../../base/index.js';
import { pageEntry } from '../cache/page-cache.js';
import { KIND, NO_TRANSLATION } from './entry-summary.js';
import { TAG, UnitCaches } from './unit-caches.js';

const ENTRIES = 16;
const PASID = 5;
/** Domains 1 and 17 share a list: there are as many as entries. */
const DOMAINS = [1, 2, 1 + ENTRIES];

/** In each domain: two nested pages, one known to have no translation, a first-stage page, a second-stage one. */
function cached(): UnitCaches {
  const caches = new UnitCaches('dmar0', firstChooser, { iotlb: ENTRIES });
  const kinds = [KIND.NESTED, KIND.NESTED, KIND.NESTED | NO_TRANSLATION, KIND.FIRST, KIND.SECOND];
  for (const space of DOMAINS) {
    for (const [page, kind] of kinds.entries()) {
      const tag = kind === KIND.SECOND ? TAG.SECOND : PASID;
      caches.keep({ ...pageEntry(), space, tag, page, frame: 0x100 + page, rights: 1, kind });
    }
  }
  return caches;
}

/** Domain and page of each entry. */
function held({ iotlb }: UnitCaches): string[] {
  const found: string[] = [];
  iotlb.visit(({ space, page }) => found.push(`${space}:${page}`));
  return found.toSorted();
}

const FAR = { page: 0x1000, pages: 1, leafOnly: true };

test.each(DOMAINS)('all nested ones of domain %i go, whichever page it is', (domain) => {
  const caches = cached();
  caches.mark();
  const all = held(caches);
  caches.invalidatePages(domain, FAR);
  expect(held(caches)).toEqual(all.filter((each) => !/:[012]$/.test(each) || !each.startsWith(`${domain}:`)));
  caches.restore();
  expect(held(caches)).toEqual(all);
});

test('they go once more after a restore, and with the page that is named', () => {
  const caches = cached();
  caches.mark();
  caches.invalidateDomain(1);
  caches.restore();
  const all = held(caches);
  caches.invalidatePages(1, { page: 4, pages: 1, leafOnly: true });
  expect(held(caches)).toEqual(all.filter((each) => !/^1:[0124]$/.test(each)));
});

test('a domain with nothing nested loses nothing', () => {
  const caches = cached();
  const all = held(caches);
  caches.invalidatePages(3, FAR);
  expect(held(caches)).toEqual(all);
});
