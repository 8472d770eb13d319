import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test, vi } from 'vitest';
import { ioasis } from './run.fixture.js';

const MEMORY = 'examples/linux-7.2-vtd/memory.raw.gz';
const REGISTERS = 'examples/linux-7.2-vtd/registers.json';
const IMAGE = ['inspect', '--memory', MEMORY, '--registers', REGISTERS];

interface Document {
  readonly devices: readonly {
    readonly bdf: string;
    readonly pasids: readonly {
      readonly pasid: number;
      readonly translation: string;
      readonly ranges: readonly { readonly iova: string; readonly physical: string; readonly size: string }[];
    }[];
  }[];
}

const schema = JSON.parse(readFileSync('schema/inspect.schema.json', 'utf8')) as Record<string, unknown>;
const ajv = new Ajv2020({ allErrors: true });
const isDocument = ajv.compile(schema);
const isTranslation = ajv.compile({
  ...schema,
  $id: 'translation',
  $ref: '#/$defs/translation',
  type: 'object',
  required: [],
  additionalProperties: true,
  properties: {},
});

describe('the image that ships', () => {
  test('shows eight functions, PASID 0, first stage; the first three map nothing', async () => {
    const { code, out, err } = await ioasis([...IMAGE, '--json']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const { devices } = JSON.parse(out) as Document;
    expect(devices.map(({ bdf }) => bdf)).toEqual([
      '00:00.0',
      '00:01.0',
      '00:02.0',
      '00:03.0',
      '00:04.0',
      '00:1f.0',
      '00:1f.2',
      '00:1f.3',
    ]);
    const spaces = devices.flatMap(({ pasids }) => pasids);
    expect(spaces.map(({ pasid, translation }) => [pasid, translation])).toEqual(
      devices.map(() => [0, 'first-stage']),
    );
    expect(spaces.map(({ ranges }) => ranges.length > 0)).toEqual([
      false,
      false,
      false,
      true,
      true,
      true,
      true,
      true,
    ]);
  });

  test('is one JSON document after the published schema', async () => {
    const { out } = await ioasis([...IMAGE, '--json']);
    isDocument(JSON.parse(out));
    expect(isDocument.errors).toBeNull();
  });

  test('every range that it lists is where --translate leads', async () => {
    const { out } = await ioasis([...IMAGE, '--json']);
    const ends = (JSON.parse(out) as Document).devices.flatMap(({ bdf, pasids }) =>
      pasids.flatMap(({ pasid, ranges }) =>
        ranges.flatMap(({ iova, physical, size }) =>
          [0n, BigInt(size) - 1n].map((offset) => ({
            line: `${bdf} ${pasid} 0x${(BigInt(iova) + offset).toString(16)} r`,
            physical: `0x${(BigInt(physical) + offset).toString(16)}`,
          })),
        ),
      ),
    );
    const answers = await ioasis(
      [...IMAGE, '--translate', '-'],
      ends.map(({ line }) => `${line}\n`).join(''),
    );
    const lines = answers.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { physical: string });
    expect(lines.map(({ physical }) => physical)).toEqual(ends.map(({ physical }) => physical));
    expect(lines.length).toBeGreaterThan(400);
    for (const line of lines.slice(0, 20)) {
      isTranslation(line);
      expect(isTranslation.errors).toBeNull();
    }
  });

  test('text names each device once in its table, without colours when piped', async () => {
    const { out } = await ioasis([...IMAGE]);
    expect(out).toMatch(/^00:03\.0 +0 +first-stage +5 +0x60ad000 +1\.0 MiB in 232 ranges$/m);
    expect(out).toMatch(/… and 224 more/);
    expect(out.includes(String.fromCharCode(27))).toBe(false);
    const all = await ioasis([...IMAGE, '--all']);
    expect(all.out).not.toMatch(/more:/);
  });

  test('--device and --pasid restrict it', async () => {
    const { out } = await ioasis([...IMAGE, '--device', '00:04.0', '--pasid', '0', '--json']);
    expect((JSON.parse(out) as Document).devices.map(({ bdf }) => bdf)).toEqual(['00:04.0']);
    const none = await ioasis([...IMAGE, '--device', '00:04.0', '--pasid', '9', '--json']);
    expect((JSON.parse(none.out) as Document).devices[0]?.pasids).toEqual([]);
  });

  test('a walk is shown entry by entry, and a fault by code and name', async () => {
    const hit = await ioasis([...IMAGE, '--device', '00:03.0', '--translate', '0xffef9123', '--access', 'w']);
    expect(hit.out).toContain('physical address 0x6330123');
    expect(hit.out).toContain('  0000000000000049 0000000000000005 00000000060ad000  P=1 ');
    expect(hit.out.match(/first-stage \d/g)).toEqual([
      'first-stage 4',
      'first-stage 3',
      'first-stage 2',
      'first-stage 1',
    ]);
    const miss = await ioasis([...IMAGE, '--device', '0000:00:03.0', '--translate', '4096', '--json']);
    expect(JSON.parse(miss.out)).toMatchObject({ fault: { code: 113, name: 'SFS.2' } });
  });
});

