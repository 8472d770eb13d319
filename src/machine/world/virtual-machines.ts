/** What the world needs of a virtual machine. */
import type { Task } from '../../base/index.js';
import type { Cpu } from '../../hardware/index.js';
import type { Kernel } from '../../kernel/index.js';
import type { Mapping } from '../../rules/index.js';

export interface GuestVm {
  readonly kernel: Kernel;
  /** By the index that its kernel knows them by. */
  readonly cpus: readonly Cpu[];
  /** It has ended. */
  readonly isGone: boolean;
  /** Its virtual IOMMU has caching mode: a new entry is told of before it is used. */
  readonly tellsNewEntries: boolean;
  /** Ends it where it stands; returns when nothing of it is left. */
  destroy(): Task;
  /** KVM learns of its PASIDs, and the portals of its devices are there from now on. */
  registerKvm(): Task;
  /** Where one of its guest's PASIDs leads. */
  mapping(guest: number): Mapping;
  /** What the host has not back once it has ended. */
  remains(): readonly string[];
}
