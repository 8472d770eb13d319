/** The reports of `inspect.ts` as people read them. */
import type { IoasidReport } from './inspect.js';

const HEAD = ['ID', 'SET', 'SPID', 'STATE', 'SINCE', 'PHASE', 'HELD BY', 'WAITS FOR'] as const;

/**
 * The reports as a table: a head, then a line an id, columns aligned. Where an id waits for more than one thing,
 * each further one has a line of its own.
 */
export function ioasidTable(reports: readonly IoasidReport[]): string {
  const rows = [HEAD, ...reports.flatMap(rowsOf)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return `${rows.map(line).join('\n')}\n`;
}

function rowsOf(report: IoasidReport): string[][] {
  const { id, set, spid, state, since, phase, holders, waitsFor } = report;
  const held = holders.map(({ holder, count }) => (count === 1 ? holder : `${holder} x${count}`));
  const [first = '-', ...others] = waitsFor;
  const named = spid === undefined ? '-' : `${spid}${report.found ? '' : ' (old)'}`;
  const row = [String(id), set, named, state, String(since), phase, held.join(', ') || '-', first];
  return [row, ...others.map((other) => [...HEAD.slice(1).map(() => ''), other])].map((cells) =>
    cells.map(printable),
  );
}

/** Names are the callers' own: what would break a line, or steer a terminal, is shown as its code. */
const printable = (cell: string): string =>
  cell.replace(/\p{Cc}/gu, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`);
