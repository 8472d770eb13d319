/**
 * The program of one process: the steps of a scenario, as system calls and user-mode instructions of its only
 * thread, on the machine that it is a process of. Completion records lie in a region of their own, each with the
 * descriptor that it belongs to behind it, and no two processes' at one address.
 */
import { hex, isRefusal, type Refusal, refuse, type Task } from '../../base/index.js';
import { type CompletionInterrupt, PAGE_BYTES, type Process } from '../../kernel/index.js';
import { DSA_RECORD, DSA_STATUS, DSA_STATUS_NAMES } from '../../spec/index.js';
import { childName } from '../scenario/members.js';
import type { Outcome, Step, Submission } from '../scenario/schema.js';
import { byteText, contentBytes, firstDifference } from './content.js';
import { descriptorBytes, namedBy, RECORD_BYTES } from './descriptor.js';
import { type Few, NONE, named, withNamed } from './few.js';
import type { Machine } from './machines.js';
import type { Company, Inherited, Opened, Region, Role } from './stage.js';
import { UserMode } from './user.js';

interface Sent {
  readonly job: string;
  readonly queue: string;
  readonly record: number;
  readonly interrupt: CompletionInterrupt | undefined;
}

/** A record's line, and its descriptor's. */
const LINE = 64;
const RECORD_STRIDE = 2 * LINE;
const RECORD_PAGES = 32;
const { STATUS, RESULT, COMPLETED } = DSA_RECORD;

export class Program {
  readonly #cast: Company;
  readonly #process: Process;
  readonly #user: UserMode;
  #regions: Few<Region>;
  #opened: Few<Opened>;
  #sent: Few<Sent> = NONE;
  readonly #machine: Machine;
  readonly #role: Role;
  #hasRecords = false;

  constructor(cast: Company, process: Process, role: Role & { readonly inherited: Inherited | undefined }) {
    this.#cast = cast;
    this.#process = process;
    this.#role = role;
    this.#machine = role.machine;
    const { machine } = role;
    const { memory } = cast.stage.hardware;
    const { processes } = machine.kernel;
    this.#user = new UserMode({ memory, machine, processes }, process.mainThread);
    this.#regions = role.inherited?.regions ?? NONE;
    this.#opened = role.inherited?.opened ?? NONE;
  }

  /** All steps; it ends with the first that is refused and was not to be. */
  *run(): Task {
    try {
      yield* this.#steps();
    } finally {
      this.#role.seat?.leave();
    }
  }

  *#steps(): Task {
    const { name } = this.#process;
    const between = `${name} between steps`;
    for (const step of this.#cast.stepsOf(this.#role.steps)) {
      yield between;
      this.#tell(step);
      this.#cast.dooms(name, step.dies !== undefined);
      const refusal = yield* this.#do(step);
      if (this.#judge(step, refusal) || 'exit' in step) return;
    }
  }

