/** What a rule is, and what it finds. */

/** The rules of the house. REPLAY is checked by running twice; the others at every step. */
export const RULE_IDS = [
  'ISOLATION',
  'UNIQUE',
  'MAPPING',
  'OWNER',
  'ORDER',
  'CLEAN',
  'COUNT',
  'PROGRESS',
  'TORN',
  'FAULTS',
  'UNDONE',
  'REPLAY',
] as const;

export type RuleId = (typeof RULE_IDS)[number];

/** A rule that was broken. The message alone tells what happened. */
export interface Finding {
  readonly rule: RuleId;
  readonly step: number;
  readonly message: string;
}

/** How a rule ended. `unknown`: the run was cut off before its end, and nothing was found until then. */
export type Verdict = 'pass' | 'fail' | 'unknown';
