/** What may differ in a replay, and what may not. */
import { describe, expect, it } from 'vitest';
import { faultRecord } from './legal.js';
import type { Recorded } from './recorded-host.js';
import { judgeReplay, MEMORY, UPPER } from './replay-judge.js';
import { judgeScenario } from './scenario-judge.js';

const request = { rid: 0x18n, pasid: undefined, address: 0x5000n, access: 'w', isPrivileged: false } as const;
const RECORDING: readonly Recorded[] = [
  { did: 'note', text: 'a DMA that is blocked' },
  {
    ...{
      did: 'dma',
      device: 0,
      address: 0x5000,
      at: undefined,
      value: 0,
      status: 2n,
      record: [0n, 0n],
      request,
    },
    expected: [
      { outcome: { record: faultRecord(request, 0x05), went: 'nowhere' }, quirks: ['scalable-codes'] },
    ],
  },
  { did: 'read', address: 0xfed9_0228, bytes: 8, value: 0n },
];
const record = (code: number, rest = 0x18n): string =>
  `0x${((1n << 63n) | (BigInt(code) << 32n) | rest).toString(16)}`;

describe('a replay', () => {
  it.each([
    ['a code that QEMU may say', UPPER, record(0x79), record(0x05), true],
    ['another code', UPPER, record(0x79), record(0x06), false],
    ['another requester', UPPER, record(0x79), record(0x05, 0x20n), false],
    ['no fault', UPPER, record(0x79), '0x500000018', false],
    ['a leaf with one mark', `${MEMORY} 0x1000`, '0x5067', '0x5027', true],
    ['a leaf without marks', `${MEMORY} 0x1000`, '0x5067', '0x5007', false],
    ['a leaf with more marks', `${MEMORY} 0x1000`, '0x5027', '0x5067', false],
    ['a leaf that leads elsewhere', `${MEMORY} 0x1000`, '0x5067', '0x6027', false],
    ['what is no leaf', `${MEMORY} 0x1000`, '0x5066', '0x5026', false],
    ['a register', 'FSTS', '0x0', '0x2', false],
  ])('with %s', (_what, what, ours, theirs, isExplained) => {
    const found = { index: 1, what, ours, theirs };
    const { differences, quirks } = judgeReplay(RECORDING, [found]);
    expect(differences).toEqual(isExplained ? [] : [found]);
    expect(quirks.size).toBe(isExplained ? 1 : 0);
  });

  it('has the same reason when the record is read again, and none for one that no DMA left', () => {
    const dma = { index: 1, what: UPPER, ours: record(0x79), theirs: record(0x05) };
    const read = { ...dma, index: 2, what: `${UPPER}, read` };
    expect(judgeReplay(RECORDING, [dma, read]).differences).toEqual([]);
    expect(judgeReplay(RECORDING, [read]).differences).toEqual([read]);
  });
});

const REGISTER = 0xfed9_0000;
const SCENARIO: readonly Recorded[] = [
  { did: 'write', address: REGISTER + 0xd0, bytes: 8, value: 0x7000n },
  { did: 'store', address: 0x3004, data: Uint8Array.of(1, 0, 0, 0) },
  { did: 'write', address: REGISTER + 0x88, bytes: 8, value: 0x40n },
  { did: 'load', address: 0x3004, bytes: 4, value: 1n },
];

describe('the replay of a scenario', () => {
  it.each([
    ['a status that is there already', `${MEMORY} 0x3004, loaded`, '0x1', '0x2', 'done at once'],
    ['a status that is not there', `${MEMORY} 0x3004, loaded`, '0x2', '0x1', undefined],
    ['a word that nobody waits for', `${MEMORY} 0x3008, loaded`, '0x1', '0x2', undefined],
    ['a head at the tail', 'IQH, read', '0x20', '0x40', 'done at once'],
    ['a head behind the tail', 'IQH, read', '0x40', '0x20', undefined],
    ['marks that nobody has made', `${MEMORY} 0x9000`, '0x5067', '0x5007', 'nothing is translated'],
    ['marks that nobody can have made', `${MEMORY} 0x9000`, '0x5007', '0x5027', undefined],
    ['another entry', `${MEMORY} 0x9000`, '0x5067', '0x6007', undefined],
    [
      'a page request that did not come',
      `${MEMORY} 0x7010, loaded`,
      '0x105000',
      '0x0',
      'nobody asks for pages',
    ],
    ['a page request from nowhere', `${MEMORY} 0x7010, loaded`, '0x0', '0x105000', undefined],
    ['a tail of page requests', 'PQT, read', '0x20', '0x0', 'nobody asks for pages'],
    ['their head', 'PQH', '0x20', '0x0', undefined],
    ['what a unit can do', 'ECAP, read', '0x1', '0x2', 'other capabilities'],
    ['a queue that stands', 'FSTS, read', '0x0', '0x10', undefined],
  ])('with %s', (_what, what, ours, theirs, reason) => {
    const found = { index: 3, what, ours, theirs };
    const { reasons, others } = judgeScenario(SCENARIO, [found]);
    expect([...reasons.keys()]).toEqual(reason === undefined ? [] : [reason]);
    expect(others).toEqual(reason === undefined ? [found] : []);
  });
});
