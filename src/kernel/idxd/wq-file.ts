/** A work queue of an accelerator, as an open file of a process's (Linux's `idxd_user_context`). */
import type { Task } from '../../base/index.js';
import { Awaited } from '../awaited.js';
import type { KernelContext } from '../context.js';
import type { SvaBinding } from '../iommu/sva.js';
import type { OpenFile } from '../process.js';
import type { CompletionInterrupt } from './completion-interrupts.js';
import type { WorkQueue } from './work-queue.js';

/** The device that it is of. */
export interface FileDevice {
  release(file: WqFile): Task;
}

/** A work queue that a process has open; until the device goes, and then the file stands for nothing. */
export class WqFile extends Awaited implements OpenFile {
  readonly wq: WorkQueue;
  readonly binding: SvaBinding;
  /** Where its descriptors' completions are told, once the process has asked for that. */
  readonly interrupt: CompletionInterrupt | undefined;
  /** @internal */
  readonly state: 'open' | 'ending' | 'ended' = 'open';
  readonly #device: FileDevice;

  constructor({ log }: KernelContext, device: FileDevice, of: { wq: WorkQueue; binding: SvaBinding }) {
    super(log);
    this.#device = device;
    this.wq = of.wq;
    this.binding = of.binding;
  }

  get name(): string {
    return `${this.wq.name} of ${this.binding.mm.name}`;
  }

  protected override get awaited(): string {
    return `end of ${this.name}`;
  }

  *release(): Task {
    yield* this.#device.release(this);
  }
}
