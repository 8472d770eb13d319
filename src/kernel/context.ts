/**
 * What every part of a kernel is given: its machine, its log of what to put back, its page frames, its tasks.
 */
import type { FieldValue, TaskSet, UndoLog } from '../base/index.js';
import type { Frames } from './frames.js';
import type { Platform } from './platform.js';

export interface KernelContext {
  /** `host`, `vm1`: what messages call this kernel. */
  readonly name: string;
  readonly platform: Platform;
  readonly log: UndoLog;
  readonly frames: Frames;
  /** Where the kernel's own tasks run: an interrupt's thread, a fault's worker. */
  readonly tasks: TaskSet;
}

/** Tells what happens, if anybody listens. */
export function tell(
  context: { readonly platform: Platform },
  kind: string,
  fields: Readonly<Record<string, FieldValue>>,
): void {
  context.platform.emit?.({ kind, fields });
}
