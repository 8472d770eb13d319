/**
 * The lab itself: that each kind of guest comes up as the kind it says it is, so that a suite which reads its tables
 * reads what it means to. What tells the kinds apart is what the kernel reports: the IOMMU's extended capabilities
 * (VT-d, "Extended Capability Register": bit 43 SMTS, scalable mode; bit 47 FSTS, first stage) and the invalidations
 * that it submits (PASID-based ones only for a first stage).
 */
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { describeWithGuest, type Kind } from './guest.js';
import { askQmp } from './qmp.js';

interface Case {
  readonly kind: Kind;
  readonly scalableMode: boolean;
  readonly firstStage: boolean;
  readonly invalidation: string;
}

const CASES: readonly Case[] = [
  { kind: 'vtd', scalableMode: true, firstStage: true, invalidation: 'p_iotlb_inv' },
  { kind: 'vtd-second', scalableMode: true, firstStage: false, invalidation: 'iotlb_inv' },
  { kind: 'vtd-legacy', scalableMode: false, firstStage: false, invalidation: 'iotlb_inv' },
];

for (const { kind, scalableMode, firstStage, invalidation } of CASES) {
  describeWithGuest(kind, `the lab's ${kind}`, (guest) => {
    const log = (): string => readFileSync(guest().console, 'utf8');

    test('answers over QMP that it is running', async () => {
      expect(existsSync(guest().qmp)).toBe(true);
      expect(await askQmp(guest().qmp, 'query-status')).toMatchObject({ status: 'running', running: true });
    });

    test('is asked again by a new client, and refuses a command that it does not know', async () => {
      await expect(askQmp(guest().qmp, 'no-such-command')).rejects.toThrow('CommandNotFound');
    });

    test('is of its kind', () => {
      const ecap = BigInt(`0x${/ecap ([0-9a-f]+)/.exec(log())?.[1]}`);
      expect({ scalableMode: bit(ecap, 43), firstStage: bit(ecap, 47) }).toEqual({
        scalableMode,
        firstStage,
      });
      const submitted = new Set([...log().matchAll(/qi_submit: (\w*iotlb_inv)/g)].map((match) => match[1]));
      expect([...submitted]).toEqual([invalidation]);
    });

    test('has both its devices behind the IOMMU, and they did DMA', () => {
      expect(log()).toMatch(/attach_device_to_domain: IOMMU: device=0000:00:02\.0/);
      expect(log()).toMatch(/attach_device_to_domain: IOMMU: device=0000:00:03\.0/);
      expect(log()).toMatch(/^16\+0 records in/m);
      expect(log()).toMatch(
        / map: IOMMU: iova=0x[0-9a-f]{16} - 0x[0-9a-f]{16} paddr=0x[0-9a-f]{16} size=\d+/,
      );
    });

    test('has printed the trace whole before it says that it is ready', () => {
      expect(log().match(/^==\w+/gm)).toEqual(['==DMESG', '==TRACE']);
      expect(log().match(/ tracing_mark_write: ==READY\r?$/gm)).toHaveLength(1);
      expect(timesOf(log().replace(/==READY.*$/s, '')).length).toBeGreaterThan(100);
    });

    test('goes on with what it traces then, each event once and in its turn', async () => {
      await expect
        .poll(() => timesOf(log().replace(/^.*==READY/s, '')).length, { timeout: 30_000 })
        .toBeGreaterThan(0);
      const times = timesOf(log());
      expect(times).toEqual(times.toSorted((a, b) => a - b));
      expect(log()).not.toMatch(/LOST.*EVENTS/);
    });
  });
}

/** When the events of a trace happened, as they stand there. */
function timesOf(trace: string): number[] {
  return [...trace.matchAll(/^ +\S+-\d+ +\[\d+\] \S+ +(\d+\.\d+): \w+: /gm)].map((match) => Number(match[1]));
}

function bit(word: bigint, at: number): boolean {
  return ((word >> BigInt(at)) & 1n) === 1n;
}
