/** How a live machine and its log are read again: a machine of one domain, whose console prints as it likes. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Findings } from '../inspect/index.js';
import { holdAgainst, type Reading, readLog } from './inspect-against.js';

const folder = mkdtempSync(join(tmpdir(), 'ioasis-against-'));
afterAll(() => rmSync(folder, { recursive: true }));
const console = join(folder, 'console.log');

const hex = (page: number): string => `0x${(page * 4096).toString(16).padStart(16, '0')}`;
const map = (page: number, frame: number): string =>
  `map: IOMMU: iova=${hex(page)} - ${hex(page + 1)} paddr=${hex(frame)} size=4096\n`;
const unmap = (page: number): string =>
  `unmap: IOMMU: iova=${hex(page)} - ${hex(page + 1)} size=4096 unmapped_size=4096\n`;

/** Its console has printed `said` when its tables are read, which map these pages. */
function read(said: string, table: readonly (readonly [page: number, frame: number])[]): Reading {
  writeFileSync(console, said);
  const ranges = table.map(([page, frame]) => ({ page, frame, pages: 1, rights: 3 }));
  const pasid = { pasid: 0, translation: 'second-stage', domain: 5, ranges };
  const survey = { devices: [{ rid: 0x18, pasids: [pasid] }], problems: [], tables: new Map() };
  return { found: { survey } as unknown as Findings, log: readLog(console) };
}

const never = (): Promise<Reading> => Promise.reject(new Error('it was read again'));

/** What the machine prints as soon as it goes on. */
const printSoon = (said: string): void => void setTimeout(() => writeFileSync(console, said), 20);

const BOOT = map(5, 70) + map(6, 71);

test('a log and tables that agree are taken as they are', async () => {
  const reading = read(BOOT, [
    [5, 70],
    [6, 71],
  ]);
  expect((await holdAgainst(console, reading, never)).report).toMatchObject({ verdict: 'pass', late: [] });
});

test.each([
  ['what is printed only later', BOOT],
  ['a line that is printed in part', BOOT + map(7, 72).slice(0, 40)],
])('%s is waited for', async (_, said) => {
  const reading = read(said, [
    [6, 71],
    [7, 72],
  ]);
  printSoon(BOOT + map(7, 72) + unmap(5) + map(5, 73));
  const { found, report } = await holdAgainst(console, reading, never);
  expect(found).toBe(reading.found);
  expect(report).toMatchObject({ verdict: 'pass', differences: [], late: [], doubts: [] });
});

test('a machine that was stopped within an operation is read again, with its log', async () => {
  const reading = read(BOOT, [
    [5, 70],
    [6, 71],
    [7, 72],
  ]);
  printSoon(BOOT + unmap(6) + map(7, 72));
  const last = read(BOOT, [
    [5, 70],
    [7, 72],
  ]);
  const { found, report } = await holdAgainst(console, reading, async () => {
    const log = readLog(console);
    return { ...last, log };
  });
  expect(found).toBe(last.found);
  expect(report).toMatchObject({ verdict: 'pass', differences: [], late: [] });
});

test('a difference that stays is one, however much is printed', async () => {
  const table = [
    [5, 70],
    [6, 71],
    [9, 79],
  ] as const;
  let said = BOOT;
  let readings = 0;
  const { report } = await holdAgainst(console, read(said, table), async () => {
    readings++;
    said += map(7, 72) + unmap(7);
    return read(said, table);
  });
  expect(report).toMatchObject({ verdict: 'fail', differences: [{ page: 9, frame: 79 }] });
  expect(readings).toBeGreaterThan(3);
});

test('the last reading, too, is held against what is printed after it', async () => {
  const wrong = [
    [5, 70],
    [9, 79],
  ] as const;
  let readings = 1;
  const { report } = await holdAgainst(console, read(BOOT, wrong), async () => {
    readings++;
    if (readings < 9) return read(BOOT, wrong);
    printSoon(BOOT + unmap(6));
    return read(BOOT, [[5, 70]]);
  });
  expect(report).toMatchObject({ verdict: 'pass', differences: [], late: [] });
});

test('a log that has ended is not waited for twice: what came later is said to be late', async () => {
  const reading = read(BOOT + unmap(6), [
    [4, 79],
    [5, 70],
  ]);
  expect((await holdAgainst(console, reading, never)).report).toMatchObject({
    verdict: 'pass',
    late: [{ change: 'mapped', page: 4 }],
  });
});

test('an image and its log are what they are', async () => {
  const { report } = await holdAgainst(console, read(BOOT, [[5, 70]]), undefined);
  expect(report).toMatchObject({ verdict: 'fail', differences: [{ page: 6, line: 2 }] });
});
