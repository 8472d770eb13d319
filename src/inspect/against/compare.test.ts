import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { isRefusal } from '../../base/index.js';
import { openImage } from '../sources/open.js';
import { settle } from '../sources/source.js';
import { surveyUnit } from '../survey.js';
import type { PasidSurvey } from '../survey-types.js';
import { describeUnit } from '../unit.js';
import { log, pasidOf, survey, type Table } from './compare.fixture.js';
import { type AgainstReport, compareWithLog } from './compare.js';
import { type DomainEvent, parseLog } from './log.js';
import { againstJson, againstLines } from './report.js';

/** What the report says of domains 2 and 3, which map these. */
const compared = (text: string, two: Table = [], three: Table = []): AgainstReport =>
  compareWithLog(survey(pasidOf(2, two), pasidOf(3, three)), log(text));

describe('events are explained', () => {
  test.each<[string, string, Table, Table]>([
    ['by the frames that the tables have', 'm 5 70, m 5 80', [[5, 80]], [[5, 70]]],
    ['by what else a domain has mapped', 'm 5 70, m 5 80, u 5', [], [[5, 70]]],
    ['by a flush', 'm 5 70, u 5, f 3, m 5 80, u 5, f 2', [], []],
    ['by other pages of the same event', 'm 5 70, m 6 80, m 6 71, u 5 2', [[6, 80]], []],
    ['where no flush was traced, without one', 'm 5 70, u 5, m 5 71, u 5, m 5 72', [[5, 72]], []],
    [
      'by a part of what was mapped',
      'm 4 70 3, u 5',
      [
        [4, 70],
        [6, 72],
      ],
      [],
    ],
  ])('%s', (_, text, two, three) => {
    expect(compared(text, two, three)).toMatchObject({ verdict: 'pass', differences: [], late: [] });
  });

  test('and counted by their domain', () => {
    const { assigned, events: counts } = compared('m 5 70, m 5 80, u 5, f 2', [], [[5, 70]]);
    expect(assigned.map(({ domain, events: count }) => [domain, count])).toEqual([
      [2, 2],
      [3, 1],
    ]);
    expect(counts).toEqual({ map: 2, unmap: 1, flush: 1 });
  });
});

describe('a difference has its event or its entry', () => {
  test.each<[string, string, Table, Partial<AgainstReport['differences'][number]>]>([
    [
      'a mapping that the tables lack',
      'm 5 70, m 6 71',
      [[6, 71]],
      { line: 1, page: 5, why: expect.stringMatching(/nothing in the log unmaps/) },
    ],
    [
      'an entry that the log lacks',
      'm 5 70',
      [
        [5, 70],
        [7, 71],
      ],
      { domain: 2, page: 7, frame: 71, why: expect.stringMatching(/the log does not/) },
    ],
    [
      'another frame',
      'm 5 70',
      [[5, 71]],
      { line: 1, domain: 2, frame: 71, why: expect.stringMatching(/lead it to 0x47000/) },
    ],
    [
      'an unmap of nothing',
      'm 5 70, u 6',
      [[5, 70]],
      { line: 2, page: 6, why: expect.stringMatching(/was not mapped/) },
    ],
    ['a map of what is mapped everywhere', 'm 5 70, m 5 71, m 5 72, u 5, u 5', [], { line: 1, page: 5 }],
    [
      'a map before a flush',
      'm 5 70, u 5, m 5 71, u 5, m 5 72, f 2, u 5',
      [],
      { why: expect.stringMatching(/not flushed/) },
    ],
  ])('%s', (_, text, two, difference) => {
    const report = compared(text, two);
    expect(report).toMatchObject({ verdict: 'fail', differences: [difference], doubts: [] });
    expect(report.differences).toHaveLength(1);
  });

  test('pages next to each other are one', () => {
    expect(
      compared('m 4 70 3', [
        [4, 70],
        [8, 1],
        [9, 2],
        [10, 4],
      ]).differences,
    ).toMatchObject([
      { page: 5, pages: 2, line: 1 },
      { page: 8, pages: 2, frame: 1 },
      { page: 10, pages: 1, frame: 4 },
    ]);
  });

  test('an event without one is shown with its line and text, an entry with its device', () => {
    const report = compared('m 5 70, u 6', [
      [5, 70],
      [7, 71],
    ]);
    expect(againstLines(report).join('\n')).toMatch(
      /line 2: event 2\n.*\n.*00:00\.0, domain 2, 0x7000 to 0x47000/,
    );
    expect(againstJson(report)['differences']).toMatchObject([
      { line: 2, event: 'event 2', iova: '0x6000', size: '0x1000' },
      { bdf: '00:00.0', pasid: 0, domain: 2, iova: '0x7000', physical: '0x47000', size: '0x1000' },
    ]);
  });
});

