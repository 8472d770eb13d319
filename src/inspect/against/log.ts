/**
 * What a kernel's console log says of its IOMMU: the trace events `iommu:map` and `iommu:unmap`, and those of
 * VT-d's caches that name a domain id (Linux, include/trace/events/iommu.h and drivers/iommu/intel/trace.h).
 * They are recognized by their own text, so that it does not matter how the trace was printed (`trace`,
 * `trace_pipe`, `tp_printk`), and whatever else a console prints is passed over. Of a log that holds the trace
 * more than once, the last one counts. A console that is still written to goes on: {@link logUntil} is what it
 * said up to a line.
 *
 * Left out: `cache_tag_flush_range_np`, which follows a map and frees no address, and the raw descriptors of
 * `qi_submit`, which say what the events of the caches say better.
 */
import { type Refusal, refuse } from '../../base/index.js';

/** Pages `page` to `page + pages - 1` were mapped to frames from `frame`, in a domain that nobody names. */
export interface MapEvent {
  readonly kind: 'map';
  /** Of the log, from 1. */
  readonly line: number;
  readonly page: number;
  readonly pages: number;
  readonly frame: number;
}

/** Pages were unmapped; `pages` says how many really were, which may be none. */
export interface UnmapEvent {
  readonly kind: 'unmap';
  readonly line: number;
  readonly page: number;
  readonly pages: number;
}

/** A domain's cached translations of pages `page` to `last` were invalidated. */
export interface FlushEvent {
  readonly kind: 'flush';
  readonly line: number;
  readonly page: number;
  readonly last: number;
  readonly domain: number;
}

export type MappingEvent = MapEvent | UnmapEvent;
export type LogEvent = MappingEvent | FlushEvent;

/** A domain id was given to a device's PASID, or taken back from the last one that had it. */
export interface DomainEvent {
  readonly kind: 'assign' | 'release';
  readonly line: number;
  readonly domain: number;
}

/** Why a log may not be the whole story. */
export interface Gap {
  /** From which on it may not be. */
  readonly line: number;
  /** One sentence. */
  readonly why: string;
}

/** What a log says. */
export interface KernelLog {
  /** How many lines it has that are whole. */
  readonly lines: number;
  /** In the order of the log. */
  readonly events: readonly LogEvent[];
  readonly domains: readonly DomainEvent[];
  readonly gaps: readonly Gap[];
  /** The text of a line, without what surrounds the event. */
  readonly text: (line: number) => string;
}

const EVENT =
  /(?:^|[\s\]])((?:map|unmap): IOMMU:|cache_tag_(?:assign|unassign|flush_range|flush_all):) ?(.*)$/;
const MAP = /^iova=0x([0-9a-f]{1,16})(?: - 0x([0-9a-f]{1,16}))? paddr=0x([0-9a-f]{1,16}) size=(\d+)$/;
const UNMAP = /^iova=0x([0-9a-f]{1,16})(?: - 0x([0-9a-f]{1,16}))? size=(\d+) unmapped_size=(\d+)$/;
const FLUSH = /^(\S+) \S+\[\d+\] type (\w+) did (\d+) \[0x([0-9a-f]{1,16})-0x([0-9a-f]{1,16})\] addr .*$/;
const TAG = /^([^/\s]+)\/\S+ type (\w+) did (\d+) pasid \d+ ref (\d+)$/;

const LAST_PAGE = 2 ** 52 - 1;
const PAGE_BYTES = 4096;

/**
 * Reads a console log.
 *
 * @returns `EINVAL` with the line, where an event is malformed or there is no trace at all
 */
export function parseLog(text: string): KernelLog | Refusal<'EINVAL'> {
  const lines = text.split('\n');
  const reader = new LogReader();
  for (let i = 0; i < lines.length; i++) {
    const wrong = reader.read((lines[i] ?? '').trimEnd(), i + 1);
    if (wrong === undefined) continue;
    // A console that is still written to ends in the middle of a line.
    if (i === lines.length - 1) reader.cut(i + 1);
    else return refuse('EINVAL', `line ${i + 1}: ${wrong}`);
  }
  if (!reader.hasTrace) {
    return refuse('EINVAL', `no trace of iommu:map and iommu:unmap in ${lines.length} lines`);
  }
  return {
    lines: lines.length - 1,
    events: reader.events,
    domains: reader.domains,
    gaps: reader.gaps(),
    text: (line) => eventText((lines[line - 1] ?? '').trimEnd()),
  };
}

/** What a log said when it had `lines` lines. */
export function logUntil(log: KernelLog, lines: number): KernelLog {
  const isThere = ({ line }: { readonly line: number }): boolean => line <= lines;
  return {
    lines,
    events: log.events.filter(isThere),
    domains: log.domains.filter(isThere),
    gaps: log.gaps.filter(isThere),
    text: log.text,
  };
}

const eventText = (line: string): string => {
  const match = EVENT.exec(line);
  return match === null ? line.trim() : `${match[1]} ${match[2]}`;
};

class LogReader {
  events: LogEvent[] = [];
  domains: DomainEvent[] = [];
  hasTrace = false;
  /** What the log itself says is not all there. */
  #told: Gap[] = [];
  #units = new Map<string, number>();
  /** Of the trace's head. */
  #counted = { line: 0, promised: 0, written: 0 };
  #entries = 0;

