/** What the tests of the IOASID core share: short ways to a core, a set, a log of what was heard, and faults. */
import { expect } from 'vitest';
import type { Chooser } from '../../src/base/index.js';
import {
  type IoasidController,
  type IoasidCore,
  type IoasidEventKind,
  type IoasidHolder,
  type IoasidNotifier,
  type IoasidOptions,
  type IoasidSet,
  type IoasidSetOptions,
  type IoasidSubscription,
  ioasidCreate,
  ioasidHolderAlloc,
  ioasidSetAlloc,
  ioasidTestBench,
  isRefusal,
  type NotifierPriority,
  type Refusal,
} from '../../src/ioasid/index.js';
import type { IdColumns } from '../../src/ioasid/tables/id-columns.js';
import type { Pool } from '../../src/ioasid/tables/pool.js';

/** The answer, which is no refusal. */
export function must<T>(answer: T): Exclude<T, Refusal> {
  if (isRefusal(answer)) throw new Error(String(answer));
  return answer as Exclude<T, Refusal>;
}

/** The error number of a refusal, or `ok`. */
export const errno = (answer: unknown): string => (isRefusal(answer) ? (answer as Refusal).errno : 'ok');

/** What a refusal says. */
export const why = (answer: unknown): string => (isRefusal(answer) ? (answer as Refusal).why : '');

export const newCore = (options: IoasidOptions = {}): IoasidCore =>
  must(ioasidCreate({ capacity: 8, ...options }));

export const newSet = (core: IoasidCore, options: Partial<IoasidSetOptions> = {}): IoasidSet =>
  must(ioasidSetAlloc(core, { type: 'none', quota: 3, ...options }));

export const newHolder = (core: IoasidCore, name: string): IoasidHolder =>
  must(ioasidHolderAlloc(core, name));

/** The errno of a call that is refused; it is checked that nothing changed, compared whole. */
export function refused(core: IoasidCore, call: () => unknown): string {
  const bench = ioasidTestBench(core);
  const before = bench.dump();
  const answer = errno(call());
  expect(answer).not.toBe('ok');
  expect(bench.dump()).toEqual(before);
  bench.check();
  return answer;
}

export interface Listener {
  readonly name: string;
  readonly priority: NotifierPriority;
  readonly events?: readonly IoasidEventKind[];
  /** What it does beside listening. */
  readonly also?: IoasidNotifier['notify'];
}

/** A notifier that writes what it hears into `log`: `kvm BIND 3/101`. */
export function listener(log: string[], { name, priority, events, also }: Listener): IoasidNotifier {
  return {
    name,
    priority,
    ...(events === undefined ? {} : { events }),
    notify: (event) => {
      log.push(`${name} ${event.kind} ${event.id}${event.spid === undefined ? '' : `/${event.spid}`}`);
      also?.(event);
    },
  };
}

/** Lets the `nth` step that can fail do so, counted from 1; none for 0. */
export class FailNth implements Chooser {
  asked = 0;
  nth = 0;

  choose(_n: number, what: string): number {
    if (!what.startsWith('ioasid: ')) throw new Error(`a step without a name: ${what}`);
    this.asked++;
    return this.asked === this.nth ? 1 : 0;
  }
}

/** Asserts that the books agree. */
export const checkBooks = (core: IoasidCore): void => {
  ioasidTestBench(core).check();
};

/** What is no part of the package's types: the words of a core, for the few tests that count or set them. */
export interface Inside {
  readonly ids: IdColumns;
  readonly references: Pool;
  readonly sets: Pool;
  readonly holders: Pool;
  readonly controllers: Pool;
  readonly subscribers: Pool;
}

export const inside = (core: IoasidCore): Inside => core as unknown as Inside;

/** The number of the record behind a handle. */
export const recordOf = (handle: IoasidSet | IoasidHolder | IoasidController | IoasidSubscription): number =>
  (handle as unknown as { readonly record: number }).record;
