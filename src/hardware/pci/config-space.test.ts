/** Configuration space: what software finds, may change, and is refused. */
import { describe, expect, test } from 'vitest';
import { EXTENDED_CAPABILITIES } from '../../spec/index.js';
import { type ConfigPart, ConfigSpace } from './config-space.js';

const COMMAND = 4;
const BAR0 = 0x10;

function accelerator(changed?: (part: ConfigPart) => void): ConfigSpace {
  return new ConfigSpace({
    ...{ vendor: 0x8086, device: 0x0b25, classCode: 0x088000, revision: 2, bars: [0x10000, 0x20000] },
    ...{ msix: { vectors: 9, table: 0x2000, pending: 0x3000 }, pasid: { width: 20, privileged: true } },
    ...{ ats: { queueDepth: 32 }, pri: { capacity: 512 } },
    ...(changed === undefined ? {} : { changed }),
  });
}

/** The offsets of the extended capabilities, by ID. */
function capabilities(config: ConfigSpace): Map<number, number> {
  const found = new Map<number, number>();
  for (let at = EXTENDED_CAPABILITIES; at !== 0; at = config.read(at + 2, 2) >> 4)
    found.set(config.read(at, 2), at);
  return found;
}

test('says what the function is', () => {
  const config = accelerator();
  expect([config.read(0, 2), config.read(2, 2), config.read(8, 4), config.read(0x0e, 1)]).toEqual([
    0x8086, 0x0b25, 0x08800002, 0,
  ]);
  expect([...capabilities(config).keys()]).toEqual([0x1b, 0x0f, 0x13]);
  expect([config.read(6, 2) & 0x10, config.read(0x34, 1), config.read(0x40, 1)]).toEqual([0x10, 0x40, 0x11]);
  expect([config.read(0x42, 2), config.read(0x44, 4), config.read(0x48, 4)]).toEqual([8, 0x2000, 0x3000]);
});

test('a BAR tells its size to who writes ones, and keeps an address', () => {
  const config = accelerator();
  config.write(BAR0, 4, 0xffff_ffff);
  expect(config.read(BAR0, 4)).toBe(0xffff_000c);
  config.write(BAR0, 4, 0xfe01_2345);
  config.write(BAR0 + 4, 4, 0x20);
  expect([config.read(BAR0, 4), config.read(BAR0 + 4, 4)]).toEqual([0xfe01_000c, 0x20]);
  config.write(0x20, 4, 0xffff_ffff);
  expect(config.read(0x20, 4)).toBe(0);
});

test('writes of one or two bytes leave the rest', () => {
  const config = accelerator();
  config.write(COMMAND, 2, 0xffff);
  expect([config.read(COMMAND, 2), config.isMemoryEnabled, config.isBusMaster]).toEqual([0x546, true, true]);
  config.write(COMMAND, 1, 2);
  expect([config.read(COMMAND, 4) & 0xffff, config.isBusMaster]).toEqual([0x502, false]);
  config.write(0, 4, 0);
  expect(config.read(0, 4)).toBe(0x0b258086);
});

describe('PASID, ATS and PRI', () => {
  const at = (config: ConfigSpace, id: number): number => capabilities(config).get(id) ?? 0;

  test('are switched on by their control registers', () => {
    const parts: ConfigPart[] = [];
    const config = accelerator((part) => parts.push(part));
    config.write(at(config, 0x1b) + 6, 2, 0b111);
    config.write(at(config, 0x0f) + 6, 2, 0x8003);
    config.write(at(config, 0x13) + 4, 2, 1);
    expect(parts).toEqual(['pasid', 'ats', 'pri']);
    // Execution is not offered.
    expect([config.isPasidEnabled, config.isExecuteEnabled, config.isPrivilegedEnabled]).toEqual([
      true,
      false,
      true,
    ]);
    expect([config.isAtsEnabled, config.smallestTranslation, config.isPriEnabled]).toEqual([true, 8, true]);
  });

  test('PASID and STU stay while ATS is enabled', () => {
    const config = accelerator();
    config.write(at(config, 0x0f) + 6, 2, 0x8000);
    config.write(at(config, 0x1b) + 6, 2, 1);
    config.write(at(config, 0x0f) + 6, 2, 0x8005);
    expect([config.isPasidEnabled, config.smallestTranslation]).toEqual([false, 1]);
    config.write(at(config, 0x0f) + 6, 2, 0);
    config.write(at(config, 0x1b) + 6, 2, 1);
    expect(config.isPasidEnabled).toBe(true);
  });

  test('a width of 0 bits cannot be enabled, nor what is not there', () => {
    const config = new ConfigSpace({ vendor: 1, device: 2, classCode: 3, pasid: { width: 0 } });
    config.write(EXTENDED_CAPABILITIES + 6, 2, 1);
    const plain = new ConfigSpace({ vendor: 1, device: 2, classCode: 3 });
    plain.write(EXTENDED_CAPABILITIES + 4, 4, -1);
    expect([config.isPasidEnabled, plain.isPasidEnabled, plain.isAtsEnabled, plain.isPriEnabled]).toEqual(
      new Array(4).fill(false),
    );
    expect([plain.read(EXTENDED_CAPABILITIES, 4), plain.read(0x34, 1)]).toEqual([0, 0]);
  });

  test('go back to their mark', () => {
    const config = accelerator();
    config.mark();
    config.write(at(config, 0x0f) + 6, 2, 0x8000);
    config.restore();
    expect(config.isAtsEnabled).toBe(false);
  });
});

test('a function-level reset puts everything back, and says so', () => {
  const parts: ConfigPart[] = [];
  const config = new ConfigSpace({
    ...{ vendor: 0x8086, device: 0x0b25, classCode: 0x088000, bars: [0x10000], functionReset: true },
    ...{ msix: { vectors: 9, table: 0x2000, pending: 0x3000 }, changed: (part) => parts.push(part) },
  });
  const express = config.read(0x41, 1);
  expect([config.read(express, 1), (config.read(express + 4, 4) >>> 28) & 1]).toEqual([0x10, 1]);
  config.write(COMMAND, 2, 6);
  config.write(BAR0, 4, 0xe000_0000);
  config.write(0x42, 2, 0x8000);
  parts.length = 0;
  config.write(express + 8, 2, 0x8000);
  expect(parts).toEqual(['reset']);
  expect([config.read(COMMAND, 2), config.read(BAR0, 4), config.isMsixEnabled]).toEqual([0, 0xc, false]);
  expect([config.read(express + 8, 2), config.read(0, 4)]).toEqual([0, 0x0b258086]);
});

test('a function that cannot be reset has no such capability', () => {
  expect(accelerator().read(0x41, 1)).toBe(0);
});
