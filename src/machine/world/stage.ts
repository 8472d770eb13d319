/** What programs act on, and what they need of those who act beside them. */
import type { Refusal, Task } from '../../base/index.js';
import type { CompletionInterrupt, Process } from '../../kernel/index.js';
import type { Scenario, Step } from '../scenario/schema.js';
import type { Few } from './few.js';
import type { Hardware } from './hardware.js';
import type { Machine } from './machines.js';
import type { Meetings } from './meetings.js';
import type { Script } from './script.js';
import type { Taps } from './taps/taps.js';
import type { Seat } from './turns.js';
import type { VirtualMachine } from './virtual-machine.js';

/** What is there before anybody acts. */
export interface Stage {
  readonly scenario: Scenario;
  readonly script: Script;
  readonly hardware: Hardware;
  readonly taps: Taps;
  readonly host: Machine;
  readonly vms: ReadonlyMap<string, VirtualMachine>;
}

/** A region of a process's memory. */
export interface Region {
  readonly page: number;
  readonly pages: number;
}

/** A queue that a process has open, or had: it keeps the address of the portal, whatever is there then. */
export interface Opened {
  /** Undefined once it is closed. */
  readonly fd: number | undefined;
  readonly portalPage: number;
  /** Once it was asked for. A forked child knows it too. */
  readonly interrupt?: CompletionInterrupt;
}

/** What a forked child takes over. */
export interface Inherited {
  readonly regions: Few<Region>;
  readonly opened: Few<Opened>;
}

/** What a process is here for. */
export interface Role {
  readonly machine: Machine;
  /** Whose steps it does: its own, or those of all that are as it is. */
  readonly steps: string;
  /** Of one of many: its place among those who act at once. */
  readonly seat: Seat | undefined;
  /** Where its completion records lie. */
  readonly recordsPage: number;
}

/** The others. */
export interface Company {
  readonly stage: Stage;
  readonly meetings: Meetings;
  stepsOf(actor: string): readonly Step[];
  /** A process begins its steps. */
  play(process: Process, role: Omit<Role, 'recordsPage'>, inherited?: Inherited): void;
  /** Sleeps until the job is done, or for no reason. */
  untilDone(job: string): Task;
  /** Whether a process is to be killed for what it does now. */
  dooms(process: string, isDoomed: boolean): void;
  /** A step was refused that nobody expected to be. */
  refused(process: string, action: string, refusal: Refusal): void;
}
