/**
 * What must always hold of a machine, judged from what was submitted, who owns which frame, and what moved; never
 * by asking the code under test.
 *
 * @module
 */
export * from './facts.js';
export { Judge } from './judge.js';
export { FrameSet } from './ledger/frame-set.js';
export { type GuestHome, GuestLedger, type MemorySlot } from './ledger/guests.js';
export type { AcceptedJob, Job, Named } from './ledger/jobs.js';
export { Ledger } from './ledger/ledger.js';
export { NOBODY, Numbering, type WholeFunction } from './ledger/numbering.js';
export type { OpenQueue, Queue } from './ledger/opens.js';
export { type Finding, RULE_IDS, type Rule, type RuleId, type Verdict } from './rule.js';
export { REPLAY_CLAIM, RULES } from './rules.js';