  /** Whether the program ends here. */
  #judge(step: Step, refusal: Refusal | undefined): boolean {
    if (refusal === undefined && step.refused === undefined && step.dies === undefined) return false;
    const { name: process } = this.#process;
    const { judge } = this.#cast.stage.taps;
    const action = actionText(step);
    if (step.dies !== undefined) judge.tell('survived', { process, action });
    if (refusal !== undefined && step.refused === undefined) {
      this.#cast.refused(process, action, refusal);
      return true;
    }
    if (step.refused === undefined) return false;
    const { errno, why } = refusal ?? { errno: undefined, why: '' };
    judge.tell('refused', { process, action, errno, why, expected: step.refused });
    return false;
  }

  #do(step: Step): Task<Refusal | undefined> {
    if ('map' in step) return this.#map(step.map);
    if ('write' in step) return this.#write(step.write);
    if ('unmap' in step) return this.#unmap(step.unmap);
    if ('open' in step) return this.#open(step.open);
    if ('interrupts' in step) return this.#askInterrupts(step.interrupts);
    if ('close' in step) return this.#close(step.close);
    if ('submit' in step) return this.#submit(step.submit);
    if ('wait' in step) return this.#wait(step.wait);
    if ('check' in step) return this.#check(step.check);
    if ('fork' in step) return this.#fork(step.fork.as);
    if ('meet' in step) return this.#cast.meetings.meet(step.meet, this.#process.name, this.#role.seat);
    return this.#exit();
  }

  *#map({ name, pages, at, holds }: Extract<Step, { map: unknown }>['map']): Task<Refusal | undefined> {
    const options = at === undefined ? {} : { at: at / PAGE_BYTES };
    const page = yield* this.#process.mm.mmap(pages, options);
    if (isRefusal(page)) return page;
    this.#regions = withNamed(this.#regions, name, { page, pages });
    if (holds === undefined) return undefined;
    return yield* this.#write({ to: name, holds });
  }

  *#write({ to, holds }: Extract<Step, { write: unknown }>['write']): Task<Refusal | undefined> {
    const region = named(this.#regions, to);
    if (region === undefined) return refuse('ENOENT', `no region ${to}`);
    yield* this.#user.store(region.page * PAGE_BYTES, contentBytes(holds, region.pages * PAGE_BYTES));
    return undefined;
  }

  *#unmap(name: string): Task<Refusal | undefined> {
    const region = named(this.#regions, name);
    if (region === undefined) return refuse('ENOENT', `no region ${name}`);
    return yield* this.#process.mm.munmap(region.page, region.pages);
  }

  *#open(name: string): Task<Refusal | undefined> {
    const { idxd, index, hardware, unusable } = this.#machine.queue(name);
    if (unusable !== undefined) return unusable;
    if (idxd === undefined) return refuse('ENODEV', `the kernel has no ${name}`);
    const { ledger, judge } = this.#cast.stage.taps;
    const { name: mm } = this.#process.mm;
    const hadPasid = ledger.pasids.of(mm) !== undefined;
    const fd = yield* idxd.files.open(this.#process, index);
    if (isRefusal(fd)) {
      judge.tell('failedOpen', { mm, device: hardware.device, queue: name, hadPasid });
      return fd;
    }
    // Its machine may have gone to other devices meanwhile.
    ledger.opens.opened(this.#process.name, this.#machine.queue(name).hardware);
    const portalPage = yield* idxd.files.mapPortal(this.#process, fd, this.#portalPage);
    if (isRefusal(portalPage)) return portalPage;
    // Of a child, its parent's: what it asks for by that is refused by hardware.
    const { interrupt } = named(this.#opened, name) ?? {};
    this.#opened = withNamed(this.#opened, name, {
      fd,
      portalPage,
      ...(interrupt === undefined ? {} : { interrupt }),
    });
    return undefined;
  }

  *#askInterrupts(name: string): Task<Refusal | undefined> {
    const { idxd } = this.#machine.queue(name);
    const opened = named(this.#opened, name);
    if (idxd === undefined || opened?.fd === undefined) return refuse('ENOENT', `${name} is not open`);
    const interrupt = yield* idxd.files.requestInterrupt(this.#process, opened.fd);
    if (isRefusal(interrupt)) return interrupt;
    this.#opened = withNamed(this.#opened, name, { ...opened, interrupt });
    return undefined;
  }

  /** In a guest, beside the records: a page table less. Its place is nobody's business. */
  get #portalPage(): number | undefined {
    if (this.#machine.vm === undefined) return undefined;
    return this.#role.recordsPage + RECORD_PAGES + this.#opened.length;
  }

  *#close(name: string): Task<Refusal | undefined> {
    const opened = named(this.#opened, name);
    if (opened?.fd === undefined) return refuse('ENOENT', `${name} is not open`);
    const { taps } = this.#cast.stage;
    const { kernel } = this.#machine;
    const refusal = yield* kernel.processes.close(this.#process, opened.fd);
    this.#opened = withNamed(this.#opened, name, { ...opened, fd: undefined });
    const open = taps.ledger.opens.closed(this.#process.name, name);
    if (open !== undefined) taps.judge.tell('released', open);
    return refusal;
  }

  *#submit(submission: Submission): Task<Refusal | undefined> {
    const { to, as, retries } = submission;
    const opened = named(this.#opened, to);
    if (opened === undefined) return refuse('ENOENT', `${to} was never open`);
    const record = yield* this.#newRecord();
    if (isRefusal(record)) return record;
    const operands = this.#operands(submission, record);
    const source = record + LINE;
    const handle = submission.interrupt ? opened.interrupt?.handle : undefined;
    if (submission.interrupt && handle === undefined) return refuse('ENOENT', `no interrupts of ${to}`);
    yield* this.#user.store(source, descriptorBytes(submission, { ...operands, handle }));
    const sent = { job: as, queue: to, record, interrupt: opened.interrupt };
    this.#sent = withNamed(this.#sent, as, sent);
    const { name, mm } = this.#process;
    const { taps } = this.#cast.stage;
    const { hardware, spec } = this.#machine.queue(to);
    const { device, queue } = hardware;
    const job = {
      name: this.#jobName(as),
      process: name,
      mm: mm.name,
      device,
      queue,
      via: to,
      step: taps.ledger.step,
      names: namedBy(submission, operands),
    };
    const portal = opened.portalPage * PAGE_BYTES;
    if (spec?.mode === 'dedicated') {
      taps.submits(record, job);
      yield* this.#user.movdir64b(portal, source);
      return undefined;
    }
    for (let tried = 0; tried <= retries; tried++) {
      taps.submits(record, tried === 0 ? job : { ...job, step: taps.ledger.step });
      if (yield* this.#user.enqcmd(portal, source)) return undefined;
    }
    const what = `${to} took ${as} at none of ${retries + 1} ENQCMDs since step ${job.step}`;
    taps.judge.tell('gaveUp', { process: name, what });
    return refuse('EAGAIN', what);
  }

  /** Jobs of those who do the same steps have the same names, but for who has submitted them. */
  #jobName(name: string): string {
    return this.#role.seat === undefined ? name : `${this.#process.name} ${name}`;
  }

  *#wait({
    for: job,
    outcome,
    interrupt: isTold,
  }: Extract<Step, { wait: unknown }>['wait']): Task<Refusal | undefined> {
    const sent = named(this.#sent, job);
    if (sent === undefined) return refuse('ENOENT', `no job ${job}`);
    const bytes = new Uint8Array(RECORD_BYTES);
    const words = new Int32Array(bytes.buffer);
    for (;;) {
      const before = sent.interrupt?.count ?? 0;
      yield* this.#user.load(sent.record, bytes);
      if (STATUS.get(words, 0) !== DSA_STATUS.NONE) break;
      if (isTold && sent.interrupt !== undefined) {
        yield* sent.interrupt.wait(before);
        continue;
      }
      // UMONITOR and UMWAIT: asleep until the record's line is written, or an interrupt comes.
      yield* this.#cast.untilDone(this.#jobName(job));
    }
    const found = outcomeOf(words);
    // Where allocations may fail, so may any page that a job needs: its process gives up.
    const { 'allocation-failures': mayRunOut } = this.#cast.stage.scenario.choices;
    if (mayRunOut && outcome !== 'any' && found !== outcome) return refuse('ENOMEM', recordText(words));
    const { name: process } = this.#process;
    const fact = { job, process, queue: sent.queue, expected: outcome, outcome: found };
    this.#cast.stage.taps.judge.tell('outcome', { ...fact, record: recordText(words) });
    return undefined;
  }

  *#check({
    region: name,
    holds,
    equals,
    bytes,
  }: Extract<Step, { check: unknown }>['check']): Task<Refusal | undefined> {
    const region = named(this.#regions, name);
    const other = equals === undefined ? undefined : named(this.#regions, equals);
    if (region === undefined) return refuse('ENOENT', `no region ${name}`);
    const pages = Math.min(region.pages, other?.pages ?? region.pages);
    const length = Math.min(bytes ?? pages * PAGE_BYTES, pages * PAGE_BYTES);
    const found = new Uint8Array(length);
    yield* this.#user.load(region.page * PAGE_BYTES, found);
    let expected = contentBytes(holds ?? 0, length);
    if (other !== undefined) {
      expected = new Uint8Array(length);
      yield* this.#user.load(other.page * PAGE_BYTES, expected);
    }
    const at = firstDifference(found, expected);
    if (at < 0) return undefined;
    this.#cast.stage.taps.judge.tell('mismatch', {
      process: this.#process.name,
      region: name,
      address: region.page * PAGE_BYTES + at,
      found: byteText(found[at] ?? 0),
      expected: byteText(expected[at] ?? 0),
    });
    return undefined;
  }

  *#fork(as: string): Task<Refusal | undefined> {
    const { taps } = this.#cast.stage;
    const name = childName(this.#process.name, as);
    const child = yield* this.#machine.kernel.processes.fork(this.#process, name);
    if (isRefusal(child)) {
      this.#cast.meetings.ended(name);
      return child;
    }
    taps.ledger.opens.forked(this.#process.name, name);
    const role = { machine: this.#machine, steps: name, seat: undefined };
    this.#cast.play(child, role, { regions: this.#regions, opened: this.#opened });
    return undefined;
  }

  /** The rest of an exit is the kernel's. */
  *#exit(): Task<undefined> {
    yield `${this.#process.name} exits`;
    return undefined;
  }

  /** A cleared completion record; its page is there, for the process has just touched it. */
  *#newRecord(): Task<number | Refusal> {
    if (!this.#hasRecords) {
      const page = yield* this.#process.mm.mmap(RECORD_PAGES, { at: this.#role.recordsPage });
      if (isRefusal(page)) return page;
      this.#hasRecords = true;
    }
    const record = this.#role.recordsPage * PAGE_BYTES + this.#sent.length * RECORD_STRIDE;
    yield* this.#user.store(record, new Uint8Array(RECORD_BYTES));
    return record;
  }

  #operands({ from, into, bytes }: Submission, record: number) {
    const source = from === undefined ? undefined : named(this.#regions, from);
    const target = into === undefined ? undefined : named(this.#regions, into);
    const pages = Math.min(
      source?.pages ?? Number.MAX_SAFE_INTEGER,
      target?.pages ?? Number.MAX_SAFE_INTEGER,
    );
    return {
      record,
      from: (source?.page ?? 0) * PAGE_BYTES,
      into: (target?.page ?? 0) * PAGE_BYTES,
      bytes: bytes ?? pages * PAGE_BYTES,
    };
  }

  #tell(step: Step): void {
    const { taps } = this.#cast.stage;
    if (taps.listener === undefined) return;
    taps.tell('machine', this.#process.name, 'step', { does: actionText(step) });
  }
}

function outcomeOf(record: Int32Array): Outcome {
  switch (STATUS.get(record, 0)) {
    case DSA_STATUS.SUCCESS:
      return RESULT.get(record, 0) === 0 ? 'success' : 'different';
    case DSA_STATUS.PAGE_FAULT:
      return 'page-fault';
    case DSA_STATUS.PAGE_FAULT_INVALID_REQUEST:
      return 'invalid-request';
    default:
      return 'error';
  }
}

function recordText(record: Int32Array): string {
  const status = STATUS.get(record, 0);
  const name = (DSA_STATUS_NAMES as Readonly<Record<number, string>>)[status] ?? 'unknown';
  return `status ${hex(status)}, ${name}, after ${COMPLETED.get(record, 0)} bytes`;
}

/** A step, as messages name it: `open dsa0/shared`. */
export function actionText(step: Step): string {
  if ('map' in step) return `map ${step.map.name}`;
  if ('write' in step) return `write ${step.write.to}`;
  if ('unmap' in step) return `unmap ${step.unmap}`;
  if ('open' in step) return `open ${step.open}`;
  if ('interrupts' in step) return `ask for interrupts of ${step.interrupts}`;
  if ('close' in step) return `close ${step.close}`;
  if ('submit' in step) {
    const { operation, as, to } = step.submit;
    return `submit ${as} (${operation}) to ${to}`;
  }
  if ('wait' in step) return `wait for ${step.wait.for}`;
  if ('check' in step) return `check ${step.check.region}`;
  if ('fork' in step) return `fork ${step.fork.as}`;
  if ('kill' in step) return `kill ${step.kill}`;
  if ('reset-device' in step) return `reset ${step['reset-device']}`;
  if ('meet' in step) return `meet ${step.meet}`;
  if ('register-kvm' in step) return `register KVM for ${step['register-kvm']}`;
  if ('plug' in step) return `plug ${step.plug}`;
  if ('unplug' in step) return `unplug ${step.unplug}`;
  if ('pull-out' in step) return `pull out ${step['pull-out']}`;
  if ('pause' in step) return `pause ${step.pause}`;
  if ('resume' in step) return `resume ${step.resume}`;
  if ('migrate' in step) return `migrate ${step.migrate.replace('/', ' to ')}`;
  if ('reset' in step) return `reset ${step.reset}`;
  if ('flush' in step) return `flush ${step.flush}`;
  if ('copy' in step)
    return `copy ${step.copy.from} into ${step.copy.into} by ${step.copy.on}, as ${step.copy.as}`;
  return 'exit';
}
