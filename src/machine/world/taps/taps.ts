/**
 * Taps on hardware and kernels: what they tell goes to the ledger and the rules, and, if anybody listens, into the
 * trace. A tap changes nothing.
 */
import {
  assert,
  type EventSink,
  hex,
  type Layer,
  type Restorable,
  type TaskSet,
} from '../../../base/index.js';
import type { IommuDownstream, Upstream } from '../../../hardware/index.js';
import type { FrameLedger as FrameTap } from '../../../kernel/index.js';
import { type GuestLedger, type Job, type Judge, Ledger } from '../../../rules/index.js';
import type { Hardware, Wiring } from '../hardware.js';
import { JobTaps } from './jobs.js';
import { KernelTaps, type TappedGuest } from './kernels.js';
import { type Aliases, actorOf, type Fields } from './names.js';
import { type OutstandingRequest, PageRequestTaps } from './page-requests.js';
import { TableTaps } from './tables.js';
import type { TapHooks, Tapped } from './tapped.js';

export class Taps implements Tapped, Wiring, Restorable {
  readonly ledger = new Ledger();
  readonly kernels: KernelTaps;
  readonly frames: FrameTap;
  /** Takes events; nobody listens while it is undefined. */
  listener: EventSink | undefined;
  hooks: TapHooks | undefined;
  judgesStores = true;
  readonly #tasks: TaskSet;
  readonly #jobs: JobTaps;
  readonly #requests: PageRequestTaps;
  readonly #tables: TableTaps;
  #judge: Judge | undefined;
  #hardware: Hardware | undefined;

  constructor(tasks: TaskSet) {
    this.#tasks = tasks;
    this.#jobs = new JobTaps(this);
    this.#requests = new PageRequestTaps(this, this.#jobs);
    this.#tables = new TableTaps(this, this.#jobs);
    this.kernels = new KernelTaps(this, this.#jobs, this.#requests);
    this.frames = this.#frameTap();
  }

  /** Puts the taps on: hardware first, then who judges. */
  connect(hardware: Hardware, judge: Judge): void {
    this.#hardware = hardware;
    this.#judge = judge;
    const jobs = this.#jobs;
    for (const accelerator of hardware.accelerators) {
      accelerator.device.audit = jobs.audit(accelerator);
      accelerator.device.errors.audit = (error) => jobs.softwareError(accelerator, error);
    }
    hardware.root.audit = (request, frame) => jobs.moved(request, frame);
    hardware.unit.translator.audit = this.#tables.taken;
    hardware.unit.faults.audit = this.#tables.fault;
  }

  get judge(): Judge {
    assert(this.#judge !== undefined, 'the taps are connected');
    return this.#judge;
  }

  get hardware(): Hardware | undefined {
    return this.#hardware;
  }

  get aliases(): Aliases {
    return this.#hardware?.aliases ?? [];
  }

  get isTold(): boolean {
    return this.listener !== undefined;
  }

  get actor(): string {
    return actorOf(this.#tasks.current?.name ?? 'host');
  }

  nameOf(rid: number): string {
    return this.#hardware?.accelerator(rid)?.name ?? `function ${hex(rid)}`;
  }

  tell(layer: Layer, actor: string, kind: string, fields: Fields): void {
    this.listener?.({ step: this.ledger.step, actor, layer, kind, fields });
  }

  /** Page requests that were not answered. */
  outstanding(): Iterable<OutstandingRequest> {
    return this.#requests.outstanding();
  }

  /** The instruction of a job begins. */
  submits(record: number, job: Job): void {
    this.#jobs.submits(record, job);
  }

  /** A store to memory. */
  get stored(): (address: number) => void {
    return this.#tables.stored;
  }

  /** The frames of a guest. */
  guestFrames(guest: GuestLedger): FrameTap {
    return this.#frameTap(guest);
  }

  upstream(inner: Upstream, device: string): Upstream {
    return this.#requests.upstream(inner, device);
  }

  downstream(inner: IommuDownstream): IommuDownstream {
    return this.#requests.downstream(inner);
  }

  mark(): void {
    this.ledger.mark();
  }

  restore(): void {
    this.ledger.restore();
    this.#requests.restore();
    this.#jobs.restore();
  }

  #frameTap(guest?: GuestLedger): FrameTap {
    const { ledger } = this;
    const frames = guest?.frames ?? ledger.frames;
    return {
      owned: (frame, owner) => frames.owned(frame, owner, ledger.step),
      freed: (frame) => {
        const owner = frames.tenure(frame)?.owner;
        const there = guest === undefined ? frame : ledger.frameOf(guest, frame);
        if (owner !== undefined && there !== undefined)
          this.#judge?.tell('freed', { frame: there, owner, isInGuest: guest !== undefined });
        frames.freed(frame, ledger.step);
      },
    };
  }
}

export type { OutstandingRequest, TapHooks, TappedGuest };
