/**
 * Descriptors on their way: who sent each, from which address space, to which queue. A device knows them by the
 * tags that it counts.
 */
import type { Restorable } from '../../base/index.js';
import { OverlayMap } from './overlay.js';

/** A run of bytes that a descriptor names. */
export interface Named {
  readonly address: number;
  readonly bytes: number;
  /** The device may write there, or else read. */
  readonly isWritten: boolean;
}

/** A descriptor that was submitted. */
export interface Job {
  /** As the scenario calls it. */
  readonly name: string;
  readonly process: string;
  /** The address space of the process, at that moment. */
  readonly mm: string;
  readonly device: string;
  /** device/queue. */
  readonly queue: string;
  /** What its process calls that, if it calls it otherwise: a part of it in a virtual machine. */
  readonly via?: string | undefined;
  /** The step of the instruction. */
  readonly step: number;
  /** Its operands, and its completion record. */
  readonly names: readonly Named[];
  /** Of a guest's kernel, which has no pages: its own frames, by the pages that the device is to know them by. */
  readonly frames?: ReadonlyMap<number, number> | undefined;
}

/** A job that a queue has accepted. */
export interface AcceptedJob extends Job {
  readonly tag: number;
  /** The host's PASID behind that which its requests carry: its own, or the queue's. */
  readonly pasid: number;
  /** The number that they carry, where it is another's: a function that a guest has whole has its guest's. */
  readonly carried?: number | undefined;
  readonly accepted: number;
  /** Its queue has the PASID; else it brings one. */
  readonly isDedicated: boolean;
  /** How many jobs its queue may hold, and the engines that take from it. */
  readonly room: { readonly queue: number; readonly engines: number };
}

export class JobLedger implements Restorable {
  /** By name: those that no queue has taken. */
  readonly #sent = new OverlayMap<string, Job>();
  readonly #jobs = new OverlayMap<string, AcceptedJob>();

  /** Its instruction begins. */
  submitted(job: Job): void {
    this.#sent.set(job.name, job);
  }

  accepted(job: AcceptedJob): void {
    this.#sent.delete(job.name);
    this.#jobs.set(`${job.device} ${job.tag}`, job);
  }

  /** Done, or thrown away. */
  done(device: string, tag: number): AcceptedJob | undefined {
    const key = `${device} ${tag}`;
    const job = this.#jobs.get(key);
    this.#jobs.delete(key);
    return job;
  }

  get(device: string, tag: number): AcceptedJob | undefined {
    return this.#jobs.get(`${device} ${tag}`);
  }

  /** Those that devices have not done with. */
  pending(): AcceptedJob[] {
    return this.#jobs.values();
  }

  /** Those that no queue has taken: tried in vain, on their way, or lost. */
  notTaken(): Job[] {
    return this.#sent.values();
  }

  mark(): void {
    this.#sent.mark();
    this.#jobs.mark();
  }

  restore(): void {
    this.#sent.restore();
    this.#jobs.restore();
  }
}
