/**
 * Those who act in a run, and what they share: one for each process of the scenario, and the host. Made anew for
 * each run.
 */
import { isRefusal, type Refusal, type Task, WaitQueue } from '../../base/index.js';
import type { Process } from '../../kernel/index.js';
import type { AcceptedJob } from '../../rules/index.js';
import type { Step } from '../scenario/schema.js';
import { Meetings } from './meetings.js';
import type { KernelEvent } from './platform.js';
import { Program } from './program.js';
import type { Company, Inherited, Stage } from './stage.js';

/** Where each actor's completion records lie, far from what `mmap` finds by itself. */
const RECORDS_PAGE = 0x1_0000_0000;
const RECORDS_STRIDE = 0x100;

export class Cast implements Company {
  readonly stage: Stage;
  readonly meetings: Meetings;
  /** The processes that were started, by name. */
  readonly #processes = new Map<string, Process>();
  /** Who sleeps until a job is done; woken early now and then. */
  readonly #waits = new Map<string, WaitQueue>();
  /** Processes that are to be killed for what they do now. */
  readonly #doomed = new Set<string>();

  constructor(stage: Stage) {
    this.stage = stage;
    this.meetings = new Meetings(stage.scenario.steps);
  }

  /** Brings all on who are there from the start. */
  begin(): void {
    const { scenario, kernel } = this.stage;
    for (const name of Object.keys(scenario.processes)) {
      const process = kernel.processes.spawn(name);
      if (isRefusal(process)) {
        this.meetings.ended(name);
        this.refused(name, 'to start', process);
      } else {
        this.play(process, undefined);
      }
    }
    const host = this.stepsOf('host');
    if (host.length > 0) kernel.context.tasks.spawn('host', this.#host(host));
  }

  stepsOf(actor: string): readonly Step[] {
    return this.stage.scenario.steps.filter(({ by }) => by === actor);
  }

  /** A process begins its own steps. */
  play(process: Process, inherited: Inherited | undefined): void {
    this.#processes.set(process.name, process);
    const index = this.#processes.size - 1;
    const program = new Program(this, process, {
      inherited,
      recordsPage: RECORDS_PAGE + index * RECORDS_STRIDE,
    });
    this.stage.kernel.processes.start(process.mainThread, program.run());
  }

  /** Sleeps until the job is done, or for no reason. */
  *untilDone(job: string): Task {
    const queue = this.#waits.get(job) ?? new WaitQueue(`job ${job}`);
    this.#waits.set(job, queue);
    yield queue;
  }

  jobDone({ name }: AcceptedJob): void {
    this.#waits.get(name)?.wakeAll();
  }

  /** A step is to get its process killed. */
  dooms(process: string, isDoomed: boolean): void {
    if (isDoomed) this.#doomed.add(process);
    else this.#doomed.delete(process);
  }

  kernelEvent({ kind, fields }: KernelEvent): void {
    const name = String(fields['process']);
    const { taps } = this.stage;
    if (kind === 'sva:unbind') {
      const device = String(fields['device']);
      taps.judge.tell('unbound', { device, mm: name, pasid: Number(fields['pasid']) });
    } else if (kind === 'mm:exit') {
      taps.ledger.dying.set(String(fields['mm']), taps.ledger.step);
    } else if (kind === 'process:signal') {
      // An interrupt ends UMWAIT, whoever sleeps.
      for (const queue of this.#waits.values()) queue.wakeAll();
      const isEarned = this.#doomed.has(name) || this.#mayRunOut;
      if (fields['signal'] === 'SIGSEGV' && !isEarned) {
        taps.judge.tell('died', { process: name, signal: 'SIGSEGV' });
      }
    } else if (kind === 'process:exit') {
      this.meetings.ended(name);
      for (const open of taps.ledger.opens.ended(name)) taps.judge.tell('released', open);
      taps.judge.tell('gone', name);
    }
  }

  /** A step was refused that nobody expected to be. */
  refused(process: string, action: string, { errno, why }: Refusal): void {
    const { taps } = this.stage;
    // Where allocations may fail, what fails for want of memory is earned.
    if (this.#mayRunOut && errno === 'ENOMEM') return;
    taps.judge.tell('refused', { process, action, errno, why, expected: undefined });
  }

  get #mayRunOut(): boolean {
    return this.stage.scenario.choices['allocation-failures'];
  }

  *#host(steps: readonly Step[]): Task {
    const { kernel, taps } = this.stage;
    for (const step of steps) {
      yield 'host';
      if ('meet' in step) yield* this.meetings.meet(step.meet, 'host');
      if (!('kill' in step)) continue;
      const process = this.#processes.get(step.kill);
      if (process === undefined || process.isGone) continue;
      taps.tell('machine', 'host', 'step:kill', { process: step.kill });
      yield* kernel.processes.kill(process);
    }
  }
}
