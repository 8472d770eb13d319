/**
 * The host's side of a virtual IOMMU, which checks that what it is asked for makes sense: nothing is bound twice,
 * nothing unbound that is not bound, no host PASID used that is not this VM's, requests without a PASID meet one thing
 * at a time. What it finds goes to `wrong`.
 */
import { type Chooser, firstChooser, type Refusal, refuse, type Task } from '../../src/base/index.js';
import type {
  GuestBinding,
  HostInvalidation,
  HostPageResponse,
  HostSide,
  PasidPair,
} from '../../src/vmm/index.js';

/** What it was asked to do, once that was done. */
export type Done =
  | { readonly what: 'attach' | 'detach'; readonly rid: number }
  | { readonly what: 'bind'; readonly rid: number; readonly binding: GuestBinding }
  | { readonly what: 'unbind' | 'mute'; readonly rid: number; readonly pair: PasidPair }
  | { readonly what: 'invalidate'; readonly rid: number; readonly invalidation: HostInvalidation }
  | { readonly what: 'respond'; readonly rid: number; readonly response: HostPageResponse };

export interface CheckingHostOptions {
  /** Its PASIDs, both ends inclusive. */
  readonly first: number;
  readonly last: number;
  /** Decides what is refused (1) and what hardware does not confirm (2); by default nothing. */
  readonly chooser?: Chooser;
}

export class CheckingHost implements HostSide {
  readonly wrong: string[] = [];
  readonly done: Done[] = [];
  /** While set, nothing that was begun comes to its end. */
  isHeld = false;
  /** Whether its devices are parts of one function, which has one entry a PASID. */
  isShared = false;
  /** How many operations are begun and not done. */
  underWay = 0;
  /** Allocated, and not freed. */
  readonly mine = new Set<number>();
  /** What hardware has; what is bound to a freed number leaves it some time, and the number is taken until then. */
  readonly bound = new Map<string, GuestBinding>();
  /** The devices that are functions of their own, which nobody drains. */
  readonly whole = new Set<number>();
  /** What leads nowhere, and is not unbound. */
  readonly muted = new Set<string>();
  /** The devices whose requests without a PASID do not meet the guest's memory. */
  readonly detached = new Set<number>();
  /** What is being bound. */
  readonly #coming = new Set<number>();
  /** What the VMM has bound, and not unbound. */
  readonly #open = new Map<string, number>();
  chooser: Chooser;
  readonly #options: CheckingHostOptions;

  constructor(options: CheckingHostOptions) {
    this.#options = options;
    this.chooser = options.chooser ?? firstChooser;
  }

  allocPasid(min: number, max: number): number | Refusal {
    const { first, last } = this.#options;
    for (let pasid = Math.max(min, first); pasid <= Math.min(max, last); pasid++) {
      if (this.mine.has(pasid) || this.#coming.has(pasid) || this.#isLeaving(pasid)) continue;
      this.mine.add(pasid);
      return pasid;
    }
    return refuse('ENOSPC', 'no host PASID is left');
  }

  freePasid(hostPasid: number): Refusal | undefined {
    if (!this.mine.delete(hostPasid)) this.wrong.push(`host PASID ${hostPasid} is freed, and not this VM's`);
    return undefined;
  }

  /** Whether something is still bound to a freed number: that may end at any time. */
  #isLeaving(hostPasid: number): boolean {
    const leaving = [...this.bound].filter(([, binding]) => binding.hostPasid === hostPasid);
    if (this.chooser.choose(2, 'teardown') === 0) return leaving.length > 0;
    for (const [key] of leaving) this.bound.delete(key);
    return false;
  }

