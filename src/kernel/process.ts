/**
 * Processes: an address space, threads, open files. What a thread does in user mode is a task of whoever writes
 * the program; each of its instructions goes through {@link Processes.user}, which puts the thread on a CPU, serves
 * the traps, and is where the thread ends when its process is killed. The order of an exit is Linux's: the memory
 * goes first, then the files (flow 7: work may be in flight).
 *
 * Left out: credentials, signals but those that kill, `exec`, process groups, waiting for children.
 */
import {
  assert,
  isRefusal,
  KeptList,
  KeptMap,
  KeptObject,
  KeptValue,
  type Refusal,
  refuse,
  type Task,
  type TaskHandle,
  type UndoLog,
} from '../base/index.js';
import { Awaited } from './awaited.js';
import { type KernelContext, tell } from './context.js';
import { CpuState, type Cpus } from './cpus.js';
import { PAGE_BYTES } from './ids.js';
import { AddressSpace } from './mm/address-space.js';
import type { CpuPort } from './platform.js';

/** An open file, shared by the descriptors that name it. */
export interface OpenFile {
  readonly name: string;
  /** Called when the last descriptor is closed. */
  release(): Task;
}

/** What an instruction ran into. */
export class Trap {
  readonly vector: 'GP' | 'PF';
  /** Of a page fault. */
  readonly address: number;
  readonly write: boolean;

  private constructor(vector: 'GP' | 'PF', address: number, write: boolean) {
    this.vector = vector;
    this.address = address;
    this.write = write;
  }

  /** #GP. */
  static generalProtection(): Trap {
    return new Trap('GP', 0, false);
  }

  /** #PF at a user's address. */
  static pageFault(address: number, write: boolean): Trap {
    return new Trap('PF', address, write);
  }
}

export type Signal = 'SIGKILL' | 'SIGSEGV';

/** Unwinds the user code of a thread whose process was killed. It does not leave this file but through that code. */
class ThreadEnds extends Error {
  override readonly name = 'ThreadEnds';
}

/** One count of those that share an open file. */
class FileCount extends KeptObject {
  readonly file: OpenFile;
  readonly count: number = 1;

  constructor(log: UndoLog, file: OpenFile) {
    super(log);
    this.file = file;
  }
}

export class Thread extends CpuState {
  readonly tid: number;
  readonly process: Process;
  readonly name: string;

  constructor(log: UndoLog, tid: number, process: Process) {
    super(log);
    this.tid = tid;
    this.process = process;
    this.name = tid === process.pid ? process.name : `${process.name}/${tid}`;
  }

  get pageTable(): number {
    return this.process.mm.table.root;
  }
}

export class Process extends Awaited {
  readonly pid: number;
  readonly name: string;
  readonly mm: AddressSpace;
  /** @internal */ readonly threads: KeptList<Thread>;
  /** How many threads have user code that runs. @internal */ readonly started: number = 0;
  /** @internal */ readonly files: KeptMap<number, FileCount>;
  /** @internal */ readonly signal: Signal | undefined;
  /** @internal */ readonly state: 'alive' | 'exiting' | 'gone' = 'alive';

  constructor({ log }: KernelContext, pid: number, of: { readonly name: string; readonly mm: AddressSpace }) {
    super(log);
    this.pid = pid;
    this.name = of.name;
    this.mm = of.mm;
    this.threads = new KeptList(log);
    this.files = new KeptMap(log);
  }

  protected override get awaited(): string {
    return `end of ${this.name}`;
  }

  /** Whether all of it is gone: memory, files, threads. */
  get isGone(): boolean {
    return this.state === 'gone';
  }

  /** Its first thread. */
  get mainThread(): Thread {
    const thread = this.threads.items[0];
    assert(thread !== undefined, `${this.name} has no thread left`);
    return thread;
  }

  /** An open file of it; undefined if the descriptor is closed. */
  file(fd: number): OpenFile | undefined {
    return this.files.get(fd)?.file;
  }
}

export class Processes {
  readonly #context: KernelContext;
  readonly #cpus: Cpus;
  readonly #processes: KeptMap<number, Process>;
  readonly #nextPid: KeptValue<number>;

  constructor(context: KernelContext) {
    this.#context = context;
    this.#cpus = context.cpus;
    this.#processes = new KeptMap(context.log);
    this.#nextPid = new KeptValue(context.log, 1);
  }

  /** The processes that are not gone, oldest first. */
  get all(): readonly Process[] {
    return this.#processes.values();
  }

