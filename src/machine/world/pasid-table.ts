/** Who has which PASID, who holds it, and where it leads: what `run` prints when it is done. */
import { hex } from '../../base/index.js';
import { type IoasidCore, ioasidCapacity, ioasidReports } from '../../ioasid/index.js';
import type { Hardware } from './hardware.js';
import type { HostBench } from './state-bench.js';
import type { Taps } from './taps/taps.js';

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
  /** The queues that the address space has open, as device/queue; with the guest's name, where it has another. */
  readonly queues: readonly string[];
  /** Where requests with it lead, by the tables in memory: `dsa0: first stage at 0x10c000`. */
  readonly translation: readonly string[];
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
    return {
      pasid: id,
      vm: ledger.guestOf(mm)?.name,
      process: mm,
      guest: spid ?? tenure?.guest,
      set,
      state,
      holders: holders.map(({ holder, count }) => named(holder, count, look.hardware)),
      queues: ledger.opens.for(mm).map(({ queue, via }) => (via === queue ? queue : `${via} on ${queue}`)),
      translation: translationOf(id, look),
      frames: ledger.framesOf(mm).pagesOf(mm),
      step: ledger.step,
    };
  });
}

/** How much a table tells: PASIDs, then devices that they lead from, then queues. */
const weightOf = (rows: readonly PasidRow[]): number =>
  rows.reduce((sum, { translation, queues }) => sum + 10_000 + 100 * translation.length + queues.length, 0);

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

function translationOf(pasid: number, { hardware, bench }: Look): string[] {
  return hardware.accelerators.flatMap(({ name, rid }) => {
    const entry = bench.entryOf(rid, pasid);
    if (entry === undefined) return [];
    const { root, second } = entry;
    if (second === undefined) return [`${name}: first stage at ${hex(root * 4096)}`];
    return [
      `${name}: nested, first stage at guest ${hex(root * 4096)}, second stage at ${hex(second * 4096)}`,
    ];
  });
}

/** A holder's name, with the scenario's name of its device. */
function named(holder: string, count: number, { aliases }: Hardware): string {
  const alias = aliases.find(([known]) => holder.includes(known));
  const name = alias === undefined ? holder : holder.replace(...alias);
  return count === 1 ? name : `${name} (${count})`;
}
