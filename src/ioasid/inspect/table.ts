/** The reports of `inspect.ts` as people read them. */
import type { IoasidReport } from './inspect.js';

const HEAD = ['ID', 'SET', 'SPID', 'STATE', 'SINCE', 'PHASE', 'HELD BY', 'WAITS FOR'] as const;

/** The reports as a table: a head, then a line an id, columns aligned. */
export function ioasidTable(reports: readonly IoasidReport[]): string {
  const rows = [HEAD, ...reports.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return `${rows.map(line).join('\n')}\n`;
}

function cells(report: IoasidReport): string[] {
  const { id, set, spid, state, since, phase, holders, waitsFor: waits } = report;
  const held = holders.map(({ holder, count }) => (count === 1 ? holder : `${holder} x${count}`));
  return [
    String(id),
    set,
    spid === undefined ? '-' : `${spid}${report.found ? '' : ' (old)'}`,
    state,
    String(since),
    phase,
    held.join(', ') || '-',
    waits.join('; ') || '-',
  ];
}
