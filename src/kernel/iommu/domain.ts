/**
 * Domains: what the requests of a device, or of one PASID of it, are translated by. A first stage may be somebody
 * else's (a process's page table); the kernel keeps tables of its own (`paging-domain.ts`); a nested domain puts a
 * first stage that stands in guest memory over a second stage; the identity domain translates nothing.
 *
 * A device without any domain is blocked.
 */
import type { Refusal, Task } from '../../base/index.js';
import type { FaultAccess } from '../mm/address-space.js';

interface Named {
  /** For messages. */
  readonly name: string;
}

interface OwnTable extends Named {
  /** The frame of the table's root. */
  readonly root: number;
  /** How many levels it has. */
  readonly levels: number;
  /** The largest of the levels at which a leaf may stand: 1 for pages of 4 KiB alone. */
  readonly largestLeaf: number;
  /** DMA through it snoops the CPUs' caches, whatever a request says; it may not, if left out. */
  readonly snoops?: boolean;
  /** The kernel reads the marks of what DMA has written to; in a second stage they are there for that alone. */
  readonly tracksDirty?: boolean;
  /** Whoever walks it does not snoop: each store has to be written back from now on. */
  writeBack(): void;
}

/** A first stage, as a driver needs it: x86-64 paging. */
export interface FirstStage extends OwnTable {
  readonly type: 'first-stage';
}

/** A second stage, as a driver needs it. */
export interface SecondStage extends OwnTable {
  readonly type: 'second-stage';
  /** Bits of the largest address that it maps. */
  readonly width: number;
}

/** A first stage in memory that a second stage leads to: a guest's. */
export interface NestedStage extends Named {
  readonly type: 'nested';
  readonly parent: SecondStage;
  /** The root of the first stage: a frame number of the guest's. */
  readonly root: number;
  readonly levels: number;
  /** Requests with privilege are allowed (SRE), and obey write protection (WPE). */
  readonly supervisor: boolean;
  readonly writeProtect: boolean;
  /** The extended accessed bit is kept (EAFE). */
  readonly extendedAccessed: boolean;
  /**
   * What it shares a domain id with: others over the same second stage, attached to other PASIDs of the same
   * function. A unit has 2^16 ids, and VMs may have more PASIDs than that. Left out, its id is its own.
   */
  readonly sharedId?: object | undefined;
}

/** All of memory, as it is. */
export interface Identity extends Named {
  readonly type: 'identity';
}

/** What serves the page requests of a domain; a refusal is answered Invalid Request. */
export interface FaultServer {
  handleFault?(page: number, access: FaultAccess): Task<Refusal<'EFAULT' | 'ENOMEM' | 'ESRCH'> | undefined>;
}

export type Domain = (FirstStage | SecondStage | NestedStage | Identity) & FaultServer;

/** A first stage whose pages come when they are asked for: a process's. */
export type FirstStageDomain = FirstStage & Required<FaultServer>;

/** The one identity domain of a kernel is as good as another's: it has no state. */
export const IDENTITY: Identity = { type: 'identity', name: 'identity' };

/**
 * What requests without a PASID meet at first: nothing, all of memory, or a table of the kernel's own for the
 * device.
 */
export type RidDomain = 'blocked' | 'identity' | 'dma';
