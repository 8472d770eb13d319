/**
 * A live machine under QEMU, read through its QMP socket. All that is asked for is text of the human monitor,
 * which works as well where QEMU is confined to a directory of its own or to another network: no file is shared
 * with it. The map of the physical address space tells where the IOMMU's registers are and what is memory;
 * nothing else is ever read, since reading a device's registers may change its state.
 *
 * The guest stands still from opening to closing, unless it is asked to run on. Only QEMU's `intel-iommu` is
 * understood.
 */
import { FRAME_WORDS, type FrameRange } from '../../hardware/index.js';
import { EnvironmentError, InputError } from '../errors.js';
import { TableMemory } from '../table-memory.js';
import { addressOf, dumpLine, memoryFrames, parseDump, parseRegions, type Region } from './monitor-text.js';
import { type Endings, Pause } from './pause.js';
import { QmpClient, type QmpTimeouts } from './qmp.js';
import { registersFromWords } from './register-words.js';
import type { LiveSource, UnitRegisters } from './source.js';

/** How to look at a machine. */
export interface QemuOptions {
  /** The guest is not stopped: what is read may change on the way. */
  readonly running?: boolean;
  /** For tests: how long to wait. */
  readonly timeouts?: QmpTimeouts;
  /** For tests: who tells that the program is to end; `process` if it is not given. */
  readonly endings?: Endings;
}

/** The name of the registers' region in QEMU's map. */
const UNIT = 'intel_iommu';

/**
 * Connects to a machine, stops its guest and reads its IOMMU's registers.
 *
 * @param path of its QMP socket
 * On failure: an `EnvironmentError` where there is no QEMU, or none any more; an `InputError` where there is no
 * QMP, or no IOMMU of Intel's. The guest goes on.
 */
export async function openQemu(path: string, options: QemuOptions = {}): Promise<LiveSource> {
  const client = await QmpClient.connect(path, options.timeouts);
  try {
    const regions = await regionsOf(client);
    const unit = regions.find(({ name }) => name === UNIT);
    if (unit === undefined) {
      throw new InputError(client.name, 'this machine has no Intel IOMMU (QEMU: -device intel-iommu)');
    }
    const pause =
      options.running === true ? undefined : await Pause.begin(client, options.endings ?? process);
    try {
      const registers = await registersOf(client, unit);
      return new QemuSource(client, { registers, pause, memory: memoryFrames(regions) });
    } catch (error) {
      await pause?.end();
      throw error;
    }
  } catch (error) {
    client.close();
    throw error;
  }
}

class QemuSource implements LiveSource {
  readonly name: string;
  readonly registers: UnitRegisters;
  readonly memory = new TableMemory();
  readonly #client: QmpClient;
  readonly #pause: Pause | undefined;
  readonly #memoryFrames: readonly FrameRange[];

  constructor(
    client: QmpClient,
    what: { registers: UnitRegisters; pause: Pause | undefined; memory: readonly FrameRange[] },
  ) {
    this.name = client.name;
    this.registers = what.registers;
    this.#client = client;
    this.#pause = what.pause;
    this.#memoryFrames = what.memory;
  }

  async readMissing(): Promise<void> {
    await this.#read([...this.memory.missing]);
  }

  readAgain(): Promise<readonly number[]> {
    return this.#read(this.memory.readFrames);
  }

  async close(): Promise<void> {
    try {
      await this.#pause?.end();
    } finally {
      this.#client.close();
    }
  }

  /** Reads frames; returns those that differ from what was known of them, as they were asked for. */
  async #read(frames: readonly number[]): Promise<readonly number[]> {
    const changed = await Promise.all(
      frames.map(async (frame) => this.memory.learn(frame, await this.#frame(frame))),
    );
    return frames.filter((_, i) => changed[i] === true);
  }

  async #frame(frame: number): Promise<Uint8Array | undefined> {
    const isMemory = this.#memoryFrames.some(({ first, last }) => frame >= first && frame <= last);
    if (!isMemory) return undefined;
    const words = await dump(this.#client, { address: addressOf(frame), count: FRAME_WORDS });
    return words.length === FRAME_WORDS ? new Uint8Array(words.buffer) : undefined;
  }
}

async function regionsOf(client: QmpClient): Promise<readonly Region[]> {
  const regions = parseRegions(await client.monitor('info mtree -f'));
  if (regions !== undefined && regions.length > 0) return regions;
  throw new InputError(client.name, 'the answer to info mtree -f is none of those that QEMU 2.9 to 11 give');
}

async function dump(
  client: QmpClient,
  what: { readonly address: bigint; readonly count: number },
): Promise<Int32Array> {
  const { address, count } = what;
  const line = dumpLine(address, count);
  const words = parseDump(await client.monitor(line), address, count);
  if (words !== undefined) return words;
  throw new EnvironmentError(client.name, `the answer to ${line} is no dump of memory`);
}

/** Reads the region of the registers, one access of 8 bytes after the other: none of those changes anything. */
async function registersOf(client: QmpClient, unit: Region): Promise<UnitRegisters> {
  const count = Number((unit.last + 1n - unit.first) / 4n);
  const words = await dump(client, { address: unit.first, count });
  const registers = words.length === count ? registersFromWords(words) : undefined;
  if (registers !== undefined) return registers;
  throw new InputError(client.name, `the IOMMU's registers at 0x${unit.first.toString(16)} can't be read`);
}
