/**
 * What a guest has told its virtual unit to do, and the VMM has yet to do on the host. The end of the unit's front
 * only notes it: the guest sees its command, or the descriptor at the head of its queue, in progress until then.
 *
 * Nothing here grows with what a guest writes: there is a place for each register's command, taken by the last one
 * written, and one for the descriptor at the head.
 */
import { KeptMap, KeptValue, type UndoLog } from '../../base/index.js';
import type {
  ContextScope,
  DeviceTlbInvalidation,
  PageGroupResponse,
  PageRun,
  PasidScope,
  RootTable,
  UnitEnd,
} from '../../hardware/index.js';

/** Translations that the guest says have changed: all, or those of a domain of its, of a PASID, of pages. */
export interface Translations {
  readonly domain?: number | undefined;
  readonly pasid?: number;
  readonly run?: PageRun;
}

export type Operation =
  | { readonly kind: 'root'; readonly table: RootTable }
  | { readonly kind: 'translation'; readonly isOn: boolean }
  | { readonly kind: 'contexts'; readonly scope: ContextScope }
  | { readonly kind: 'pasids'; readonly scope: PasidScope }
  | { readonly kind: 'translations'; readonly of: Translations }
  | { readonly kind: 'device-tlb'; readonly invalidation: Readonly<DeviceTlbInvalidation> }
  | { readonly kind: 'response'; readonly response: Readonly<PageGroupResponse> };

/** Where the unit's front leaves what it is to do. */
abstract class NotingEnd implements UnitEnd {
  readonly #isScalable: () => boolean;

  constructor(isScalable: () => boolean) {
    this.#isScalable = isScalable;
  }

  get isScalable(): boolean {
    return this.#isScalable();
  }

  latchRoot(table: RootTable): boolean {
    return this.note({ kind: 'root', table });
  }

  setTranslation(isOn: boolean): boolean {
    return this.note({ kind: 'translation', isOn });
  }

  invalidateContexts(scope: ContextScope): boolean {
    return this.note({ kind: 'contexts', scope });
  }

  invalidatePasids(scope: PasidScope): boolean {
    return this.note({ kind: 'pasids', scope });
  }

  invalidateDomain(domain?: number): boolean {
    return this.note({ kind: 'translations', of: { domain } });
  }

  invalidatePages(domain: number, run: PageRun): boolean {
    return this.note({ kind: 'translations', of: { domain, run: { ...run } } });
  }

  invalidatePasid(domain: number, pasid: number): boolean {
    return this.note({ kind: 'translations', of: { domain, pasid } });
  }

  invalidatePasidPages(of: { readonly domain: number; readonly pasid: number }, run: PageRun): boolean {
    const { domain, pasid } = of;
    return this.note({ kind: 'translations', of: { domain, pasid, run: { ...run } } });
  }

  invalidateDeviceTlb(invalidation: DeviceTlbInvalidation): boolean {
    return this.note({ kind: 'device-tlb', invalidation: { ...invalidation } });
  }

  respond(response: PageGroupResponse): boolean {
    return this.note({ kind: 'response', response: { ...response } });
  }

  /** Keeps it; false: it is not done. */
  protected abstract note(operation: Operation): false;
}

/** The commands of registers: one of each kind at a time. */
export class RegisterEnd extends NotingEnd {
  readonly #noted: KeptMap<Operation['kind'], Operation>;

  constructor(log: UndoLog, isScalable: () => boolean) {
    super(isScalable);
    this.#noted = new KeptMap(log);
  }

  get isEmpty(): boolean {
    return this.#noted.size === 0;
  }

  /** Whether one of a kind has come since. */
  has(kind: Operation['kind']): boolean {
    return this.#noted.has(kind);
  }

  /** Takes the oldest out. */
  take(): Operation | undefined {
    const first = this.#noted.find(() => true);
    if (first !== undefined) this.#noted.delete(first.kind);
    return first;
  }

  clear(): void {
    for (const kind of this.#noted.keys()) this.#noted.delete(kind);
  }

  protected override note(operation: Operation): false {
    this.#noted.set(operation.kind, operation);
    return false;
  }
}

/** The descriptor at the head of the queue. */
export class QueueEnd extends NotingEnd {
  readonly #noted: KeptValue<Operation | undefined>;

  constructor(log: UndoLog, isScalable: () => boolean) {
    super(isScalable);
    this.#noted = new KeptValue<Operation | undefined>(log, undefined);
  }

  take(): Operation | undefined {
    const operation = this.#noted.value;
    this.#noted.value = undefined;
    return operation;
  }

  protected override note(operation: Operation): false {
    this.#noted.value = operation;
    return false;
  }
}
