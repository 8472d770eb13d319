/** What `ioasis run` prints beside the story: the head, the table of PASIDs, the verdicts. */
import type { PasidRow, RunResult, Scenario } from '../machine/index.js';
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

/** Who held which PASID when the most were in use. */
export function pasidText(rows: readonly PasidRow[], paint: Paint): string {
  const [first] = rows;
  if (first === undefined) return 'No PASID was in use.\n\n';
  const cells = rows.map(({ pasid, process, state, holders, queues, translation, frames }) => [
    String(pasid),
    process,
    state,
    holders.join(', ') || '-',
    queues.join(', ') || '-',
    translation.map((each) => each.replace(': first stage at', '')).join(', ') || '-',
    `${frames} frames`,
  ]);
  const title = `PASIDs as they stood at step ${first.step}, when the most were in use:\n`;
  return `${title}${table(['PASID', 'process', 'state', 'holders', 'open queues', 'first stage', 'memory'], cells, paint)}\n`;
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
