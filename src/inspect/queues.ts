/**
 * A unit's rings in memory, decoded: the latest entries of its invalidation queue, the page requests that nobody
 * has answered yet; and the faults that its registers hold.
 */
import { hex, hiOf, loOf } from '../base/index.js';
import { ABSENT, FRAME_BYTES, type FrameReader } from '../hardware/index.js';
import {
  type Decoded,
  decode,
  decodeInvalidation,
  FAULT_REASONS,
  FAULT_RECORD,
  FSTS_REG,
  format,
  GSTS_REG,
  IQA_REG,
  IQH_REG,
  IQT_REG,
  PAGE_REQUEST_BYTES,
  PAGE_REQUEST_DESCRIPTOR,
  PQA_REG,
  PQH_REG,
  PQT_REG,
} from '../spec/index.js';
import { bdf } from './bdf.js';
import { pageHex } from './page-hex.js';
import type { Problem } from './survey-types.js';
import { registerWords, type Unit } from './unit.js';

/** One entry of a ring. */
export interface RingEntry {
  /** Where it lies. */
  readonly address: number;
  /** Its 64-bit words. */
  readonly raw: readonly bigint[];
  /** What it is, by its layout's name. */
  readonly name: string;
  /** Its fields on one line. */
  readonly text: string;
}

/** One entry of the invalidation queue. */
export interface InvalidationEntry extends RingEntry {
  /** Whether hardware has not fetched it yet. */
  readonly isPending: boolean;
}

/** A fault that a recording register holds. */
export interface PendingFault {
  readonly index: number;
  readonly bdf: string;
  /** Undefined for a request without one. */
  readonly pasid: number | undefined;
  readonly address: bigint;
  readonly code: number;
  readonly name: string;
  readonly text: string;
  /** All fields on one line. */
  readonly fields: string;
}

/** What the queues and the fault registers hold. */
export interface Queues {
  /** Oldest first; undefined if the queue is off, or was not recorded. */
  readonly invalidations: readonly InvalidationEntry[] | undefined;
  readonly pageRequests: readonly RingEntry[];
  /** Undefined if the registers were not recorded, and faults are pending all the same. */
  readonly faults: readonly PendingFault[] | undefined;
  /** The fault status register, its fields on one line; empty if it is zero. */
  readonly faultStatus: string;
  /** Queues that lie outside of memory. */
  readonly problems: readonly Problem[];
}

/** A ring in memory. */
interface Ring {
  /** The register that points to it. */
  readonly register: string;
  readonly frame: number;
  readonly bytes: number;
  readonly entryBytes: number;
}

/** Reads the queues of a unit. `latest` is how many entries of the invalidation queue to give at the most. */
export function readQueues(unit: Unit, memory: FrameReader, latest: number): Queues {
  const fsts = registerWords(unit.registers, 'FSTS', FSTS_REG);
  const reader = new RingReader(memory);
  return {
    invalidations: invalidations(unit, reader, latest),
    pageRequests: pageRequests(unit, reader),
    problems: reader.problems,
    faults: pendingFaults(unit, FSTS_REG.PPF.get(fsts, 0) === 1),
    faultStatus: format(decode(FSTS_REG, fsts)),
  };
}

function invalidations(unit: Unit, reader: RingReader, latest: number): InvalidationEntry[] | undefined {
  const { registers } = unit;
  if (!['IQA', 'IQH', 'IQT'].every((name) => registers.values.has(name))) return undefined;
  if (GSTS_REG.QIES.get(registerWords(registers, 'GSTS', GSTS_REG), 0) === 0) return undefined;
  const iqa = registerWords(registers, 'IQA', IQA_REG);
  const isWide = IQA_REG.DW.get(iqa, 0) === 1;
  const ring: Ring = {
    register: 'IQA',
    frame: IQA_REG.IQA.get(iqa, 0),
    bytes: FRAME_BYTES * 2 ** IQA_REG.QS.get(iqa, 0),
    entryBytes: isWide ? 32 : 16,
  };
  const head = atEntry(ring, IQH_REG.QH.get(registerWords(registers, 'IQH', IQH_REG), 0) * 16);
  const tail = atEntry(ring, IQT_REG.QT.get(registerWords(registers, 'IQT', IQT_REG), 0) * 16);
  const pending = distance(ring, head, tail) / ring.entryBytes;
  const entries: InvalidationEntry[] = [];
  for (let back = Math.min(latest, ring.bytes / ring.entryBytes - 1); back >= 1; back--) {
    const offset = distance(ring, back * ring.entryBytes, tail);
    const slot = reader.slot(ring, offset);
    if (slot === undefined || slot.every((word) => word === 0)) continue;
    const decoded = decodeInvalidation(slot, 0, isWide);
    entries.push({ ...ringEntry(ring, offset, slot, decoded), isPending: back <= pending });
  }
  return entries;
}

