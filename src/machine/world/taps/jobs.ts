/**
 * Taps on accelerators: descriptors as they arrive, what is read and written for each, how each ends.
 *
 * Who sent a descriptor that arrives at a device is told by the address of its completion record, which the
 * programs of a scenario choose so that no two jobs share one.
 */
import { hex } from '../../../base/index.js';
import { type DsaAudit, type MemoryRequest, RIGHT, type SoftwareError } from '../../../hardware/index.js';
import type { AcceptedJob, Job } from '../../../rules/index.js';
import { DSA_MEMMOVE, DSA_NOOP, textOf } from '../../../spec/index.js';
import type { Accelerator } from '../hardware.js';
import { numberOf, whose } from './identity.js';
import { errorName, type Fields } from './names.js';
import type { Tapped } from './tapped.js';

const PAGE = 4096;
const { RECORD } = DSA_NOOP;
const { OPCODE } = DSA_MEMMOVE;

export class JobTaps {
  readonly #tapped: Tapped;
  /** Jobs whose instruction has begun, by the address of their completion record: the last one of each queue. */
  readonly #submitted = new Map<number, readonly Job[]>();
  /** Whose fault it was, by device, PASID and page, until software has told of it: devices go on meanwhile. */
  readonly #faulted = new Map<string, Fields>();
  /** The page that each PASID of a device was refused last. */
  readonly #refused = new Map<string, number>();
  #moving: { job: AcceptedJob | undefined; page: number } = { job: undefined, page: 0 };

  constructor(tapped: Tapped) {
    this.#tapped = tapped;
  }

  restore(): void {
    this.#submitted.clear();
    this.#faulted.clear();
    this.#refused.clear();
    this.#moving = { job: undefined, page: 0 };
  }

  /** The instruction of a job begins. */
  submits(record: number, job: Job): void {
    const known = this.#submitted.get(record);
    const others = known?.filter(({ queue }) => queue !== job.queue) ?? [];
    this.#submitted.set(record, others.length === 0 ? [job] : [...others, job]);
    this.#tapped.ledger.jobs.submitted(job);
  }

  /**
   * The descriptor that a request of a device is for, and its queue: the one that names the page, or the PASID's only
   * one. Of several that may be it, all.
   */
  behind(device: string, pasid: number, page: number): Fields {
    const pending = this.#tapped.ledger.jobs.pending();
    const known = pending.filter((job) => job.device === device && job.pasid === pasid);
    const naming = known.filter(({ names }) => names.some((range) => isOn(page, range)));
    const found = naming.length > 0 ? naming : known;
    if (found.length === 0) return {};
    const queues = [...new Set(found.map(({ queue }) => queue))];
    return { job: found.map(({ name }) => name).join(' or '), queue: queues.join(' or ') };
  }

  /** Something went wrong on a page, and software will tell of it. */
  faulted(device: string, pasid: number, page: number): void {
    if (!this.#tapped.isTold) return;
    this.#faulted.set(faultKey(device, pasid, page), this.behind(device, pasid, page));
  }

  /** A page request was answered, and not with success. */
  refused(device: string, pasid: number, page: number): void {
    this.#refused.set(`${device} ${pasid}`, page);
  }

  /** What there is to say of a fault that software tells of. */
  ofFault(device: string, pasid: number, page: number): Fields {
    return this.#faulted.get(faultKey(device, pasid, page)) ?? this.behind(device, pasid, page);
  }

  softwareError(accelerator: Accelerator, { error, descriptor, fault = 0n }: SoftwareError): void {
    const { name: device } = accelerator;
    const { judge, ledger } = this.#tapped;
    const has = descriptor !== undefined && descriptor.pasid >= 0;
    const number = has ? numberOf(ledger, device, descriptor.pasid) : { pasid: undefined };
    const { pasid } = number;
    const name = `SWERR.${error.toString(16)}`;
    judge.tell('faulted', { name, by: device, device, ...number, text: errorName(error) });
    const job = descriptor && this.#sent(descriptor.words, queueOf(accelerator, descriptor.wq));
    if (job === undefined || pasid === undefined || !this.#tapped.isTold) return;
    const page = Math.floor(Number(fault) / PAGE);
    this.#faulted.set(faultKey(device, pasid, page), { job: job.name, queue: job.queue });
  }

  /** A read or a write has reached memory. */
  moved(request: MemoryRequest, frame: number): void {
    const { job, page } = this.#moving;
    if (job === undefined) return;
    const isWrite = (request.rights & RIGHT.WRITE) !== 0;
    const { offset, length: bytes, isTranslated } = request;
    const { judge, ledger, isTold } = this.#tapped;
    judge.tell('moved', { job, page, frame, offset, bytes, isWrite, isTranslated });
    if (!isTold) return;
    this.#tapped.tell('hardware', job.device, isWrite ? 'dma:write' : 'dma:read', {
      job: job.name,
      pasid: job.pasid,
      ...whose(ledger, job.pasid),
      address: hex(page * PAGE + offset),
      bytes,
      frame: hex(frame),
    });
  }

