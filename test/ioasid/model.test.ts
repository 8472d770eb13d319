/**
 * The core against the model, over long random histories: four ids, two sets, two holders, three SPIDs, handlers
 * that put, queue work, call back and throw, and a custom allocator that fails.
 */
import fc from 'fast-check';
import { describe, it } from 'vitest';
import type { Subscriber } from './api.js';
import { calls, prelude, subscribers } from './histories.js';
import { Model } from './model.js';
import { Real } from './real.js';

interface Both {
  readonly model: Model;
  readonly real: Real;
}

function begin(who: readonly Subscriber[], cyclic: boolean): Both {
  const both = { model: new Model(who, cyclic), real: new Real(who, { cyclic }) };
  prelude(both.model);
  prelude(both.real);
  return both;
}

describe('long random histories', () => {
  for (const cyclic of [false, true]) {
    it(`answers as the model does, policy ${cyclic ? 'cyclic' : 'lowest'}`, () => {
      fc.assert(
        fc.property(subscribers, fc.commands(calls, { maxCommands: 120, size: 'max' }), (who, commands) => {
          fc.modelRun(() => begin(who, cyclic), commands);
        }),
        { numRuns: 300 },
      );
    }, 60_000);
  }
});
