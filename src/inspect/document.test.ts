import { expect, test } from 'vitest';
import { linuxMemory, linuxUnit } from '../../test/vtd/linux-image.js';
import { document, translationJson } from './document.js';
import { pageHex } from './page-hex.js';
import { readQueues } from './queues.js';
import { surveyUnit } from './survey.js';
import { translate } from './translate.js';

const memory = linuxMemory();
const unit = linuxUnit();
const survey = surveyUnit(unit, memory);
const queues = readQueues(unit, memory, 2);

/** As a reader of the file gets it. */
const readBack = (json: unknown): unknown => JSON.parse(JSON.stringify(json));

test("the document of a real Linux's tables", () => {
  expect(readBack(document({ source: 'an image', unit, survey, queues }))).toMatchObject({
    version: 1,
    source: 'an image',
    unit: { mode: 'scalable', translating: true, root: '0x607c000' },
    devices: [{ bdf: '00:00.0' }, { bdf: '00:01.0' }, { bdf: '00:02.0' }, { bdf: '00:03.0' }, {}, {}, {}, {}],
    problems: [],
    queues: {
      invalidations: [
        { address: '0x4e48c00', name: 'PASID-based IOTLB invalidate', pending: false },
        { address: '0x4e48c20', name: 'Invalidation wait', pending: false },
      ],
      pageRequests: [],
      faults: [],
      faultStatus: '',
    },
  });
});

test('a PASID has its ranges, and no root that it does not have', () => {
  const json = JSON.stringify(document({ source: '', unit, survey, queues }));
  expect(json).not.toContain('secondStageRoot');
  expect(json).not.toContain('"changed"');
  expect(json).toContain('{"pasid":0,"translation":"first-stage","domain":5,"root":"0x60ad000","ranges":[{');
});

test('tables that changed while they were read are named, by what lies in them', () => {
  const json = readBack(document({ source: '', unit, survey, queues, changed: [0x607c, 0x4e48] }));
  expect(json).toMatchObject({
    changed: [
      { address: '0x607c000', table: 'root table' },
      { address: '0x4e48000', table: 'a queue' },
    ],
  });
});

test('a translation, granted or not', () => {
  const ask = (address: bigint) =>
    readBack(translationJson(translate(unit, memory, { rid: 0x18, pasid: undefined, address, access: 'r' })));
  expect(ask(0xffef_9abcn)).toMatchObject({
    physical: '0x6330abc',
    steps: [
      { stage: 'root', address: '0x607c000', raw: ['0x6080001', expect.any(String)] },
      {},
      {},
      {},
      {},
      {},
      {},
      { level: 1 },
    ],
  });
  expect(ask(0n)).toMatchObject({ fault: { code: 0x71, name: 'SFS.2' } });
});

test.each([
  [0, '0x0'],
  [1, '0x1000'],
  [2 ** 52 - 1, '0xfffffffffffff000'],
  [2 ** 52, '0x10000000000000000'],
])('%i pages are %s bytes', (pages, text) => {
  expect(pageHex(pages)).toBe(text);
});
