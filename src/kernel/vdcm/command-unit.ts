/**
 * Carries out the commands of a virtual accelerator, one after the other, each by a task of the host's: CMDSTATUS says
 * meanwhile that it is active. While its VM is to stand still they wait, and so they do until what a halt leaves to be
 * done is done: a command that leads out of it comes after that.
 */
import { KeptValue, type Task, WaitQueue } from '../../base/index.js';
import { DSA_CMD_REG } from '../../spec/index.js';
import type { KernelContext } from '../context.js';
import { type CommandTarget, runCommand } from './commands.js';

/** What waits while nothing begins. */
export interface WaitingCommands {
  /** A command that is active, and has not begun: the word of CMD. */
  readonly word: Int32Array | undefined;
}

export class CommandUnit {
  readonly #name: string;
  readonly #context: KernelContext;
  readonly #target: CommandTarget;
  /** Nothing begins: its VM is to stand still. */
  readonly #isHeld: KeptValue<boolean>;
  /** A command that has not begun: the word of CMD. */
  readonly #waiting: KeptValue<Int32Array | undefined>;
  /** A command is being carried out. */
  readonly #isBusy: KeptValue<boolean>;
  /** The device has halted, and its queue may still have work. */
  readonly #isHalting: KeptValue<boolean>;
  /** Woken at the end of each command, and when they go on. */
  readonly #done: WaitQueue;

  constructor(context: KernelContext, name: string, target: CommandTarget) {
    this.#name = name;
    this.#context = context;
    this.#target = target;
    this.#isHeld = new KeptValue(context.log, false);
    this.#waiting = new KeptValue<Int32Array | undefined>(context.log, undefined);
    this.#isBusy = new KeptValue(context.log, false);
    this.#isHalting = new KeptValue(context.log, false);
    this.#done = new WaitQueue(`${name}: command`);
  }

  /** A command that is active from now on: the word of CMD. */
  submit(word: Int32Array): void {
    this.#waiting.value = word;
    this.#context.tasks.spawn(`${this.#name} command`, this.#run(word));
  }

  /** The device has halted: what it has is abandoned. */
  halted(): void {
    if (this.#isHalting.value) return;
    this.#isHalting.value = true;
    this.#context.tasks.spawn(`${this.#name} halts`, this.#halt());
  }

  get isHeld(): boolean {
    return this.#isHeld.value;
  }

  /** Commands wait from now on. */
  hold(): void {
    this.#isHeld.value = true;
  }

  /** Returns when none is being carried out. */
  *settle(): Task {
    while (this.#isBusy.value) yield this.#done;
  }

  /** What waits, while they are held. A device that has halted has nothing by then that could be abandoned. */
  save(): WaitingCommands {
    return { word: this.#waiting.value };
  }

  /** They are held from now on, and this waits. */
  load({ word }: WaitingCommands): void {
    this.hold();
    if (word !== undefined) this.submit(word);
  }

  /** They go on. */
  release(): void {
    this.#isHeld.value = false;
    this.#done.wakeAll();
  }

  /** What was submitted is abandoned, with what commands wait for; returns when none is active. */
  *abandon(): Task {
    const { queue, registers } = this.#target;
    this.release();
    yield* queue.disable(true);
    while (registers.isActive || this.#isHalting.value) yield this.#done;
    // That may have enabled a dedicated one.
    if (registers.isDedicated) yield* queue.disable(true);
  }

  *#run(word: Int32Array): Task {
    const { registers } = this.#target;
    const command = DSA_CMD_REG.CMD.get(word, 0);
    while (this.#isHeld.value || this.#isHalting.value) yield this.#done;
    this.#waiting.value = undefined;
    this.#isBusy.value = true;
    const result = yield* runCommand(this.#target, command, DSA_CMD_REG.OPERAND.get(word, 0));
    this.#isBusy.value = false;
    registers.complete(result);
    this.#done.wakeAll();
    if (DSA_CMD_REG.INT.get(word, 0) === 1) registers.signalCompletion();
  }

  /** What a command waits for that is under way is abandoned too; one that enables a queue has done so before. */
  *#halt(): Task {
    yield* this.#target.queue.disable(true);
    this.#isHalting.value = false;
    this.#done.wakeAll();
  }
}
