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
import { type TranslationRequest, translate } from './translate.js';

const RID = 0x18;
const SPACE: readonly Word[] = [
  ...SCALABLE,
  ...firstStageEntry(0x10),
  ...chain([0x10, 0x11, 0x12, 0x13]),
  [0x13, 1, to(0x50, 7n)],
  [0x13, 2, to(0x51, 5n)],
  [0x12, 1, to(0x400, 0x87n)],
  [0x11, 1, to(0x4_0000, 0x87n)],
];
const request = (address: bigint, more: Partial<TranslationRequest> = {}): TranslationRequest => ({
  rid: RID,
  pasid: undefined,
  address,
  access: 'r',
  ...more,
});

function translated(words: readonly Word[], asked: TranslationRequest, isScalable = true) {
  const { unit, memory } = handMade(words, isScalable);
  return translate(unit, memory, asked);
}

test.each([
  { address: 0x1abcn, physical: 0x5_0abcn, levels: 4 },
  { address: 0x20_1234n, physical: 0x40_1234n, levels: 3 },
  { address: 0x4012_3456n, physical: 0x4012_3456n, levels: 2 },
])('$address leads to $physical, by $levels paging entries', ({ address, physical, levels }) => {
  const { steps, ...rest } = translated(SPACE, request(address));
  expect(rest).toEqual({ physical, fault: undefined });
  expect(steps).toHaveLength(4 + levels);
  expect(steps.slice(4).map(({ level }) => level)).toEqual([4, 3, 2, 1].slice(0, levels));
});

test('each step has its entry as it stands, and its fields', () => {
  const { steps } = translated(SPACE, request(0x1000n));
  expect(steps.map(({ stage, address, raw, text }) => [stage, address, raw[0], text])).toEqual([
    ['root', 0x1000, 0x2001n, 'LP=1 LCTP=0x2000'],
    ['context', 0x2300, 0x3001n, 'P=1 PASIDDIRPTR=0x3000'],
    ['pasid-directory', 0x3000, 0x4001n, 'P=1 SMPTBLPTR=0x4000'],
    ['pasid-table', 0x4000, 0x41n, 'P=1 PGTT=first-stage DID=5 FSPTPTR=0x10000'],
    ['first-stage', 0x10000, 0x11007n, 'P=1 RW=1 US=1 ADDR=0x11000'],
    ['first-stage', 0x11000, 0x12007n, 'P=1 RW=1 US=1 ADDR=0x12000'],
    ['first-stage', 0x12000, 0x13007n, 'P=1 RW=1 US=1 ADDR=0x13000'],
    ['first-stage', 0x13008, 0x50007n, 'P=1 RW=1 US=1 ADDR=0x50000'],
  ]);
});

test('a large page is shown by its own layout', () => {
  const { steps } = translated([...SPACE, [0x12, 3, to(0x601, 0x87n)]], request(0x60_0000n));
  expect(steps.at(-1)?.text).toBe('P=1 RW=1 US=1 PS=1 PAT=1 ADDR=0x600000');
});

