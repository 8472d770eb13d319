/** Who holds which PASID, and where it leads: what `run` prints when it is done. */
import { hex } from '../../base/index.js';
import { type IoasidCore, ioasidReports } from '../../ioasid/index.js';
import type { Hardware } from './hardware.js';
import type { HostBench } from './state-bench.js';
import type { Taps } from './taps.js';

/** One PASID that is in use. */
export interface PasidRow {
  readonly pasid: number;
  readonly process: string;
  /** As the IOASID core calls it: IDLE, ACTIVE, FREE_PENDING. */
  readonly state: string;
  /** Who holds a reference, by name. */
  readonly holders: readonly string[];
  /** The queues that the address space has open, as device/queue. */
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
  const { hardware, bench } = look;
  const frames = new Map<string, number>();
  for (const [, owner] of ledger.frames.all()) {
    if (owner.kind === 'page') frames.set(owner.mm, (frames.get(owner.mm) ?? 0) + 1);
  }
  return ioasidReports(ioasids).map(({ id, state, holders }) => {
    const mm = ledger.pasids.tenure(id)?.mm ?? '';
    const queues = [...ledger.opens.all()].filter((open) => open.mm === mm).map(({ queue }) => queue);
    return {
      pasid: id,
      process: mm,
      state,
      holders: holders.map(({ holder, count }) => named(holder, count, hardware)),
      queues,
      translation: hardware.accelerators.flatMap(({ name, rid }) => {
        const root = bench.rootOf(rid, id);
        return root === undefined ? [] : [`${name}: first stage at ${hex(root * 4096)}`];
      }),
      frames: frames.get(mm) ?? 0,
      step: ledger.step,
    };
  });
}

/** A holder's name, with the scenario's name of its device. */
function named(holder: string, count: number, { aliases }: Hardware): string {
  const alias = aliases.find(([known]) => holder.includes(known));
  const name = alias === undefined ? holder : holder.replace(...alias);
  return count === 1 ? name : `${name} (${count})`;
}
