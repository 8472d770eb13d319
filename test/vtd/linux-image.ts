/** The shipped image of a real Linux's tables, as a machine. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { FRAME_BYTES, Memory } from '../../src/hardware/index.js';
import { describeUnit, type Unit } from '../../src/inspect/unit.js';

const FOLDER = new URL('../../examples/linux-7.2-vtd/', import.meta.url);

/** The guest's memory, without the frames that are zero, which read as zero all the same. */
export function linuxMemory(): Memory {
  const bytes = gunzipSync(readFileSync(new URL('memory.raw.gz', FOLDER)));
  const frames = bytes.length / FRAME_BYTES;
  const memory = new Memory([{ first: 0, last: frames - 1 }]);
  const zero = new Uint8Array(FRAME_BYTES);
  for (let frame = 0; frame < frames; frame++) {
    const content = bytes.subarray(frame * FRAME_BYTES, (frame + 1) * FRAME_BYTES);
    if (Buffer.compare(content, zero) !== 0) memory.write(frame * FRAME_BYTES, content);
  }
  return memory;
}

/** Its unit; registers may be given other values. */
export function linuxUnit(registers: Readonly<Record<string, bigint>> = {}): Unit {
  const recorded: Record<string, string> = JSON.parse(
    readFileSync(new URL('registers.json', FOLDER), 'utf8'),
  );
  const values = new Map(Object.entries(recorded).map(([name, value]) => [name, BigInt(value)]));
  for (const [name, value] of Object.entries(registers)) values.set(name, value);
  return describeUnit({ values, faultRecords: undefined });
}

/** What the guest printed, line by line. */
export const linuxLog = (): string[] => readFileSync(new URL('console.log', FOLDER), 'utf8').split('\n');