describe('what is not granted ends with a fault, and the steps that led to it', () => {
  test.each<{ what: string; more: Partial<TranslationRequest>; words?: Word[]; name: string; steps: number }>(
    [
      {
        what: 'a write to a read-only page',
        more: { address: 0x2000n, access: 'w' },
        name: 'SGN.6',
        steps: 8,
      },
      { what: 'a page that is not there', more: { address: 0x3000n }, name: 'SFS.2', steps: 8 },
      { what: 'an address that is not canonical', more: { address: 1n << 60n }, name: 'SGN.1', steps: 4 },
      { what: 'a requester that is not there', more: { rid: 0x20 }, name: 'SCT.2', steps: 2 },
      { what: 'a bus that is not there', more: { rid: 0x100 }, name: 'SRT.2', steps: 1 },
      { what: 'a PASID where none are allowed', more: { pasid: 3 }, name: 'SCT.6', steps: 2 },
      {
        what: 'an execute request where ERE is clear',
        more: { pasid: 0, access: 'x' },
        words: [[2, RID * 4, to(3, 9n)]],
        name: 'SPT.5',
        steps: 4,
      },
      { what: 'a read of the interrupt range', more: { address: 0xfee0_0000n }, name: 'SGN.8', steps: 0 },
    ],
  )('$what: $name', ({ more, words = [], name, steps }) => {
    const result = translated([...SPACE, ...words], request(0x1000n, more));
    expect([result.physical, result.fault?.name, result.steps.length]).toEqual([undefined, name, steps]);
  });

  test('a table outside of memory is a step without an entry', () => {
    const { steps, fault } = translated([...SPACE, [0x10, 1, to(OUTSIDE, 7n)]], request(1n << 39n));
    expect(fault).toEqual({ code: 0x70, name: 'SFS.1', text: 'access to a first-stage paging entry failed' });
    expect(steps.at(-1)).toEqual({
      stage: 'first-stage',
      level: 3,
      address: 0x10_0000,
      raw: [],
      text: 'outside of memory',
    });
  });
});

describe('PASIDs', () => {
  test('the one that requests without get is reached by its number, where others are not allowed', () => {
    expect(translated(SPACE, request(0x1000n, { pasid: 0 })).physical).toBe(0x5_0000n);
  });

  test('a legacy context is reached as PASID 0, and no other', () => {
    const legacy: Word[] = [
      [1, 0, to(2, 1n)],
      [2, RID * 2, to(0x10, 1n)],
      [2, RID * 2 + 1, 0x502n],
    ];
    const words = [...legacy, ...chain([0x10, 0x11, 0x12, 0x13], 0, 3n), [0x13, 1, to(0x50, 3n)] as Word];
    expect(translated(words, request(0x1000n), false).physical).toBe(0x5_0000n);
    expect(translated(words, request(0x1000n, { pasid: 0 }), false).physical).toBe(0x5_0000n);
    expect(translated(words, request(0x1000n, { pasid: 1 }), false).fault?.code).toBe(0x31);
  });
});

describe('nested', () => {
  const second = chain([0x30, 0x31, 0x32, 0x33], 0, 3n);
  const guest = [0x20, 0x21, 0x22, 0x23].map((frame): Word => [0x33, frame, to(frame, 1n)]);
  const words: Word[] = [
    ...SCALABLE,
    ...nestedEntry(0x20, 0x30),
    ...second,
    ...guest,
    ...chain([0x20, 0x21, 0x22, 0x23]),
    [0x23, 1, to(0x60, 7n)],
    [0x33, 0x60, to(0x70, 3n)],
  ];

  test('has all 24 reads of both stages', () => {
    const { steps, physical } = translated(words, request(0x1abcn, { access: 'w' }));
    expect(physical).toBe(0x7_0abcn);
    expect(steps.map(({ stage }) => stage).filter((stage) => stage === 'second-stage')).toHaveLength(20);
    expect(steps).toHaveLength(28);
  });

  test('the leaf of a second stage is shown by its layout', () => {
    const large: Word[] = [...SCALABLE, ...secondStageEntry(0x30), ...second, [0x32, 1, to(0x600, 0x83n)]];
    expect(translated(large, request(0x20_0000n)).steps.at(-1)?.text).toBe('R=1 W=1 PS=1 ADDR=0x600000');
  });
});

describe('without tables', () => {
  const { unit, memory } = handMade(SPACE);

  test('every address leads to itself while translation is off', () => {
    const off = { ...unit, isTranslating: false };
    expect(translate(off, memory, request(0x9abcn))).toEqual({
      steps: [],
      physical: 0x9abcn,
      fault: undefined,
    });
  });

  test.each([
    { mode: 'abort-dma', code: 0x33 },
    { mode: 'reserved', code: 0x30 },
  ] as const)('in the mode $mode there is fault $code', ({ mode, code }) => {
    expect(translate({ ...unit, mode }, memory, request(0x1000n)).fault?.code).toBe(code);
  });
});