  #refusedPage({ device, pasid, names }: AcceptedJob): number | undefined {
    const page = this.#refused.get(`${device} ${pasid}`);
    return page !== undefined && names.some((range) => isOn(page, range)) ? page : undefined;
  }

  /**
   * Who sent a descriptor: the one that named this record for this queue. Programs name no record twice; kernels may,
   * each for a queue of its own.
   */
  #sent(words: Int32Array, queue: string): Job | undefined {
    const sent = this.#submitted.get(Number(RECORD.getBig(words, 0)));
    return sent?.find((job) => job.queue === queue) ?? sent?.[0];
  }

  audit(accelerator: Accelerator): DsaAudit {
    const { name, device, spec } = accelerator;
    const tapped = this.#tapped;
    const { ledger } = tapped;
    const queues = Object.keys(spec.queues).map((queue) => `${name}/${queue}`);
    const rooms = Object.values(spec.queues).map(({ size, threshold = size }) => {
      return { queue: Math.min(size, threshold), engines: spec.engines };
    });
    return {
      submitted: (tag, wq, words) => {
        const queue = queues[wq] ?? queueOf(accelerator, wq);
        const sent = this.#sent(words, queue) ?? unknown(name, queue, ledger.step);
        const into = device.queue(wq);
        const { pasid, carried } = numberOf(ledger, name, into.pasidOf(words, 0));
        const job: AcceptedJob = {
          name: sent.name,
          process: sent.process,
          mm: sent.mm,
          device: name,
          queue,
          via: sent.via,
          step: sent.step,
          names: sent.names,
          frames: sent.frames,
          tag,
          pasid,
          carried,
          accepted: ledger.step,
          isDedicated: into.isDedicated,
          room: rooms[wq] ?? { queue: 0, engines: 0 },
        };
        tapped.judge.tell('accepted', job);
        ledger.jobs.accepted(job);
        if (!tapped.isTold) return;
        const operation = textOf(OPCODE, OPCODE.getBig(words, 0));
        const fields = { job: job.name, queue, pasid, ...whose(ledger, pasid), operation };
        tapped.tell('hardware', name, 'dsa:accept', fields);
      },
      refused: (wq, words) => {
        if (!tapped.isTold) return;
        const queue = queueOf(accelerator, wq);
        const job = this.#sent(words, queue)?.name ?? null;
        tapped.tell('hardware', name, 'dsa:refuse', { job, queue });
      },
      requests: (tag, _request, page) => {
        this.#moving.job = ledger.jobs.get(name, tag);
        this.#moving.page = page;
      },
      completed: (tag, status) => {
        const job = ledger.jobs.done(name, tag);
        if (job === undefined) return;
        if (tapped.isTold) {
          const text = status === 0 ? 'thrown away' : errorName(status);
          const { queue, pasid } = job;
          const what = { job: job.name, queue, pasid, ...whose(ledger, pasid), status: text };
          const page = isPageFault(status) ? this.#refusedPage(job) : undefined;
          const fields = page === undefined ? what : { ...what, page: hex(page * PAGE) };
          tapped.tell('hardware', name, 'dsa:complete', fields);
        }
        tapped.hooks?.jobDone(job);
      },
    };
  }
}

/** A queue by the scenario's name. */
const queueOf = ({ name, spec }: Accelerator, wq: number): string =>
  `${name}/${Object.keys(spec.queues)[wq] ?? wq}`;

const isPageFault = (status: number): boolean => errorName(status).startsWith('page fault');

const faultKey = (device: string, pasid: number, page: number): string => `${device} ${pasid} ${page}`;

const isOn = (page: number, { address, bytes }: Job['names'][number]): boolean =>
  page >= Math.floor(address / PAGE) && page <= Math.floor((address + bytes - 1) / PAGE);

/** A descriptor that no program of the scenario sent. */
const unknown = (device: string, queue: string, step: number): Job => ({
  name: `of nobody's`,
  process: 'nobody',
  mm: 'nobody',
  device,
  queue,
  step,
  names: [],
});
