import { describe, expect, test } from 'vitest';
import { isRefusal } from '../../base/index.js';
import { type KernelLog, logUntil, parseLog } from './log.js';

const MAP = 'map: IOMMU: iova=0x00000000ffff0000 - 0x00000000ffff4000 paddr=0x0000000006938000 size=16384';
const UNMAP = 'unmap: IOMMU: iova=0x00000000ffffd000 - 0x00000000ffffe000 size=4096 unmapped_size=4096';
const FLUSH =
  'cache_tag_flush_range: dmar0 dmar0[0] type iotlb did 6 [0x0-0xffffffffffffffff] addr 0x0 mask 0x34';
const ASSIGN = 'cache_tag_assign: dmar0/dmar0 type iotlb did 7 pasid 0 ref 2';

/** Lines as `cat trace` prints them on a serial console. */
const traced = (...texts: string[]): string =>
  ['[    1.150129] iommu: Default domain type: Translated', '==TRACE', '# tracer: nop', '#']
    .concat(texts.map((text, i) => `       swapper/0-1       [000] .....     1.37029${i}: ${text}`))
    .concat(['==READY', ''])
    .join('\r\n');

function parsed(text: string): KernelLog {
  const log = parseLog(text);
  if (isRefusal(log)) throw new Error(log.why);
  return log;
}

