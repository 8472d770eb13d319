/**
 * Those who act in a run, and what they share: one for each process of the scenario, on the host and in its virtual
 * machines, and the host itself. Made anew for each run.
 */
import { isRefusal, type Refusal, type Task, WaitQueue } from '../../base/index.js';
import type { Process } from '../../kernel/index.js';
import type { AcceptedJob } from '../../rules/index.js';
import { childName, type ProcessMember } from '../scenario/members.js';
import type { Step } from '../scenario/schema.js';
import { GuestKernel } from './guest-kernel.js';
import { host } from './host-actor.js';
import type { Machine } from './machines.js';
import { Meetings } from './meetings.js';
import type { KernelEvent } from './platform.js';
import { Program } from './program.js';
import type { Company, Inherited, Role, Stage } from './stage.js';
import { type Seat, Turns } from './turns.js';
import type { VirtualMachine } from './virtual-machine.js';

/** Where each actor's completion records lie, far from what `mmap` finds by itself; so low that all fit 31 bits. */
const RECORDS_PAGE = 0x1000_0000;
const RECORDS_STRIDE = 0x100;

interface Part {
  readonly process: Process;
  readonly machine: Machine;
  readonly seat: Seat | undefined;
}

/** What a kernel tells, and of which process. */
interface Heard {
  readonly name: string;
  readonly event: KernelEvent;
  readonly machine: Machine;
}

type Act = (cast: Cast, heard: Heard) => void;