  /**
   * A process with an empty address space and one thread.
   *
   * On failure: `ENOMEM`.
   */
  spawn(name: string): Process | Refusal<'ENOMEM'> {
    const mm = AddressSpace.create(this.#context, name);
    return isRefusal(mm) ? mm : this.#add(name, mm);
  }

  /**
   * A child of a process, with a copy of its memory and its files open. It has no PASID: that stands for the
   * parent's address space.
   *
   * On failure: `ESRCH` if the parent is ending; `ENOMEM`.
   */
  *fork(parent: Process, name: string): Task<Process | Refusal<'ESRCH' | 'ENOMEM'>> {
    if (parent.state !== 'alive') return refuse('ESRCH', `${parent.name} is ending`);
    const mm = yield* parent.mm.fork(name);
    if (isRefusal(mm)) return mm;
    const child = this.#add(name, mm);
    for (const fd of parent.files.keys()) {
      const counted = parent.files.get(fd);
      if (counted === undefined) continue;
      counted.change().count++;
      child.files.set(fd, counted);
    }
    tell(this.#context, 'process:fork', { pid: child.pid, parent: parent.pid });
    return child;
  }

  /**
   * Runs a thread's user code as a task. When the code returns, or the process is killed, the thread ends; with
   * the last thread, the process.
   */
  start(thread: Thread, code: Task): TaskHandle {
    thread.process.change().started++;
    return this.#context.tasks.spawn(thread.name, this.#live(thread, code));
  }

  /**
   * One instruction in user mode, which happens at once.
   *
   * @param instruction what the CPU does; a {@link Trap} comes back to the kernel, which serves it and has the
   *   instruction repeated, or kills the process
   */
  *user<T>(thread: Thread, instruction: (cpu: CpuPort) => T | Trap): Task<T> {
    for (;;) {
      const result = instruction(yield* this.#enterUser(thread));
      if (!(result instanceof Trap)) return result;
      yield* this.#serve(thread, result);
    }
  }

  /** One instruction in user mode that takes several steps; others may run between them, not on this CPU. */
  *userSteps<T>(thread: Thread, instruction: (cpu: CpuPort) => Task<T | Trap>): Task<T> {
    for (;;) {
      const cpu = yield* this.#enterUser(thread);
      const result = yield* this.#cpus.instruction(thread, instruction(cpu));
      if (!(result instanceof Trap)) return result;
      yield* this.#serve(thread, result);
    }
  }

  /**
   * Makes a file of a process's; its descriptor.
   *
   * On failure: `ESRCH` if the process is ending; the file is the caller's to release.
   */
  install(process: Process, file: OpenFile): number | Refusal<'ESRCH'> {
    if (process.state !== 'alive') return refuse('ESRCH', `${process.name} is ending`);
    let fd = 3;
    while (process.files.has(fd)) fd++;
    process.files.set(fd, new FileCount(this.#context.log, file));
    return fd;
  }

  /**
   * Closes a descriptor; the last one of a file releases it.
   *
   * On failure: `ENOENT` if it is not open.
   */
  *close(process: Process, fd: number): Task<Refusal<'ENOENT'> | undefined> {
    const counted = process.files.get(fd);
    if (counted === undefined) return refuse('ENOENT', `${process.name} has no descriptor ${fd}`);
    process.files.delete(fd);
    counted.change().count--;
    if (counted.count === 0) yield* counted.file.release();
    return undefined;
  }

  /**
   * Kills a process. Threads that have user code end at their next instruction; a process without any ends here.
   */
  *kill(process: Process, signal: Signal = 'SIGKILL'): Task {
    if (process.state !== 'alive' || process.signal !== undefined) return;
    process.change().signal = signal;
    tell(this.#context, 'process:signal', { pid: process.pid, process: process.name, signal });
    if (process.started === 0) yield* this.#exit(process);
  }

  /** Returns when a process is gone. */
  *wait(process: Process): Task {
    while (!process.isGone) yield process.changed;
  }

  #add(name: string, mm: AddressSpace): Process {
    const pid = this.#nextPid.value++;
    const process = new Process(this.#context, pid, { name, mm });
    process.threads.push(new Thread(this.#context.log, pid, process));
    this.#processes.set(pid, process);
    tell(this.#context, 'process:new', { pid, process: name });
    return process;
  }

  *#live(thread: Thread, code: Task): Task {
    try {
      yield* code;
    } catch (error) {
      if (!(error instanceof ThreadEnds)) throw error;
    }
    const { process } = thread;
    this.#cpus.leave(thread);
    process.threads.remove(thread);
    process.change().started--;
    if (process.started === 0) yield* this.#exit(process);
  }

  *#exit(process: Process): Task {
    if (process.state !== 'alive') return;
    process.change().state = 'exiting';
    for (let thread = process.threads.shift(); thread !== undefined; thread = process.threads.shift()) {
      this.#cpus.leave(thread);
    }
    yield* process.mm.put();
    for (const fd of process.files.keys()) yield* this.close(process, fd);
    process.change().state = 'gone';
    this.#processes.delete(process.pid);
    tell(this.#context, 'process:exit', { pid: process.pid, process: process.name });
    process.wake();
  }

  /** To the next instruction of a thread; where it ends if its process has been killed. */
  *#enterUser(thread: Thread): Task<CpuPort> {
    yield `${thread.name} in user mode`;
    const cpu = yield* this.#cpus.run(thread);
    if (thread.process.signal !== undefined) throw new ThreadEnds();
    return cpu;
  }

  *#serve(thread: Thread, trap: Trap): Task {
    const { mm, name } = thread.process;
    if (trap.vector === 'GP') {
      if (this.#fixPasid(thread)) return;
      tell(this.#context, 'process:trap', { process: name, vector: 'GP' });
    } else {
      const access = { write: trap.write, execute: false };
      const refusal = yield* mm.handleFault(Math.floor(trap.address / PAGE_BYTES), access);
      if (refusal === undefined) return;
      tell(this.#context, 'process:trap', { process: name, vector: 'PF', why: refusal.why });
    }
    yield* this.kill(thread.process, 'SIGSEGV');
    throw new ThreadEnds();
  }

  /** The first ENQCMD of a thread whose address space has a PASID: loads it. False if that is not why it trapped. */
  #fixPasid(thread: Thread): boolean {
    const pasid = thread.process.mm.pasid;
    if (pasid === undefined || this.#cpus.hasPasid(thread)) return false;
    this.#cpus.loadPasid(thread, pasid);
    tell(this.#context, 'process:pasid', { process: thread.name, pasid });
    return true;
  }
}