function pageRequests(unit: Unit, reader: RingReader): RingEntry[] {
  const { registers } = unit;
  if (!unit.format.pageRequests || !['PQA', 'PQH', 'PQT'].every((name) => registers.values.has(name)))
    return [];
  const pqa = registerWords(registers, 'PQA', PQA_REG);
  const ring: Ring = {
    register: 'PQA',
    frame: PQA_REG.PQA.get(pqa, 0),
    bytes: FRAME_BYTES * 2 ** PQA_REG.PQS.get(pqa, 0),
    entryBytes: PAGE_REQUEST_BYTES,
  };
  const head = PQH_REG.PQH.get(registerWords(registers, 'PQH', PQH_REG), 0) * PAGE_REQUEST_BYTES;
  const tail = PQT_REG.PQT.get(registerWords(registers, 'PQT', PQT_REG), 0) * PAGE_REQUEST_BYTES;
  const entries: RingEntry[] = [];
  for (
    let offset = head % ring.bytes;
    offset !== tail % ring.bytes;
    offset = (offset + ring.entryBytes) % ring.bytes
  ) {
    const slot = reader.slot(ring, offset);
    if (slot === undefined) continue;
    entries.push(ringEntry(ring, offset, slot, decode(PAGE_REQUEST_DESCRIPTOR, slot)));
  }
  return entries;
}

/** Where the entry begins that an offset points into: bit 4 of a pointer into a wide ring should be clear. */
const atEntry = (ring: Ring, offset: number): number => (offset % ring.bytes) - (offset % ring.entryBytes);

/** Bytes from `from` on to `to`, round the ring. */
const distance = (ring: Ring, from: number, to: number): number =>
  (((to - from) % ring.bytes) + ring.bytes) % ring.bytes;

class RingReader {
  readonly #memory: FrameReader;
  readonly problems: Problem[] = [];

  constructor(memory: FrameReader) {
    this.#memory = memory;
  }

  /** A copy of the entry at `offset`; undefined where there is no memory, which is noted once a ring. */
  slot(ring: Ring, offset: number): Int32Array | undefined {
    const frame = ring.frame + Math.floor(offset / FRAME_BYTES);
    const at = this.#memory.at(frame, (offset % FRAME_BYTES) / 4);
    if (at === ABSENT) {
      const what = `points to a queue that reaches ${pageHex(frame)}, outside of memory`;
      if (!this.problems.some(({ where }) => where === ring.register)) {
        this.problems.push({ where: ring.register, what });
      }
      return undefined;
    }
    return this.#memory.words.slice(at, at + ring.entryBytes / 4);
  }
}

function ringEntry(ring: Ring, offset: number, slot: Int32Array, decoded: Decoded | undefined): RingEntry {
  const raw = Array.from(
    { length: slot.length / 2 },
    (_, i) => (BigInt((slot[i * 2 + 1] ?? 0) >>> 0) << 32n) | BigInt((slot[i * 2] ?? 0) >>> 0),
  );
  return {
    address: ring.frame * FRAME_BYTES + offset,
    raw,
    name: decoded?.layout.name ?? 'unknown descriptor',
    text: decoded === undefined ? raw.map(hex).join(' ') : format(decoded),
  };
}

function pendingFaults(unit: Unit, isPending: boolean): PendingFault[] | undefined {
  const { faultRecords } = unit.registers;
  if (faultRecords === undefined) return isPending ? undefined : [];
  return faultRecords.flatMap((record, index) => {
    const words = Int32Array.of(loOf(record), hiOf(record), loOf(record >> 64n), hiOf(record >> 64n));
    if (FAULT_RECORD.F.get(words, 0) === 0) return [];
    const code = FAULT_RECORD.FR.get(words, 0);
    const hasPasid = FAULT_RECORD.PP.get(words, 0) === 1;
    return {
      index,
      bdf: bdf(FAULT_RECORD.SID.get(words, 0)),
      pasid: hasPasid ? FAULT_RECORD.PASID.get(words, 0) : undefined,
      address: BigInt(FAULT_RECORD.FI.get(words, 0)) << 12n,
      code,
      name: FAULT_REASONS[code]?.name ?? 'unknown',
      text: FAULT_REASONS[code]?.text ?? 'unknown reason',
      fields: format(decode(FAULT_RECORD, words)),
    };
  });
}
