/** What `ioasis inspect` found, as people read it. */
import {
  type AgainstReport,
  accessText,
  againstLines,
  bdf,
  type DeviceSurvey,
  type Findings,
  isPrivileged,
  type MappedRange,
  type NamedValue,
  type PasidSurvey,
  pageHex,
  type Queues,
  type TranslationRequest,
  type TranslationResult,
  type Unit,
} from '../inspect/index.js';
import type { Paint } from './terminal.js';

/** How to show findings: with which colours, and how many ranges of each PASID. */
export interface TextOptions {
  readonly paint: Paint;
  readonly limit: number;
}

/** The whole report. */
export function findingsText(found: Findings, options: TextOptions): string {
  const { paint } = options;
  const lines = [
    ...unitLines(found.source, found.unit, paint),
    '',
    ...overview(found.survey.devices, paint),
    ...found.survey.devices.flatMap((device) => deviceLines(device, options)),
    '',
    ...queueLines(found.queues, paint),
    ...changedLines(found, paint),
    ...problemLines(found, paint),
  ];
  return `${lines.join('\n')}\n`;
}

function unitLines(source: string, unit: Unit, paint: Paint): string[] {
  const state = unit.isTranslating ? paint.good('translation on') : paint.warn('translation off');
  return [
    `${paint.strong(source)}`,
    `VT-d ${unit.version}, ${unit.mode} mode, ${state}, root table at ${pageHex(unit.root)}`,
    ...capabilityLines('capabilities', unit.capabilities, paint),
    ...capabilityLines('extended', unit.extendedCapabilities, paint),
    ...capabilityLines('status', unit.status, paint),
  ];
}

/** Names with what they say, wrapped: `CM`, or `MGAW (48 bits)`. */
function capabilityLines(title: string, values: readonly NamedValue[], paint: Paint): string[] {
  const words = values.map(({ name, text }) => (text === '1' ? name : `${name} (${text})`));
  const lines: string[] = [];
  let line = '';
  for (const word of words) {
    if (line.length + word.length > 84) {
      lines.push(line);
      line = '';
    }
    line += line === '' ? word : `, ${word}`;
  }
  lines.push(line);
  return lines.map((text, i) => `  ${paint.faint((i === 0 ? title : '').padEnd(13))} ${text}`);
}

function overview(devices: readonly DeviceSurvey[], paint: Paint): string[] {
  const rows = devices.flatMap(({ rid, pasids }) =>
    pasids.length === 0
      ? [[bdf(rid), '-', 'no PASID', '-', '-', 'nothing']]
      : pasids.map((pasid) => [
          bdf(rid),
          `${pasid.pasid}`,
          pasid.translation,
          `${pasid.domain}`,
          pasid.root === undefined ? '-' : pageHex(pasid.root),
          mapsText(pasid),
        ]),
  );
  if (rows.length === 0) return ['no device has a context entry'];
  const head = ['device', 'PASID', 'translation', 'domain', 'root', 'maps'];
  return table([head, ...rows]).map((line, i) => (i === 0 ? paint.faint(line) : line));
}

function mapsText({ translation, ranges }: PasidSurvey): string {
  if (translation === 'pass-through') return 'all of memory, untranslated';
  if (ranges.length === 0) return 'nothing';
  const pages = ranges.reduce((sum, range) => sum + range.pages, 0);
  return `${sizeText(pages)} in ${ranges.length} range${ranges.length === 1 ? '' : 's'}`;
}

function deviceLines({ rid, pasids }: DeviceSurvey, { paint, limit }: TextOptions): string[] {
  return pasids
    .filter(({ ranges }) => ranges.length > 0)
    .flatMap((pasid) => [
      '',
      `${paint.strong(`${bdf(rid)} PASID ${pasid.pasid}`)} ${translationTitle(pasid)}`,
      ...table(pasid.ranges.slice(0, limit).map((range) => rangeRow(range, pasid))).map(
        (line) => `  ${line}`,
      ),
      ...(pasid.ranges.length > limit
        ? [
            paint.faint(
              `  … and ${pasid.ranges.length - limit} more: --all, or --device ${bdf(rid)}, shows them`,
            ),
          ]
        : []),
    ]);
}

function translationTitle({ translation, domain, secondRoot }: PasidSurvey): string {
  const second = secondRoot === undefined ? '' : `, second stage at ${pageHex(secondRoot)}`;
  return `${translation}, domain ${domain}${second}`;
}