  *attach(rid: number): Task<Refusal | undefined> {
    if (this.#open.has(keyOf(rid, 0))) this.wrong.push(`${rid} is attached, and its first stage bound`);
    yield* this.#takeTime('attach');
    if (this.chooser.choose(4, 'attach is refused') === 1) return refuse('ENOSPC', 'no default PASID');
    this.detached.delete(rid);
    this.done.push({ what: 'attach', rid });
    return undefined;
  }

  *detach(rid: number): Task<Refusal | undefined> {
    yield* this.#takeTime('detach');
    if (this.chooser.choose(8, 'detach is not confirmed') === 1) return refuse('EIO', 'the queue is stuck');
    this.detached.add(rid);
    this.done.push({ what: 'detach', rid });
    return undefined;
  }

  *bind(rid: number, binding: GuestBinding): Task<Refusal | undefined> {
    const key = keyOf(rid, binding.guestPasid);
    if (binding.guestPasid === 0 && !this.detached.has(rid)) this.wrong.push(`${key} is bound, and attached`);
    if (this.#open.has(key)) this.wrong.push(`${key} is bound twice`);
    if (!this.mine.has(binding.hostPasid))
      this.wrong.push(`${key} is bound to ${binding.hostPasid}, not its own`);
    // Who binds holds it: what is freed meanwhile is nobody else's yet.
    this.#coming.add(binding.hostPasid);
    yield* this.#takeTime('bind');
    this.#coming.delete(binding.hostPasid);
    if (this.chooser.choose(4, 'bind is refused') === 1) return refuse('EINVAL', 'no such translation');
    if (!this.mine.has(binding.hostPasid)) return refuse('ENOENT', `${binding.hostPasid} was freed`);
    for (const [other, { hostPasid, root }] of this.bound) {
      if (this.isShared && hostPasid === binding.hostPasid && root !== binding.root) {
        return refuse('EBUSY', `${other} has another first stage`);
      }
    }
    this.#open.set(key, binding.hostPasid);
    this.bound.set(key, binding);
    this.done.push({ what: 'bind', rid, binding });
    return undefined;
  }

  isWhole(rid: number): boolean {
    return this.whole.has(rid);
  }

  *unbind(rid: number, pair: PasidPair, { mute } = { mute: false }): Task<Refusal | undefined> {
    const key = keyOf(rid, pair.guestPasid);
    if (this.#open.get(key) !== pair.hostPasid) this.wrong.push(`${key} is unbound, and not bound`);
    yield* this.#takeTime('unbind');
    if (this.chooser.choose(8, 'unbind is not confirmed') === 1) return refuse('EIO', 'the queue is stuck');
    if (mute && !this.whole.has(rid)) this.wrong.push(`${key} is muted, and is a part's`);
    const wasMuted = this.muted.delete(key);
    const isThere = this.bound.get(key)?.hostPasid === pair.hostPasid;
    if (!mute || !isThere) this.#open.delete(key);
    if (!isThere && !wasMuted) return refuse('ENOENT', `${key} was torn down`);
    this.bound.delete(key);
    if (mute) this.muted.add(key);
    this.done.push({ what: mute ? 'mute' : 'unbind', rid, pair });
    return undefined;
  }

  *invalidate(rid: number, invalidation: HostInvalidation): Task<Refusal | undefined> {
    const key = keyOf(rid, invalidation.guestPasid);
    if (!this.#open.has(key)) this.wrong.push(`${key} is invalidated, and not bound`);
    yield* this.#takeTime('invalidate');
    if (this.chooser.choose(8, 'invalidation is not confirmed') === 1) return refuse('EIO', 'a device hangs');
    this.done.push({ what: 'invalidate', rid, invalidation });
    return undefined;
  }

  *respond(rid: number, response: HostPageResponse): Task<Refusal | undefined> {
    yield* this.#takeTime('respond');
    this.done.push({ what: 'respond', rid, response });
    return undefined;
  }

  /** What is bound through a device to a PASID that has not been freed. */
  boundAs(rid: number, guestPasid: number): GuestBinding | undefined {
    const binding = this.bound.get(keyOf(rid, guestPasid));
    return binding !== undefined && this.mine.has(binding.hostPasid) ? binding : undefined;
  }

  /** What was done since the last call. */
  take(): Done[] {
    return this.done.splice(0);
  }

  *#takeTime(what: string): Task {
    this.underWay++;
    try {
      do yield `host: ${what}`;
      while (this.isHeld);
    } finally {
      this.underWay--;
    }
  }
}

const keyOf = (rid: number, guestPasid: number): string => `guest PASID ${guestPasid} of ${rid}`;
