/**
 * What a guest's kernel does in a scenario: it flushes, and has queues of its own, by which it copies its buffers
 * without a PASID: one at a time by each queue, by several at once. Buffers are frames of its own; what is left of
 * them, and of queues, goes with its last step.
 */
import { isRefusal, type Refusal, refuse, type Task, WaitQueue } from '../../base/index.js';
import { type KernelQueue, PAGE_BYTES, paOf } from '../../kernel/index.js';
import type { Job } from '../../rules/index.js';
import type { Step } from '../scenario/schema.js';
import { byteText, contentBytes, firstDifference } from './content.js';
import { RECORD_BYTES } from './descriptor.js';
import type { Meetings } from './meetings.js';
import type { KernelEvent } from './platform.js';
import { actionText } from './program.js';
import type { Taps } from './taps/taps.js';
import type { VirtualMachine } from './virtual-machine.js';

const SCOPES = { global: 'caches', root: 'root table', 'off-on': 'translation' } as const;

/** What a guest's kernel acts on. */
export interface GuestContext {
  readonly taps: Taps;
  readonly meetings: Meetings;
  readonly machine: VirtualMachine;
  /** Told that all that its unit has cached will be flushed; what it gives is told when that is done. */
  readonly flushing: () => () => void;
  /** A step was refused that nobody expected to be. */
  readonly refused: (process: string, action: string, refusal: Refusal) => void;
}

/** Frames of its own, one after the other. */
interface Buffer {
  readonly frame: number;
  readonly pages: number;
}

/** A queue that it has open, and what that has been told to do. */
interface OpenQueue {
  readonly queue: KernelQueue;
  copying: Copying | undefined;
}

interface Copying {
  readonly copy: Action<'copy'>;
  result: Refusal | 'done' | undefined;
  /** Woken when there is a result. */
  readonly done: WaitQueue;
}

type Action<K extends string> = Extract<Step, { readonly [key in K]: unknown }>[K];

export class GuestKernel {
  readonly name: string;
  readonly #context: GuestContext;
  readonly #buffers = new Map<string, Buffer>();
  readonly #queues = new Map<string, OpenQueue>();
  /** By job. */
  readonly #copies = new Map<string, Copying>();

  constructor(context: GuestContext) {
    this.#context = context;
    this.name = `${context.machine.name}/kernel`;
  }

  /** All steps; it ends with the first that is refused and was not to be. */
  *run(steps: readonly Step[]): Task {
    const { taps, refused } = this.#context;
    for (const step of steps) {
      yield this.name;
      if (taps.isTold && !('meet' in step)) {
        taps.tell('machine', this.name, 'step', { does: actionText(step) });
      }
      const refusal = yield* this.#do(step);
      if (step.refused !== undefined) {
        const { errno, why } = refusal ?? { errno: undefined, why: '' };
        const told = { process: this.name, action: actionText(step), errno, why };
        taps.judge.tell('refused', { ...told, expected: step.refused });
      } else if (refusal !== undefined) {
        refused(this.name, actionText(step), refusal);
        break;
      }
    }
    for (const copying of this.#copies.values()) yield* untilDone(copying);
    for (const { queue } of this.#queues.values()) yield* queue.close();
    for (const name of this.#buffers.keys()) this.#free(name);
  }

  /** Its driver has told of a descriptor: the rules are to know what it has named. */
  submits({ fields }: KernelEvent): void {
    // It may be told by the kernel's own name of the queue, or by the scenario's.
    const wq = String(fields['wq']);
    const open = [...this.#queues].find(([name, { queue }]) => name === wq || queue.wq.name === wq);
    const copy = open?.[1].copying?.copy;
    if (copy === undefined) return;
    const { taps, machine } = this.#context;
    const number = (field: string): number => Number(fields[field]);
    const [bytes, source, target, record] = ['bytes', 'source', 'target', 'record'].map(number);
    const frames = new Map([[pageOf(record), pageOf(number('done'))]]);
    for (let offset = 0; offset < (bytes ?? 0); offset += PAGE_BYTES) {
      frames.set(pageOf(source) + offset / PAGE_BYTES, pageOf(number('from') + offset));
      frames.set(pageOf(target) + offset / PAGE_BYTES, pageOf(number('to') + offset));
    }
    const { device, queue } = machine.queue(copy.on).hardware;
    const job: Job = {
      ...{ name: this.#jobName(copy.as), process: this.name, mm: this.name, device, queue, frames },
      step: taps.ledger.step,
      names: [
        { address: source ?? 0, bytes: bytes ?? 0, isWritten: false },
        { address: target ?? 0, bytes: bytes ?? 0, isWritten: true },
        { address: record ?? 0, bytes: RECORD_BYTES, isWritten: true },
      ],
    };
    taps.submits(record ?? 0, job);
  }

  *#do(step: Step): Task<Refusal | undefined> {
    const { meetings } = this.#context;
    if ('meet' in step) return yield* meetings.meet(step.meet, this.name);
    if ('flush' in step) return yield* this.#flush(step.flush);
    if ('reset-device' in step) return yield* this.#reset(step['reset-device']);
    if ('map' in step) return this.#map(step.map);
    if ('write' in step) return this.#write(step.write);
    if ('unmap' in step) return this.#free(step.unmap);
    if ('open' in step) return yield* this.#open(step.open);
    if ('close' in step) return yield* this.#close(step.close);
    if ('copy' in step) return yield* this.#copy(step.copy);
    if ('wait' in step) return yield* this.#wait(step.wait);
    if ('check' in step) return this.#check(step.check);
    return undefined;
  }

  *#flush(scope: Action<'flush'>): Task<undefined> {
    const { machine, flushing } = this.#context;
    const flushed = flushing();
    for (const unit of machine.kernel.iommu.drivers) yield* unit.refresh(SCOPES[scope]);
    flushed();
  }

  *#reset(device: string): Task<Refusal | undefined> {
    const idxd = this.#context.machine.idxd(device);
    return idxd && (yield* idxd.reset());
  }

  #map({ name, pages, holds }: Action<'map'>): Refusal | undefined {
    const { frames } = this.#context.machine.kernel.context;
    const frame = frames.allocRun(pages, { kind: 'kernel', use: `buffer ${name} of ${this.name}` });
    if (isRefusal(frame)) return frame;
    this.#buffers.set(name, { frame, pages });
    return this.#write({ to: name, holds: holds ?? 0 });
  }

  #write({ to, holds }: Action<'write'>): Refusal | undefined {
    const buffer = this.#buffers.get(to);
    if (buffer === undefined) return refuse('ENOENT', `no buffer ${to}`);
    const { memory } = this.#context.machine.kernel.context.platform;
    memory.write(paOf(buffer.frame), contentBytes(holds, buffer.pages * PAGE_BYTES));
    return undefined;
  }

