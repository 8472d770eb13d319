/**
 * The map at the end of a run: for each virtual machine its processes, from the guest's PASID by the host's to who
 * holds it, its queues, and what the tables in memory lead to. Numbers and addresses of a guest's are called so, all
 * others are the host's. Of very many, a line a virtual machine.
 */
import type { EntryRow, PasidRow, RunResult } from '../machine/index.js';
import type { Paint } from './terminal.js';

/** PASIDs that are told one by one. */
const MOST_ROWS = 24;
/** Virtual machines that are told one by one. */
const MOST_MACHINES = 20;
const LABEL_WIDTH = 13;
/** vm2 before vm10. */
const BY_NUMBER = new Intl.Collator('en', { numeric: true });

export interface MapOptions {
  readonly paint: Paint;
  /** Whether entries are shown as they lie in memory. */
  readonly hasTables: boolean;
  /** Who used them, where that was not kept: `1000 virtual machines`. */
  readonly users: string | undefined;
}

export function mapText(
  { pasids, mostPasids }: Pick<RunResult, 'pasids' | 'mostPasids'>,
  { paint, hasTables, users }: MapOptions,
): string {
  const [first] = pasids;
  if (first === undefined) {
    if (mostPasids === 0) return 'No PASID was in use.\n\n';
    return `${mostPasids} PASIDs were in use at once, at most${users === undefined ? '' : `, by ${users}`}.\n\n`;
  }
  const machines = grouped(pasids, ({ vm }) => vm).toSorted(([a = ''], [b = '']) => BY_NUMBER.compare(a, b));
  const hasVms = machines.some(([vm]) => vm !== undefined);
  const title = `PASIDs as they stood at step ${first.step}, when the most were in use:\n`;
  const isLong = pasids.length > MOST_ROWS;
  const shown = isLong ? machines.slice(0, MOST_MACHINES) : machines;
  const blocks = shown.map(([vm, rows]) => {
    if (isLong) return summaryLine(vm, rows);
    const head = hasVms ? [paint.strong(`${vm ?? 'host'}, ${setOf(rows)}`)] : [];
    return [...head, ...rows.flatMap((row) => rowLines(row, { paint, hasTables }))].join('\n');
  });
  const left = machines.slice(shown.length).map(([, rows]) => rows.length);
  const rest = left.length === 0 ? '' : `  ... and ${left.length} more, with ${sum(left)} PASIDs\n`;
  return `${title}${isLong ? '' : '\n'}${blocks.join(isLong ? '\n' : '\n\n')}\n${rest}\n`;
}

const setOf = (rows: readonly PasidRow[]): string => [...new Set(rows.map(({ set }) => set))].join(', ');

function rowLines(
  row: PasidRow,
  { paint, hasTables }: { readonly paint: Paint; readonly hasTables: boolean },
): string[] {
  const { pasid, vm, process, guest, state, frames, holders, queues, guestEntries, hostEntries, kvm } = row;
  const isGuests = vm !== undefined;
  const host = isGuests ? `host PASID ${pasid}` : `PASID ${pasid}`;
  const number = guest === undefined ? host : `guest PASID ${guest} → ${host}`;
  const entryLines = (entries: readonly EntryRow[], of: 'guest' | 'host'): string[] =>
    entries.flatMap((entry) => [
      labelled(
        of === 'guest' || isGuests ? `${of} entry` : 'entry',
        `${entry.device}${wholeText(entry, guest)}: ${leadsTo(entry, isGuests)}`,
      ),
      ...(hasTables ? [labelled('', bytesAt(isGuests ? `${of} ` : '', entry))] : []),
    ]);
  const listed = (of: readonly string[]): string => (of.length === 0 ? 'nobody' : of.join(', '));
  const opened = queues.map(({ queue, via }) =>
    via === queue ? queue : `${via} in the guest, ${queue} on the host`,
  );
  const cpu =
    kvm?.pasid === undefined
      ? "an exit: no valid entry in KVM's table"
      : `guest ${guest} → host ${kvm.pasid}, by KVM's table`;
  if (vm !== undefined && process === `${vm}/kernel`) {
    return [
      `  ${paint.accent(process)}  ${paint.strong(host)}  ${state}, for requests without a PASID`,
      labelled('held by', listed(holders)),
      ...entryLines(hostEntries, 'host'),
    ];
  }
  return [
    `  ${paint.accent(process)}  ${paint.strong(number)}  ${state}, ${frames} page frame${frames === 1 ? '' : 's'} of memory`,
    labelled('held by', listed(holders)),
    labelled('queues', opened.length === 0 ? 'none open' : opened.join(', ')),
    ...(isGuests ? [labelled('ENQCMD', cpu)] : []),
    ...(hasTables && kvm !== undefined ? [labelled('', bytesAt('host ', { ...kvm, words: kvm.word }))] : []),
    ...entryLines(guestEntries, 'guest'),
    ...(isGuests && guestEntries.length === 0 ? [labelled('guest entry', 'none')] : []),
    ...entryLines(hostEntries, 'host'),
    ...(hostEntries.length === 0 ? [labelled(isGuests ? 'host entry' : 'entry', 'none')] : []),
  ];
}

/** A function that a guest has whole, and by whose number it finds the entry. */
const wholeText = ({ number }: EntryRow, guest: number | undefined): string =>
  number === undefined ? '' : `, whole, at ${number === guest ? 'guest' : 'host'} PASID ${number}`;

const labelled = (label: string, text: string): string => `    ${label.padEnd(LABEL_WIDTH)}${text}`;

const bytesAt = (whose: string, { address, words }: { address: string; words: string }): string =>
  `at ${whose}${address}: ${words}`;

function leadsTo({ translation, firstStage, secondStage }: EntryRow, isGuests: boolean): string {
  const first = firstStage === undefined ? [] : [`first stage at ${isGuests ? 'guest ' : ''}${firstStage}`];
  const second =
    secondStage === undefined ? [] : [`second stage at ${isGuests ? 'host ' : ''}${secondStage}`];
  const stages = [...first, ...second].join(', ');
  return second.length === 0 ? stages : `${translation}, ${stages}`;
}

/** One virtual machine of many. */
function summaryLine(vm: string | undefined, rows: readonly PasidRow[]): string {
  const guests = rows.map(({ guest }) => guest).filter((guest) => guest !== undefined);
  const states = grouped(rows, ({ state }) => state).map(([state, { length }]) => `${length} ${state}`);
  const queues = new Set(rows.flatMap((row) => row.queues.map(({ queue }) => queue)));
  const parts = [
    `${rows.length} PASIDs (${states.join(', ')})`,
    ...(guests.length === 0 ? [] : [`guest ${rangeOf(guests)}`]),
    `host ${rangeOf(rows.map(({ pasid }) => pasid))}`,
    [...queues].join(', ') || 'no queues open',
  ];
  return `  ${(vm ?? 'host').padEnd(8)}  ${parts.join('; ')}`;
}

const rangeOf = (numbers: readonly number[]): string => `${Math.min(...numbers)} to ${Math.max(...numbers)}`;
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

function grouped<K, T>(all: readonly T[], keyOf: (each: T) => K): [K, T[]][] {
  const groups = new Map<K, T[]>();
  for (const each of all) {
    const group = groups.get(keyOf(each));
    if (group === undefined) groups.set(keyOf(each), [each]);
    else group.push(each);
  }
  return [...groups];
}