function rangeRow({ page, frame, pages, rights }: MappedRange, { canExecute }: PasidSurvey): string[] {
  const access = accessText(rights, canExecute);
  return [
    `${pageHex(page)}-${pageHex(page + pages - 1).slice(0, -3)}fff`,
    '→',
    pageHex(frame),
    sizeText(pages),
    isPrivileged(rights) ? `${access} (privileged requests only)` : access,
  ];
}

/** `4 KiB`, `1.5 MiB`: a number of pages in the largest unit that keeps it at least 1. */
export function sizeText(pages: number): string {
  const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  let value = pages * 4;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}

function queueLines({ invalidations, pageRequests, faults, faultStatus }: Queues, paint: Paint): string[] {
  const lines: string[] = [];
  if (invalidations === undefined) lines.push('invalidation queue: off, or not recorded');
  else {
    lines.push(paint.strong(`invalidation queue, the latest ${invalidations.length}`));
    lines.push(
      ...table(
        invalidations.map(({ address, name, text, isPending }) => [
          `0x${address.toString(16)}`,
          name,
          text,
          isPending ? 'pending' : '',
        ]),
      ).map((line) => `  ${line}`),
    );
  }
  if (pageRequests.length > 0) {
    lines.push(paint.strong('page requests not answered'), ...pageRequests.map(({ text }) => `  ${text}`));
  }
  const status = faultStatus === '' ? '' : ` (FSTS ${faultStatus})`;
  if (faults === undefined)
    lines.push(paint.warn(`faults: pending, and not recorded in the register file${status}`));
  else if (faults.length === 0) lines.push(`faults: none pending${status}`);
  else {
    lines.push(paint.bad(`faults pending${status}`));
    lines.push(
      ...faults.map(
        ({ bdf: device, pasid, address, code, name, text }) =>
          `  ${device}${pasid === undefined ? '' : ` PASID ${pasid}`} at 0x${address.toString(16)}: ${text} (0x${code.toString(16)}, ${name})`,
      ),
    );
  }
  return lines;
}

function changedLines({ changed, survey }: Findings, paint: Paint): string[] {
  if (changed === undefined) return [];
  if (changed.length === 0) return ['no table changed under the reading'];
  const names = changed.map((frame) => `  ${pageHex(frame)} ${survey.tables.get(frame) ?? 'a queue'}`);
  return [paint.warn('changed under the reading, so that what is shown of them may be mixed:'), ...names];
}

function problemLines({ survey: { problems } }: Findings, paint: Paint): string[] {
  if (problems.length === 0) return [];
  return [
    '',
    paint.bad(`${problems.length} broken:`),
    ...problems.map(({ where, what }) => `  ${where}: ${what}`),
  ];
}

/** The walk of one request: a line each entry, then where it leads. */
export function translationText(
  request: TranslationRequest,
  result: TranslationResult,
  paint: Paint,
): string {
  const kinds = { r: 'read', w: 'write', x: 'execute' };
  const pasid = request.pasid === undefined ? 'without PASID' : `PASID ${request.pasid}`;
  const rows = result.steps.map(({ stage, level, address, raw, text }) => [
    level === undefined ? stage : `${stage} ${level}`,
    `0x${address.toString(16)}`,
    rawText(raw),
    text,
  ]);
  const outcome =
    result.fault === undefined
      ? paint.good(`physical address 0x${(result.physical ?? 0n).toString(16)}`)
      : paint.bad(`fault 0x${result.fault.code.toString(16)} (${result.fault.name}): ${result.fault.text}`);
  return [
    `${bdf(request.rid)} ${pasid}, ${kinds[request.access]} of 0x${request.address.toString(16)}`,
    ...table(rows).map((line) => `  ${line}`),
    outcome,
    '',
  ].join('\n');
}

/** An entry's 64-bit words, lowest first, without the zeros at its end. */
function rawText(raw: readonly bigint[]): string {
  const last = raw.findLastIndex((quad) => quad !== 0n);
  return raw
    .slice(0, Math.max(last, 0) + 1)
    .map((quad) => quad.toString(16).padStart(16, '0'))
    .join(' ');
}

/** The verdict of `--against`. */
export function againstText(report: AgainstReport, paint: Paint): string {
  const verdict = { pass: paint.good, fail: paint.bad, unknown: paint.warn }[report.verdict];
  const [first = '', ...rest] = againstLines(report);
  return `\n${[verdict(first), ...rest].join('\n')}\n`;
}

/** Rows with their columns aligned; the last one is not padded. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
