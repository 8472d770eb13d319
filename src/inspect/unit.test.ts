import { expect, test } from 'vitest';
import { linuxUnit } from '../../test/vtd/linux-image.js';
import type { NamedValue } from './unit.js';

const textOf = (values: readonly NamedValue[]): string[] => values.map(({ name, text }) => `${name}=${text}`);

test("the registers of QEMU's unit, as the image has them", () => {
  const unit = linuxUnit();
  expect([unit.version, unit.mode, unit.isTranslating, unit.root]).toEqual(['1.0', 'scalable', true, 0x607c]);
  expect(textOf(unit.capabilities)).toEqual([
    'ND=65536 domains',
    'SAGAW=39, 48',
    'MGAW=48 bits',
    'FRO=0x220',
    'SSLPS=2 MiB, 1 GiB',
    'PSI=1',
    'NFR=1',
    'MAMV=0x12',
    'DWD=1',
    'DRD=1',
    'FS1GP=1',
    'ESRTPS=1',
  ]);
  expect(textOf(unit.extendedCapabilities)).toEqual(
    expect.arrayContaining(['QI=1', 'IRO=0xf0', 'PSS=20 bits', 'PASID=1', 'SMTS=1', 'FSTS=1']),
  );
  expect(textOf(unit.status)).toEqual(['IRTPS=1', 'IRES=1', 'QIES=1', 'RTPS=1', 'TES=1']);
});

test('what its formats say', () => {
  const { format } = linuxUnit();
  expect([format.guestAddressWidth, format.hostAddressWidth, format.frameLimit]).toEqual([48, 48, 2 ** 36]);
  expect([...format.secondStageLevels]).toEqual([3, 4]);
  expect([format.firstStageTranslation, format.secondStageTranslation, format.nested]).toEqual([
    true,
    false,
    false,
  ]);
  expect([format.firstStage5Levels, format.passThrough, format.pasidWidth]).toEqual([false, true, 20]);
});

test.each([
  { ttm: 0n, mode: 'legacy' },
  { ttm: 1n, mode: 'scalable' },
  { ttm: 2n, mode: 'reserved' },
  { ttm: 3n, mode: 'abort-dma' },
])('TTM $ttm is $mode', ({ ttm, mode }) => {
  const unit = linuxUnit({ RTADDR: 0x5000n | (ttm << 10n) });
  expect([unit.mode, unit.root]).toEqual([mode, 5]);
});

test('translation is on or off by GSTS.TES', () => {
  expect(linuxUnit({ GSTS: 0x4700_0000n }).isTranslating).toBe(false);
});
