/**
 * Domains: what a device's requests are translated by. What a request without a PASID meets is fixed when the
 * device is added; by PASID, it is a first stage that somebody else keeps: a process's page table.
 */
import type { Refusal, Task } from '../../base/index.js';
import type { FaultAccess } from '../mm/address-space.js';

/** A first stage, as a driver and the page-request code need it. */
export interface FirstStageDomain {
  readonly name: string;
  /** The frame of the root of its x86-64 page table. */
  readonly root: number;
  /** Whoever walks it does not snoop: each store has to be written back from now on. */
  writeBack(): void;
  /** Serves a page request; a refusal is answered Invalid Request. */
  handleFault(page: number, access: FaultAccess): Task<Refusal<'EFAULT' | 'ENOMEM' | 'ESRCH'> | undefined>;
}

/** What requests without a PASID meet: all of memory, or nothing. */
export type RidDomain = 'identity' | 'blocked';
