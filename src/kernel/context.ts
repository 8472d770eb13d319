/**
 * What every part of a kernel is given: its machine, its log of what to put back, its page frames, its tasks.
 */
import {
  assert,
  type FieldValue,
  type KeptValue,
  type Task,
  type TaskHandle,
  type UndoLog,
} from '../base/index.js';
import type { Cpus } from './cpus.js';
import type { Frames } from './frames.js';
import type { Platform } from './platform.js';

/** Where tasks are started: a set of them, or a guest's part of one. */
export interface Spawner {
  spawn(name: string, body: Task<unknown>): TaskHandle;
}

export interface KernelContext {
  /** `host`, `vm1`: what messages call this kernel. */
  readonly name: string;
  readonly platform: Platform;
  readonly log: UndoLog;
  readonly frames: Frames;
  /** Where the kernel's own tasks run: an interrupt's thread, a fault's worker. */
  readonly tasks: Spawner;
  readonly cpus: Cpus;
  /** The interrupt vector that is handed out next. */
  readonly nextVector: KeptValue<number>;
}

/** Has `handler` called on interrupts with a vector of its own, for good; the message that leads there. */
export function newInterrupt(context: KernelContext, handler: () => void): { address: number; data: number } {
  assert(hasVectors(context), `${context.name} has no interrupt vector left`);
  const vector = context.nextVector.value++;
  context.platform.onInterrupt(vector, handler);
  return context.platform.interruptMessage(vector);
}

/** Whether there is a vector that is nobody's yet: who asks for many asks this before. */
export const hasVectors = ({ nextVector }: KernelContext): boolean => nextVector.value <= LAST_VECTOR;

/** The first vector that is not the CPU's own (Intel SDM volume 3, 6.2). */
export const FIRST_VECTOR = 0x20;
const LAST_VECTOR = 0xff;

/** Tells what happens, if anybody listens. */
export function tell(
  context: { readonly platform: Platform },
  kind: string,
  fields: Readonly<Record<string, FieldValue>>,
): void {
  context.platform.emit?.({ kind, fields });
}