describe('after the log ended', () => {
  const work = 'm 5 70, m 6 71, m 7 72, u 6, f 2';
  const renewals = (count: number): string => ', u 5, f 2, m 5 70'.repeat(count);

  test.each<[string, readonly string[], Table]>([
    [
      'a buffer may have been renewed where the log left an address free',
      ['mapped', 'unmapped'],
      [
        [6, 79],
        [7, 72],
      ],
    ],
    [
      'a buffer may have been renewed below all others',
      ['mapped', 'unmapped'],
      [
        [4, 79],
        [7, 72],
      ],
    ],
    [
      'a buffer of which the log has the unmap may have been mapped where it was',
      ['mapped'],
      [
        [5, 70],
        [6, 79],
        [7, 72],
      ],
    ],
    [
      'a buffer of which the log has the unmap may have been mapped below all others',
      ['mapped'],
      [
        [4, 79],
        [5, 70],
        [7, 72],
      ],
    ],
    [
      'that one and another may have been renewed',
      ['mapped', 'mapped', 'unmapped'],
      [
        [4, 71],
        [6, 79],
        [7, 72],
      ],
    ],
  ])('%s', (_, changes, table) => {
    const report = compared(work, table);
    expect(report).toMatchObject({ verdict: 'pass', differences: [] });
    expect(report.late.map(({ change }) => change).sort()).toEqual(changes);
  });

  test('what leads where it led may have come where something has gone for it', () => {
    const report = compared(work, [
      [6, 71],
      [7, 72],
    ]);
    expect(report.late.map(({ change, page }) => [change, page])).toEqual([
      ['unmapped', 5],
      ['mapped', 6],
    ]);
  });

  test.each<[string, string, Table]>([
    ['one may not just have gone', work, [[7, 72]]],
    [
      'one may not just have come where the domain holds as much as before',
      `${work}, m 8 73`,
      [
        [5, 70],
        [6, 79],
        [7, 72],
        [8, 73],
      ],
    ],
    [
      'nor two for one that the log unmaps',
      work,
      [
        [4, 78],
        [5, 70],
        [6, 79],
        [7, 72],
      ],
    ],
    [
      'nor one long after it was unmapped',
      `${work}${renewals(16)}`,
      [
        [5, 70],
        [6, 79],
        [7, 72],
      ],
    ],
    [
      'what the log says was unmapped may not just be there, with nothing gone for it',
      work,
      [
        [5, 70],
        [6, 71],
        [7, 72],
      ],
    ],
    [
      'one may not have come where nothing was',
      work,
      [
        [9, 79],
        [7, 72],
      ],
    ],
    [
      'a part of one may not have gone',
      'm 5 70 2, m 7 72, u 7, f 2',
      [
        [5, 70],
        [7, 79],
      ],
    ],
    [
      'an idle domain changes nothing',
      'm 5 70, m 6 71, f 2',
      [
        [4, 79],
        [6, 71],
      ],
    ],
  ])('%s', (_, text, table) => {
    expect(compared(text, table)).toMatchObject({ verdict: 'fail', late: [] });
  });
});

describe('domains', () => {
  const at = (kind: DomainEvent['kind'], domain: number, line: number): DomainEvent => ({
    kind,
    domain,
    line,
  });

  test('that are gone may end in any way', () => {
    const domains = [at('assign', 4, 1), at('release', 4, 9)];
    const report = compareWithLog(survey(pasidOf(2, [[5, 70]])), log('m 5 71, m 5 70', { domains }));
    expect(report).toMatchObject({ verdict: 'pass', elsewhere: 1 });
  });

  test('that the log has and the tables have not are a difference', () => {
    const report = compareWithLog(survey(pasidOf(2, [])), log('m 5 71', { domains: [at('assign', 4, 1)] }));
    expect(report.differences).toMatchObject([
      { line: 1, domain: 4, why: expect.stringMatching(/names domain 4/) },
    ]);
    expect(report.verdict).toBe('fail');
  });

  test('whose devices have other tables are a difference', () => {
    const report = compareWithLog(
      survey(
        pasidOf(2, [[5, 70]]),
        pasidOf(2, [
          [5, 70],
          [6, 7],
        ]),
      ),
      log('m 5 70'),
    );
    expect(report).toMatchObject({
      verdict: 'fail',
      differences: [{ page: 6, pages: 1, holder: { rid: 8 } }],
    });
  });

  test.each<[string, Partial<PasidSurvey>]>([
    ['a guest’s', { translation: 'nested' }],
    ['a process’s', { translation: 'first-stage', pasid: 4, domain: 1 }],
  ])('of %s tables are not compared, and the verdict is no pass', (_, more) => {
    const report = compareWithLog(survey(pasidOf(2, [[5, 70]]), pasidOf(3, [[9, 9]], more)), log('m 5 70'));
    expect(report).toMatchObject({ verdict: 'unknown', differences: [] });
    expect(report.doubts).toEqual([expect.stringContaining('is not compared')]);
  });
});

describe('what is not certain is unknown', () => {
  test('where the log lost something', () => {
    const gaps = [{ line: 1, why: 'lost' }];
    expect(compareWithLog(survey(pasidOf(2, [])), log('m 5 71', { gaps }))).toMatchObject({
      verdict: 'unknown',
      differences: [{ line: 1 }],
      doubts: ['lost'],
    });
  });
});

test('the tables of a real Linux and its own log leave no difference', async () => {
  const folder = new URL('../../../examples/linux-7.2-vtd/', import.meta.url).pathname;
  const files = { memory: `${folder}memory.raw.gz`, registers: `${folder}registers.json` };
  const source = await openImage(files);
  const unit = describeUnit(source.registers);
  const found = await settle(source, () => surveyUnit(unit, source.memory));
  await source.close();
  const text = readFileSync(`${folder}console.log`, 'latin1');
  const kernelLog = parseLog(text);
  if (isRefusal(kernelLog)) throw new Error(kernelLog.why);
  const report = compareWithLog(found, kernelLog);
  expect(report).toMatchObject({ verdict: 'pass', differences: [], doubts: [] });
  expect(report.assigned.map(({ domain, events: count }) => [domain, count])).toEqual([
    [2, 0],
    [3, 0],
    [4, 0],
    [5, 271],
    [6, 70],
    [7, 1],
  ]);
  expect(report.late.map(({ change, page }) => [change, page])).toEqual([
    ['mapped', 0xffefa],
    ['unmapped', 0xffff8],
    ['unmapped', 0xffff9],
    ['mapped', 0xffffa],
  ]);
});
