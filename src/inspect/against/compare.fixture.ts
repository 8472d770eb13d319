/** Logs and tables in a few letters, to be compared. */
import type { DeviceSurvey, PasidSurvey, Survey } from '../survey-types.js';
import type { KernelLog, LogEvent } from './log.js';

/** Events in a few letters: `m 5 70` maps page 5 to frame 70, `u 5` unmaps it, `f 2` flushes domain 2. */
function events(text: string): LogEvent[] {
  return text.split(', ').flatMap((item, i): LogEvent[] => {
    const [kind, a = 0, b = 0, pages = 1] = item.split(' ').map((part, j) => (j === 0 ? part : Number(part)));
    const line = i + 1;
    const page = Number(a);
    if (kind === 'm') return [{ kind: 'map', line, page, pages: Number(pages), frame: Number(b) }];
    if (kind === 'u') return [{ kind: 'unmap', line, page, pages: Number(b) || 1 }];
    return kind === 'f' ? [{ kind: 'flush', line, page: 0, last: 2 ** 52 - 1, domain: page }] : [];
  });
}

/** Those events as a log, one a line. */
export const log = (text: string, more: Partial<KernelLog> = {}): KernelLog => ({
  lines: text.split(', ').length,
  events: events(text),
  domains: [],
  gaps: [],
  text: (line) => `event ${line}`,
  ...more,
});

/** What a domain maps, page by page. */
export type Table = readonly (readonly [page: number, frame: number])[];

export const pasidOf = (domain: number, table: Table, more: Partial<PasidSurvey> = {}): PasidSurvey => ({
  pasid: 0,
  translation: 'second-stage',
  domain,
  canExecute: false,
  root: domain,
  secondRoot: undefined,
  ranges: table.map(([page, frame]) => ({ page, frame, pages: 1, rights: 3 })),
  ...more,
});

/** One device for each. */
export const survey = (...pasids: PasidSurvey[]): Survey => ({
  devices: pasids.map((pasid, i): DeviceSurvey => ({ rid: 8 * i, pasids: [pasid] })),
  problems: [],
  tables: new Map(),
});
