/** Who has which PASID, who holds it, and where it leads: what `run` prints when it is done. */
import { hex } from '../../base/index.js';
import { type IoasidCore, ioasidCapacity, ioasidReports } from '../../ioasid/index.js';
import type { Hardware } from './hardware.js';
import type { HostBench } from './state-bench.js';
import { entryText, frameText, type TableEntry } from './table-entry.js';
import type { Taps } from './taps/taps.js';

/** A PASID table entry, as it lies in memory: what a device's requests with that PASID lead to. */
export interface EntryRow {
  readonly device: string;
  /** The PASID that it is found by, on a function that a guest has whole: the guest's, or the host's. */
  readonly number: number | undefined;
  /** As the specification calls it: `first-stage`, `nested`. */
  readonly translation: string;
  /** Where the first stage begins: `0x10c000`; a guest's address in a guest's entry and in a nested one. */
  readonly firstStage: string | undefined;
  /** Where the second stage begins, on the host. */
  readonly secondStage: string | undefined;
  /** The entry's own address: in a guest's table the guest's. */
  readonly address: string;
  /** Its 64-bit words, the last ones that are zero left out. */
  readonly words: string;
}

/** What KVM's table in memory makes of a guest's number: what ENQCMD is sent with. */
export interface KvmRow {
  readonly address: string;
  readonly word: string;
  /** Undefined where the entry is not valid: an exit. */
  readonly pasid: number | undefined;
}

/** One PASID that is in use. */
export interface PasidRow {
  readonly pasid: number;
  /** The virtual machine that it backs a guest's number of; undefined for the host's own. */
  readonly vm: string | undefined;
  readonly process: string;
  /** The number that its guest has for it: the SPID, where it is attached. */
  readonly guest: number | undefined;
  /** The `ioasid_set` that it is of. */
  readonly set: string;
  /** As the IOASID core calls it: IDLE, ACTIVE, FREE_PENDING. */
  readonly state: string;
  /** Who holds a reference, by name. */
  readonly holders: readonly string[];
  /** The queues that the address space has open; `via` is what a guest calls it. */
  readonly queues: readonly { readonly queue: string; readonly via: string }[];
  /** How the CPU translates it for ENQCMD; undefined on the host, and while KVM translates no PASIDs. */
  readonly kvm: KvmRow | undefined;
  /** What its guest's tables say, by the guest's devices. */
  readonly guestEntries: readonly EntryRow[];
  /** What the host's tables say, by the host's devices. */
  readonly hostEntries: readonly EntryRow[];
  /** What the address space has mapped: how many page frames. */
  readonly frames: number;
  /** In which step that was. */
  readonly step: number;
}

/** What the table is made of, beside the core and the ledger. */
export interface Look {
  readonly hardware: Hardware;
  readonly bench: HostBench;
}

export function pasidTable(ioasids: IoasidCore, { ledger }: Taps, look: Look): PasidRow[] {
  return ioasidReports(ioasids).map(({ id, set, spid, state, holders }) => {
    const tenure = ledger.pasids.tenure(id);
    const mm = tenure?.mm ?? '';
    const vm = ledger.guestOf(mm)?.name;
    const guest = spid ?? tenure?.guest;
    return {
      pasid: id,
      vm,
      process: mm,
      guest,
      set,
      state,
      holders: holders.map(({ holder, count }) => named(holder, count, look.hardware)),
      queues: ledger.opens.for(mm).map(({ queue, via }) => ({ queue, via })),
      ...entriesOf(look, { pasid: id, vm, guest }),
      frames: ledger.framesOf(mm).pagesOf(mm),
      step: ledger.step,
    };
  });
}

/** How much a table tells: PASIDs, then entries that they lead from, then queues. */
const weightOf = (rows: readonly PasidRow[]): number =>
  rows.reduce((sum, { guestEntries, hostEntries, queues }) => {
    return sum + 10_000 + 100 * (guestEntries.length + hostEntries.length) + queues.length;
  }, 0);

/** Keeps the fullest table that there was. */
export class WidestTable {
  rows: readonly PasidRow[] = [];
  /** How many PASIDs there were at most. */
  most = 0;
  #weight = 0;

  clear(): void {
    this.rows = [];
    this.most = 0;
    this.#weight = 0;
  }

  /** @param isTold whether anybody reads the table; if not, only what is cheap is kept */
  look(ioasids: IoasidCore, taps: Taps, { isTold, ...look }: Look & { readonly isTold: boolean }): void {
    const { live } = ioasidCapacity(ioasids);
    const isMore = live > this.most;
    if (isMore) this.most = live;
    // A long table changes too often to be made each time.
    if (!isTold || (live > LONG && !(isMore && live % LONG === 0))) return;
    const rows = pasidTable(ioasids, taps, look);
    const weight = weightOf(rows);
    if (weight <= this.#weight) return;
    this.rows = rows;
    this.#weight = weight;
  }
}

const LONG = 256;

function entriesOf(
  { hardware, bench }: Look,
  { pasid, vm, guest }: { pasid: number; vm: string | undefined; guest: number | undefined },
): Pick<PasidRow, 'kvm' | 'guestEntries' | 'hostEntries'> {
  const hostEntries = hardware.accelerators.flatMap((each) =>
    bench
      .entriesOf(each, pasid)
      .flatMap(([number, entry]) => rowOf(each.name, entry, bench.isWhole(each.name) ? number : undefined)),
  );
  if (vm === undefined || guest === undefined) return { kvm: undefined, guestEntries: [], hostEntries };
  const kvm = bench.kvmEntryOf(vm, guest);
  return {
    kvm: kvm && {
      address: hex(kvm.address),
      word: (kvm.word >>> 0).toString(16).padStart(8, '0'),
      pasid: bench.mapping(vm, guest).cpu,
    },
    guestEntries: bench
      .devicesOf(vm)
      .flatMap(([name, rid]) => rowOf(name, bench.guestEntryOf(vm, rid, guest))),
    hostEntries,
  };
}

function rowOf(device: string, entry: TableEntry | undefined, number?: number): EntryRow[] {
  if (entry === undefined) return [];
  const { translation, root, second, address, words } = entry;
  const text = (frame: number | undefined): string | undefined =>
    frame === undefined ? undefined : frameText(frame);
  const stages = { firstStage: text(root), secondStage: text(second) };
  return [{ device, number, translation, ...stages, address: hex(address), words: entryText(words) }];
}

/** A holder's name, with the scenario's name of its device. */
function named(holder: string, count: number, { aliases }: Hardware): string {
  const alias = aliases.find(([known]) => holder.includes(known));
  const name = alias === undefined ? holder : holder.replace(...alias);
  return count === 1 ? name : `${name} (${count})`;
}
