/** What `ioasis run` prints beside the story and the map: the head and the verdicts. */
import type { Scenario } from '../machine/index.js';
import type { Finding } from '../rules/index.js';
import type { Judgement } from './run-judge.js';
import type { Failing } from './seeds/one.js';
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
    ...Object.entries(scenario.protections)
      .filter(([, isOn]) => !isOn)
      .map(([protection]) => `${protection} off`),
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
  const unit =
    iommu === 'none'
      ? 'no IOMMU'
      : `caching mode ${iommu['caching-mode'] ? 'on' : 'off'}, ${iommu['pasid-bits']} bits of PASID`;
  const more = [...(kvm === 'late' ? ['KVM late'] : []), ...(silent ? ['silent'] : [])];
  return [`${many}: ${memory}`, `cpus ${cpus}`, unit, ...more].join(', ');
}

/** Who may have PASIDs, in a run that is too large to be kept; undefined without virtual machines. */
export function usersOf({ vms }: Scenario): string | undefined {
  const groups = Object.values(vms).map(({ count = 1, processes }) => {
    const inside = Object.values(processes).reduce((sum, process) => sum + (process.count ?? 1), 0);
    return `${count} virtual machine${count === 1 ? '' : 's'} with ${inside} process${inside === 1 ? '' : 'es'} each`;
  });
  return groups.length === 0 ? undefined : groups.join(', ');
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
export function failingSeedText({ seed, end, steps, judgement }: Failing): string {
  const { findings, text } = judgement;
  const how = end === 'ended' ? `${steps} steps` : `${end} after ${steps} steps`;
  return [`seed ${seed}: ${text} (${how})`, ...findings.map(findingLine), ''].join('\n');
}

const findingLine = ({ rule, message }: Finding): string => `  ${rule}: ${message}`;
