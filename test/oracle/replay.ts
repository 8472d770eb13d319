/**
 * Plays a recording again on the lab's QEMU: the same bytes to the same addresses of memory, the same values to the
 * unit's registers, the same DMAs by the devices in the same places, all in the order of the recording. What the
 * kernel loaded and read then is read there too.
 *
 * The kernel is not there: nothing is polled anew. A load whose answer differs is a difference.
 */
import { DEVICES, hex, type OracleMachine, UNIT_BASE } from './machine.js';
import { QemuTwin } from './qemu-twin.js';
import type { Dma, Recorded } from './recorded-host.js';
import { MEMORY, UPPER } from './replay-judge.js';
import { PATTERN } from './twin.js';

/** What differs. */
export interface Difference {
  /** The place in the recording; its length for what was compared at the end. */
  readonly index: number;
  readonly what: string;
  readonly ours: string;
  readonly theirs: string;
}

export interface Register {
  readonly name: string;
  readonly offset: number;
  readonly bytes: 4 | 8;
}

const register = (name: string, offset: number, bytes: 4 | 8): Register => ({ name, offset, bytes });
const FSTS = register('FSTS', 0x34, 4);
const RECORD = [register('fault record', 0x220, 8), register(UPPER, 0x228, 8)] as const;

/** What software can read of a unit, but CAP and ECAP. */
export const REGISTERS: readonly Register[] = [
  register('GSTS', 0x1c, 4),
  register('RTADDR', 0x20, 8),
  FSTS,
  ...['FECTL', 'FEDATA', 'FEADDR', 'FEUADDR'].map((name, i) => register(name, 0x38 + 4 * i, 4)),
  ...['IQH', 'IQT', 'IQA'].map((name, i) => register(name, 0x80 + 8 * i, 8)),
  register('ICS', 0x9c, 4),
  ...['IECTL', 'IEDATA', 'IEADDR', 'IEUADDR'].map((name, i) => register(name, 0xa0 + 4 * i, 4)),
  ...RECORD,
];

/** Those of page requests. */
export const PAGE_REQUEST_REGISTERS: readonly Register[] = [
  ...['PQH', 'PQT', 'PQA'].map((name, i) => register(name, 0xc0 + 8 * i, 8)),
  register('PRS', 0xdc, 4),
  ...['PECTL', 'PEDATA', 'PEADDR', 'PEUADDR'].map((name, i) => register(name, 0xe0 + 4 * i, 4)),
];

const NAMED = [
  ...[register('CAP', 0x8, 8), register('ECAP', 0x10, 8)],
  ...[...REGISTERS, ...PAGE_REQUEST_REGISTERS],
];
const FRAME_BYTES = 4096;

/** What the machine that was recorded is at the end. */
export interface End {
  readonly frames: ReadonlyMap<number, Uint8Array>;
  readonly registers: ReadonlyMap<Register, bigint>;
}

export class Replay {
  readonly #machine: OracleMachine;
  readonly #twin: QemuTwin;
  readonly #checks: Promise<readonly Difference[]>[] = [];
  /** By device, the reads whose data are in its buffer. */
  readonly #reads = DEVICES.map((): { index: number; dma: Dma }[] => []);

  constructor(machine: OracleMachine) {
    this.#machine = machine;
    this.#twin = new QemuTwin(machine);
  }

  /** All that differs, in the order of the recording; the machine is used up then. */
  async run(recording: readonly Recorded[], end: End): Promise<readonly Difference[]> {
    recording.forEach((each, index) => {
      this.#do(each, index);
    });
    this.#compareEnd(end, recording.length);
    await this.#compareReads();
    const found = (await Promise.all(this.#checks)).flat();
    return found.filter(({ ours, theirs }) => ours !== theirs).sort((a, b) => a.index - b.index);
  }

  #do(each: Recorded, index: number): void {
    if (each.did === 'note') return;
    if (each.did === 'dma') {
      this.#dma(each, index);
      return;
    }
    const at = hex(BigInt(each.address));
    if (each.did === 'store') this.#store(each.address, each.data);
    else if (each.did === 'load') this.#expect(index, { ...each, what: `${MEMORY} ${at}, loaded` });
    else if (!isOfUnit(each.address)) return;
    else if (each.did === 'read') this.#expect(index, { ...each, what: `${nameOf(each.address)}, read` });
    else this.#tell(`write${suffix(each.bytes)} ${at} ${hex(each.value)}`);
  }

  #store(address: number, data: Uint8Array): void {
    const at = `${hex(BigInt(address))} ${data.length}`;
    if (data.every((byte) => byte === 0)) this.#tell(`memset ${at} 0`);
    else this.#tell(`b64write ${at} ${Buffer.from(data).toString('base64')}`);
  }

