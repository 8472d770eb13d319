/** Runs a case on both twins, and says what each has seen. */
import { type Case, type Seen, scriptOf, seenOf } from './case.js';
import { DATA_FRAMES } from './layout.js';
import type { OracleMachine } from './machine.js';
import { ModelTwin } from './model-twin.js';
import { QemuTwin } from './qemu-twin.js';
import { type Answer, DRAIN_FRAME, type Twin } from './twin.js';

/** What a twin has seen: of each operation, and what is in memory at the end. */
export interface Sight {
  readonly operations: readonly Seen[];
  readonly frames: ReadonlyMap<number, Uint8Array>;
}

export interface Comparison {
  readonly ours: Sight;
  readonly theirs: Sight;
}

/** Does a case on the model and on QEMU. */
export async function compare(machine: OracleMachine, each: Case): Promise<Comparison> {
  const script = scriptOf(each);
  const model = new ModelTwin(machine);
  const qemu = new QemuTwin(machine);
  const answers = await model.run(script.steps);
  const frames = [...new Set([...DATA_FRAMES, ...model.touched])]
    .filter((frame) => frame !== DRAIN_FRAME)
    .sort((a, b) => a - b);
  const theirAnswers = await qemu.run(script.steps);
  const sight = async (twin: Twin, given: readonly Answer[]): Promise<Sight> => {
    const loaded = await load(twin, frames);
    return { operations: seenOf(each, script, { answers: given, frames: loaded }), frames: loaded };
  };
  const [ours, theirs] = await Promise.all([sight(model, answers), sight(qemu, theirAnswers)]);
  qemu.clear(frames);
  return { ours, theirs };
}

async function load(twin: Twin, frames: readonly number[]): Promise<ReadonlyMap<number, Uint8Array>> {
  const [loaded] = await twin.run([{ do: 'load', frames }]);
  const contents: readonly unknown[] = Array.isArray(loaded) ? loaded : [];
  const found = new Map<number, Uint8Array>();
  frames.forEach((frame, i) => {
    const bytes = contents[i];
    if (!(bytes instanceof Uint8Array)) throw new Error(`frame 0x${frame.toString(16)} was not loaded`);
    found.set(frame, bytes);
  });
  return found;
}