  #free(name: string): Refusal | undefined {
    const buffer = this.#buffers.get(name);
    if (buffer === undefined) return refuse('ENOENT', `no buffer ${name}`);
    this.#buffers.delete(name);
    const { frames } = this.#context.machine.kernel.context;
    for (let i = 0; i < buffer.pages; i++) frames.free(buffer.frame + i);
    return undefined;
  }

  *#open(name: string): Task<Refusal | undefined> {
    const { idxd, index, unusable } = this.#context.machine.queue(name);
    if (unusable !== undefined) return unusable;
    if (idxd === undefined) return refuse('ENODEV', `the kernel has no ${name}`);
    const queue = yield* idxd.openKernel(index);
    if (isRefusal(queue)) return queue;
    this.#queues.set(name, { queue, copying: undefined });
    return undefined;
  }

  *#close(name: string): Task<Refusal | undefined> {
    const open = this.#queues.get(name);
    if (open === undefined) return refuse('ENOENT', `${name} is not open`);
    if (open.copying !== undefined) yield* untilDone(open.copying);
    this.#queues.delete(name);
    return yield* open.queue.close();
  }

  /** Begins once the queue is done with what it was told before. */
  *#copy(copy: Action<'copy'>): Task<Refusal | undefined> {
    const open = this.#queues.get(copy.on);
    const [from, into] = [this.#buffers.get(copy.from), this.#buffers.get(copy.into)];
    if (open === undefined) return refuse('ENOENT', `${copy.on} is not open`);
    if (from === undefined || into === undefined) return refuse('ENOENT', `no ${copy.from} or ${copy.into}`);
    if (open.copying !== undefined) yield* untilDone(open.copying);
    const copying: Copying = { copy, result: undefined, done: new WaitQueue(`copy ${copy.as}`) };
    open.copying = copying;
    this.#copies.set(copy.as, copying);
    const run = function* (): Task {
      const count = Math.min(from.pages, into.pages);
      copying.result = (yield* open.queue.copy({ from: from.frame, to: into.frame, count })) ?? 'done';
      open.copying = undefined;
      copying.done.wakeAll();
    };
    this.#context.machine.kernel.context.tasks.spawn(`copy ${copy.as}`, run());
    return undefined;
  }

  *#wait({ for: job, outcome: expected }: Action<'wait'>): Task<Refusal | undefined> {
    const copying = this.#copies.get(job);
    if (copying === undefined) return refuse('ENOENT', `no job ${job}`);
    yield* untilDone(copying);
    const { result } = copying;
    const [outcome, record] = isRefusal(result) ? ['error', result.why] : ['success', 'done'];
    const queue = copying.copy.on;
    this.#context.taps.judge.tell('outcome', { job, process: this.name, queue, expected, outcome, record });
    return undefined;
  }

  #check({ region: name, holds, equals, bytes }: Action<'check'>): Refusal | undefined {
    const buffer = this.#buffers.get(name);
    if (buffer === undefined) return refuse('ENOENT', `no buffer ${name}`);
    const other = equals === undefined ? undefined : this.#buffers.get(equals);
    const most = Math.min(buffer.pages, other?.pages ?? buffer.pages) * PAGE_BYTES;
    const length = Math.min(bytes ?? most, most);
    const found = this.#read(buffer, length);
    const expected = other === undefined ? contentBytes(holds ?? 0, length) : this.#read(other, length);
    const at = firstDifference(found, expected);
    if (at < 0) return undefined;
    this.#context.taps.judge.tell('mismatch', {
      process: this.name,
      region: name,
      address: paOf(buffer.frame, at),
      found: byteText(found[at] ?? 0),
      expected: byteText(expected[at] ?? 0),
    });
    return undefined;
  }

  #read({ frame }: Buffer, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#context.machine.kernel.context.platform.memory.read(paOf(frame), bytes);
    return bytes;
  }

  /** Jobs of those who do the same steps have the same names, but for who has submitted them. */
  #jobName(name: string): string {
    const { member } = this.#context.machine;
    return member.spec.count === undefined ? name : `${this.name} ${name}`;
  }
}

function* untilDone(copying: Copying): Task {
  while (copying.result === undefined) yield copying.done;
}

const pageOf = (address = 0): number => Math.floor(address / PAGE_BYTES);
