/**
 * REPLAY: a run is a pure function of its choices. The same choices, answered from the record of a run, have to give
 * the same trace, event for event.
 */
import {
  type Choice,
  type Event,
  type EventSink,
  RecordingChooser,
  ReplayChooser,
  ReplayMismatch,
} from '../../base/index.js';
import type { Finding } from '../../rules/index.js';
import { seededChooser } from './seeded-chooser.js';
import type { RunResult, World } from './world.js';

/** A run with what is needed to repeat it. */
export interface RecordedRun extends RunResult {
  readonly events: readonly Event[];
  readonly choices: readonly Choice[];
}

/** Runs by a seed, and keeps events and choices. */
export function recordedRun(world: World, seed: number, listener?: EventSink): RecordedRun {
  const chooser = new RecordingChooser(seededChooser(seed));
  const events: Event[] = [];
  const result = world.run(chooser, (event) => {
    events.push(event);
    listener?.(event);
  });
  return { ...result, events, choices: [...chooser.choices] };
}

/** Repeats a run; what differs, if anything does. */
export function replayDifference(world: World, { events, choices, steps }: RecordedRun): Finding | undefined {
  const chooser = new ReplayChooser(choices);
  let count = 0;
  let difference: string | undefined;
  const compare = (event: Event): void => {
    const before = events[count++];
    if (difference !== undefined) return;
    const [was, is] = [JSON.stringify(before), JSON.stringify(event)];
    if (was !== is) difference = `event ${count - 1} was ${was}, and is ${is} when the run is repeated`;
  };
  let again = 0;
  try {
    again = world.run(chooser, compare).steps;
  } catch (error) {
    if (!(error instanceof ReplayMismatch)) throw error;
    difference ??= `the run comes to other choices when it is repeated: ${error.message}`;
  }
  if (difference === undefined && (count !== events.length || again !== steps || !chooser.done)) {
    difference = `the run has ${again} steps and ${count} events when it is repeated, not ${steps} and ${events.length}`;
  }
  return difference === undefined ? undefined : { rule: 'REPLAY', step: again, message: difference };
}
