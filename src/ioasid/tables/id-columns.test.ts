import { expect, test } from 'vitest';
import { IdColumns, nextOf, setNext, setWork, workOf } from './id-columns.js';

test.each([1, 7, 8, 9, 201, 1000])('after growing to %i, every id that has room has all of it', (count) => {
  const ids = new IdColumns();
  ids.grow(count);
  expect(ids.length).toBeGreaterThanOrEqual(count);
  for (let id = 0; id < ids.length; id++) {
    setNext(ids, id, id + 1);
    setWork(ids, id, id + 2);
  }
  const last = ids.length - 1;
  expect([nextOf(ids, last), workOf(ids, last)]).toEqual([last + 1, last + 2]);
});