describe('--against', () => {
  const LOG = 'examples/linux-7.2-vtd/console.log';
  const folder = mkdtempSync(join(tmpdir(), 'ioasis-against-'));

  test('the log of the machine leaves no difference', async () => {
    const { code, out } = await ioasis([...IMAGE, '--against', LOG, '--json']);
    expect(code).toBe(0);
    const document = JSON.parse(out) as { against: { verdict: string; differences: unknown[] } };
    isDocument(document);
    expect(isDocument.errors).toBeNull();
    expect(document.against).toMatchObject({ verdict: 'pass', differences: [] });
  });

  test('a changed event is a difference, told with its line', async () => {
    const lines = readFileSync(LOG, 'utf8').split('\n');
    const at = lines.findIndex((line) => line.includes(': map: IOMMU: iova=0x00000000fffb2000'));
    const changed = lines.with(at, (lines[at] ?? '').replace(/paddr=0x0{8}0/, 'paddr=0x000000001'));
    const log = join(folder, 'changed.log');
    writeFileSync(log, changed.join('\n'));
    const { code, out } = await ioasis([...IMAGE, '--against', log]);
    expect(code).toBe(1);
    expect(out).toMatch(/Differences/);
    expect(out).toContain('0xfffb2000');
  });
});

describe('bad input gets one line with its place', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ioasis-cli-'));
  const file = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const cases: readonly [string, readonly string[], number, RegExp, string?][] = [
    ['no source', ['inspect'], 2, /give a source/],
    ['half a source', ['inspect', '--memory', MEMORY], 2, /--registers/],
    ['two sources', [...IMAGE, 'qmp:/x'], 2, /not both/],
    ['an unknown source', ['inspect', 'ssh:host'], 2, /"ssh:host" is no source/],
    ['an unknown option', ['inspect', '--what'], 2, /unknown option '--what'/],
    ['an unknown command', ['inspct'], 2, /unknown command/],
    ['a device that is none', [...IMAGE, '--device', '00:20.0'], 2, /"00:20.0" is no requester/],
    ['a PASID of 21 bits', [...IMAGE, '--pasid', '0x100000'], 2, /0x100000/],
    [
      'an address of 65 bits',
      [...IMAGE, '--device', '00:03.0', '--translate', `0x1${'0'.repeat(16)}`],
      2,
      /64 bits/,
    ],
    ['an address that is none', [...IMAGE, '--device', '00:03.0', '--translate', 'abc'], 2, /"abc"/],
    [
      'an access that is none',
      [...IMAGE, '--device', '00:03.0', '--translate', '0', '--access', 'rw'],
      2,
      /r, w or x/,
    ],
    ['--translate without a device', [...IMAGE, '--translate', '0'], 2, /needs --device/],
    ['--running on an image', [...IMAGE, '--running'], 2, /image does not run/],
    ['no such image', ['inspect', '--memory', '/nowhere/x', '--registers', REGISTERS], 2, /\/nowhere\/x/],
    [
      'no such register file',
      ['inspect', '--memory', MEMORY, '--registers', '/nowhere/y'],
      2,
      /\/nowhere\/y/,
    ],
    [
      'a register file that is none',
      [
        'inspect',
        '--memory',
        MEMORY,
        '--registers',
        file('bad.json', '{\n "CAP": "0x1",\n "EKAP": "0x1"\n}'),
      ],
      2,
      /bad\.json:3.*EKAP/,
    ],
    [
      'a truncated image',
      ['inspect', '--memory', file('short.raw', 'abc'), '--registers', REGISTERS],
      2,
      /short\.raw/,
    ],
    ['no such socket', ['inspect', 'qmp:/nowhere/vm.qmp'], 3, /qmp:\/nowhere\/vm\.qmp/],
    ['an image without an end', ['inspect', '--memory', '/dev/zero', '--registers', REGISTERS], 2, /device/],
    [
      'registers without an end',
      ['inspect', '--memory', MEMORY, '--registers', '/dev/zero'],
      2,
      /no register file/,
    ],
    ['a log without an end', [...IMAGE, '--against', '/dev/zero'], 2, /device/],
    ['a long line', [...IMAGE, '--translate', '-'], 2, /^.{20,200}$/m, 'x'.repeat(100_000)],
    ['a long field', [...IMAGE, '--translate', '-'], 2, /^.{20,250}$/m, `${'x'.repeat(100_000)} - 0 r`],
    ['no such log', [...IMAGE, '--against', '/nowhere/log'], 2, /\/nowhere\/log/],
    [
      'a bad line',
      [...IMAGE, '--translate', '-'],
      2,
      /standard input, line 2: "00:03\.0 x"/,
      '00:03.0 - 0x0 r\n00:03.0 x\n',
    ],
    ['a bad field', [...IMAGE, '--translate', '-'], 2, /standard input, line 1, BDF/, '00:03.8 - 0x0 r\n'],
  ];
  test.each(cases)('%s', async (_, args, code, message, input = '') => {
    const run = await ioasis(args, input);
    expect(run.code).toBe(code);
    expect(run.err).toMatch(message);
    expect(run.err.trim().split('\n')).toHaveLength(1);
    expect(run.err).toMatch(/^ioasis: /);
  });
});

test('an output that cannot be written is told on one line, with the exit code of the environment', () => {
  const exit = vi.spyOn(process, 'exit').mockImplementation((() => undefined) as () => never);
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  try {
    process.stdout.emit('error', Object.assign(new Error('write failed'), { code: 'ENOSPC' }));
    expect(write.mock.calls).toEqual([['ioasis: standard output: there is no space left\n']]);
    expect(exit.mock.calls).toEqual([[3]]);
  } finally {
    exit.mockRestore();
    write.mockRestore();
  }
});

test('help has examples and the exit codes', async () => {
  const { code, out } = await ioasis(['inspect', '--help']);
  expect(code).toBe(0);
  expect(out).toMatch(/Examples:/);
  expect(out).toMatch(/Exit codes:/);
});
