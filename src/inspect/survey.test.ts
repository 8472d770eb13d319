import { describe, expect, test } from 'vitest';
import {
  chain,
  firstStageEntry,
  handMade,
  nestedEntry,
  SCALABLE,
  secondStageEntry,
  to,
  type Word,
} from '../../test/vtd/hand-made.js';
import { RIGHT } from '../hardware/index.js';
import { accessText } from './access.js';
import { bdf } from './bdf.js';
import { type SurveyFilter, surveyUnit } from './survey.js';
import type { MappedRange, Survey } from './survey-types.js';

const { READ, WRITE, USER } = RIGHT;

function surveyOf(words: readonly Word[], isScalable = true, filter: SurveyFilter = {}): Survey {
  const { unit, memory } = handMade(words, isScalable);
  return surveyUnit(unit, memory, filter);
}

/** `0x1000+2 -> 0x5000 rw`: address, pages, physical address, rights. */
const rangeText = ({ page, pages, frame, rights }: MappedRange): string =>
  `0x${(BigInt(page) << 12n).toString(16)}+${pages} -> 0x${(frame * 4096).toString(16)} ${accessText(rights, true)}`;

/** The ranges of PASID 0 of the one device, and that nothing was wrong. */
function rangesOf(words: readonly Word[], isScalable = true): string[] {
  const { devices, problems } = surveyOf(words, isScalable);
  expect(problems).toEqual([]);
  return devices[0]?.pasids[0]?.ranges.map(rangeText) ?? [];
}

const leaves = (frame: number, ...entries: [index: number, target: number, bits: bigint][]): Word[] =>
  entries.map(([index, target, bits]) => [frame, index, to(target, bits)]);

describe('each kind of translation', () => {
  test('first-stage, 4 levels', () => {
    const words = [...SCALABLE, ...firstStageEntry(0x10), ...chain([0x10, 0x11, 0x12, 0x13])];
    const { devices } = surveyOf([...words, ...leaves(0x13, [1, 0x50, 7n])]);
    expect(devices).toEqual([
      {
        rid: 0x18,
        pasids: [
          {
            pasid: 0,
            translation: 'first-stage',
            domain: 5,
            canExecute: false,
            root: 0x10,
            secondRoot: undefined,
            ranges: [{ page: 1, frame: 0x50, pages: 1, rights: READ | WRITE | USER }],
          },
        ],
      },
    ]);
  });

  test('first-stage, 5 levels, its upper half at the top', () => {
    const words = [...SCALABLE, ...firstStageEntry(0x10, 5), ...chain([0x10, 0x11, 0x12, 0x13, 0x14], 511)];
    const tables = [...words, ...chain([0x10, 0x11], 256)];
    expect(rangesOf([...tables, ...leaves(0x14, [511, 0x50, 7n])])).toEqual([
      '0xff00fffffffff000+1 -> 0x50000 rw',
      '0xfffffffffffff000+1 -> 0x50000 rw',
    ]);
  });

  test.each([
    { levels: 3, top: '0x7ffffff000' },
    { levels: 4, top: '0xfffffffff000' },
  ])('second-stage, $levels levels, has no upper half', ({ levels, top }) => {
    const frames = [0x10, 0x11, 0x12, 0x13].slice(0, levels);
    const words = [...SCALABLE, ...secondStageEntry(0x10, levels), ...chain(frames, 511, 3n)];
    const last = frames.at(-1) ?? 0;
    expect(rangesOf([...words, ...leaves(last, [511, 0x50, 1n])])).toEqual([`${top}+1 -> 0x50000 r`]);
  });

  test('second-stage, 5 levels: what lies beyond MGAW (48 bits) is left out', () => {
    const words = [
      ...SCALABLE,
      ...secondStageEntry(0x10, 5),
      ...chain([0x10, 0x11, 0x12, 0x13, 0x14], 0, 3n),
    ];
    const beyond = chain([0x10, 0x11], 1, 3n);
    const lastLeaf = leaves(0x14, [2, 0x50, 3n]);
    expect(rangesOf([...words, ...beyond, ...lastLeaf])).toEqual(['0x2000+1 -> 0x50000 rw']);
  });

  test('pass-through', () => {
    const { devices } = surveyOf([...SCALABLE, [4, 0, 0x101n], [4, 1, 9n]]);
    expect(devices[0]?.pasids).toEqual([
      {
        pasid: 0,
        translation: 'pass-through',
        domain: 9,
        canExecute: false,
        root: undefined,
        secondRoot: undefined,
        ranges: [],
      },
    ]);
  });

  test('a legacy context, under PASID 0', () => {
    const legacy: Word[] = [
      [1, 0, to(2, 1n)],
      [2, 0x18 * 2, to(0x10, 1n)],
      [2, 0x18 * 2 + 1, 0x502n],
    ];
    const { devices, problems } = surveyOf(
      [...legacy, ...chain([0x10, 0x11, 0x12, 0x13], 0, 3n), ...leaves(0x13, [3, 0x50, 2n])],
      false,
    );
    expect(problems).toEqual([]);
    expect(devices.map(({ rid, pasids }) => [bdf(rid), pasids[0]?.translation, pasids[0]?.domain])).toEqual([
      ['00:03.0', 'second-stage', 5],
    ]);
    expect(devices[0]?.pasids[0]?.ranges.map(rangeText)).toEqual(['0x3000+1 -> 0x50000 w']);
  });

  test('nested, with holes in the second stage', () => {
    // Guest frames 0x20 to 0x23 are the first stage's tables, 0x30 to 0x33 its pages; 0x32 is not mapped, 0x33
    // read-only.
    const first = [
      ...chain([0x20, 0x21, 0x22, 0x23]),
      ...leaves(0x23, [0, 0x30, 7n], [1, 0x31, 7n], [2, 0x32, 7n], [3, 0x33, 7n]),
    ];
    const guest = [0x20, 0x21, 0x22, 0x23].map((frame): [number, number, bigint] => [frame, frame, 1n]);
    const second = leaves(0x13, ...guest, [0x30, 0x70, 3n], [0x31, 0x71, 3n], [0x33, 0x73, 1n]);
    const words = [...SCALABLE, ...nestedEntry(0x20, 0x10), ...chain([0x10, 0x11, 0x12, 0x13], 0, 3n)];
    expect(rangesOf([...words, ...second, ...first])).toEqual([
      '0x0+2 -> 0x70000 rw',
      '0x3000+1 -> 0x73000 r',
    ]);
  });
});