describe('events', () => {
  test.each([
    [MAP, { kind: 'map', line: 5, page: 0xffff0, pages: 4, frame: 0x6938 }],
    [UNMAP, { kind: 'unmap', line: 5, page: 0xffffd, pages: 1 }],
    [FLUSH, { kind: 'flush', line: 5, page: 0, last: 2 ** 52 - 1, domain: 6 }],
    [
      'cache_tag_flush_range: dmar0 dmar0[0] type iotlb did 5 [0xfff00000-0xfff01fff] addr 0xfff00000 pages 0x2 mask 0x1',
      { kind: 'flush', line: 5, page: 0xfff00, last: 0xfff01, domain: 5 },
    ],
    [
      'cache_tag_flush_all: dmar0/dmar0 type iotlb did 3 pasid 0 ref 1',
      { kind: 'flush', line: 5, page: 0, last: 2 ** 52 - 1, domain: 3 },
    ],
    [
      'unmap: IOMMU: iova=0x00000000ffffd000 - 0x0000000100001000 size=16384 unmapped_size=8192',
      { kind: 'unmap', line: 5, page: 0xffffd, pages: 2 },
    ],
    [
      'map: IOMMU: iova=0xfffffffffffff000 - 0x0000000000000000 paddr=0x0000000000001000 size=4096',
      { kind: 'map', line: 5, page: 2 ** 52 - 1, pages: 1, frame: 1 },
    ],
  ])('%s', (text, event) => {
    expect(parsed(traced(text)).events).toEqual([event]);
  });

  test('of a device’s own cache, of new mappings, and of anything else are passed over', () => {
    const log = parsed(
      traced(
        FLUSH.replace('iotlb', 'devtlb'),
        FLUSH.replace('flush_range', 'flush_range_np'),
        'qi_submit: p_iotlb_inv dmar0: 0x60026 0x0 0x0 0x0',
        'attach_device_to_domain: IOMMU: device=0000:00:03.0',
      ),
    );
    expect(log.events).toEqual([]);
  });

  test('domains come and go', () => {
    const log = parsed(
      traced(
        ASSIGN,
        ASSIGN.replace('assign', 'unassign'),
        ASSIGN.replace('assign', 'unassign').replace('ref 2', 'ref 1'),
      ),
    );
    expect(log.domains).toEqual([
      { kind: 'assign', line: 5, domain: 7 },
      { kind: 'release', line: 7, domain: 7 },
    ]);
  });

  test('have a text', () => {
    expect(parsed(traced(MAP)).text(5)).toBe(MAP);
  });

  test('that trace_pipe prints go on after a mark', () => {
    const mark = 'tracing_mark_write: ==READY';
    const log = parsed(
      traced(MAP, mark, UNMAP, 'CPU:0 [LOST 3 EVENTS]').replace(/^# tracer.*\r\n#\r\n/m, ''),
    );
    expect(log.events).toMatchObject([
      { kind: 'map', line: 3 },
      { kind: 'unmap', line: 5 },
    ]);
    expect(log.gaps).toEqual([{ line: 6, why: 'The trace says that it lost events.' }]);
  });

  test('printed by the kernel itself count too', () => {
    expect(parsed(`[    1.370290] ${MAP}\n`).events).toHaveLength(1);
  });

  test('of the last trace count, where there are several', () => {
    expect(parsed(traced(MAP, UNMAP) + traced(MAP)).events).toMatchObject([{ kind: 'map', line: 12 }]);
  });
});

describe('a log that is still written', () => {
  const whole = traced(MAP, UNMAP, ASSIGN);

  test.each(Array.from({ length: UNMAP.length + 1 }, (_, i) => i))(
    'and ends after %i characters of an event',
    (length) => {
      const text = whole.slice(0, whole.indexOf(UNMAP) + length);
      const log = parsed(text);
      const isWhole = length === UNMAP.length;
      expect([log.lines, log.events.length]).toEqual([5, isWhole ? 2 : 1]);
      expect(logUntil(log, log.lines)).toMatchObject({ lines: 5, events: [{ kind: 'map' }], gaps: [] });
    },
  );

  test('is known as it was before', () => {
    const log = parsed(whole);
    expect(log.lines).toBe(8);
    expect(logUntil(log, 6)).toMatchObject({ lines: 6, events: [{ line: 5 }, { line: 6 }], domains: [] });
    expect(logUntil(log, 7).domains).toEqual(log.domains);
  });
});

describe('a log that is wrong is refused at its line', () => {
  test.each([
    ['a missing field', MAP.replace(' size=16384', '')],
    ['digits that are none', MAP.replace('ffff0000', 'ffffzz00')],
    ['an address within a page', MAP.replaceAll('ffff0000', 'ffff0010')],
    ['a physical address within a page', MAP.replace('6938000', '6938800')],
    ['a size that is no multiple of a page', MAP.replace('16384', '16385')],
    ['a size of nothing', MAP.replace('16384', '0').replace('ffff4000', 'ffff0000')],
    ['an end that is not the size away', MAP.replace('ffff4000', 'ffff5000')],
    ['a size beyond all bounds', UNMAP.replace('_size=4096', '_size=99999999999999999999')],
    ['a range beyond 64 bits', MAP.replace('0x00000000ffff0000 - 0x00000000ffff4000', '0xfffffffffffff000')],
    ['a flush that ends before it begins', FLUSH.replace('0x0-0xffffffffffffffff', '0x2000-0xfff')],
    ['a flush without a domain', FLUSH.replace(' did 6', '')],
    ['a torn line', ASSIGN.slice(0, 40)],
  ])('%s', (_, text) => {
    const refusal = parseLog(traced(UNMAP, text));
    expect(refusal).toMatchObject({ errno: 'EINVAL', why: expect.stringMatching(/^line 6: .*event: /) });
  });

  test('so is one without a trace', () => {
    expect(parseLog('[    0.000000] DMAR: IOMMU enabled\r\n')).toMatchObject({
      errno: 'EINVAL',
      why: expect.stringContaining('no trace'),
    });
  });
});

describe('what is not all there is said', () => {
  test.each([
    ['all there', '1/1', [UNMAP], []],
    ['an overflow', '1/7', [UNMAP], ['overflowed: 6 of 7']],
    ['a cut', '2/2', [UNMAP], ['cut off: it has 1 of 2']],
    ['lost events', '1/1', [UNMAP, 'CPU:0 [LOST 3 EVENTS]'], ['lost events']],
    ['two units', '2/2', [FLUSH, FLUSH.replaceAll('dmar0', 'dmar1')], ['several units (dmar0, dmar1)']],
  ])('%s', (_, counts, texts, gaps) => {
    const header = `# tracer: nop\n# entries-in-buffer/entries-written: ${counts}   #P:1`;
    const log = parsed(traced(...texts).replace('# tracer: nop', header));
    expect(log.gaps.map(({ why }) => why)).toEqual(gaps.map((gap) => expect.stringContaining(gap)));
  });
});
