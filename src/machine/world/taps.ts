/**
 * Taps on hardware and kernel: what they tell goes to the ledger and the rules, and, if anybody listens, into the
 * trace. A tap changes nothing.
 *
 * Who sent a descriptor that arrives at a device is told by the address of its completion record, which the
 * programs of a scenario choose so that no two jobs share one.
 */
import {
  assert,
  type Event,
  type EventSink,
  type FieldValue,
  hex,
  type Layer,
  type Restorable,
  type TaskSet,
} from '../../base/index.js';
import {
  type DsaAudit,
  type EntryAudit,
  type FaultAudit,
  type IommuDownstream,
  type MemoryRequest,
  NO_PASID,
  type PageGroupResponse,
  type PageRequest,
  RIGHT,
  type SoftwareError,
  type Upstream,
} from '../../hardware/index.js';
import type { FrameLedger as FrameTap } from '../../kernel/index.js';
import {
  type AcceptedJob,
  type Fetch,
  type GuestLedger,
  type Job,
  type Judge,
  Ledger,
} from '../../rules/index.js';
import {
  DSA_ERROR_NAMES,
  DSA_MEMMOVE,
  DSA_NOOP,
  decode,
  FAULT_REASONS,
  PASID_TABLE_ENTRY,
  textOf,
} from '../../spec/index.js';
import type { Accelerator, Hardware, Wiring } from './hardware.js';
import type { KernelEvent } from './platform.js';

const PAGE = 4096;
const { RECORD } = DSA_NOOP;
const { OPCODE } = DSA_MEMMOVE;
const { FSPTPTR, P, PGTT, SSPTPTR } = PASID_TABLE_ENTRY;
/** Of a PASID table. */
const ENTRY_BYTES = 64;
const ENTRIES = PAGE / ENTRY_BYTES;
const FIRST_STAGE_ONLY = 1;
const NESTED = 3;

/** What software calls devices and queues, and what the scenario calls them. */
type Aliases = readonly (readonly [string, string])[];

/** What software reports of faults, by PASID. */
const FAULTS: ReadonlySet<string> = new Set(['iommu:fault', 'idxd:error', 'iommu:page-request-refused']);

/** A page request without an answer. */
export interface OutstandingRequest {
  readonly device: string;
  readonly pasid: number;
  readonly group: number;
  readonly page: number;
  readonly step: number;
}

/** Told what the machine itself has to act on. */
export interface TapHooks {
  /** A device is done with a job; with status 0 it was thrown away. */
  jobDone(job: AcceptedJob): void;
  /** Something happened in the kernel. */
  kernelEvent(event: KernelEvent, machine: string): void;
}

export class Taps implements Wiring, Restorable {
  readonly ledger = new Ledger();
  readonly frames: FrameTap;
  /** Takes events; nobody listens while it is undefined. */
  listener: EventSink | undefined;
  hooks: TapHooks | undefined;
  readonly #tasks: TaskSet;
  #judge: Judge | undefined;
  #hardware: Hardware | undefined;
  readonly #requests = new Map<string, OutstandingRequest>();
  /** Jobs whose instruction has begun, by the address of their completion record. */
  readonly #submitted = new Map<number, Job>();
  /** A page request is being sent: what is answered now, the IOMMU answers by itself. */
  #isAsking = false;
  #moving: { job: AcceptedJob | undefined; page: number } = { job: undefined, page: 0 };

  constructor(tasks: TaskSet) {
    this.#tasks = tasks;
    this.frames = this.#frameTap();
  }

  /** Puts the taps on: hardware first, then who judges. */
  connect(hardware: Hardware, judge: Judge): void {
    this.#hardware = hardware;
    this.#judge = judge;
    for (const accelerator of hardware.accelerators) {
      accelerator.device.audit = this.#deviceAudit(accelerator);
      accelerator.device.errors.audit = (error) => this.#softwareError(accelerator.name, error);
    }
    hardware.root.audit = (request, frame) => this.#moved(request, frame);
    hardware.unit.translator.audit = this.#entryTaken;
    hardware.unit.faults.audit = this.#unitFault;
  }

