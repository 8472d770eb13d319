/** Who does which steps: read out of the scenario once, whatever number of runs there are. */
import { actorsOf, hostProcesses, type ProcessMember } from '../scenario/members.js';
import type { Scenario, Step } from '../scenario/schema.js';

export class Script {
  readonly steps: readonly Step[];
  /** Who does the steps that are written for a name. */
  readonly actors: ReadonlyMap<string, readonly string[]>;
  readonly hostProcesses: readonly ProcessMember[];
  readonly #byName = new Map<string, Step[]>();

  constructor(scenario: Scenario) {
    this.steps = scenario.steps;
    this.actors = actorsOf(scenario);
    this.hostProcesses = hostProcesses(scenario);
    for (const step of scenario.steps) {
      const known = this.#byName.get(step.by);
      if (known === undefined) this.#byName.set(step.by, [step]);
      else known.push(step);
    }
  }

  /** The steps that are written for a name. */
  stepsOf(name: string): readonly Step[] {
    return this.#byName.get(name) ?? NONE;
  }
}

const NONE: readonly Step[] = [];
