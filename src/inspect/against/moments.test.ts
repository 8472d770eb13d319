import { describe, expect, test } from 'vitest';
import { log, pasidOf, survey, type Table } from './compare.fixture.js';
import { compareWithMoments, isExact, MOST_MOMENTS } from './moments.js';

/** Domain 2 is at work: line 6 has what its log said when its tables were read, or a little less. */
const LOG = log('m 5 70, m 6 71, m 7 72, u 6, f 2, m 6 73, u 5, f 2, m 5 74, u 7, f 2, m 7 75');

const compared = (table: Table, from: number) => compareWithMoments(survey(pasidOf(2, table)), LOG, from);

describe('tables that were read while their log went on', () => {
  test.each<[string, Table]>([
    [
      'as the log said already',
      [
        [5, 70],
        [6, 73],
        [7, 72],
      ],
    ],
    [
      'between an unmap and its map',
      [
        [6, 73],
        [7, 72],
      ],
    ],
    [
      'a little later',
      [
        [5, 74],
        [6, 73],
        [7, 72],
      ],
    ],
    [
      'when its last event had happened',
      [
        [5, 74],
        [6, 73],
        [7, 75],
      ],
    ],
  ])('%s, are explained', (_, table) => {
    const report = compared(table, 6);
    expect(report).toMatchObject({ verdict: 'pass' });
    expect(isExact(report)).toBe(true);
  });

  test.each<[string, Table]>([
    [
      'an entry that was unmapped before',
      [
        [5, 70],
        [6, 71],
        [7, 72],
      ],
    ],
    [
      'entries of two moments at once',
      [
        [5, 70],
        [6, 73],
        [7, 75],
      ],
    ],
    [
      'an entry of no moment',
      [
        [5, 74],
        [6, 73],
        [7, 72],
        [9, 79],
      ],
    ],
  ])('with %s, are not', (_, table) => {
    expect(compared(table, 6).verdict).toBe('fail');
  });

  test('are held against the moment that leaves least', () => {
    const table: Table = [
      [5, 74],
      [6, 73],
      [7, 75],
      [9, 79],
    ];
    expect(compared(table, 6).differences).toMatchObject([{ page: 9, frame: 79, line: undefined }]);
  });

  test('are held against so many moments and no more', () => {
    const busy = log(`m 5 70, m 6 71${', m 8 80, u 8, f 2'.repeat(MOST_MOMENTS / 2)}, u 5`);
    const verdict = (from: number) => compareWithMoments(survey(pasidOf(2, [[6, 71]])), busy, from).verdict;
    expect([verdict(2), verdict(5)]).toEqual(['fail', 'pass']);
  });
});

test('what a log lost later is no doubt, what it lost before is one', () => {
  const gaps = [{ line: 2, why: 'lost' }];
  const lossy = log('m 5 70, u 5, f 2, m 5 71', { gaps });
  const at = (table: Table, from: number) => compareWithMoments(survey(pasidOf(2, table)), lossy, from);
  expect(at([[5, 70]], 1)).toMatchObject({ verdict: 'pass', doubts: [] });
  expect(at([[5, 71]], 1)).toMatchObject({ verdict: 'unknown', doubts: ['lost'] });
});
