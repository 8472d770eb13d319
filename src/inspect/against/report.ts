/**
 * What the comparison with a log found: as lines for people, and as JSON with addresses in hexadecimal.
 */
import { bdf } from '../bdf.js';
import type { Json } from '../document.js';
import { pageHex as address } from '../page-hex.js';
import { type AgainstReport, type Difference, type LateChange, nameOf, type Place } from './compare.js';

const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

/** The report, one line an element, without line ends; the verdict is the first. */
export function againstLines(report: AgainstReport): string[] {
  const { map, unmap, flush } = report.events;
  const lines = [
    verdictText(report),
    `${plural(map, 'map')}, ${plural(unmap, 'unmap')}, ${flush} ${flush === 1 ? 'flush' : 'flushes'}`,
  ];
  lines.push('One assignment of maps and unmaps to domains (the log names none):');
  for (const { domain, holder, events } of report.assigned) {
    if (events > 0) lines.push(`  ${plural(events, 'event')} in domain ${domain} of ${nameOf(holder)}`);
  }
  if (report.elsewhere > 0) lines.push(`  ${plural(report.elsewhere, 'event')} in domains that are gone`);
  if (report.late.length > 0) lines.push('Changed after the log ended:');
  for (const change of report.late)
    lines.push(`  ${change.change} since: ${placeText(change)}${lineText(change)}`);
  if (report.differences.length > 0)
    lines.push('Differences that no assignment of events to domains explains:');
  for (const difference of report.differences) lines.push(...differenceLines(difference));
  if (report.doubts.length > 0) lines.push('Not certain:');
  for (const doubt of report.doubts) lines.push(`  ${doubt}`);
  return lines;
}

function verdictText({ verdict, differences }: AgainstReport): string {
  const count = plural(differences.length, 'difference');
  if (verdict === 'pass') return 'No difference: the log explains all that the tables map.';
  if (verdict === 'fail') return `${count}.`;
  return differences.length === 0 ? 'Unknown: no difference was found.' : `Unknown: ${count} found.`;
}

const lineText = ({ line }: LateChange): string => (line === undefined ? '' : ` (line ${line})`);

function placeText({ holder, domain, page, pages, frame }: Partial<Place>): string {
  const who = holder === undefined ? [] : [nameOf(holder)];
  if (domain !== undefined) who.push(`domain ${domain}`);
  if (page === undefined || pages === undefined) return who.join(', ');
  const to = frame === undefined ? '' : ` to ${address(frame)}`;
  return [...who, `${address(page)}${to}, size ${address(pages)}`].join(', ');
}

function differenceLines(difference: Difference): string[] {
  const { line, text, why } = difference;
  const place = placeText(difference);
  if (line === undefined) return [`  ${place}: ${why}`];
  return [`  line ${line}: ${text}`, `    ${place}: ${why}`];
}

/** The report as a plain value for `JSON.stringify`; what does not apply is left out. */
export function againstJson(report: AgainstReport): { readonly [key: string]: Json } {
  return {
    verdict: report.verdict,
    events: report.events,
    assigned: report.assigned.map(({ domain, holder, events }) => ({
      ...holderJson(holder),
      domain,
      events,
    })),
    elsewhere: report.elsewhere,
    late: report.late.map((change) => ({
      change: change.change,
      ...placeJson(change),
      ...(change.line === undefined ? {} : { line: change.line }),
    })),
    differences: report.differences.map((difference) => ({
      ...(difference.line === undefined ? {} : { line: difference.line, event: difference.text ?? '' }),
      ...placeJson(difference),
      why: difference.why,
    })),
    doubts: report.doubts,
  };
}

const holderJson = ({ rid, pasid }: { readonly rid: number; readonly pasid: number }) => ({
  bdf: bdf(rid),
  pasid,
});

function placeJson({ holder, domain, page, pages, frame }: Partial<Place>): { readonly [key: string]: Json } {
  return {
    ...(holder === undefined ? {} : holderJson(holder)),
    ...(domain === undefined ? {} : { domain }),
    ...(page === undefined || pages === undefined ? {} : { iova: address(page), size: address(pages) }),
    ...(frame === undefined ? {} : { physical: address(frame) }),
  };
}
