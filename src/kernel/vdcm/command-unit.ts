/**
 * Carries out the commands of a virtual accelerator, one after the other, each by a task of the host's: CMDSTATUS says
 * meanwhile that it is active. While its VM is to stand still they wait. What a halt leaves to be done takes its turn
 * among them: a command that leads out of the halt comes after it.
 */
import { KeptValue, type Task, WaitQueue } from '../../base/index.js';
import { DSA_CMD_REG } from '../../spec/index.js';
import type { KernelContext } from '../context.js';
import { type CommandTarget, runCommand } from './commands.js';

/** What waits while nothing begins. */
export interface WaitingCommands {
  /** A command that is active, and has not begun: the word of CMD. */
  readonly word: Int32Array | undefined;
  /** The device has halted, and is to be put to rest. */
  readonly isHalting: boolean;
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

  /** What waits, while they are held. */
  save(): WaitingCommands {
    return { word: this.#waiting.value, isHalting: this.#isHalting.value };
  }

  /** They are held from now on, and this waits. */
  load({ word, isHalting }: WaitingCommands): void {
    this.hold();
    if (isHalting) this.halted();
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
    yield* this.#disableAgain();
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

  *#halt(): Task {
    yield* this.#target.queue.disable(true);
    while (this.#isHeld.value || this.#isBusy.value) yield this.#done;
    this.#isBusy.value = true;
    yield* this.#disableAgain();
    this.#isBusy.value = false;
    this.#isHalting.value = false;
    this.#done.wakeAll();
  }

  /** A command that was under way may have enabled a dedicated one. */
  *#disableAgain(): Task {
    const { queue, registers } = this.#target;
    if (registers.isDedicated) yield* queue.disable(true);
  }
}
