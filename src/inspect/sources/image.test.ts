import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { ABSENT, FRAME_BYTES } from '../../hardware/index.js';
import { InputError } from '../errors.js';
import { openImageFile } from './image.js';
import { openImage } from './open.js';
import { type Source, settle, type UnitRegisters } from './source.js';

const folder = mkdtempSync(join(tmpdir(), 'image-'));
afterAll(() => rmSync(folder, { recursive: true }));

const registers: UnitRegisters = { values: new Map(), faultRecords: undefined };

/** Four frames: zeros, 1s, zeros, 3s. */
const IMAGE = Buffer.concat([0, 1, 0, 3].map((byte) => Buffer.alloc(FRAME_BYTES, byte)));

function fileOf(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** The lowest byte of each frame, undefined where there is no memory. */
const lowBytes = (source: Source, frames: readonly number[]): Promise<(number | undefined)[]> =>
  settle(source, () =>
    frames.map((frame) => {
      const at = source.memory.at(frame, 0);
      return at === ABSENT ? undefined : (source.memory.words[at] ?? 0) & 0xff;
    }),
  );

const packed = gzipSync(IMAGE);

describe.each([
  { kind: 'raw', bytes: IMAGE },
  { kind: 'gzip', bytes: packed },
  {
    kind: 'gzip in two members',
    bytes: Buffer.concat([gzipSync(IMAGE.subarray(0, 5000)), gzipSync(IMAGE.subarray(5000))]),
  },
])('an image, $kind,', ({ kind, bytes }) => {
  const memory = fileOf(kind, bytes);

  test('has its frames, and nothing behind them', async () => {
    const source = await openImageFile({ memory, registers });
    expect(await lowBytes(source, [0, 1, 2, 3, 4, 2 ** 40 - 1])).toEqual([0, 1, 0, 3, undefined, undefined]);
    expect(source.name).toBe(memory);
    await source.close();
  });

  test('may begin at another address', async () => {
    const source = await openImageFile({ memory, registers, base: 0x2000 });
    expect(await lowBytes(source, [1, 2, 3, 5, 6])).toEqual([undefined, 0, 1, 3, undefined]);
    await source.close();
  });

  test.each([1, -4096, 2 ** 52, Number.NaN])('does not begin at %d', async (base) => {
    await expect(openImageFile({ memory, registers, base })).rejects.toThrow(
      /no physical address of a frame/,
    );
  });

  test('does not reach beyond the last address', async () => {
    await expect(openImageFile({ memory, registers, base: 2 ** 52 - 4096 })).rejects.toThrow(
      /beyond .* 52 bits/,
    );
  });
});

describe('a file is refused that', () => {
  const broken = Buffer.from(packed);
  broken[broken.length - 8] = (broken[broken.length - 8] ?? 0) ^ 1;

  test.each([
    { what: 'is empty', bytes: Buffer.alloc(0), why: 'this image of memory is empty' },
    { what: 'is packed and empty', bytes: gzipSync(''), why: 'this image of memory is empty' },
    {
      what: 'has two bytes',
      bytes: Buffer.from([0x1f, 0x8b]),
      why: '2 bytes of memory are no multiple of 4096',
    },
    {
      what: 'is cut off',
      bytes: IMAGE.subarray(0, 5000),
      why: '5000 bytes of memory are no multiple of 4096',
    },
    {
      what: 'is cut off, packed',
      bytes: gzipSync(IMAGE.subarray(0, 5000)),
      why: '5000 bytes of memory are no mul',
    },
    {
      what: 'is a core',
      bytes: Buffer.from(`\x7fELF${'\0'.repeat(4092)}`),
      why: /this is an ELF file: raw memory is/,
    },
    {
      what: 'is packed and cut off',
      bytes: packed.subarray(0, -20),
      why: `gzip is cut off at byte ${packed.length - 20}`,
    },
    {
      what: 'is packed and damaged',
      bytes: broken,
      why: `gzip is damaged, at byte ${packed.length} at the latest: incorrect data check`,
    },
    {
      what: 'has but the head of gzip',
      bytes: packed.subarray(0, 3),
      why: 'gzip is cut off at byte 3',
    },
  ])('$what', async ({ what, bytes, why }) => {
    const memory = fileOf(what, bytes);
    const failed = await openImageFile({ memory, registers }).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(InputError);
    expect(String(failed)).toContain(`${memory}: `);
    expect(String(failed)).toMatch(why);
  });

  test('cannot be read', async () => {
    await expect(openImageFile({ memory: folder, registers })).rejects.toThrow(
      `${folder}: this is a directory`,
    );
    await expect(openImageFile({ memory: '/no/such', registers })).rejects.toThrow(
      '/no/such: there is no such file',
    );
  });

  test('becomes shorter while it is read', async () => {
    const memory = fileOf('shrinking', IMAGE);
    const source = await openImageFile({ memory, registers });
    truncateSync(memory, 0x3800);
    await expect(lowBytes(source, [2, 3])).rejects.toThrow(`${memory}: the file has become shorter`);
    await source.close();
  });
});

test.each([
  { what: 'raw', bytes: IMAGE },
  { what: 'packed', bytes: packed },
])('an image may come through a pipe, $what', async ({ what, bytes }) => {
  const fifo = join(folder, `fifo-${what}`);
  execFileSync('mkfifo', [fifo]);
  const opening = openImageFile({ memory: fifo, registers });
  writeFileSync(fifo, bytes);
  expect(await lowBytes(await opening, [1, 2, 3, 4])).toEqual([1, 0, 3, undefined]);
});

test('an image is opened with its register file, which is looked at first', async () => {
  const memory = fileOf('memory', IMAGE);
  const file = fileOf(
    'r.json',
    Buffer.from('{"CAP": "0x6", "ECAP": "0x0", "GSTS": "0x0", "RTADDR": "0x1000"}'),
  );
  const source = await openImage({ memory, registers: file });
  expect(source.registers.values.get('RTADDR')).toBe(0x1000n);
  expect(await lowBytes(source, [1])).toEqual([1]);
  await source.close();
  await expect(openImage({ memory: '/no/such', registers: memory })).rejects.toThrow(
    `${memory}:1: this is no JSON`,
  );
});