  /** Takes one line; what is wrong with it, if something is. */
  read(text: string, line: number): string | undefined {
    if (text.startsWith('# tracer:')) this.#begin();
    const counts = /^# entries-in-buffer\/entries-written: (\d+)\/(\d+)/.exec(text);
    if (counts !== null) {
      this.#counted = { line, promised: Number(counts[1]), written: Number(counts[2]) };
    }
    if (/\[LOST( \d+)? EVENTS\]/.test(text)) this.#tell(line, 'The trace says that it lost events.');
    if (/^\s*\S.*\s\[\d{3,}\]\s.*\d: \w+: /.test(text)) this.#entries++;
    const match = EVENT.exec(text);
    if (match === null) return undefined;
    this.hasTrace = true;
    const name = (match[1] ?? '').replace(/:.*$/, '');
    const fields = match[2] ?? '';
    const wrong = this.#event(name, fields, line);
    return wrong === undefined ? undefined : `${name} event: ${wrong}: ${JSON.stringify(fields)}`;
  }

  /** The last line is not whole. */
  cut(line: number): void {
    this.#tell(line, 'The log ends in the middle of an event.');
  }

  gaps(): Gap[] {
    const gaps = [...this.#told];
    const { line, promised, written } = this.#counted;
    if (promised < written) {
      const why = `The trace's buffer overflowed: ${written - promised} of ${written} entries are lost.`;
      gaps.push({ line, why });
    }
    if (this.#entries < promised) {
      gaps.push({ line, why: `The trace was cut off: it has ${this.#entries} of ${promised} entries.` });
    }
    const [, second] = this.#units.values();
    if (second !== undefined) {
      const names = [...this.#units.keys()].join(', ');
      gaps.push({ line: second, why: `The log is of several units (${names}), the tables are one unit's.` });
    }
    return gaps;
  }

  /** Notes a gap, once. */
  #tell(line: number, why: string): void {
    if (!this.#told.some((gap) => gap.why === why)) this.#told.push({ line, why });
  }

  #isOf(unit: string, line: number): void {
    if (!this.#units.has(unit)) this.#units.set(unit, line);
  }

  #begin(): void {
    this.events = [];
    this.domains = [];
    this.hasTrace = true;
    this.#told = [];
    this.#units = new Map();
    this.#counted = { line: 0, promised: 0, written: 0 };
    this.#entries = 0;
  }

  #event(name: string, fields: string, line: number): string | undefined {
    switch (name) {
      case 'map':
        return this.#map(fields, line);
      case 'unmap':
        return this.#unmap(fields, line);
      case 'cache_tag_flush_range':
        return this.#flush(fields, line);
      default:
        return this.#tag(name, fields, line);
    }
  }

  #map(fields: string, line: number): string | undefined {
    const [, iova = '', end, physical = '', size = ''] = MAP.exec(fields) ?? [];
    if (iova === '') return 'malformed';
    const wrong = wrongRange(iova, end, size) ?? wrongRange(physical, undefined, size);
    if (wrong !== undefined) return wrong;
    const pages = Number(size) / PAGE_BYTES;
    if (pages === 0) return 'no pages';
    this.events.push({ kind: 'map', line, page: pageOf(iova), pages, frame: pageOf(physical) });
    return undefined;
  }

  #unmap(fields: string, line: number): string | undefined {
    const [, iova = '', end, size = '', unmapped = ''] = UNMAP.exec(fields) ?? [];
    if (iova === '') return 'malformed';
    const wrong = wrongRange(iova, end, size) ?? wrongRange(iova, undefined, unmapped);
    if (wrong !== undefined) return wrong;
    this.events.push({ kind: 'unmap', line, page: pageOf(iova), pages: Number(unmapped) / PAGE_BYTES });
    return undefined;
  }

  #flush(fields: string, line: number): string | undefined {
    const [, unit = '', type = '', did = '', start = '', end = ''] = FLUSH.exec(fields) ?? [];
    if (unit === '') return 'malformed';
    this.#isOf(unit, line);
    const [page, last] = [pageOf(start), pageOf(end)];
    if (last < page) return 'ends before it begins';
    // A device's own cache comes after the unit's, with an event of its own.
    if (type.endsWith('iotlb')) this.events.push({ kind: 'flush', line, page, last, domain: Number(did) });
    return undefined;
  }

  #tag(name: string, fields: string, line: number): string | undefined {
    const [, unit = '', type = '', did = '', users = ''] = TAG.exec(fields) ?? [];
    if (unit === '') return 'malformed';
    this.#isOf(unit, line);
    const domain = Number(did);
    if (!type.endsWith('iotlb')) return undefined;
    if (name === 'cache_tag_flush_all') {
      this.events.push({ kind: 'flush', line, page: 0, last: LAST_PAGE, domain });
    } else if (name === 'cache_tag_assign') {
      this.domains.push({ kind: 'assign', line, domain });
    } else if (users === '1') {
      this.domains.push({ kind: 'release', line, domain });
    }
    return undefined;
  }
}

/** The page that an address lies in, which has too many digits for a number. */
const pageOf = (hex: string): number => (hex.length <= 3 ? 0 : Number.parseInt(hex.slice(0, -3), 16));

function wrongRange(start: string, end: string | undefined, size: string): string | undefined {
  const bytes = Number(size);
  if (!Number.isSafeInteger(bytes)) return `a size of ${size}`;
  const isAligned = bytes % PAGE_BYTES === 0 && /^0{1,3}$/.test(start.slice(-3));
  if (!isAligned) return `0x${start} or its size ${size} is no multiple of ${PAGE_BYTES}`;
  const last = pageOf(start) + Math.max(bytes / PAGE_BYTES, 1) - 1;
  if (last > LAST_PAGE) return `0x${start} and ${size} bytes are beyond 64 bits`;
  const isEnd =
    end === undefined || BigInt.asUintN(64, BigInt(`0x${start}`) + BigInt(size)) === BigInt(`0x${end}`);
  return isEnd ? undefined : `0x${start} and ${size} bytes do not end at 0x${end}`;
}
