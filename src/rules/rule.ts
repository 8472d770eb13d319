/** What a rule is, and what it finds. */
import type {
  Answer,
  Backed,
  Bound,
  CutOff,
  Death,
  End,
  FailedOpen,
  FaultFact,
  Fetch,
  Freed,
  Migrated,
  Mismatch,
  Move,
  Outcome,
  Refused,
  StateBench,
  Unbound,
  VmGone,
} from './facts.js';
import type { AcceptedJob } from './ledger/jobs.js';
import type { Ledger } from './ledger/ledger.js';
import type { OpenQueue } from './ledger/opens.js';

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

/** What a rule may look at. */
export interface View {
  readonly ledger: Ledger;
  readonly bench: StateBench;
  /** Faults that the scenario earns. */
  readonly earned: ReadonlySet<string>;
}

/** What a rule says of what happened: undefined, or what is wrong with it. */
type Says<T> = (fact: T, view: View) => string | undefined;

/**
 * A rule: what it says of each kind of fact. It has no state of its own, so that nothing of it needs to be put
 * back.
 */
export interface Rule {
  readonly id: RuleId;
  /** What must hold, in one sentence. */
  readonly claim: string;
  readonly moved?: Says<Move>;
  readonly accepted?: Says<AcceptedJob>;
  readonly fetched?: Says<Fetch>;
  /** An entry that lies in memory as present, after one of the kernel's stores: hardware may take it in now. */
  readonly visible?: Says<Fetch>;
  /** Before the ledger takes it in. */
  readonly freed?: Says<Freed>;
  readonly faulted?: Says<FaultFact>;
  readonly answered?: Says<Answer>;
  readonly outcome?: Says<Outcome>;
  readonly refused?: Says<Refused>;
  readonly failedOpen?: Says<FailedOpen>;
  readonly mismatch?: Says<Mismatch>;
  /** A process was killed, and the scenario does not say so. */
  readonly died?: Says<Death>;
  /** A process did what the scenario says it is killed for. */
  readonly survived?: Says<{ readonly process: string; readonly action: string }>;
  /** The last holder of an open queue has let go of it. */
  readonly released?: Says<OpenQueue>;
  readonly unbound?: Says<Unbound>;
  /** In a virtual machine. Before the ledger takes it in. */
  readonly backed?: Says<Backed>;
  /** In a virtual machine that tells its VMM of new entries at once. */
  readonly bound?: Says<Bound>;
  /** A guest is in another VMM, and does not go on yet. */
  readonly migrated?: Says<Migrated>;
  readonly vmGone?: Says<VmGone>;
  /** Nothing runs in a virtual machine any more, which is there. */
  readonly vmReset?: Says<VmGone>;
  /** A process is gone. */
  readonly gone?: Says<string>;
  /** Before the ledger takes it in. */
  readonly given?: Says<{ readonly pasid: number; readonly mm: string }>;
  readonly takenBack?: Says<number>;
  readonly gaveUp?: Says<{ readonly process: string; readonly what: string }>;
  readonly cutOff?: Says<CutOff>;
  readonly ended?: Says<End>;
}

/** The kinds of facts. */
export type FactKind = Exclude<keyof Rule, 'id' | 'claim'>;
export type FactOf<K extends FactKind> = Parameters<NonNullable<Rule[K]>>[0];
