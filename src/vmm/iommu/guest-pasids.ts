/**
 * The guest PASIDs that a VM's virtual command interface has given out, each with the host PASID behind it. Which
 * number the guest gets is the VMM's to pick, and says nothing of the host's: a list of pairs is used up first,
 * then a rule. 0 is never given: it stands for requests without PASID.
 */
import {
  isRefusal,
  KeptMap,
  KeptValue,
  Random,
  type Refusal,
  refuse,
  type UndoLog,
} from '../../base/index.js';
import type { HostSide, PasidPair } from './host-side.js';

/** How guest PASIDs are picked. */
export interface GuestPasidPolicy {
  /** Given first, in this order, where both numbers are free. */
  readonly pairs?: readonly PasidPair[];
  /**
   * What comes after: the host's number where the guest has it free, else the lowest; the lowest; or one that the
   * seed picks.
   */
  readonly rest: 'identity' | 'lowest' | 'seeded';
  /** For `seeded`: an integer from 0 to 2^53 - 1. */
  readonly seed?: number;
  /** The range of host PASIDs that is asked for after the pairs, both ends inclusive. */
  readonly hostMin: number;
  readonly hostMax: number;
}

/** A pair that was given out. */
export interface GivenPasid extends PasidPair {
  /** Which of the allocations it is: the same two numbers may come again. */
  readonly life: number;
}

/** How often a seed is asked before the lowest free number is taken. */
const DRAWS = 64;

export class GuestPasids {
  readonly #policy: GuestPasidPolicy;
  readonly #host: HostSide;
  /** One past the largest guest PASID. */
  readonly #limit: number;
  readonly #given: KeptMap<number, GivenPasid>;
  readonly #lives: KeptValue<number>;
  readonly #drawn: KeptValue<number>;

  /** @param limit one past the largest guest PASID */
  constructor(
    log: UndoLog,
    { policy, host, limit }: { policy: GuestPasidPolicy; host: HostSide; limit: number },
  ) {
    this.#policy = policy;
    this.#host = host;
    this.#limit = limit;
    this.#given = new KeptMap(log);
    this.#lives = new KeptValue(log, 0);
    this.#drawn = new KeptValue(log, 0);
  }

  get size(): number {
    return this.#given.size;
  }

  /** Those that are given out, oldest first. */
  get all(): readonly number[] {
    return this.#given.keys();
  }

  get(guestPasid: number): GivenPasid | undefined {
    return this.#given.get(guestPasid);
  }

  /** On failure: what the host says, or `ENOSPC` if the guest has no number left; nothing is allocated. */
  alloc(): PasidPair | Refusal {
    for (const { guestPasid, hostPasid } of this.#policy.pairs ?? []) {
      if (!this.#isFree(guestPasid)) continue;
      const got = this.#host.allocPasid(hostPasid, hostPasid);
      if (!isRefusal(got)) return this.#give(guestPasid, got);
    }
    const { hostMin, hostMax } = this.#policy;
    if (this.size >= this.#limit - 1) return refuse('ENOSPC', `all ${this.size} guest PASIDs are given out`);
    const hostPasid = this.#host.allocPasid(hostMin, hostMax);
    return isRefusal(hostPasid) ? hostPasid : this.#give(this.#pick(hostPasid), hostPasid);
  }

  /**
   * Gives a number that the guest has already, backed by a host PASID of this machine's.
   *
   * On failure: what the host says, or `EINVAL` if it cannot be the guest's; nothing is allocated.
   */
  adopt(guestPasid: number): PasidPair | Refusal {
    if (!this.#isFree(guestPasid)) return refuse('EINVAL', `there is no guest PASID ${guestPasid} to give`);
    const { pairs = [], hostMin, hostMax } = this.#policy;
    const own = pairs.find((pair) => pair.guestPasid === guestPasid)?.hostPasid;
    const named = own === undefined ? undefined : this.#host.allocPasid(own, own);
    const hostPasid = typeof named === 'number' ? named : this.#host.allocPasid(hostMin, hostMax);
    return isRefusal(hostPasid) ? hostPasid : this.#give(guestPasid, hostPasid);
  }

  /** On failure: `ENOENT` if it was not given out; else what the host says, and it stays given. */
  free(guestPasid: number): PasidPair | Refusal {
    const given = this.#given.get(guestPasid);
    if (given === undefined) return refuse('ENOENT', `guest PASID ${guestPasid} is not given out`);
    const refusal = this.#host.freePasid(given.hostPasid);
    if (refusal !== undefined) return refusal;
    this.#given.delete(guestPasid);
    return given;
  }

  /** Takes all back without telling the host: the pairs that it has still to be told of. */
  retire(): readonly PasidPair[] {
    const pairs = this.#given.values();
    for (const { guestPasid } of pairs) this.#given.delete(guestPasid);
    return pairs;
  }

  #give(guestPasid: number, hostPasid: number): PasidPair {
    const given = { guestPasid, hostPasid, life: ++this.#lives.value };
    this.#given.set(guestPasid, given);
    return given;
  }

  #isFree(guestPasid: number): boolean {
    return guestPasid > 0 && guestPasid < this.#limit && !this.#given.has(guestPasid);
  }

  #pick(hostPasid: number): number {
    const { rest, seed = 0 } = this.#policy;
    if (rest === 'identity' && this.#isFree(hostPasid)) return hostPasid;
    for (let draw = 0; rest === 'seeded' && draw < DRAWS; draw++) {
      const random = new Random((seed + this.#drawn.value++ * 0x9e37_79b1) % 2 ** 53);
      const guestPasid = random.below(this.#limit);
      if (this.#isFree(guestPasid)) return guestPasid;
    }
    let lowest = 1;
    while (!this.#isFree(lowest)) lowest++;
    return lowest;
  }
}
