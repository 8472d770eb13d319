/** Making a core, and what it can be asked as a whole: how its capacity is divided, and which callbacks threw. */
import { type Refusal, refuse } from '../../base/index.js';
import { COUNTER, IoasidCore } from './core.js';
import { MAX_CAPACITY } from './ids.js';
import { DEFAULT_ORDER, type IoasidFailure, type IoasidOptions } from './options.js';

/**
 * Makes the IOASID core of one machine.
 *
 * On failure: `EINVAL` for a capacity outside 2 to 2^20, an order that does not name each of the three
 * priorities once, or a hash key of more than 32 bits.
 */
export function ioasidCreate(options: IoasidOptions = {}): IoasidCore | Refusal<'EINVAL'> {
  const { capacity = MAX_CAPACITY, policy = 'lowest', order = DEFAULT_ORDER, hashKey = 0 } = options;
  if (!Number.isInteger(capacity) || capacity < 2 || capacity > MAX_CAPACITY) {
    return refuse('EINVAL', `a capacity of ${capacity} ids; it is 2 to ${MAX_CAPACITY}`);
  }
  if (policy !== 'lowest' && policy !== 'cyclic') return refuse('EINVAL', `no policy ${String(policy)}`);
  if (order.length !== 3 || DEFAULT_ORDER.some((priority) => !order.includes(priority))) {
    return refuse('EINVAL', `the order ${order.join(', ')} does not name cpu, iommu and device once each`);
  }
  if (hashKey !== (hashKey | 0) && hashKey !== hashKey >>> 0)
    return refuse('EINVAL', `${hashKey} is no key of 32 bits`);
  return new IoasidCore(options);
}

/** How the capacity is divided: `capacity` is `available` and the quotas of all sets and 1, the core's own id 0. */
export interface IoasidCapacity {
  readonly capacity: number;
  /** Ids that no set has reserved. */
  readonly available: number;
  /** The sum of the quotas of all sets that live. */
  readonly reserved: number;
  /** Ids that are IDLE, ACTIVE or FREE_PENDING. */
  readonly live: number;
}

/** How the capacity is divided now. Never fails. */
export function ioasidCapacity(core: IoasidCore): IoasidCapacity {
  const available = core.count(COUNTER.available);
  return {
    capacity: core.capacity,
    available,
    reserved: core.capacity - 1 - available,
    live: core.count(COUNTER.live),
  };
}

/** The callbacks that threw: how many, and the first of them. Never fails. */
export function ioasidFailures(core: IoasidCore): {
  readonly count: number;
  readonly first: readonly IoasidFailure[];
} {
  return { count: core.count(COUNTER.failures), first: core.failures.value };
}
