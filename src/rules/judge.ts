/**
 * Tells the rules what happens, and keeps what they find. A rule that is broken once is heard no more in that
 * run: what follows is mostly the same, seen again.
 */
import type { Restorable } from '../base/index.js';
import type { StateBench } from './facts.js';
import type { Ledger } from './ledger/ledger.js';
import type { FactKind, FactOf, Finding, Rule, RuleId, View } from './rule.js';

/** What a rule says of a kind of fact, which is that of the map's key. */
type Says = (fact: unknown, view: View) => string | undefined;
interface Concern {
  readonly id: RuleId;
  readonly says: Says;
}

export class Judge implements Restorable {
  readonly #rules: readonly Rule[];
  readonly #view: View;
  readonly #findings: Finding[] = [];
  /** The rules that take facts of a kind. */
  readonly #concerned = new Map<FactKind, readonly Concern[]>();
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
    for (const { id, says } of this.#concernedBy(kind)) {
      if (this.#isBroken(id)) continue;
      const what = says(fact, this.#view);
      if (what !== undefined) this.#found(id, what);
    }
  }

  #concernedBy(kind: FactKind): readonly Concern[] {
    const known = this.#concerned.get(kind);
    if (known !== undefined) return known;
    const concerned = this.#rules.flatMap(({ id, ...rule }) => {
      const says = rule[kind];
      return says === undefined ? [] : [{ id, says: says as Says }];
    });
    this.#concerned.set(kind, concerned);
    return concerned;
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
