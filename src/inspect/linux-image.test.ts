import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from 'vitest';
import { linuxLog, linuxMemory, linuxUnit } from '../../test/vtd/linux-image.js';
import { accessText } from './access.js';
import { bdf } from './bdf.js';
import { rangeOf } from './mapping.js';
import { readQueues } from './queues.js';
import { surveyUnit } from './survey.js';
import { translate } from './translate.js';

/** Tables that Linux 7.2 wrote and QEMU translated by; what is expected of them is in the image's folder. */
const memory = linuxMemory();
const unit = linuxUnit();
const survey = surveyUnit(unit, memory);
const nvme = survey.devices.find(({ rid }) => rid === 0x18)?.pasids[0];

const hexPage = (page: number): string => `0x${(page * 4096).toString(16)}`;

describe("a real Linux's tables", () => {
  test('eight functions, each with PASID 0 in a first stage, and nothing wrong', () => {
    expect(survey.problems).toEqual([]);
    expect(
      survey.devices.map(({ rid, pasids }) => [
        bdf(rid),
        ...pasids.map((each) => `${each.pasid} ${each.translation}`),
      ]),
    ).toEqual(
      ['00:00.0', '00:01.0', '00:02.0', '00:03.0', '00:04.0', '00:1f.0', '00:1f.2', '00:1f.3'].map((name) => [
        name,
        '0 first-stage',
      ]),
    );
  });

  test('the first three map nothing', () => {
    const lengths = survey.devices.map(({ pasids }) => pasids[0]?.ranges.length ?? -1);
    expect(lengths.slice(0, 3)).toEqual([0, 0, 0]);
    for (const length of lengths.slice(3, 5)) expect(length).toBeGreaterThan(0);
  });

  test('00:03.0 maps 258 pages below 4 GiB, read and write, the one at 0xffef9000 to 0x6330000', () => {
    expect(nvme?.domain).toBe(5);
    expect(nvme?.root).toBe(0x60ad);
    expect(nvme?.ranges.reduce((sum, { pages }) => sum + pages, 0)).toBe(258);
    for (const { rights, page, pages } of nvme?.ranges ?? []) {
      expect(accessText(rights, false)).toBe('rw');
      expect(page + pages).toBeLessThanOrEqual(2 ** 20);
    }
    const range = rangeOf(nvme?.ranges ?? [], 0xffef9);
    expect(range && hexPage(range.frame + 0xffef9 - range.page)).toBe('0x6330000');
  });

  test('a translation step by step', () => {
    const { physical, steps } = translate(unit, memory, {
      rid: 0x18,
      pasid: 0,
      address: 0xffef_9abcn,
      access: 'w',
    });
    expect(physical).toBe(0x633_0abcn);
    expect(steps.map(({ stage, level, address }) => [stage, level, hexPage(address / 4096)])).toEqual([
      ['root', undefined, '0x607c000'],
      ['context', undefined, '0x6080300'],
      ['pasid-directory', undefined, '0x6083000'],
      ['pasid-table', undefined, '0x60ae000'],
      ['first-stage', 4, '0x60ad000'],
      ['first-stage', 3, expect.stringMatching(/^0x6[0-9a-f]+018$/)],
      ['first-stage', 2, expect.stringMatching(/^0x6[0-9a-f]+ff8$/)],
      ['first-stage', 1, expect.stringMatching(/^0x6[0-9a-f]+7c8$/)],
    ]);
    expect(steps.at(-1)?.raw).toEqual([0x633_0067n]);
  });

  test('an address that is not mapped is a fault of the entry that is not there', () => {
    const { physical, fault, steps } = translate(unit, memory, {
      rid: 0x18,
      pasid: undefined,
      address: 0x1000n,
      access: 'r',
    });
    expect([physical, fault?.code, fault?.name]).toEqual([undefined, 0x71, 'SFS.2']);
    expect(steps.at(-1)).toMatchObject({ raw: [0n], text: 'zero' });
  });

  test('every page that its ranges hold is translated to the frame that they say', () => {
    for (const { page, pages, frame } of nvme?.ranges ?? []) {
      for (const i of [0, pages - 1]) {
        const address = BigInt(page + i) << 12n;
        const { physical } = translate(unit, memory, { rid: 0x18, pasid: 0, address, access: 'w' });
        expect(physical).toBe(BigInt(frame + i) << 12n);
      }
    }
  });
});

describe('its invalidation queue', () => {
  /** What the kernel's trace says it submitted: all but the waits, which it does not print. */
  const submitted = linuxLog().flatMap((line) => {
    const match = /qi_submit: \S+ dmar0: (0x\S+) (0x\S+) (0x\S+) (0x\S+)/.exec(line);
    return match === null ? [] : [match.slice(1).map(BigInt)];
  });

  test('holds what the kernel says it submitted, in that order', () => {
    const { invalidations = [] } = readQueues(unit, memory, 1000);
    const others = invalidations
      .filter(({ name }) => name !== 'Invalidation wait')
      .map(({ raw }) => [...raw]);
    // The picture was taken a moment after the trace was printed: some entries may follow.
    const after = [0, 1, 2, 3, 4, 5, 6, 7, 8].filter((count) => {
      const end = others.length - count;
      return isDeepStrictEqual(others.slice(end - submitted.length, end), submitted);
    });
    expect(submitted.length).toBeGreaterThan(20);
    expect(after).toEqual([4]);
    expect(invalidations.every(({ isPending }) => !isPending)).toBe(true);
  });

  test('holds waits after its invalidations, the last one just before the tail', () => {
    const { invalidations = [] } = readQueues(unit, memory, 4);
    expect(invalidations.map(({ address }) => address)).toEqual(
      [0xbc0, 0xbe0, 0xc00, 0xc20].map((offset) => 0x4e4_8000 + offset),
    );
    expect(invalidations.map(({ name }) => name)).toEqual([
      'PASID-based IOTLB invalidate',
      'Invalidation wait',
      'PASID-based IOTLB invalidate',
      'Invalidation wait',
    ]);
    expect(invalidations.at(-2)?.text).toMatch(/G=pasid.*DID=5/);
  });

  test('and nothing waits for an answer', () => {
    const { pageRequests, faults, faultStatus } = readQueues(unit, memory, 4);
    expect([pageRequests, faults, faultStatus]).toEqual([[], [], '']);
  });
});