describe('ranges', () => {
  const space = [...SCALABLE, ...firstStageEntry(0x10), ...chain([0x10, 0x11, 0x12, 0x13])];

  test.each<{ what: string; entries: [number, number, bigint][]; ranges: string[] }>([
    {
      what: 'contiguous pages are one',
      entries: [
        [0, 0x50, 7n],
        [1, 0x51, 7n],
        [2, 0x52, 7n],
      ],
      ranges: ['0x0+3 -> 0x50000 rw'],
    },
    {
      what: 'frames that are not contiguous part them',
      entries: [
        [0, 0x50, 7n],
        [1, 0x52, 7n],
      ],
      ranges: ['0x0+1 -> 0x50000 rw', '0x1000+1 -> 0x52000 rw'],
    },
    {
      what: 'a page that is missing parts them',
      entries: [
        [0, 0x50, 7n],
        [2, 0x52, 7n],
      ],
      ranges: ['0x0+1 -> 0x50000 rw', '0x2000+1 -> 0x52000 rw'],
    },
    {
      what: 'rights part them',
      entries: [
        [0, 0x50, 7n],
        [1, 0x51, 5n],
        [2, 0x52, 5n],
      ],
      ranges: ['0x0+1 -> 0x50000 rw', '0x1000+2 -> 0x51000 r'],
    },
    {
      what: 'execution does not, where no request may ask for it',
      entries: [
        [0, 0x50, 7n],
        [1, 0x51, 7n | (1n << 63n)],
      ],
      ranges: ['0x0+2 -> 0x50000 rw'],
    },
    {
      what: 'supervisor pages are left out where SRE is clear',
      entries: [
        [0, 0x50, 3n],
        [1, 0x51, 7n],
      ],
      ranges: ['0x1000+1 -> 0x51000 rw'],
    },
  ])('$what', ({ entries, ranges }) => {
    expect(rangesOf([...space, ...leaves(0x13, ...entries)])).toEqual(ranges);
  });

  test('2 MiB and the 4 KiB page after it are one, and so is the 1 GiB page after both', () => {
    const pages = leaves(
      0x13,
      ...Array.from({ length: 512 }, (_, i): [number, number, bigint] => [i, 0x3fe00 + i, 7n]),
    );
    const middle = chain([0x11, 0x12, 0x13], 511);
    const words = [...SCALABLE, ...firstStageEntry(0x10), ...chain([0x10, 0x11])];
    const large = leaves(0x12, [510, 0x3fc00, 0x87n]);
    const first = leaves(0x11, [0, 0, 0n]);
    expect(rangesOf([...words, ...first, ...middle, ...pages, ...large])).toEqual([
      '0x7fffc00000+1024 -> 0x3fc00000 rw',
    ]);
    const before = [...words, ...chain([0x11, 0x12], 0), ...chain([0x12, 0x13], 511), ...pages, ...large];
    expect(rangesOf([...before, ...leaves(0x11, [1, 0x4_0000, 0x87n])])).toEqual([
      '0x3fc00000+263168 -> 0x3fc00000 rw',
    ]);
  });

  test('supervisor pages are there where SRE is set, and marked', () => {
    const entry: Word[] = [
      [4, 0, 0x41n],
      [4, 2, to(0x10, 1n)],
    ];
    const { devices } = surveyOf([
      ...SCALABLE,
      ...entry,
      ...chain([0x10, 0x11, 0x12, 0x13]),
      [0x13, 0, to(0x50, 3n)],
    ]);
    expect(devices[0]?.pasids[0]?.ranges).toEqual([{ page: 0, frame: 0x50, pages: 1, rights: READ | WRITE }]);
  });

  test('the interrupt range is cut out, and reported', () => {
    const words = [...SCALABLE, ...secondStageEntry(0x10), ...chain([0x10, 0x11, 0x12], 0, 3n)];
    const { devices, problems } = surveyOf([
      ...words,
      ...leaves(0x12, [0, 0xfee00, 0x83n], [1, 0xff200, 0x83n]),
    ]);
    expect(devices[0]?.pasids[0]?.ranges.map(rangeText)).toEqual([
      '0x100000+256 -> 0xfef00000 rw',
      '0x200000+512 -> 0xff200000 rw',
    ]);
    expect(problems).toEqual([
      {
        where: '00:03.0 PASID 0, address 0x0',
        what: 'leads to the interrupt range, at 0xfee00000: such requests are blocked',
      },
    ]);
  });
});

