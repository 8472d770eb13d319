import { describe, expect, test } from 'vitest';
import {
  chain,
  firstStageEntry,
  handMade,
  nestedEntry,
  OUTSIDE,
  SCALABLE,
  secondStageEntry,
  to,
  type Word,
} from '../../test/vtd/hand-made.js';
import type { FrameReader } from '../hardware/index.js';
import { bdf } from './bdf.js';
import { type SurveyFilter, surveyUnit } from './survey.js';
import { SURVEY_LIMITS } from './survey-log.js';
import type { Problem, Survey } from './survey-types.js';

function surveyOf(words: readonly Word[], filter: SurveyFilter = {}, isScalable = true): Survey {
  const { unit, memory } = handMade(words, isScalable);
  return surveyUnit(unit, memory, filter);
}

const range = (frames: number): readonly number[] => Array.from({ length: frames }, (_, i) => i);
const pagesOf = (survey: Survey, rid = 0x18): number[] =>
  survey.devices
    .filter((device) => device.rid === rid)
    .flatMap(({ pasids }) => pasids.flatMap(({ ranges }) => ranges.map(({ page }) => page)));

/** A good machine: 00:03.0 PASID 0 maps page 1; and a second requester, 00:04.0, in the same tables. */
const GOOD: readonly Word[] = [
  ...SCALABLE,
  [2, 0x20 * 4, to(3, 1n)],
  ...firstStageEntry(0x10),
  ...chain([0x10, 0x11, 0x12, 0x13]),
  [0x13, 1, to(0x50, 7n)],
];
const RESERVED_2M = to(0x50, 0x87n);

describe('what is wrong is reported at its place, and the rest is still shown', () => {
  const cases: (Problem & { name: string; words: readonly Word[]; pages: number[] })[] = [
    {
      name: 'a root entry that points outside',
      words: [[1, 2, to(OUTSIDE, 1n)]],
      where: 'root entry of bus 01 at 0x1010',
      what: 'points to 0x100000, outside of memory',
      pages: [1],
    },
    {
      name: 'a root entry with reserved bits, once for both of its halves',
      words: [
        [1, 2, 0x11n],
        [1, 3, 1n],
      ],
      where: 'root entry of bus 01 at 0x1010',
      what: 'reserved bits set in a scalable-mode root entry, fault 0x3a SRT.3',
      pages: [1],
    },
    {
      name: 'a context entry that points outside',
      words: [[2, 0x28 * 4, to(OUTSIDE, 1n)]],
      where: 'context entry of 00:05.0 at 0x2500',
      what: 'points to 0x100000, outside of memory',
      pages: [1],
    },
    {
      name: 'a context entry with a field that its unit does not have',
      words: [[2, 0x28 * 4, to(3, 0x11n)]],
      where: 'context entry of 00:05.0 at 0x2500',
      what: 'reserved bits set in a scalable-mode context entry, fault 0x42 SCT.3',
      pages: [1],
    },
    {
      name: 'a directory entry that points outside',
      words: [[3, 1, to(OUTSIDE, 1n)]],
      where: 'PASID directory entry 1 of 00:03.0 at 0x3008',
      what: 'points to 0x100000, outside of memory',
      pages: [1],
    },
    {
      name: 'a directory entry with reserved bits',
      words: [[3, 1, to(4, 5n)]],
      where: 'PASID directory entry 1 of 00:03.0 at 0x3008',
      what: 'reserved bits set in a PASID directory entry, fault 0x52 SPD.3',
      pages: [1],
    },
    {
      name: 'a PASID table entry with reserved bits',
      words: [[4, 8, 0x61n]],
      where: 'PASID table entry of 00:03.0 PASID 1 at 0x4040',
      what: 'reserved bits set in a PASID table entry, fault 0x5a SPT.3',
      pages: [1],
    },
    {
      name: 'a PASID table entry of a type that there is not',
      words: [[4, 8, 0x1c1n]],
      where: 'PASID table entry of 00:03.0 PASID 1 at 0x4040',
      what: 'PASID table entry invalid: its PGTT, AW or FSPM is reserved or not supported, fault 0x5b SPT.4',
      pages: [1],
    },
    {
      name: 'a first-stage root outside',
      words: [
        [4, 8, 0x41n],
        [4, 10, to(OUTSIDE, 0n)],
      ],
      where: 'PASID table entry of 00:03.0 PASID 1 at 0x4040',
      what: 'points to 0x100000, outside of memory',
      pages: [1],
    },
    ...[0x10, 0x11, 0x12].map((frame, i) => ({
      name: `a table of level ${4 - i} that points outside`,
      words: [[frame, 3, to(OUTSIDE, 7n)]] as Word[],
      where: `first-stage table of 00:03.0 PASID 0, level ${4 - i}, entry 3 at 0x${frame.toString(16)}018`,
      what: 'points to 0x100000, outside of memory',
      pages: [1],
    })),
    ...[0x10, 0x11, 0x12, 0x13].map((frame, i) => ({
      name: `a table of level ${4 - i} with reserved bits`,
      words: [[frame, 3, (1n << 50n) | 7n]] as Word[],
      where: `first-stage table of 00:03.0 PASID 0, level ${4 - i}, entry 3 at 0x${frame.toString(16)}018`,
      what: 'has reserved bits set: 0x4000000000007',
      pages: [1],
    })),
    {
      name: 'a large page that is not aligned',
      words: [[0x12, 3, RESERVED_2M]],
      where: 'first-stage table of 00:03.0 PASID 0, level 2, entry 3 at 0x12018',
      what: 'has reserved bits set: 0x50087',
      pages: [1],
    },
  ];

  test.each(cases)('$name', ({ words, where, what, pages }) => {
    const survey = surveyOf([...GOOD, ...words]);
    expect(survey.problems.filter((problem) => !problem.where.includes('00:04.0'))).toEqual([
      { where, what },
    ]);
    expect(pagesOf(survey)).toEqual(pages);
    expect(survey.devices.map(({ rid }) => bdf(rid))).toEqual(expect.arrayContaining(['00:03.0', '00:04.0']));
  });

  test('a root table outside of memory', () => {
    const { unit, memory } = handMade(GOOD);
    const survey = surveyUnit({ ...unit, root: Number(OUTSIDE) }, memory);
    expect(survey).toEqual({
      devices: [],
      problems: [{ where: 'RTADDR', what: 'points to 0x100000, outside of memory' }],
      tables: new Map(),
    });
  });

  test.each(['abort-dma', 'reserved'] as const)('no tables at all in the mode %s', (mode) => {
    const { unit, memory } = handMade(GOOD);
    expect(surveyUnit({ ...unit, mode }, memory).devices).toEqual([]);
  });

  test('nested: a guest table that the second stage does not map, or does not let read', () => {
    const second = [...chain([0x30, 0x31, 0x32, 0x33], 0, 3n), [0x33, 0x10, to(0x10, 3n)] as Word];
    const words = [...SCALABLE, ...nestedEntry(0x10, 0x30), ...second, [0x10, 0, to(0x11, 7n)] as Word];
    const where = 'first-stage table of 00:03.0 PASID 0, level 4, entry 0 at 0x10000';
    const what = 'points to 0x11000, which the second stage does not let it read';
    expect(surveyOf(words).problems).toEqual([{ where, what }]);
    expect(surveyOf([...words, [0x33, 0x11, to(0x11, 2n)]]).problems).toEqual([{ where, what }]);
  });
});

