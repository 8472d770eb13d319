/** What happens to a machine, as rules are told of it. */
import type { Errno } from '../base/index.js';
import type { FrameOwner } from '../kernel/index.js';
import type { AcceptedJob } from './ledger/jobs.js';

/** Bytes that a device moved for a job. */
export interface Move {
  readonly job: AcceptedJob;
  /** The virtual page that the job named, and the frame that the bytes were in. */
  readonly page: number;
  readonly frame: number;
  readonly offset: number;
  readonly bytes: number;
  readonly isWrite: boolean;
  /** The device used a translation of its own cache. */
  readonly isTranslated: boolean;
}

/** An entry of a PASID table, as an IOMMU took it in. */
export interface Fetch {
  readonly device: string;
  readonly pasid: number;
  /** The number that the entry is found by, where it is another's. @see AcceptedJob */
  readonly carried?: number;
  /** The frame of the root of its first stage; undefined if the entry has none. */
  readonly root: number | undefined;
  /** The frame of the root of the second stage that it goes through; undefined if it goes through none. */
  readonly second?: number | undefined;
  /** In a person's words. */
  readonly entry: string;
}

/** A frame that the kernel gives back, and whose it was. */
export interface Freed {
  readonly frame: number;
  readonly owner: FrameOwner;
  /** A guest's kernel does: the frame stays the guest's, and its second stage leads there still. */
  readonly isInGuest?: boolean;
}

/** A fault that hardware recorded. */
export interface FaultFact {
  /** Its name, as scenarios expect it: `SFS.2`. */
  readonly name: string;
  /** Who recorded it. */
  readonly by: string;
  readonly device: string;
  readonly pasid: number | undefined;
  /** What the device calls it, where that is another's number. */
  readonly carried?: number;
  /** What it says, in a person's words. */
  readonly text: string;
}

/** A page group response that reached a device. */
export interface Answer {
  readonly device: string;
  readonly pasid: number;
  /** What the device calls it, where that is another's number. */
  readonly carried?: number;
  readonly group: number;
  readonly code: number;
  /** The request that it answers, if one was outstanding. */
  readonly request: { readonly page: number; readonly step: number } | undefined;
  /** The IOMMU answered by itself: its queue was full, or the request was none. */
  readonly isByHardware: boolean;
}

/** A job whose process has seen its outcome. */
export interface Outcome {
  readonly job: string;
  readonly process: string;
  readonly queue: string;
  readonly expected: string;
  readonly outcome: string;
  /** What the completion record says. */
  readonly record: string;
}

/** A step that the kernel refused, or did though it was to refuse it. */
export interface Refused {
  readonly process: string;
  readonly action: string;
  /** Undefined if it was done. */
  readonly errno: Errno | undefined;
  readonly why: string;
  readonly expected: Errno | undefined;
}

/** A device was unbound from an address space: the kernel says that entry and caches are clear. */
export interface Unbound {
  readonly device: string;
  /** What its kernel calls it, if it calls it otherwise: one of several virtual devices that are made of it. */
  readonly via?: string;
  readonly mm: string;
  readonly pasid: number;
}

/** A guest was given a PASID: its own number, and the host's that backs it. */
export interface Backed {
  readonly mm: string;
  readonly vm: string;
  readonly guest: number;
  readonly pasid: number;
}

/** A guest's kernel has bound a device to an address space: from now on the guest's number leads there. */
export interface Bound extends Unbound {
  readonly vm: string;
  readonly guest: number;
}

/** A virtual machine has ended, or was reset. */
export interface VmGone {
  readonly vm: string;
  /** What the host has not back, as a person would say it. */
  readonly left: readonly string[];
}

/** Where a guest's PASID leads, by each of those that have to know. Undefined where it leads nowhere. */
export interface Mapping {
  /** The set's private ids. */
  readonly core: number | undefined;
  /** KVM's table, read from memory as a CPU reads it; and which CPUs would take another way. */
  readonly cpu: number | undefined;
}

/** A guest is in another VMM. */
export interface Migrated {
  readonly vm: string;
  readonly from: string;
  readonly to: string;
  /** Its PASIDs: where each led there, and where it leads here. */
  readonly pasids: readonly {
    readonly mm: string;
    readonly guest: number;
    readonly before: Mapping;
    readonly after: Mapping;
  }[];
}

/** An open that was refused. */
export interface FailedOpen {
  readonly mm: string;
  readonly device: string;
  readonly queue: string;
  /** Whether the address space had a PASID before. */
  readonly hadPasid: boolean;
}

/** A process that was killed for what it did, or was to be and was not. */
export interface Death {
  readonly process: string;
  readonly signal: string;
}

/** A comparison of memory that failed. */
export interface Mismatch {
  readonly process: string;
  readonly region: string;
  readonly address: number;
  readonly found: string;
  readonly expected: string;
}

/** A run that was cut off. */
export interface CutOff {
  readonly tasks: readonly { readonly name: string; readonly at: string }[];
}

/** Some frames. */
export type Frames = Pick<ReadonlySet<number>, 'has'>;

/** How a run came to its end. */
export interface End {
  /** Tasks that can never go on. */
  readonly stuck: readonly { readonly name: string; readonly at: string }[];
  /** The page frames that were in use when the machine had booted. */
  readonly bootFrames: Frames;
  /** The same of each virtual machine, by its own frame numbers. */
  readonly guestBootFrames: ReadonlyMap<string, Frames>;
  /** PASIDs that the kernel has handed out. */
  readonly pasidsInUse: number;
  /** Who is registered to be told of PASIDs of a set that is gone. */
  readonly strayNotifiers: readonly string[];
}

/**
 * The look into models and tables, for rules alone: what still holds a PASID, each as a person would name it
 * (`dsa0's device TLB: page 0x10000`).
 */
export interface StateBench {
  /** Of one device: table entry, caches, requests, queues. */
  remainsOf(device: string, pasid: number): readonly string[];
  /** Of all: what {@link StateBench.remainsOf} finds for any device, IOTLB, CPUs. */
  remains(pasid: number): readonly string[];
  /** Whether the tables let requests of (device, PASID) through, walked as hardware walks them. */
  isBound(device: string, pasid: number): boolean;
  /** The caches that hold a translation of a page for a PASID. */
  cachesOf(pasid: number, page: number): readonly string[];
  /** The caches that hold a translation to a frame. */
  holdersOf(frame: number, isInGuest: boolean): readonly string[];
  /** Where a PASID of a virtual machine's leads. */
  mapping(vm: string, guest: number): Mapping;
  /** Page requests without an answer. */
  unanswered(): readonly string[];
}
