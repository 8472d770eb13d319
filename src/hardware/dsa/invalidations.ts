/**
 * Invalidations of the device TLB that wait for requests on their way: an engine that holds a translation which
 * is named uses it first, then the completion goes out (PCIe 6.0, 10.3.1). They complete in any order.
 */
import type { Restorable } from '../../base/index.js';
import type { DeviceTlbInvalidation } from '../pci/ports.js';
import type { DsaEngine } from './engine.js';
import type { DsaParts } from './ports.js';

export class InvalidationQueue implements Restorable {
  readonly #parts: DsaParts;
  readonly #engines: readonly DsaEngine[];
  /** With the engines, a bit each, that still hold what is named. */
  #waiting: readonly { readonly invalidation: DeviceTlbInvalidation; readonly engines: number }[] = [];
  #marked = this.#waiting;

  constructor(parts: DsaParts, engines: readonly DsaEngine[]) {
    this.#parts = parts;
    this.#engines = engines;
  }

  /** Takes one, after the cache was invalidated; completes it at once if nothing on its way uses what it names. */
  add(invalidation: DeviceTlbInvalidation): void {
    const engines = this.#holders(invalidation);
    if (engines === 0) this.#done(invalidation);
    else this.#waiting = [...this.#waiting, { invalidation: { ...invalidation }, engines }];
  }

  /** Completes what is no longer waited for. */
  complete(): void {
    if (this.#waiting.length === 0) return;
    const left: { invalidation: DeviceTlbInvalidation; engines: number }[] = [];
    const done: DeviceTlbInvalidation[] = [];
    for (const { invalidation, engines } of this.#waiting) {
      // Who has let go since may hold a new translation of the same page, which is not meant.
      const still = engines & this.#holders(invalidation);
      if (still === 0) done.push(invalidation);
      else left.push({ invalidation, engines: still });
    }
    this.#waiting = left;
    for (const invalidation of done) this.#done(invalidation);
  }

  mark(): void {
    this.#marked = this.#waiting;
  }

  restore(): void {
    this.#waiting = this.#marked;
  }

  #holders(invalidation: DeviceTlbInvalidation): number {
    return this.#engines.reduce(
      (bits, engine, i) => (engine.holds(invalidation) ? bits | (1 << i) : bits),
      0,
    );
  }

  #done({ rid, itag }: DeviceTlbInvalidation): void {
    this.#parts.upstream.invalidationDone(rid, itag);
  }
}
