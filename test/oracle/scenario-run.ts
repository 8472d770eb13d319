/**
 * A scenario as `src/machine` runs it, in whatever order its seed says, on a machine whose places are QEMU's; recorded.
 * CPUs and accelerators are not in the recording: what they write to memory, and what they send, QEMU does not have.
 */
import { RecordedPlatform, seededChooser, World } from '../../src/machine/index.js';
import { scenarioOf, shipped } from '../machine/worlds.js';
import type { Recorded } from './recorded-host.js';
import type { End, Register } from './replay.js';

const PAGE_BYTES = 4096;
/** Hardware writes there too. */
const PAGE_REQUESTS = 'page request queue';

export interface ScenarioRecording {
  readonly recording: readonly Recorded[];
  /** The frames that are the kernel's own at the end, or were before they were free; and the unit's registers. */
  readonly end: End;
}

/**
 * Boots and runs a scenario that ships.
 *
 * @param changes of its text, so that it is one for QEMU's machine: each has to be in it
 */
export function recordScenario(
  name: string,
  seed: number,
  { changes, registers }: { changes: readonly (readonly [string, string])[]; registers: readonly Register[] },
): ScenarioRecording {
  const recording: Recorded[] = [];
  const text = changes.reduce((before, [from, to]) => {
    if (!before.includes(from)) throw new Error(`${name} has no '${from}'`);
    return before.replaceAll(from, to);
  }, shipped(name));
  const world = new World(scenarioOf(text), {
    between: (platform) => new RecordedPlatform(platform, (access) => recording.push(access)),
  });
  const { end, findings } = world.run(seededChooser(seed));
  if (end !== 'ended' || findings.length > 0) throw new Error(`${name}, seed ${seed}: ${end}`);
  return {
    recording,
    end: {
      frames: new Map(ownFrames(world, recording).map((frame) => [frame, bytesOf(world, frame)])),
      registers: new Map(registers.map((each) => [each, registerOf(world, each)])),
    },
  };
}

/** The frames that the kernel stored to, but for those in which others write too. */
function ownFrames({ taps }: World, recording: readonly Recorded[]): number[] {
  const stored = new Set(
    recording.flatMap((each) => (each.did === 'store' ? [Math.floor(each.address / PAGE_BYTES)] : [])),
  );
  return [...stored].filter((frame) => {
    const tenure = taps.ledger.frames.tenure(frame);
    const owner = tenure?.owner ?? tenure?.before?.owner;
    return owner?.kind === 'kernel' && !owner.use.startsWith(PAGE_REQUESTS);
  });
}

function bytesOf({ hardware }: World, frame: number): Uint8Array {
  const bytes = new Uint8Array(PAGE_BYTES);
  hardware.memory.read(frame * PAGE_BYTES, bytes);
  return bytes;
}

function registerOf({ hardware }: World, { offset, bytes }: Register): bigint {
  const words = new BigUint64Array(1);
  const halves = new Int32Array(words.buffer);
  if (bytes === 8) hardware.unit.read64(offset, halves);
  else halves[0] = hardware.unit.read32(offset);
  return words[0] ?? 0n;
}