describe('a loop', () => {
  const stages = [
    { stage: 'first-stage', levels: 4, entry: firstStageEntry(0x10), bits: 7n },
    { stage: 'first-stage', levels: 5, entry: firstStageEntry(0x10, 5), bits: 7n },
    { stage: 'second-stage', levels: 4, entry: secondStageEntry(0x10), bits: 3n },
  ];
  const loops = stages.flatMap(({ stage, levels, entry, bits }) =>
    range(levels - 1).flatMap((from) =>
      range(from + 1).map((back) => ({ stage, levels, entry, bits, from, back })),
    ),
  );

  test.each(loops)('of $levels levels of $stage, from table $from back to $back', (loop) => {
    const { stage, levels, entry, bits, from, back } = loop;
    const frames = range(levels).map((i) => 0x10 + i);
    const tables = [...SCALABLE, ...entry, ...chain(frames, 0, bits)];
    const frame = 0x10 + from;
    const last = 0x10 + levels - 1;
    const survey = surveyOf([...tables, [last, 1, to(0x50, bits)], [frame, 9, to(0x10 + back, bits)]]);
    expect(survey.problems).toEqual([
      {
        where: `${stage} table of 00:03.0 PASID 0, level ${levels - from}, entry 9 at 0x${frame.toString(16)}048`,
        what: `is a loop: it points back to the table at 0x${(0x10 + back).toString(16)}000`,
      },
    ]);
    expect(pagesOf(survey)).toEqual([1]);
  });
});