export class Cast implements Company {
  /** What it does when a kernel tells of something. */
  static readonly #acts: Readonly<Record<string, Act>> = {
    'idxd:copy': (cast, { event, machine }) => cast.#kernels.get(machine.name)?.submits(event),
    'idxd:record': (cast) => cast.#wakeAll(),
    'iommu:aux-clear': (cast, { event: { fields }, machine }) => {
      const device = machine.deviceOf(String(fields['device']));
      const mm = `${String(fields['domain'])}/kernel`;
      cast.stage.taps.judge.tell('unbound', { device, mm, pasid: Number(fields['pasid']) });
    },
    'sva:bind': (cast, { name, event: { fields }, machine }) => {
      if (machine.vm !== undefined) cast.#bound(name, machine, String(fields['device']));
    },
    'sva:unbind': (cast, { name, event: { fields }, machine }) => cast.#unbound(name, machine, fields),
    'mm:exit': (cast, { event: { fields } }) => {
      const { ledger } = cast.stage.taps;
      ledger.dying.set(String(fields['mm']), ledger.step);
    },
    'process:signal': (cast, { name, event: { fields } }) => cast.#signalled(name, String(fields['signal'])),
    'process:exit': (cast, { name }) => cast.#ended(name),
  };

  /** The kinds of kernels' events that it acts on. */
  static readonly KERNEL_EVENTS: readonly string[] = Object.keys(Cast.#acts);

  readonly stage: Stage;
  readonly meetings: Meetings;
  /** The processes that were started and are not gone, by name. */
  readonly #parts = new Map<string, Part>();
  /** Their names, by the name of the machine that they are on. */
  readonly #on = new Map<string, Set<string>>();
  /** Guests' kernels that do something, by machine. */
  readonly #kernels = new Map<string, GuestKernel>();
  readonly #turns: Turns;
  #started = 0;
  /** Who sleeps until a job is done; woken early now and then. */
  readonly #waits = new Map<string, WaitQueue>();
  /** Processes that are to be killed for what they do now. */
  readonly #doomed = new Set<string>();

  constructor(stage: Stage) {
    this.stage = stage;
    const { scenario, script } = stage;
    this.meetings = new Meetings(script.steps, script.actors);
    this.#turns = new Turns(scenario.choices['at-once']);
  }

  /** Brings all on who are there from the start. */
  begin(): void {
    const { script, host: machine, vms, taps } = this.stage;
    const { tasks } = machine.kernel.context;
    for (const member of script.hostProcesses) this.#enter(machine, member, undefined);
    const counted: [Machine, ProcessMember][] = [];
    for (const vm of vms.values()) {
      for (const member of vm.member.processes) {
        if (member.isCounted) counted.push([vm, member]);
        else this.#enter(vm, member, undefined);
      }
      const steps = this.stepsOf(`${vm.member.group}/kernel`);
      const flushing = () => this.#flushing(vm);
      if (steps.length === 0) continue;
      const refused: Company['refused'] = (...of) => this.refused(...of);
      const kernel = new GuestKernel({ taps, meetings: this.meetings, machine: vm, flushing, refused });
      this.#kernels.set(vm.name, kernel);
      vm.kernel.context.tasks.spawn('kernel', kernel.run(steps));
    }
    if (counted.length > 0) tasks.spawn('call of the cast', this.#call(counted));
    const steps = this.stepsOf('host');
    if (steps.length > 0) tasks.spawn('host', host(this, steps));
  }

  stepsOf(actor: string): readonly Step[] {
    return this.stage.script.stepsOf(actor);
  }

  /** A process of the host's that runs. */
  process(name: string): Process | undefined {
    return this.#parts.get(name)?.process;
  }

  play(process: Process, role: Omit<Role, 'recordsPage'>, inherited?: Inherited): void {
    const { machine, seat } = role;
    this.#parts.set(process.name, { process, machine, seat });
    const beside = this.#on.get(machine.name);
    if (beside === undefined) this.#on.set(machine.name, new Set([process.name]));
    else beside.add(process.name);
    const recordsPage = RECORDS_PAGE + this.#started++ * RECORDS_STRIDE;
    const { steps } = role;
    const program = new Program(this, process, { machine, steps, seat, recordsPage, inherited });
    machine.kernel.processes.start(process.mainThread, program.run());
  }

  /** Sleeps until the job is done, or for no reason. */
  *untilDone(job: string): Task {
    const queue = this.#waits.get(job) ?? new WaitQueue(`job ${job}`);
    this.#waits.set(job, queue);
    yield queue;
  }

  jobDone({ name }: AcceptedJob): void {
    this.#waits.get(name)?.wakeAll();
    this.#waits.delete(name);
  }

  /** A step is to get its process killed. */
  dooms(process: string, isDoomed: boolean): void {
    if (isDoomed) this.#doomed.add(process);
    else this.#doomed.delete(process);
  }

  kernelEvent(event: KernelEvent, machine: Machine): void {
    Cast.#acts[event.kind]?.(this, { name: String(event.fields['process']), event, machine });
  }

  /** A virtual machine is gone, with all who were in it. */
  vmGone({ name, vm }: VirtualMachine, left: readonly string[]): void {
    this.#allLeft(name);
    this.stage.taps.judge.tell('vmGone', { vm: vm.vm.name, left });
  }

  /** A virtual machine is there, and nobody in it any more. */
  vmReset(name: string, left: readonly string[]): void {
    this.#allLeft(name);
    this.stage.taps.judge.tell('vmReset', { vm: name, left });
  }

  #allLeft(name: string): void {
    for (const process of [...(this.#on.get(name) ?? [])]) {
      this.#parts.get(process)?.seat?.leave();
      this.#left(process);
    }
    this.meetings.ended(`${name}/kernel`);
  }

  /** A virtual machine ends: what is in it stands still from now on, and answers for nothing. */
  vmEnds({ name, vm }: VirtualMachine): void {
    const { ledger } = this.stage.taps;
    for (const each of [vm.vm.name, `${name}/kernel`, ...(this.#on.get(name) ?? [])])
      ledger.dying.set(each, ledger.step);
  }

  /** A step was refused that nobody expected to be. */
  refused(process: string, action: string, { errno, why }: Refusal): void {
    const { taps } = this.stage;
    // Where allocations may fail, what fails for want of memory is earned.
    if (this.#mayRunOut && errno === 'ENOMEM') return;
    taps.judge.tell('refused', { process, action, errno, why, expected: undefined });
  }

  #signalled(name: string, signal: string): void {
    this.#wakeAll();
    const isEarned = this.#doomed.has(name) || this.#mayRunOut;
    if (signal === 'SIGSEGV' && !isEarned) this.stage.taps.judge.tell('died', { process: name, signal });
  }

  /** An interrupt ends UMWAIT, whoever sleeps; so does the store that he waits for. */
  #wakeAll(): void {
    for (const queue of this.#waits.values()) queue.wakeAll();
  }

  get #mayRunOut(): boolean {
    return this.stage.scenario.choices['allocation-failures'];
  }

  /** Of processes that have a count, each is made when it is its turn. */
  *#call(members: readonly [Machine, ProcessMember][]): Task {
    for (const [machine, member] of members) {
      const seat = this.#turns.seat();
      seat.ask();
      yield* seat.wait();
      if (machine.vm !== undefined) yield* machine.vm.goesOn();
      if (machine.vm?.isRunning !== false) this.#enter(machine, member, seat);
      else seat.leave();
    }
  }

  #enter(machine: Machine, { name, steps }: ProcessMember, seat: Seat | undefined): void {
    const process = machine.kernel.processes.spawn(name);
    if (!isRefusal(process)) {
      this.play(process, { machine, steps, seat });
      return;
    }
    seat?.leave();
    this.meetings.ended(name);
    this.#comeNoMore(name);
    this.refused(name, 'to start', process);
  }

  #ended(name: string): void {
    this.#left(name);
    this.stage.taps.judge.tell('gone', name);
  }

  /** It acts no more, whether its own kernel has tidied up or is gone with it. */
  #left(name: string): void {
    const { taps } = this.stage;
    this.#on.get(this.#parts.get(name)?.machine.name ?? '')?.delete(name);
    this.#parts.delete(name);
    this.meetings.ended(name);
    this.#comeNoMore(name);
    for (const open of taps.ledger.opens.ended(name)) taps.judge.tell('released', open);
  }

  /** Children that were to be forked by somebody who has ended, and were not: nobody waits for them either. */
  #comeNoMore(parent: string): void {
    for (const step of this.stepsOf(parent)) {
      if (!('fork' in step)) continue;
      const child = childName(parent, step.fork.as);
      if (this.#parts.has(child)) continue;
      this.meetings.ended(child);
      this.#comeNoMore(child);
    }
  }

  /** Where a guest tells of new entries, all that has to know a PASID knows it when its kernel has bound it. */
  #bound(mm: string, machine: Machine, device: string): void {
    const { ledger, judge } = this.stage.taps;
    const pasid = ledger.pasids.of(mm);
    const guest = pasid === undefined ? undefined : ledger.pasids.tenure(pasid)?.guest;
    if (pasid === undefined || guest === undefined || machine.vm?.tellsNewEntries !== true) return;
    judge.tell('bound', { vm: machine.name, mm, device: machine.deviceOf(device), pasid, guest });
  }

  /** A guest flushes everything: whatever it had told or not, all know in the end what was bound before. */
  #flushing(machine: Machine): () => void {
    const { ledger, judge } = this.stage.taps;
    const open = [...ledger.opens.all()].filter(({ mm }) => ledger.guestOf(mm)?.name === machine.name);
    return () => {
      for (const { mm, device } of open) {
        if (!ledger.opens.isBound(mm, device) || ledger.dying.get(mm) !== undefined) continue;
        const pasid = ledger.pasids.of(mm);
        const guest = pasid === undefined ? undefined : ledger.pasids.tenure(pasid)?.guest;
        if (pasid === undefined || guest === undefined) continue;
        judge.tell('bound', { vm: machine.name, mm, device, pasid, guest });
      }
    };
  }

  #unbound(mm: string, machine: Machine, fields: KernelEvent['fields']): void {
    const { ledger, judge } = this.stage.taps;
    const via = String(fields['device']);
    const pasid = machine.vm === undefined ? Number(fields['pasid']) : ledger.pasids.of(mm);
    // A guest cannot drain what was pulled out; another device has the PASID still, so the host need not have done it.
    const isBeside = ledger.opens.isBound(mm, machine.deviceOf(via)) && machine.vm?.isOut(via) === true;
    if (pasid !== undefined && !isBeside)
      judge.tell('unbound', { device: machine.deviceOf(via), via, mm, pasid });
  }
}
