/**
 * A machine's memory in a file, as QEMU's `pmemsave` and most dumpers write it: frame after frame from one
 * physical address on, raw or as gzip (RFC 1952), which its first bytes tell.
 *
 * A raw file is read in place, and only where tables lie. What has to be read from its beginning to its end
 * (gzip, a pipe) is taken in whole, less the frames that are all zero. Formats with a directory of their own
 * (kdump, ELF cores, QEMU's snapshots) are left out, and refused by name.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { FRAME_BYTES, FRAME_LIMIT } from '../../hardware/index.js';
import { codeOf, InputError, reasonOf } from '../errors.js';
import { TableMemory } from '../table-memory.js';
import { FrameStream } from './frame-stream.js';
import type { Source, UnitRegisters } from './source.js';

/** How to open an image. */
export interface ImageOptions {
  /** The file. */
  readonly memory: string;
  readonly registers: UnitRegisters;
  /** Physical address of the file's first byte; 0 if it is not given. */
  readonly base?: number;
}

/** Files that begin so hold memory in another form, or none. */
const OTHER_FORMATS: readonly (readonly [beginning: string, what: string])[] = [
  ['\x7fELF', 'an ELF file'],
  ['KDUMP   ', 'a kdump'],
  ['EMiL', 'a LiME dump'],
  ['QFI\xfb', 'a qcow2 disk'],
  ['QEVM', 'a snapshot of QEMU'],
  ['\x28\xb5\x2f\xfd', 'packed by zstd'],
  ['\xfd7zXZ', 'packed by xz'],
  ['BZh', 'packed by bzip2'],
  ['PK\x03\x04', 'a zip archive'],
];

const HEAD_BYTES = 8;

/** Where frames come from, by their number in the image. */
interface Frames {
  readonly count: number;
  read(index: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** How much is read and unpacked at a time, in bytes. */
const CHUNK_BYTES = 1 << 20;

/** How many frames that are not zero are kept of a file that can't be read in place: 4 GiB. */
const KEPT_FRAMES = 2 ** 20;

/** Opens an image. On failure: an {@link InputError} with the file, and how far into it. */
export async function openImageFile(options: ImageOptions): Promise<Source> {
  const { memory: name, registers, base = 0 } = options;
  const first = base / FRAME_BYTES;
  if (!(Number.isInteger(first) && first >= 0 && first < FRAME_LIMIT)) {
    throw new InputError(name, `0x${base.toString(16)} is no physical address of a frame of 4096 bytes`);
  }
  const file = await open(name).catch((error: unknown) => {
    throw new InputError(name, reasonOf(error));
  });
  try {
    const frames = await framesOf(name, file);
    if (first + frames.count > FRAME_LIMIT) {
      throw new InputError(name, 'this image reaches beyond physical addresses of 52 bits');
    }
    return new ImageSource(name, registers, { first, frames });
  } catch (error) {
    await file.close();
    throw error instanceof InputError ? error : new InputError(name, reasonOf(error));
  }
}

class ImageSource implements Source {
  readonly name: string;
  readonly registers: UnitRegisters;
  readonly memory = new TableMemory();
  readonly #first: number;
  readonly #frames: Frames;

  constructor(name: string, registers: UnitRegisters, image: { first: number; frames: Frames }) {
    this.name = name;
    this.registers = registers;
    this.#first = image.first;
    this.#frames = image.frames;
  }

  async readMissing(): Promise<void> {
    for (const frame of [...this.memory.missing]) {
      const index = frame - this.#first;
      const isThere = index >= 0 && index < this.#frames.count;
      this.memory.learn(frame, isThere ? await this.#frames.read(index) : undefined);
    }
  }

  close(): Promise<void> {
    return this.#frames.close();
  }
}

async function framesOf(name: string, file: FileHandle): Promise<Frames> {
  const stat = await file.stat();
  if (stat.isCharacterDevice()) {
    throw new InputError(name, 'this is a device: memory is read from a file or a pipe');
  }
  const head = await headOf(file);
  const isGzip = head[0] === 0x1f && head[1] === 0x8b && head[2] === 8;
  const other = OTHER_FORMATS.find(([beginning]) => head.toString('latin1').startsWith(beginning));
  if (other !== undefined) {
    throw new InputError(
      name,
      `this is ${other[1]}: raw memory is needed, as pmemsave writes it, or gzip of it`,
    );
  }
  if (stat.isFile() && !isGzip) {
    return {
      count: countOf(name, stat.size),
      read: (index) => readFrame(name, file, index),
      close: () => file.close(),
    };
  }
  const { bytes, frames } = await readWhole(name, { file, head, isGzip });
  const count = countOf(name, bytes);
  await file.close();
  const zeros = new Uint8Array(FRAME_BYTES);
  return { count, read: async (index) => frames.get(index) ?? zeros, close: async () => {} };
}

/** The bytes by which formats are known, or fewer if there are no more. */
async function headOf(file: FileHandle): Promise<Buffer> {
  const head = Buffer.alloc(HEAD_BYTES);
  let filled = 0;
  for (;;) {
    const { bytesRead } = await file.read(head, filled, head.length - filled, null);
    filled += bytesRead;
    if (bytesRead === 0 || filled === head.length) return head.subarray(0, filled);
  }
}

function countOf(name: string, bytes: number): number {
  if (bytes === 0) throw new InputError(name, 'this image of memory is empty');
  if (bytes % FRAME_BYTES === 0) return bytes / FRAME_BYTES;
  throw new InputError(
    name,
    `${bytes} bytes of memory are no multiple of 4096: the image is cut off, or none`,
  );
}

async function readFrame(name: string, file: FileHandle, index: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(FRAME_BYTES);
  const { bytesRead } = await file
    .read(bytes, 0, FRAME_BYTES, index * FRAME_BYTES)
    .catch((error: unknown) => {
      throw new InputError(name, `at byte ${index * FRAME_BYTES}: ${reasonOf(error)}`);
    });
  if (bytesRead === FRAME_BYTES) return bytes;
  throw new InputError(name, `the file has become shorter: it ends before byte ${(index + 1) * FRAME_BYTES}`);
}

/** Takes in all of a file whose first bytes, `head`, have been read. */
async function readWhole(
  name: string,
  from: { readonly file: FileHandle; readonly head: Buffer; readonly isGzip: boolean },
): Promise<FrameStream> {
  const { file, head, isGzip } = from;
  const stream = new FrameStream();
  let fed = head.length;
  const rest = file.createReadStream({ autoClose: false, highWaterMark: CHUNK_BYTES });
  const packed = async function* (): AsyncGenerator<Buffer> {
    yield head;
    for await (const chunk of rest) {
      fed += chunk.length;
      yield chunk;
    }
  };
  const take = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of chunks) {
      stream.take(chunk);
      if (stream.frames.size > KEPT_FRAMES) {
        throw new InputError(name, 'over 4 GiB besides zeros: unpack it to a file, which is read in place');
      }
    }
  };
  try {
    if (isGzip) await pipeline(packed, createGunzip({ chunkSize: CHUNK_BYTES }), take);
    else await take(packed());
  } catch (error) {
    if (error instanceof InputError || !isGzip) throw error;
    if (codeOf(error) === 'Z_BUF_ERROR') throw new InputError(name, `gzip is cut off at byte ${fed}`);
    throw new InputError(name, `gzip is damaged, at byte ${fed} at the latest: ${reasonOf(error)}`);
  }
  return stream;
}