describe('bounds', () => {
  const full = (frame: number, entry: bigint): Word[] => range(512).map((index) => [frame, index, entry]);
  const bomb = [
    ...[0x10, 0x11, 0x12].flatMap((frame) => full(frame, to(frame + 1, 7n))),
    ...full(0x13, to(0x50, 7n)),
  ];

  test('a table bomb, 2^36 pages in four frames, ends soon and says so', () => {
    const { unit, memory } = handMade([...SCALABLE, ...firstStageEntry(0x10), ...bomb]);
    let looked = 0;
    const counting: FrameReader = {
      get words() {
        return memory.words;
      },
      at(frame, word) {
        looked++;
        return memory.at(frame, word);
      },
    };
    const survey = surveyUnit(unit, counting);
    expect(looked).toBeLessThan(2_000_000);
    expect(survey.problems).toHaveLength(1);
    expect(survey.problems[0]?.what).toMatch(/^is where this ends: \d+ /);
    expect(survey.problems[0]?.where).toMatch(
      /^first-stage table of 00:03.0 PASID 0, level \d, entry \d+ at 0x/,
    );
    expect(pagesOf(survey).length).toBeLessThanOrEqual(SURVEY_LIMITS.ranges);
  }, 60_000);

  test('a bomb whose tables are all empty at the end has no ranges, and ends too', () => {
    const empty = bomb.filter(([frame]) => frame !== 0x13);
    const survey = surveyOf([...SCALABLE, ...firstStageEntry(0x10), ...empty]);
    expect(survey.problems.map(({ what }) => what)).toEqual([
      'is where this ends: 4096 tables have been gone through again and again',
    ]);
  });

  test('ranges, whatever their address spaces: the first are kept', () => {
    const limits = { ...SURVEY_LIMITS, ranges: 700 };
    const second: Word[] = [
      [4, 8, 0x41n],
      [4, 10, to(0x20, 0n)],
    ];
    const words = [...SCALABLE, ...firstStageEntry(0x10), ...second, ...chain([0x20, 0x21, 0x22, 0x13])];
    const chained = [...words, ...chain([0x10, 0x11, 0x12, 0x13]), ...full(0x13, to(0x50, 7n))];
    const survey = surveyOf(chained, { limits });
    const lengths = survey.devices.flatMap(({ pasids }) => pasids.map(({ ranges }) => ranges.length));
    expect(lengths).toEqual([512, 188]);
    expect(survey.problems).toEqual([
      {
        where: 'first-stage table of 00:03.0 PASID 1, level 1, entry 188 at 0x135e0',
        what: 'is where this ends: 700 ranges have been gone through',
      },
    ]);
  });

  test('PASIDs: one directory page in all entries of 65536 contexts', () => {
    const passThrough = range(64).map((i): Word => [4, i * 8, 0x101n]);
    const words = [
      ...range(256).flatMap((bus): Word[] => [
        [1, bus * 2, to(2, 1n)],
        [1, bus * 2 + 1, to(2, 1n)],
      ]),
      ...range(128).map((i): Word => [2, i * 4, to(3, 1n)]),
      ...full(3, to(4, 1n)),
      ...passThrough,
    ];
    const survey = surveyOf(words, { limits: { ...SURVEY_LIMITS, pasids: 5000 } });
    expect(survey.devices.reduce((sum, { pasids }) => sum + pasids.length, 0)).toBe(5000);
    expect(survey.problems.map(({ what }) => what)).toEqual([
      'is where this ends: 5000 PASIDs have been gone through',
    ]);
  });

  test('directories: one of empty tables in all entries of 65536 contexts', () => {
    const words = [
      ...range(256).flatMap((bus): Word[] => [
        [1, bus * 2, to(2, 1n)],
        [1, bus * 2 + 1, to(2, 1n)],
      ]),
      ...range(128).map((i): Word => [2, i * 4, to(3, 1n)]),
      ...full(3, to(4, 1n)),
    ];
    const survey = surveyOf(words, { limits: { ...SURVEY_LIMITS, directories: 5000 } });
    expect(survey.problems.map(({ what }) => what)).toEqual([
      'is where this ends: 5000 PASID directories and tables have been gone through',
    ]);
  });

  test('problems: the first thousand are listed, the others counted', () => {
    const broken = [0x12, 0x13, 0x14].flatMap((frame) => full(frame, to(0x50, 7n) | (1n << 50n)));
    const tables = [...chain([0x10, 0x11, 0x20]), ...chain([0x20, 0x12], 0), ...chain([0x20, 0x13], 1)];
    const survey = surveyOf([...SCALABLE, ...firstStageEntry(0x10), ...tables, ...broken]);
    expect(survey.problems).toHaveLength(1001);
    expect(survey.problems.at(-1)).toEqual({
      where: 'the tables',
      what: 'have 24 more problems, not listed',
    });
  });
});