  /** The rules. */
  get judge(): Judge {
    assert(this.#judge !== undefined, 'the taps are connected');
    return this.#judge;
  }

  /** Page requests that were not answered. */
  outstanding(): Iterable<OutstandingRequest> {
    return this.#requests.values();
  }

  /** The instruction of a job begins. */
  submits(record: number, job: Job): void {
    this.#submitted.set(record, job);
    this.ledger.jobs.submitted(job);
  }

  /** Tells what happened, if anybody listens. */
  tell(layer: Layer, actor: string, kind: string, fields: Readonly<Record<string, FieldValue>>): void {
    this.listener?.({ step: this.ledger.step, actor, layer, kind, fields });
  }

  /** Who runs: a process, by the name that no other has, or another task, or the hardware. */
  get actor(): string {
    const name = this.#tasks.current?.name ?? 'host';
    // A guest's tasks are named after it, and its processes are so already.
    const [vm = '', rest] = name.split(': ', 2);
    return rest?.startsWith(`${vm}/`) === true ? rest : name;
  }

  readonly kernel = (event: KernelEvent): void => {
    const fields = this.#named(event.fields);
    if (this.listener !== undefined) {
      const whose = FAULTS.has(event.kind) ? this.#whose(Number(fields['pasid'])) : {};
      this.tell('kernel', this.actor, event.kind, { ...fields, ...whose });
    }
    this.hooks?.kernelEvent({ kind: event.kind, fields }, 'host');
  };

  /** What a guest's kernel and its VMM tell. @param aliases what the guest calls devices, and what the scenario does */
  guestKernel(vm: string, aliases: Aliases): (event: KernelEvent) => void {
    return ({ kind, fields: told }) => {
      // Of what nobody reads, only the devices matter.
      const isRead = this.listener !== undefined || told['device'] !== undefined;
      const fields = isRead ? this.#named(told, aliases) : told;
      if (this.listener !== undefined) this.tell('kernel', this.actor, kind, fields);
      this.hooks?.kernelEvent({ kind, fields }, vm);
    };
  }

  /** The frames of a guest. */
  guestFrames(guest: GuestLedger): FrameTap {
    return this.#frameTap(guest);
  }

  /** The host's IOASID core's own events. */
  readonly ioasid: EventSink = ({ kind, fields }: Event) => {
    if (this.listener !== undefined) this.tell('ioasid', this.actor, kind, this.#named(fields));
    const pasid = Number(fields['id']);
    const { ledger } = this;
    if (kind === 'alloc') {
      const mm = this.#mmOf(this.actor);
      this.judge.tell('given', { pasid, mm });
      ledger.pasids.given(pasid, mm, ledger.step);
    } else if (kind === 'reclaim') {
      this.judge.tell('takenBack', pasid);
      ledger.pasids.takenBack(pasid, ledger.step);
    }
  };

  /** A guest's: what its kernel gives to an address space is backed by what the host has given for it just before. */
  guestIoasid(guest: GuestLedger, aliases: Aliases): EventSink {
    return ({ kind, fields }: Event) => {
      if (this.listener !== undefined && !kind.startsWith('announce')) {
        this.tell('ioasid', this.actor, `guest:${kind}`, this.#named(fields, aliases));
      }
      const id = Number(fields['id']);
      const { ledger } = this;
      if (kind === 'alloc') {
        const mm = this.#mmOf(this.actor);
        const pasid = ledger.pasids.of(mm);
        if (pasid !== undefined) {
          this.judge.tell('backed', { vm: guest.name, mm, guest: id, pasid });
          ledger.pasids.named(pasid, id);
        }
        guest.pasids.given(id, mm, ledger.step);
      } else if (kind === 'reclaim') {
        guest.pasids.takenBack(id, ledger.step);
      }
    };
  }

  /** Of a fault: whose the PASID is, in which virtual machine by which number, and what it had in the device then. */
  #whose(pasid: number): Readonly<Record<string, FieldValue>> {
    const { ledger } = this;
    const tenure = ledger.pasids.tenure(pasid);
    if (tenure === undefined) return {};
    const { mm, guest = null } = tenure;
    const jobs = [...ledger.jobs.pending()].filter((job) => job.pasid === pasid);
    const work = jobs.map(({ name, queue }) => `${name} in ${queue}`).join(', ');
    return { owner: mm, vm: ledger.guestOf(mm)?.name ?? null, guest, jobs: work === '' ? null : work };
  }

  /** The address space that a task is of: threads are named after their process. */
  #mmOf(actor: string): string {
    const [first = '', second] = actor.split('/');
    return second !== undefined && this.ledger.guest(first) !== undefined ? `${first}/${second}` : first;
  }

  upstream(inner: Upstream, device: string): Upstream {
    return {
      read: (request, into, at) => inner.read(request, into, at),
      write: (request, from, at) => inner.write(request, from, at),
      translate: (request, out) => inner.translate(request, out),
      requestPage: (request) => {
        this.#pageRequested(device, request);
        this.#isAsking = true;
        inner.requestPage(request);
        this.#isAsking = false;
      },
      invalidationDone: (rid, itag) => inner.invalidationDone(rid, itag),
      interrupt: (rid, address, data) => inner.interrupt(rid, address, data),
    };
  }

  downstream(inner: IommuDownstream): IommuDownstream {
    return {
      invalidateDeviceTlb: (invalidation) => {
        if (this.listener !== undefined) {
          const { pasid, page, pages } = invalidation;
          const range = pages > 2 ** 40 ? 'all pages' : `${pages} from ${hex(page * PAGE)}`;
          this.tell('hardware', this.#nameOf(invalidation.rid), 'ats:invalidate', { pasid, pages: range });
        }
        inner.invalidateDeviceTlb(invalidation);
      },
      pageGroupResponse: (response) => {
        this.#pageAnswered(response);
        inner.pageGroupResponse(response);
      },
      interrupt: (address, data) => inner.interrupt(address, data),
    };
  }

  mark(): void {
    this.ledger.mark();
  }

  restore(): void {
    this.ledger.restore();
    this.#requests.clear();
    this.#submitted.clear();
    this.#isAsking = false;
    this.#moving = { job: undefined, page: 0 };
  }

  #frameTap(guest?: GuestLedger): FrameTap {
    const { ledger } = this;
    const frames = guest?.frames ?? ledger.frames;
    return {
      owned: (frame, owner) => frames.owned(frame, owner, ledger.step),
      freed: (frame) => {
        const owner = frames.tenure(frame)?.owner;
        const there = guest === undefined ? frame : this.#hostFrame(guest, frame);
        if (owner !== undefined && there !== undefined) this.#judge?.tell('freed', { frame: there, owner });
        frames.freed(frame, ledger.step);
      },
    };
  }

  /** Where a guest's frame is on the host. */
  #hostFrame(guest: GuestLedger, gfn: number): number | undefined {
    const page = guest.pageOf(gfn);
    return page === undefined ? undefined : this.ledger.frames.frameAt(guest.name, page);
  }