describe('several requesters', () => {
  const root: Word[] = [
    [1, 0, to(2, 1n)],
    [1, 1, to(6, 1n)],
    [1, 2 * 0x40, to(2, 1n)],
  ];
  const contexts: Word[] = [
    [2, 0x18 * 4, to(3, 1n)],
    [2, 0x20 * 4, to(3, 1n)],
    [6, 0x7f * 4, to(3, 0x201n)],
  ];
  const entries: Word[] = [
    [3, 0, to(4, 1n)],
    [3, 130, to(5, 1n)],
    [5, 63 * 8, 0x41n],
    [5, 63 * 8 + 2, to(0x10, 0n)],
  ];
  const tables = [
    ...firstStageEntry(0x10),
    ...chain([0x10, 0x11, 0x12, 0x13]),
    ...leaves(0x13, [1, 0x50, 7n]),
  ];
  const words = [...root, ...contexts, ...entries, ...tables];

  test('of both halves of a bus, and of a context table that two buses share', () => {
    const { devices, problems } = surveyOf(words);
    expect(problems).toEqual([]);
    expect(devices.map(({ rid, pasids }) => [bdf(rid), pasids.map(({ pasid }) => pasid)])).toEqual([
      ['00:03.0', [0]],
      ['00:04.0', [0]],
      // PDTS 1: a directory of 256 entries, the others' have 128.
      ['00:1f.7', [0, 130 * 64 + 63]],
      ['40:03.0', [0]],
      ['40:04.0', [0]],
    ]);
  });

  test('that share tables have one list of ranges, and one report', () => {
    const { devices, problems } = surveyOf([...words, [0x13, 2, to(0x50, 7n) | (1n << 50n)]]);
    const lists = new Set(devices.flatMap(({ pasids }) => pasids.map(({ ranges }) => ranges)));
    expect(lists.size).toBe(1);
    expect(problems.map(({ where }) => where)).toEqual([
      'first-stage table of 00:03.0 PASID 0, level 1, entry 2 at 0x13010',
    ]);
  });

  test.each([
    { filter: { rid: 0x4018 }, found: ['40:03.0 0'] },
    { filter: { pasid: 8383 }, found: ['00:1f.7 8383'] },
    { filter: { rid: 0xff, pasid: 0 }, found: ['00:1f.7 0'] },
    { filter: { rid: 0x30 }, found: [] },
  ])('asked for by $filter', ({ filter, found }) => {
    const { devices } = surveyOf(words, true, filter);
    expect(devices.flatMap(({ rid, pasids }) => pasids.map(({ pasid }) => `${bdf(rid)} ${pasid}`))).toEqual(
      found,
    );
  });

  test('and each table is named by its frame', () => {
    expect([...surveyOf(words).tables].toSorted(([a], [b]) => a - b)).toEqual([
      [1, 'root table'],
      [2, 'scalable-mode context table of bus 40'],
      [3, 'PASID directory of 40:04.0'],
      [4, 'PASID table of 40:04.0, PASIDs from 0'],
      [5, 'PASID table of 00:1f.7, PASIDs from 8320'],
      [6, 'scalable-mode context table of bus 0'],
      [0x10, 'first-stage table, level 4, of 00:03.0 PASID 0'],
      [0x11, 'first-stage table, level 3, of 00:03.0 PASID 0'],
      [0x12, 'first-stage table, level 2, of 00:03.0 PASID 0'],
      [0x13, 'first-stage table, level 1, of 00:03.0 PASID 0'],
    ]);
  });
});
