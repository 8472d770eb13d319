/** Made-up histories: a ledger, rules, and a look into models that says what a test wants. */
import { Judge, Ledger, type Mapping, RULES, type StateBench } from './index.js';
import type { AcceptedJob } from './ledger/jobs.js';

/** What a test's models hold. */
export interface FakeState {
  remains: string[];
  isBound: boolean;
  unanswered: string[];
  caches: string[];
  holders: string[];
  mapping: Mapping;
}

export class History {
  readonly ledger = new Ledger();
  readonly state: FakeState = {
    ...{ remains: [], isBound: true, unanswered: [], caches: [], holders: [] },
    mapping: { core: undefined, cpu: undefined },
  };
  readonly judge: Judge;

  constructor(earned: readonly string[] = []) {
    const bench: StateBench = {
      remainsOf: () => this.state.remains,
      remains: () => this.state.remains,
      isBound: () => this.state.isBound,
      holdersOf: () => this.state.holders,
      cachesOf: () => this.state.caches,
      mapping: () => this.state.mapping,
      unanswered: () => this.state.unanswered,
    };
    this.judge = new Judge(RULES, { ledger: this.ledger, bench, earned: new Set(earned) });
  }

  at(step: number): this {
    this.ledger.step = step;
    return this;
  }

  /** A page of a process comes to have a frame. */
  page(mm: string, page: number, frame: number): this {
    this.ledger.frames.owned(frame, { kind: 'page', mm, page }, this.ledger.step);
    return this;
  }

  /** What was found, as `RULE: message`. */
  get found(): string[] {
    return this.judge.findings.map(({ rule, message }) => `${rule}: ${message}`);
  }
}

/** A job of alice's on dsa0, for PASID 3, submitted at step 640. */
export const job = (change: Partial<AcceptedJob> = {}): AcceptedJob => ({
  name: 'copy1',
  process: 'alice',
  mm: 'alice',
  device: 'dsa0',
  queue: 'dsa0/shared',
  step: 640,
  tag: 7,
  pasid: 3,
  accepted: 645,
  isDedicated: false,
  room: { queue: 1, engines: 1 },
  names: [
    { address: 0x10000, bytes: 64, isWritten: false },
    { address: 0x20000, bytes: 64, isWritten: true },
  ],
  ...change,
});
