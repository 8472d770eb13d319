/** Whether a run went as its scenario says. */
import type { RunResult, Scenario } from '../machine/index.js';
import { type Finding, REPLAY_CLAIM, RULES, type RuleId, type Verdict } from '../rules/index.js';

export interface Judgement {
  readonly verdicts: ReadonlyMap<RuleId, Verdict>;
  readonly claims: ReadonlyMap<RuleId, string>;
  readonly findings: readonly Finding[];
  /** All rules hold; or the one that is to break does, and none has before it: the run ends there. */
  readonly isGood: boolean;
  /** That, in a person's words. */
  readonly text: string;
}

/** What a repetition of a run found; `unknown` if there was none. */
export type Replayed = Finding | 'same' | 'unknown';

export function judged(scenario: Scenario, result: RunResult, replay: Replayed): Judgement {
  const isFinding = replay !== 'same' && replay !== 'unknown';
  const findings = isFinding ? [...result.findings, replay] : result.findings;
  const verdicts = new Map(result.verdicts);
  if (replay !== 'unknown') verdicts.set('REPLAY', isFinding ? 'fail' : 'pass');
  const claims = new Map(RULES.map(({ id, claim }): [RuleId, string] => [id, claim]));
  claims.set('REPLAY', REPLAY_CLAIM);
  const text = textOf(scenario.expect.breaks, findings, result.end !== 'cut-off');
  return { verdicts, claims, findings, ...text };
}

function textOf(
  expected: RuleId | undefined,
  findings: readonly Finding[],
  hasEnded: boolean,
): { isGood: boolean; text: string } {
  const broken = [...new Set(findings.map(({ rule }) => rule))];
  const others = broken.filter((rule) => rule !== expected);
  if (others.length > 0) return { isGood: false, text: `broken: ${others.join(', ')}` };
  if (!hasEnded) return { isGood: false, text: 'unknown: the step limit came first' };
  if (expected === undefined) return { isGood: true, text: 'all rules hold' };
  return broken.length > 0
    ? { isGood: true, text: `${expected} is broken, and nothing else, as the scenario says` }
    : { isGood: false, text: `${expected} holds, and the scenario says that it breaks` };
}
