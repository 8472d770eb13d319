import { describe, expect, it, vi } from 'vitest';
import { worldOf } from '../../../test/machine/worlds.js';
import { recordedRun, replayDifference } from './replay.js';

// Whole runs, hundreds of them: minutes where others use the machine too.
vi.setConfig({ testTimeout: 120_000 });

describe('a recorded run', () => {
  it.each(['smallest', 'native-sva', 'two-vms-one-swq', 'wide-flush'])(
    'of %s is repeated from its choices, event for event',
    (name) => {
      const world = worldOf(name);
      for (let seed = 1; seed <= 5; seed++) {
        const run = recordedRun(world, seed);
        expect(run.choices.length).toBeGreaterThan(5);
        expect(replayDifference(world, run)).toBeUndefined();
        expect(replayDifference(worldOf(name), run)).toBeUndefined();
      }
    },
  );

  it('that differs is told, with what differs', () => {
    const world = worldOf('smallest');
    const run = recordedRun(world, 1);
    const [first, ...rest] = run.events;
    if (first === undefined) throw new Error('nothing happened');
    expect(replayDifference(world, { ...run, events: [{ ...first, actor: 'x' }, ...rest] })?.message).toMatch(
      /^event 0 was .*"actor":"x".*, and is .*"actor":"host"/,
    );
    expect(replayDifference(world, { ...run, events: run.events.slice(0, -1) })?.message).toMatch(
      /^event \d+ was undefined, and is /,
    );
    expect(replayDifference(world, { ...run, choices: run.choices.slice(0, -1) })?.message).toMatch(
      /^the run comes to other choices when it is repeated: choice \d+ /,
    );
  });
});
