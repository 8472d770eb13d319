/** A work queue of an accelerator, as an open file of a process's (Linux's `idxd_user_context`). */
import { KeptValue, type Task, WaitQueue } from '../../base/index.js';
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
export class WqFile implements OpenFile {
  readonly name: string;
  readonly wq: WorkQueue;
  readonly binding: SvaBinding;
  /** Where its descriptors' completions are told, once the process has asked for that. */
  readonly interrupt: KeptValue<CompletionInterrupt | undefined>;
  /** @internal */
  readonly state: KeptValue<'open' | 'ending' | 'ended'>;
  /** Woken when it has ended. @internal */
  readonly ended: WaitQueue;
  readonly #device: FileDevice;

  constructor({ log }: KernelContext, device: FileDevice, of: { wq: WorkQueue; binding: SvaBinding }) {
    const { wq, binding } = of;
    this.interrupt = new KeptValue<CompletionInterrupt | undefined>(log, undefined);
    this.state = new KeptValue<'open' | 'ending' | 'ended'>(log, 'open');
    this.ended = new WaitQueue(`end of ${wq.name} of ${binding.mm.name}`);
    this.#device = device;
    this.wq = wq;
    this.binding = binding;
    this.name = `${wq.name} of ${binding.mm.name}`;
  }

  *release(): Task {
    yield* this.#device.release(this);
  }
}
