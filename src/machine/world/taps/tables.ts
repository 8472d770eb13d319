/** Taps on PASID tables: entries as they are stored, and as the unit takes them in; and the faults that it records. */
import { hex } from '../../../base/index.js';
import { ABSENT, type EntryAudit, type FaultAudit, NO_PASID, RIGHT } from '../../../hardware/index.js';
import type { Fetch } from '../../../rules/index.js';
import { decode, FAULT_REASONS, PASID_TABLE_ENTRY } from '../../../spec/index.js';
import { numberOf } from './identity.js';
import type { JobTaps } from './jobs.js';
import { renamed } from './names.js';
import type { Tapped } from './tapped.js';

const PAGE = 4096;
const { DID, FSPTPTR, P, PGTT, SSPTPTR } = PASID_TABLE_ENTRY;
/** Of a PASID table. */
const ENTRY_BYTES = 64;
const ENTRIES = PAGE / ENTRY_BYTES;
const FIRST_STAGE_ONLY = 1;
const NESTED = 3;
/** How a kernel names what the frames of a PASID table are used for. */
const TABLE_OF = 'PASID table of ';

export class TableTaps {
  readonly #tapped: Tapped;
  readonly #jobs: JobTaps;

  constructor(tapped: Tapped, jobs: JobTaps) {
    this.#tapped = tapped;
    this.#jobs = jobs;
  }

  /** Of the PASID tables alone: whether an entry that was stored to is present, and what it says. */
  readonly stored = (address: number): void => {
    const { ledger, judge, aliases } = this.#tapped;
    const { frames, pasids } = ledger;
    // With so many, each place in a table is that of several.
    if (pasids.live > ENTRIES) return;
    const owner = frames.tenure(Math.floor(address / PAGE))?.owner;
    if (owner?.kind !== 'kernel' || !owner.use.startsWith(TABLE_OF)) return;
    const entry = this.#presentAt(address - (address % ENTRY_BYTES));
    if (entry === undefined) return;
    const index = Math.floor((address % PAGE) / ENTRY_BYTES);
    const device = renamed(owner.use.slice(TABLE_OF.length), aliases);
    const numbers = [...pasids.all()].flatMap(([id]) => ledger.numbering.numbersOf(device, id));
    const [number, other] = numbers.filter((each) => each % ENTRIES === index);
    // Where two PASIDs have this place in their tables, it is open whose entry this is.
    if (number === undefined || other !== undefined) return;
    judge.tell('visible', entryFact({ device, ...numberOf(ledger, device, number) }, entry, 0));
  };

  readonly taken: EntryAudit = ({ rid, pasid }, words, at) => {
    // Caching mode takes in that an entry is not present, too.
    if (pasid === 0 || P.get(words, at) === 0) return;
    const { ledger, judge } = this.#tapped;
    const device = this.#tapped.nameOf(rid);
    ledger.numbering.tookIn(device, DID.get(words, at));
    // Two numbers may be one: whose entry it is then is open.
    if (ledger.numbering.idsOf(device, pasid).length > 1) return;
    judge.tell('fetched', entryFact({ device, ...numberOf(ledger, device, pasid) }, words, at));
  };

  readonly fault: FaultAudit = ({ reason }, { rid, pasid, page, rights }) => {
    const known = FAULT_REASONS[reason];
    const kind = (rights & RIGHT.WRITE) === 0 ? 'read' : 'write';
    const device = this.#tapped.nameOf(rid);
    const text = `a ${kind} at ${hex(page * PAGE)}: ${known?.text ?? `reason ${hex(reason)}`}`;
    const { ledger, judge } = this.#tapped;
    const number = pasid === NO_PASID ? { pasid: undefined } : numberOf(ledger, device, pasid);
    judge.tell('faulted', { name: known?.name ?? hex(reason), by: 'dmar0', device, ...number, text });
    if (number.pasid !== undefined) this.#jobs.faulted(device, number.pasid, page);
  };

  /** A copy of the entry at an address, if it is present. */
  #presentAt(address: number): Int32Array | undefined {
    const memory = this.#tapped.hardware?.memory;
    const frame = memory?.at(Math.floor(address / PAGE)) ?? ABSENT;
    if (memory === undefined || frame === ABSENT) return undefined;
    const at = frame + (address % PAGE) / 4;
    return P.get(memory.words, at) === 0 ? undefined : memory.words.slice(at, at + ENTRY_BYTES / 4);
  }
}

function entryFact(of: Pick<Fetch, 'device' | 'pasid' | 'carried'>, words: Int32Array, at: number): Fetch {
  const type = PGTT.get(words, at);
  const hasFirst = type === FIRST_STAGE_ONLY || type === NESTED;
  return {
    ...of,
    root: hasFirst ? FSPTPTR.get(words, at) : undefined,
    second: type === NESTED ? SSPTPTR.get(words, at) : undefined,
    get entry() {
      const { fields } = decode(PASID_TABLE_ENTRY, words, at);
      return fields
        .filter(({ value }) => value !== 0n)
        .map(({ field, text }) => `${field.name}=${text}`)
        .join(' ');
    },
  };
}
