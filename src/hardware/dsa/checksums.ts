/**
 * CRC generation, and copy with CRC generation (Intel DSA Architecture Specification, 341204, revision 3.0, 8.3.11
 * and 8.3.12). A seed in memory is read first. Where a page is not to be had, the record has the CRC so far, which is
 * the seed of what is left.
 */
import {
  DSA_CRC,
  DSA_CRC_RECORD,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { type Buffers, PAGE } from './buffers.js';
import { type CrcInput, crc32c, reversed32 } from './crc.js';
import type { Method } from './method.js';
import type { Work } from './work.js';

/** The slots of its operands. */
const SOURCE = 0;
const SEED = 1;
const TARGET = 2;
const SRC_WORD = DSA_CRC.SRC.low / 32;
const DST_WORD = DSA_CRC.DST.low / 32;
const SEED_WORD = DSA_CRC.SEED.low / 32;
const SEED_ADDRESS_WORD = DSA_CRC.SEED_ADDR.low / 32;
const SEED_BYTES = 4;
const CRC_WORD = DSA_CRC_RECORD.CRC.low / 32;
const STAGE = { DATA: 0, SEED: 1 } as const;

export class Checksums implements Method {
  readonly #work: Work;
  readonly #buffers: Buffers;
  readonly #input: CrcInput = { bytes: new Uint8Array(PAGE), length: 0, isReflected: false };

  constructor(work: Work, buffers: Buffers) {
    this.#work = work;
    this.#buffers = buffers;
  }

  begin(): void {
    const { now, descriptor } = this.#work;
    this.#seed(descriptor[SEED_WORD] ?? 0);
    now.stage = (now.flags & FLAG.CRC_READ_SEED) === 0 ? STAGE.DATA : STAGE.SEED;
  }

  place(): void {
    const { now } = this.#work;
    const buffers = this.#buffers;
    const isSeed = now.stage === STAGE.SEED;
    const isCopy = now.opcode === OP.COPY_CRC;
    buffers.locate(SEED, SEED_ADDRESS_WORD, 0);
    buffers.locate(SOURCE, SRC_WORD, now.done);
    let length = isSeed ? 0 : Math.min(now.size - now.done, buffers.roomOf(SOURCE));
    if (isCopy) {
      buffers.locate(TARGET, DST_WORD, now.done);
      length = Math.min(length, buffers.roomOf(TARGET));
      buffers.resize(TARGET, length);
    }
    buffers.resize(SEED, isSeed ? SEED_BYTES : 0);
    buffers.resize(SOURCE, length);
    now.length = length;
  }

  run(): number {
    const { now, entry } = this.#work;
    if (now.stage === STAGE.SEED) {
      if (!this.#buffers.read(SEED, entry)) return STATUS.HARDWARE_ERROR;
      this.#seed(
        (entry[0] ?? 0) | ((entry[1] ?? 0) << 8) | ((entry[2] ?? 0) << 16) | ((entry[3] ?? 0) << 24),
      );
      now.stage = STAGE.DATA;
      return STATUS.NONE;
    }
    const input = this.#input;
    if (!this.#buffers.read(SOURCE, input.bytes)) return STATUS.HARDWARE_ERROR;
    input.length = now.length;
    input.isReflected = (now.flags & FLAG.CRC_BYPASS_DATA_REFLECTION) === 0;
    now.crc = crc32c(now.crc, input);
    if (now.opcode === OP.COPY_CRC) this.#buffers.write(TARGET, input.bytes);
    now.done += now.length;
    if (now.done < now.size) return STATUS.NONE;
    this.#result();
    return STATUS.SUCCESS;
  }

  report(): void {
    const { now, record } = this.#work;
    DSA_CRC_RECORD.COMPLETED.set(record, 0, now.done);
    this.#result();
  }

  #seed(seed: number): void {
    const { now } = this.#work;
    now.crc = this.#isPlain ? seed : reversed32(~seed);
  }

  #result(): void {
    const { now, record } = this.#work;
    record[CRC_WORD] = this.#isPlain ? now.crc : ~reversed32(now.crc);
  }

  /** Whether seed and result are the CRC's register as it is. */
  get #isPlain(): boolean {
    return (this.#work.now.flags & FLAG.CRC_BYPASS_INVERSION) !== 0;
  }
}
