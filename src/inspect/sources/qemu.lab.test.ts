/**
 * Real machines, read through their monitors: what QEMU prints is what the fake machine of the unit tests prints,
 * and what was read is what the guest's kernel says of its IOMMU.
 */
import { readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { describeWithGuest, type Kind } from '../../../test/lab/guest.js';
import { askQmp } from '../../../test/lab/qmp.js';
import { GSTS_REG, RTADDR_REG, wordsOf } from '../../spec/index.js';
import { bdf } from '../bdf.js';
import { surveyUnit } from '../survey.js';
import { describeUnit } from '../unit.js';
import { openQemu, type QemuOptions } from './qemu.js';
import { type LiveSource, settle } from './source.js';

/** The functions behind the IOMMU of every guest of the lab. */
const FUNCTIONS = ['00:00.0', '00:01.0', '00:02.0', '00:03.0', '00:04.0', '00:1f.0', '00:1f.2', '00:1f.3'];

/** RTADDR.TTM: a root table of legacy mode, or of scalable mode. */
const KINDS: readonly { readonly kind: Kind; readonly mode: number }[] = [
  { kind: 'vtd', mode: 1 },
  { kind: 'vtd-second', mode: 1 },
  { kind: 'vtd-legacy', mode: 0 },
];

for (const { kind, mode } of KINDS) {
  describeWithGuest(kind, `a live guest, ${kind},`, (guest) => {
    const opened: LiveSource[] = [];
    afterEach(async () => {
      for (const source of opened.splice(0)) await source.close();
    });
    const open = async (options: QemuOptions = {}): Promise<LiveSource> => {
      const source = await openQemu(guest().qmp, options);
      opened.push(source);
      return source;
    };
    const isRunning = async (): Promise<unknown> => {
      const status = await askQmp(guest().qmp, 'query-status');
      return typeof status === 'object' && status !== null && 'running' in status && status.running;
    };

    test('has the capabilities that its kernel reports, and translates', async () => {
      const { values, faultRecords } = (await open()).registers;
      const log = readFileSync(guest().console, 'utf8');
      const [, cap, ecap] = /cap ([0-9a-f]+) ecap ([0-9a-f]+)/.exec(log) ?? [];
      expect(values.get('CAP')).toBe(BigInt(`0x${cap}`));
      expect(values.get('ECAP')).toBe(BigInt(`0x${ecap}`));
      expect(GSTS_REG.TES.get(wordsOf(values.get('GSTS') ?? 0n), 0)).toBe(1);
      expect(RTADDR_REG.TTM.get(wordsOf(values.get('RTADDR') ?? 0n), 0)).toBe(mode);
      expect(faultRecords).toEqual([0n]);
    });

    test('shows all its functions, and runs before and after', async () => {
      const source = await open();
      const survey = await settle(source, () => surveyUnit(describeUnit(source.registers), source.memory));
      await source.close();
      expect(survey.devices.map(({ rid }) => bdf(rid))).toEqual(FUNCTIONS);
      expect(survey.problems).toEqual([]);
      expect(await isRunning()).toBe(true);
    });

    test('may be read while it runs, and then twice', async () => {
      const source = await open({ running: true });
      await settle(source, () => surveyUnit(describeUnit(source.registers), source.memory));
      const frames = source.memory.readFrames;
      expect(frames.length).toBeGreaterThan(FUNCTIONS.length);
      const changed = await source.readAgain();
      expect(frames).toEqual(expect.arrayContaining([...changed]));
    });

    test('that was paused stays so, until it is let go', async () => {
      await askQmp(guest().qmp, 'stop');
      await (await open()).close();
      expect(await isRunning()).toBe(false);
      await askQmp(guest().qmp, 'cont');
      expect(await isRunning()).toBe(true);
    });

    test('keeps a second reader waiting, who is told why', async () => {
      await open();
      await expect(openQemu(guest().qmp, { timeouts: { greeting: 300 } })).rejects.toThrow(
        /no greeting within 0\.3 s: another client holds this monitor/,
      );
    });
  });
}