  /** Fields of software's events, with the scenario's names of devices and queues. */
  #named(
    fields: Readonly<Record<string, FieldValue>>,
    aliases: Aliases = this.#hardware?.aliases ?? [],
  ): Readonly<Record<string, FieldValue>> {
    const named: Record<string, FieldValue> = {};
    for (const [key, value] of Object.entries(fields)) {
      named[key] = typeof value === 'string' ? renamed(value, aliases) : value;
    }
    return named;
  }

  #nameOf(rid: number): string {
    return this.#hardware?.accelerator(rid)?.name ?? `function ${hex(rid)}`;
  }

  #deviceAudit({ name, device, spec }: Accelerator): DsaAudit {
    const { ledger } = this;
    const queueNames = Object.keys(spec.queues).map((queue) => `${name}/${queue}`);
    const rooms = Object.values(spec.queues).map(({ size, threshold = size }) => {
      return { queue: Math.min(size, threshold), engines: spec.engines };
    });
    const unknown = (queue: string): Job => ({
      name: `of nobody's`,
      process: 'nobody',
      mm: 'nobody',
      device: name,
      queue,
      step: ledger.step,
      names: [],
    });
    return {
      submitted: (tag, wq, words) => {
        const queue = queueNames[wq] ?? `${name}/${wq}`;
        const sent = this.#submitted.get(Number(RECORD.getBig(words, 0)));
        const job: AcceptedJob = {
          ...(sent ?? unknown(queue)),
          tag,
          device: name,
          queue,
          pasid: device.queue(wq).pasidOf(words, 0),
          accepted: ledger.step,
          room: rooms[wq] ?? { queue: 0, engines: 0 },
        };
        this.judge.tell('accepted', job);
        ledger.jobs.accepted(job);
        if (this.listener === undefined) return;
        const operation = textOf(OPCODE, OPCODE.getBig(words, 0));
        this.tell('hardware', name, 'dsa:accept', { job: job.name, queue, pasid: job.pasid, operation });
      },
      refused: (wq, words) => {
        if (this.listener === undefined) return;
        const job = this.#submitted.get(Number(RECORD.getBig(words, 0)))?.name ?? null;
        this.tell('hardware', name, 'dsa:refuse', { job, queue: queueNames[wq] ?? `${name}/${wq}` });
      },
      requests: (tag, _request, page) => {
        this.#moving.job = ledger.jobs.get(name, tag);
        this.#moving.page = page;
      },
      completed: (tag, status) => {
        const job = ledger.jobs.done(name, tag);
        if (job === undefined) return;
        if (this.listener !== undefined) {
          const text = status === 0 ? 'thrown away' : errorName(status);
          this.tell('hardware', name, 'dsa:complete', { job: job.name, queue: job.queue, status: text });
        }
        this.hooks?.jobDone(job);
      },
    };
  }

  #moved(request: MemoryRequest, frame: number): void {
    const { job, page } = this.#moving;
    if (job === undefined) return;
    const isWrite = (request.rights & RIGHT.WRITE) !== 0;
    const { offset, length: bytes, isTranslated } = request;
    this.judge.tell('moved', { job, page, frame, offset, bytes, isWrite, isTranslated });
    if (this.listener === undefined) return;
    this.tell('hardware', job.device, isWrite ? 'dma:write' : 'dma:read', {
      job: job.name,
      pasid: job.pasid,
      address: hex(page * PAGE + offset),
      bytes,
      frame: hex(frame),
    });
  }

  /** Of the PASID tables alone: whether an entry that was stored to is present, and what it says. */
  readonly stored = (address: number): void => {
    const { frames, pasids } = this.ledger;
    // With so many, each place in a table is that of several.
    if (pasids.live > ENTRIES) return;
    const owner = frames.tenure(Math.floor(address / PAGE))?.owner;
    if (owner?.kind !== 'kernel' || !owner.use.startsWith('PASID table of ')) return;
    const entry = this.#entryAt(address - (address % ENTRY_BYTES));
    if (entry === undefined || P.get(entry, 0) === 0) return;
    const index = Math.floor((address % PAGE) / ENTRY_BYTES);
    const [pasid, other] = [...pasids.all()].map(([id]) => id).filter((id) => id % ENTRIES === index);
    // Where two PASIDs have this place in their tables, it is open whose entry this is.
    if (pasid === undefined || other !== undefined) return;
    const device = renamed(owner.use.slice('PASID table of '.length), this.#hardware?.aliases ?? []);
    this.judge.tell('visible', this.#entryFact({ device, pasid }, entry, 0));
  };

  readonly #entryTaken: EntryAudit = ({ rid, pasid }, words, at) => {
    // Caching mode takes in that an entry is not present, too.
    if (pasid === 0 || P.get(words, at) === 0) return;
    const device = this.#nameOf(rid);
    this.judge.tell('fetched', this.#entryFact({ device, pasid }, words, at));
  };

  #entryAt(address: number): Int32Array | undefined {
    const bytes = new Uint8Array(ENTRY_BYTES);
    return this.#hardware?.memory.read(address, bytes) === true ? new Int32Array(bytes.buffer) : undefined;
  }

  #entryFact(of: { device: string; pasid: number }, words: Int32Array, at: number): Fetch {
    const type = PGTT.get(words, at);
    const hasFirst = type === FIRST_STAGE_ONLY || type === NESTED;
    return {
      ...of,
      root: hasFirst ? FSPTPTR.get(words, at) : undefined,
      second: type === NESTED ? SSPTPTR.get(words, at) : undefined,
      get entry() {
        const { fields } = decode(PASID_TABLE_ENTRY, words, at);
        return fields
          .filter(({ value }) => value !== 0n)
          .map(({ field, text }) => `${field.name}=${text}`)
          .join(' ');
      },
    };
  }

  readonly #unitFault: FaultAudit = ({ reason }, { rid, pasid, page, rights }) => {
    const known = FAULT_REASONS[reason];
    const kind = (rights & RIGHT.WRITE) === 0 ? 'read' : 'write';
    const device = this.#nameOf(rid);
    const what = `a ${kind} at ${hex(page * PAGE)}: ${known?.text ?? `reason ${hex(reason)}`}`;
    const fact = { by: 'dmar0', device, pasid: pasid === NO_PASID ? undefined : pasid, text: what };
    this.judge.tell('faulted', { name: known?.name ?? hex(reason), ...fact });
  };

  #softwareError(device: string, { error, descriptor }: SoftwareError): void {
    const pasid = descriptor === undefined || descriptor.pasid < 0 ? undefined : descriptor.pasid;
    const name = `SWERR.${error.toString(16)}`;
    this.judge.tell('faulted', { name, by: device, device, pasid, text: errorName(error) });
  }

  #pageRequested(device: string, { rid, pasid, page, rights, group, isLast }: PageRequest): void {
    // A stop marker asks for nothing, and is not answered.
    if (!isLast || (rights & ~RIGHT.USER) === 0) return;
    this.#requests.set(`${rid}/${group}`, { device, pasid, group, page, step: this.ledger.step });
    if (this.listener === undefined) return;
    const access = (rights & RIGHT.WRITE) === 0 ? 'read' : 'write';
    this.tell('hardware', device, 'pri:request', { pasid, page: hex(page * PAGE), access, group });
  }

  #pageAnswered({ rid, pasid, group, code }: PageGroupResponse): void {
    const key = `${rid}/${group}`;
    const found = this.#requests.get(key);
    const request = found?.pasid === pasid ? found : undefined;
    const device = this.#nameOf(rid);
    this.judge.tell('answered', { device, pasid, group, code, request, isByHardware: this.#isAsking });
    if (request !== undefined) this.#requests.delete(key);
    this.tell('hardware', device, 'pri:response', { pasid, group, code });
  }
}

function renamed(text: string, aliases: Aliases): string {
  for (const [known, name] of aliases) {
    if (text.includes(known)) return text.replace(known, name);
  }
  return text;
}

const errorName = (code: number): string =>
  (DSA_ERROR_NAMES as Readonly<Record<number, string>>)[code] ?? `status ${hex(code)}`;
