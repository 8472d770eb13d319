/**
 * One domain in the place of another, without a moment in which there is none (bugs F1 to F3, D2). All that can be
 * wanting is there before anything changes. The frame that one table leaves is where the other goes on the way back;
 * so a way back is never without memory.
 */
import { assert, KeptValue, type Refusal, type Task } from '../../../base/index.js';
import { type KernelContext, tell } from '../../context.js';
import type { Domain } from '../domain.js';
import type { Replacement } from '../driver.js';
import type { CacheTags, Use } from './cache-tags.js';
import type { EntryTables } from './entry-tables.js';
import type { Invalidator } from './invalidator.js';

/** A domain, and the entry that says so. */
interface Side {
  readonly domain: Domain;
  readonly words: Int32Array;
}

interface Parts {
  readonly tables: EntryTables;
  readonly queue: Invalidator;
  readonly tags: CacheTags;
}

interface Change {
  readonly unit: string;
  readonly use: Use;
  /** A frame for a copy of the table. */
  readonly spare: number;
  /** What flushes everything that is cached by way of the table. */
  readonly entryFlush: Int32Array;
  readonly from: Side;
  readonly to: Side;
}

export class VtdReplacement implements Replacement {
  readonly #context: KernelContext;
  readonly #parts: Parts;
  readonly #change: Change;
  /** The frame that no table is in, once that is confirmed. */
  readonly #spare: KeptValue<number>;
  readonly #state: KeptValue<'ready' | 'applied' | 'doubtful' | 'over'>;

  constructor(context: KernelContext, parts: Parts, change: Change) {
    this.#context = context;
    this.#parts = parts;
    this.#change = change;
    this.#spare = new KeptValue(context.log, change.spare);
    this.#state = new KeptValue<'ready' | 'applied' | 'doubtful' | 'over'>(context.log, 'ready');
  }

  cancel(): void {
    assert(this.#state.value === 'ready', 'what is given back is in use');
    this.#end(this.#change.to);
  }

  *apply(): Task<Refusal<'EIO'> | undefined> {
    assert(this.#state.value === 'ready', 'a domain is replaced twice');
    const { from, to } = this.#change;
    this.#state.value = 'doubtful';
    const refusal = yield* this.#turn(to, from);
    if (refusal === undefined) this.#state.value = 'applied';
    return refusal;
  }

  commit(): void {
    assert(this.#state.value === 'applied', 'a domain is let go of that was not replaced');
    this.#end(this.#change.from);
  }

  *revert(): Task<Refusal<'EIO'> | undefined> {
    const { from, to, unit, use } = this.#change;
    assert(this.#state.value === 'applied' || this.#state.value === 'doubtful', 'nothing is to be put back');
    const refusal = yield* this.#turn(from, to);
    if (refusal === undefined) {
      this.#end(to);
      return undefined;
    }
    this.#state.value = 'over';
    // The frame and the domain's id stay taken: hardware may still use them.
    const fields = { unit, device: use.device.name, pasid: use.pasid, domain: to.domain.name };
    tell(this.#context, 'iommu:replace-unconfirmed', fields);
    return refusal;
  }

  /** Turns to one side, and flushes what is cached of the other. */
  *#turn(to: Side, from: Side): Task<Refusal<'EIO'> | undefined> {
    const { tables, queue, tags } = this.#parts;
    const { use, entryFlush, unit } = this.#change;
    const { device, pasid } = use;
    const old = tables.replace(device, pasid, { words: to.words, spare: this.#spare.value });
    this.#spare.value = old;
    yield `${unit}: another table`;
    return yield* queue.sync([entryFlush, ...tags.ofUse(from.domain, use)]);
  }

  /** The side that is left has nothing in any cache. */
  #end(left: Side): void {
    const { tables, tags } = this.#parts;
    this.#state.value = 'over';
    tables.freeSpare(this.#spare.value);
    tags.remove(left.domain, this.#change.use);
  }
}
