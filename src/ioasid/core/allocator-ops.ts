/**
 * What a custom allocator is: two functions and a name. Registering one is `ids/allocator.ts`, calling it
 * `life/choose.ts`.
 */
import type { Refusal } from '../../base/index.js';

/** `struct ioasid_allocator_ops`. Both functions run under the core's lock: they may not call back. */
export interface IoasidAllocatorOps {
  readonly name: string;
  /** An id of `min` to `max`, both inclusive; `INVALID_IOASID` if there is none; `EIO` if it cannot be asked. */
  readonly alloc: (min: number, max: number, pdata: unknown) => number | Refusal<'EIO'>;
  /** Takes back an id that `alloc` gave. */
  readonly free: (id: number, pdata: unknown) => void;
  /** Is handed to both. */
  readonly pdata?: unknown;
}

/** Allocators that share their functions. */
export type AllocatorGroup = readonly IoasidAllocatorOps[];
