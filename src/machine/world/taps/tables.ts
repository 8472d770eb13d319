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
const ENTRY_WORDS = ENTRY_BYTES / 4;
const ENTRIES = PAGE / ENTRY_BYTES;
/** So many frames are remembered, by the end of their numbers. */
const REMEMBERED = 256;
const FIRST_STAGE_ONLY = 1;
const SECOND_STAGE_ONLY = 2;
const NESTED = 3;
/** How a kernel names what the frames of a PASID table are used for. */
const TABLE_OF = 'PASID table of ';

export class TableTaps {
  readonly #tapped: Tapped;
  readonly #jobs: JobTaps;
  /** Frames that hold no PASID table, as long as none has changed hands. */
  readonly #noTable = new Int32Array(REMEMBERED).fill(-1);
  #version = 0;

  constructor(tapped: Tapped, jobs: JobTaps) {
    this.#tapped = tapped;
    this.#jobs = jobs;
  }

  /** Of the PASID tables alone: whether an entry that was stored to is present, and what it says. */
  readonly stored = (address: number): void => {
    if (!this.#tapped.judgesStores) return;
    const frame = Math.floor(address / PAGE);
    if (this.#isNoTable(frame)) return;
    const { ledger, judge, aliases } = this.#tapped;
    const { frames, pasids } = ledger;
    // With so many, each place in a table is that of several.
    if (pasids.live > ENTRIES) return;
    const owner = frames.tenure(frame)?.owner;
    if (owner?.kind !== 'kernel' || !owner.use.startsWith(TABLE_OF)) {
      this.#noTable[frame % REMEMBERED] = frame;
      return;
    }
    const entry = this.#presentAt(address - (address % ENTRY_BYTES));
    if (entry === undefined) return;
    const device = renamed(owner.use.slice(TABLE_OF.length), aliases);
    const number = this.#onlyAt(device, Math.floor((address % PAGE) / ENTRY_BYTES));
    // Where two PASIDs have this place in their tables, it is open whose entry this is.
    if (number === undefined) return;
    judge.tell('visible', new EntryFact(device, numberOf(ledger, device, number), entry));
  };

  readonly taken: EntryAudit = ({ rid, pasid }, words, at) => {
    // Caching mode takes in that an entry is not present, too.
    if (pasid === 0 || P.get(words, at) === 0) return;
    const { ledger, judge } = this.#tapped;
    const device = this.#tapped.nameOf(rid);
    ledger.numbering.tookIn(device, DID.get(words, at));
    // Two numbers may be one: whose entry it is then is open.
    if (ledger.numbering.idsOf(device, pasid).length > 1) return;
    const copy = words.slice(at, at + ENTRY_WORDS);
    judge.tell('fetched', new EntryFact(device, numberOf(ledger, device, pasid), copy));
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

  /** Whether a frame is known to hold no PASID table: most stores are to such. */
  #isNoTable(frame: number): boolean {
    const { version } = this.#tapped.ledger.frames;
    if (version !== this.#version) {
      this.#version = version;
      this.#noTable.fill(-1);
    }
    return this.#noTable[frame % REMEMBERED] === frame;
  }

  /** The one number of a device's that is in use and has this place in its table. */
  #onlyAt(device: string, index: number): number | undefined {
    const { pasids, numbering } = this.#tapped.ledger;
    let found: number | undefined;
    for (const [pasid] of pasids.all()) {
      for (const number of numbering.numbersOf(device, pasid)) {
        if (number % ENTRIES !== index) continue;
        if (found !== undefined) return undefined;
        found = number;
      }
    }
    return found;
  }

  /** A copy of the entry at an address, if it is present. */
  #presentAt(address: number): Int32Array | undefined {
    const memory = this.#tapped.hardware?.memory;
    const at = memory?.at(Math.floor(address / PAGE), (address % PAGE) / 4) ?? ABSENT;
    if (memory === undefined || at === ABSENT) return undefined;
    return P.get(memory.words, at) === 0 ? undefined : memory.words.slice(at, at + ENTRY_WORDS);
  }
}

/** What an entry says. */
class EntryFact implements Fetch {
  readonly device: string;
  readonly pasid: number;
  readonly carried?: number;
  readonly root: number | undefined;
  readonly second: number | undefined;
  readonly #words: Int32Array;

  constructor(device: string, { pasid, carried }: Pick<Fetch, 'pasid' | 'carried'>, words: Int32Array) {
    const type = PGTT.get(words, 0);
    this.device = device;
    this.pasid = pasid;
    if (carried !== undefined) this.carried = carried;
    this.root = type === FIRST_STAGE_ONLY || type === NESTED ? FSPTPTR.get(words, 0) : undefined;
    this.second = type === NESTED || type === SECOND_STAGE_ONLY ? SSPTPTR.get(words, 0) : undefined;
    this.#words = words;
  }

  get entry(): string {
    const { fields } = decode(PASID_TABLE_ENTRY, this.#words, 0);
    return fields
      .filter(({ value }) => value !== 0n)
      .map(({ field, text }) => `${field.name}=${text}`)
      .join(' ');
  }
}