  #dma(dma: Dma, index: number): void {
    const { device, address, at } = dma;
    const reads = this.#reads[device] ?? [];
    const step = { do: 'dma', device, address: BigInt(address), slot: reads.length } as const;
    const answer = this.#twin.run([step]);
    const who = `device ${device} at ${hex(BigInt(address))}`;
    if (DEVICES[device]?.kind === 'edu') {
      reads.push({ index, dma });
    } else {
      const ours = at === undefined ? 'blocked' : 'done';
      const done = answer.then(([passed]) => (passed === true ? 'done' : 'blocked'));
      this.#check(done.then((theirs) => ({ index, what: `write of ${who}`, ours, theirs })));
      if (at !== undefined) {
        this.#expect(index, { what: `where ${who} writes`, address: at, bytes: 4, value: BigInt(PATTERN) });
      }
    }
    const after = (of: Register, value: bigint): void =>
      this.#expect(index, { what: `${of.name} after ${who}`, ...inMemory(of), value });
    after(FSTS, dma.status);
    RECORD.forEach((of, i) => {
      after(of, dma.record[i] ?? 0n);
    });
  }

  #compareEnd({ frames, registers }: End, index: number): void {
    for (const [of, value] of registers) this.#expect(index, { what: of.name, ...inMemory(of), value });
    for (const [frame, ours] of frames) {
      const theirs = this.#machine.qtest.ask(`b64read ${hex(BigInt(frame * FRAME_BYTES))} ${FRAME_BYTES}`);
      this.#checks.push(
        theirs.then((text) => wordsThatDiffer(index, { frame, ours, theirs: Buffer.from(text, 'base64') })),
      );
    }
  }

  /** Without translation the devices give their buffers away. */
  async #compareReads(): Promise<void> {
    this.#tell(`writel ${hex(UNIT_BASE + 0x18n)} 0`);
    for (const [device, reads] of this.#reads.entries()) {
      if (reads.length === 0) continue;
      const [data] = await this.#twin.run([{ do: 'drain', device, slots: reads.length }]);
      reads.forEach(({ index, dma }, slot) => {
        const theirs = hex(BigInt((Array.isArray(data) ? data[slot] : undefined) ?? -1));
        const what = `what device ${device} reads at ${hex(BigInt(dma.address))}`;
        this.#check(Promise.resolve({ index, what, ours: hex(BigInt(dma.value)), theirs }));
      });
    }
  }

  #expect(index: number, of: { what: string; address: number; bytes: 4 | 8; value: bigint }): void {
    const { what, address, bytes, value } = of;
    const answer = this.#machine.qtest.ask(`read${suffix(bytes)} ${hex(BigInt(address))}`);
    this.#check(answer.then((text) => ({ index, what, ours: hex(value), theirs: hex(BigInt(text)) })));
  }

  #check(found: Promise<Difference>): void {
    this.#checks.push(found.then((each) => [each]));
  }

  #tell(command: string): void {
    this.#machine.qtest.tell(command);
  }
}

/** A register, by its address. */
function nameOf(address: number): string {
  const offset = address - Number(UNIT_BASE);
  return NAMED.find((each) => each.offset === offset)?.name ?? `register 0x${offset.toString(16)}`;
}

const suffix = (bytes: 4 | 8): string => (bytes === 4 ? 'l' : 'q');
const isOfUnit = (address: number): boolean =>
  address >= Number(UNIT_BASE) && address < Number(UNIT_BASE) + FRAME_BYTES;
const inMemory = ({ offset, bytes }: Register) => ({ address: Number(UNIT_BASE) + offset, bytes });

/** The 64-bit words that differ in a frame. */
function wordsThatDiffer(
  index: number,
  { frame, ours, theirs }: { frame: number; ours: Uint8Array; theirs: Uint8Array },
): Difference[] {
  const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [a, b] = [view(ours), view(theirs)];
  const found: Difference[] = [];
  for (let at = 0; at < FRAME_BYTES; at += 8) {
    const pair = { ours: a.getBigUint64(at, true), theirs: b.getBigUint64(at, true) };
    if (pair.ours === pair.theirs) continue;
    const what = `${MEMORY} ${hex(BigInt(frame * FRAME_BYTES + at))}`;
    found.push({ index, what, ours: hex(pair.ours), theirs: hex(pair.theirs) });
  }
  return found;
}
