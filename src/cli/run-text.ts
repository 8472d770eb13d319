/** What `ioasis run` prints beside the story: the head, the table of PASIDs, the verdicts. */
import type { RunResult, Scenario } from '../machine/index.js';
import type { Finding } from '../rules/index.js';
import type { Judgement } from './run-judge.js';
import type { Paint } from './terminal.js';

const WIDTH = 100;

/** The scenario, its seed, and every option that follows from the file. */
export function headText(
  name: string,
  scenario: Scenario,
  { seeds, paint }: { seeds: string; paint: Paint },
): string {
  const { models, machine, choices } = scenario;
  const { caches } = machine.iommu;
  const options = [
    `memory ${machine.memory}`,
    `cpus ${machine.cpus}`,
    `caches context ${caches.context}, PASID ${caches.pasid}, IOTLB ${caches.iotlb}`,
    `stale entries ${machine.iommu['stale-entries']}`,
    `allocation failures ${choices['allocation-failures'] ? 'yes' : 'no'}`,
    `step limit ${choices['step-limit']}`,
    ...Object.entries(scenario.vms).map(vmText),
  ];
  return [
    `${paint.strong(name)}, ${seeds}`,
    ...indented('shows', models.shows),
    ...indented('leaves out', models['leaves-out']),
    ...indented('claims', models.claims),
    ...indented('options', options.join('; ')),
    '',
    '',
  ].join('\n');
}

/** A virtual machine, as the head tells it. */
function vmText([name, { count, memory, cpus, iommu, kvm, silent }]: [
  string,
  Scenario['vms'][string],
]): string {
  const many = count === undefined ? name : `${count} of ${name}`;
  const caching = `caching mode ${iommu['caching-mode'] ? 'on' : 'off'}, ${iommu['pasid-bits']} bits of PASID`;
  const more = [...(kvm === 'late' ? ['KVM late'] : []), ...(silent ? ['silent'] : [])];
  return [`${many}: ${memory}`, `cpus ${cpus}`, caching, ...more].join(', ');
}

function indented(label: string, text: string): string[] {
  const lines: string[] = [];
  let line = `  ${label.padEnd(11)}`;
  for (const word of text.split(/\s+/)) {
    if (line.length + word.length > WIDTH) {
      lines.push(line.trimEnd());
      line = ' '.repeat(13);
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()];
}

/** Of a long table, its beginning. */
const MOST_ROWS = 60;

/**
 * Who held which PASID when the most were in use: from the virtual machine by its process, its guest's number and the
 * host's, the set and who holds it, to devices and queues and the kind of translation.
 */
export function pasidText(
  { pasids, mostPasids }: Pick<RunResult, 'pasids' | 'mostPasids'>,
  paint: Paint,
): string {
  const [first] = pasids;
  if (first === undefined) {
    return mostPasids === 0
      ? 'No PASID was in use.\n\n'
      : `${mostPasids} PASIDs were in use at once, at most.\n\n`;
  }
  const hasVms = pasids.some(({ vm }) => vm !== undefined);
  const cells = pasids.slice(0, MOST_ROWS).map((row) => {
    const { pasid, process, state, holders, queues, translation, frames } = row;
    const whose = hasVms ? [row.vm ?? '-', process, String(row.guest ?? '-')] : [];
    return [
      ...whose,
      String(pasid),
      ...(hasVms ? [row.set] : [process]),
      state,
      holders.join(', ') || '-',
      queues.join(', ') || '-',
      translation.map((each) => each.replace(': first stage at', '')).join(', ') || '-',
      `${frames} frame${frames === 1 ? '' : 's'}`,
    ];
  });
  const head = hasVms
    ? ['VM', 'process', 'guest PASID', 'host PASID', 'set', 'state', 'holders', 'open queues', 'translation']
    : ['PASID', 'process', 'state', 'holders', 'open queues', 'first stage'];
  const title = `PASIDs as they stood at step ${first.step}, when the most were in use:\n`;
  const more = pasids.length - cells.length;
  const rest = more > 0 ? `  ... and ${more} more\n` : '';
  return `${title}${table([...head, 'memory'], cells, paint)}${rest}\n`;
}

/** One line a rule. */
export function verdictText({ verdicts, claims, findings, text, isGood }: Judgement, paint: Paint): string {
  const lines = [...verdicts].map(([rule, verdict]) => {
    const mark = verdict === 'pass' ? paint.good : verdict === 'fail' ? paint.bad : paint.warn;
    return `  ${rule.padEnd(10)} ${mark(verdict.padEnd(8))} ${paint.faint(claims.get(rule) ?? '')}`;
  });
  const found = findings.map(({ rule, message }) => `\n${paint.bad(rule)}: ${message}`);
  const last = isGood ? paint.good(text) : paint.bad(text);
  return `${lines.join('\n')}\n${found.join('\n')}${found.length > 0 ? '\n' : ''}\n${last}\n`;
}

/** One seed that did not go as the scenario says. */
export function failingSeedText(
  seed: number,
  { end, steps }: RunResult,
  { findings, text }: Judgement,
): string {
  const how = end === 'ended' ? `${steps} steps` : `${end} after ${steps} steps`;
  return [`seed ${seed}: ${text} (${how})`, ...findings.map(findingLine), ''].join('\n');
}

const findingLine = ({ rule, message }: Finding): string => `  ${rule}: ${message}`;

function table(head: readonly string[], rows: readonly (readonly string[])[], paint: Paint): string {
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return `${[paint.strong(`  ${line(head)}`), ...rows.map((row) => `  ${line(row)}`)].join('\n')}\n`;
}
