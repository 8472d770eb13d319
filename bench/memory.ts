/**
 * What it costs to read tables in simulated memory: finding a block, cold walks of a real Linux's tables, nested
 * walks of 24 reads, and putting written blocks back. An operation is a block, a walk, or a block put back.
 *
 * Lost: `%` and `**` on frame numbers, which the engine does by a call in floating point: a nested walk of 28 reads
 * took 1400 ns with them, and half of that without.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Random } from '#src/base/index.js';
import {
  DeviceTables,
  FRAME_BYTES,
  type FrameRange,
  Memory,
  NO_PASID,
  type Request,
  RIGHT,
  unitFormat,
  Walk,
} from '#src/hardware/index.js';
import { wordsOf } from '#src/spec/index.js';
import type { Rate, Suite } from './harness.js';

const IMAGE = new URL('../../examples/linux-7.2-vtd/', import.meta.url);
const NVME = 0x18;
const WALKS = 4096;

/** The image's memory, less the frames that are zero. */
function imageMemory(): Memory {
  const bytes = gunzipSync(readFileSync(new URL('memory.raw.gz', IMAGE)));
  const memory = new Memory([{ first: 0, last: bytes.length / FRAME_BYTES - 1 }]);
  const zero = new Uint8Array(FRAME_BYTES);
  for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
    const frame = bytes.subarray(at, at + FRAME_BYTES);
    if (Buffer.compare(frame, zero) !== 0) memory.write(at, frame);
  }
  return memory;
}

/** A walk of the image's unit. */
function imageWalk(memory: Memory): Walk {
  const registers: Record<string, string> = JSON.parse(
    readFileSync(new URL('registers.json', IMAGE), 'utf8'),
  );
  const value = (name: string): bigint => BigInt(registers[name] ?? 0);
  const format = unitFormat({ cap: wordsOf(value('CAP')), ecap: wordsOf(value('ECAP')) });
  return new Walk(memory, Number(value('RTADDR') >> 12n), new DeviceTables(format, true));
}

/** Requests for every page that `pages` may hold and the walk grants, in random order, `WALKS` of them. */
function grantedRequests(walk: Walk, pages: FrameRange): Request[] {
  const granted: Request[] = [];
  for (let page = pages.first; page <= pages.last; page++) {
    const request: Request = { rid: NVME, pasid: NO_PASID, page, rights: RIGHT.WRITE | RIGHT.USER };
    walk.begin(request);
    if (walk.run()) granted.push(request);
  }
  const random = new Random(1);
  return Array.from({ length: WALKS }, () => {
    const request = granted[random.below(granted.length)];
    if (request === undefined) throw new Error('no page is mapped');
    return request;
  });
}

function walkAll(walk: Walk, requests: readonly Request[]): number {
  let sum = 0;
  for (const request of requests) {
    walk.begin(request);
    if (!walk.run()) throw new Error(`fault ${walk.fault}`);
    sum += walk.target;
  }
  return sum;
}

/** A nested address space: 512 pages, a first and a second stage of 4 levels, no two tables in one frame. */
function nestedWalk(): Walk {
  const memory = new Memory([{ first: 0, last: 0xffff }]);
  const set = (frame: number, index: number, word: bigint): void => {
    memory.write(frame * FRAME_BYTES + index * 8, new Uint8Array(wordsOf(word).buffer));
  };
  const to = (frame: number, bits: bigint): bigint => (BigInt(frame) << 12n) | bits;
  set(1, 0, to(2, 1n));
  set(2, NVME * 4, to(3, 1n));
  set(3, 0, to(4, 1n));
  set(4, 0, to(0x10, 0xc9n));
  set(4, 2, to(0x400, 0n));
  for (const frame of [0x10, 0x11, 0x12]) set(frame, 0, to(frame + 1, 3n));
  set(0x12, 1, to(0x14, 3n));
  set(0x12, 2, to(0x15, 3n));
  // Guest frames 0x400 to 0x403 are the first stage's tables, 0x200 to 0x3ff the pages.
  for (let i = 0; i < 512; i++) {
    set(0x14, i, to(0x8000 + ((i * 37) % 512), 3n));
    set(0x15, i, to(0x9000 + i, 3n));
    set(0x9003, i, to(0x200 + i, 7n));
  }
  for (const i of [0, 1, 2]) set(0x9000 + i, 0, to(0x401 + i, 7n));
  const cap = (47n << 16n) | (7n << 9n);
  const format = unitFormat({ cap: wordsOf(cap), ecap: wordsOf(1n << 26n) });
  return new Walk(memory, 1, new DeviceTables(format, true));
}

/** Blocks of a memory of 4 GiB: one of every 2048th frame was written. */
function frameRates(): Rate[] {
  const memory = new Memory([{ first: 0, last: 2 ** 20 - 1 }]);
  for (let frame = 0; frame < 2 ** 20; frame += 2048) memory.writable(frame, 0);
  const random = new Random(2);
  const frames = Array.from({ length: 4096 }, () => random.below(512) * 2048);
  const unwritten = frames.map((frame) => frame + 1);
  const sumOf = (from: readonly number[]) => (): number => {
    let sum = 0;
    for (const frame of from) sum += memory.at(frame, 0);
    return sum;
  };
  return [
    { name: 'find a block that was written', batch: frames.length, run: sumOf(frames) },
    { name: 'find a block that was not', batch: frames.length, run: sumOf(unwritten) },
  ];
}

function coldRate(): Rate {
  const walk = imageWalk(imageMemory());
  const requests = grantedRequests(walk, { first: 0xf_0000, last: 0xf_ffff });
  const name = "cold walk of a real Linux's tables, 8 reads";
  return { name, batch: WALKS, run: () => walkAll(walk, requests), target: 1.5e6 };
}

function nestedRate(): Rate {
  const walk = nestedWalk();
  const requests = grantedRequests(walk, { first: 0, last: 511 });
  return { name: 'cold nested walk, 4 and 24 reads', batch: WALKS, run: () => walkAll(walk, requests) };
}

/** Writing one word of some blocks, each of another frame, and putting them back. */
function restoreRate(dirty: number): Rate {
  const memory = new Memory([{ first: 0, last: 2 ** 20 - 1 }]);
  for (let frame = 0; frame < 4096; frame++) memory.writable(frame, 5);
  memory.mark();
  return {
    name: `write and restore ${dirty} of 4096 blocks`,
    batch: dirty,
    run: () => {
      for (let i = 0; i < dirty; i++) {
        const at = memory.writable((i * 61) % 4096, 5);
        memory.words[at] = i;
      }
      memory.restore();
    },
  };
}

/** Memory, and the tables that lie in it. */
export const memory: Suite = {
  name: 'memory',
  cases: function* () {
    yield* frameRates();
    yield coldRate();
    yield nestedRate();
    yield restoreRate(16);
    yield restoreRate(1024);
  },
};
