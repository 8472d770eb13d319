/**
 * Tells the rules what happens, and keeps what they find. A rule that is broken once is heard no more in that
 * run: what follows is mostly the same, seen again.
 */
import type { Restorable } from '../base/index.js';
import type { StateBench } from './facts.js';
import type { Ledger } from './ledger/ledger.js';
import type { FactKind, FactOf, Finding, Rule, RuleId, View } from './rule.js';

export class Judge implements Restorable {
  readonly #rules: readonly Rule[];
  readonly #view: View;
  readonly #findings: Finding[] = [];
  /** The rules that take facts of a kind. */
  readonly #concerned = new Map<FactKind, readonly Rule[]>();
  /** Is told of each finding. */
  onFinding: ((finding: Finding) => void) | undefined;

  constructor(
    rules: readonly Rule[],
    view: { readonly ledger: Ledger; readonly bench: StateBench; readonly earned: ReadonlySet<string> },
  ) {
    this.#rules = rules;
    this.#view = view;
  }

  /** Oldest first. */
  get findings(): readonly Finding[] {
    return this.#findings;
  }

  tell<K extends FactKind>(kind: K, fact: FactOf<K>): void {
    let concerned = this.#concerned.get(kind);
    if (concerned === undefined) {
      concerned = this.#rules.filter((rule) => rule[kind] !== undefined);
      this.#concerned.set(kind, concerned);
    }
    for (const rule of concerned) {
      const says = rule[kind] as ((fact: FactOf<K>, view: View) => string | undefined) | undefined;
      if (says === undefined || this.#isBroken(rule.id)) continue;
      const what = says(fact, this.#view);
      if (what !== undefined) this.#found(rule.id, what);
    }
  }

  #isBroken(id: RuleId): boolean {
    return this.#findings.length > 0 && this.#findings.some(({ rule }) => rule === id);
  }

  #found(rule: RuleId, what: string): void {
    const { step } = this.#view.ledger;
    const finding = { rule, step, message: `step ${step}: ${what}` };
    this.#findings.push(finding);
    this.onFinding?.(finding);
  }

  mark(): void {}

  restore(): void {
    this.#findings.length = 0;
  }
}
