/**
 * What the IOASID core promises, in the plainest way: maps and lists, searched from end to end, copied whole.
 * It shares no code with the core. Names and errnos are those of `ioasid.md`.
 */
import type { IoasidEventKind, NotifierPriority, Phase } from '../../src/ioasid/index.js';
import { type Answer, type Api, CAPACITY, HOLDERS, runScript, type Subscriber, type Told } from './api.js';

interface Item {
  readonly holder: string;
  readonly phase: Phase;
  status: 'running' | 'ready' | 'waits' | 'waits for the next round';
  readonly id: number;
}

interface Id {
  readonly set: number;
  dying: boolean;
  spid: number;
  bound: number;
  readonly held: Map<string, number>;
  work: Item[];
  phase: 'none' | Phase;
}

interface SetModel {
  quota: number;
  gone: boolean;
  controller: number;
}

const PHASES = ['none', 'stop', 'drain', 'clear'];
const RANK: readonly NotifierPriority[] = ['cpu', 'iommu', 'device'];

export class Model implements Api {
  readonly log: string[] = [];
  readonly sets = new Map<number, SetModel>();
  readonly ids = new Map<number, Id>();
  readonly found = new Map<string, number>();
  /** Ids from the one that is free longest. */
  readonly freeIds: number[] = [1, 2, 3, 4];
  /** Who stands on which chain, in the order of registration: -1 is the system's. */
  chains: { scope: number; who: number }[] = [];
  readonly ready = new Map<string, Item[]>(HOLDERS.map((name) => [name, []]));
  readonly taken = new Map<string, Item[]>(HOLDERS.map((name) => [name, []]));
  /** Controllers: 0 is the root, 1 and 2 are below it. */
  readonly max = [9, 9, 9];
  readonly events = [0, 0, 0];
  userLimit = 9;
  custom = false;
  customFails: '' | 'none' | 'throws' | 'taken' | 'outside' = '';
  failures = 0;
  announcing = 0;
  locked = false;
  nextRound = false;

  readonly subscribers: readonly Subscriber[];
  readonly cyclic: boolean;

  constructor(subscribers: readonly Subscriber[], cyclic: boolean) {
    this.subscribers = subscribers;
    this.cyclic = cyclic;
  }

  // What is used, counted each time.
  used(set: number): number {
    return [...this.ids.values()].filter((id) => id.set === set).length;
  }

  reserved(): number {
    return [...this.sets.values()].reduce((sum, { quota }) => sum + quota, 0);
  }

  charge(controller: number): number {
    return [...this.ids.values()].filter((id) => this.above(id.set).includes(controller)).length;
  }

  /** The controllers of a set, from its own up. */
  above(set: number): number[] {
    const own = this.sets.get(set)?.controller ?? 0;
    return own === 0 ? [0] : [own, 0];
  }

  inUse(id: Id): boolean {
    return id.held.size + id.bound + id.work.length > 0;
  }

  state(id: Id): string {
    if (id.dying) return 'FREE_PENDING';
    return this.inUse(id) ? 'ACTIVE' : 'IDLE';
  }

  check(set: number, id: number): string | Id {
    if (!this.sets.has(set)) return 'ENOENT';
    const there = this.ids.get(id);
    if (there === undefined) return 'ENOENT';
    return there.set === set ? there : 'EACCES';
  }

  setAlloc(set: number, quota: number): Answer {
    if (this.locked) return 'EDEADLK';
    const there = this.sets.get(set);
    if (there !== undefined) return there.gone ? 'EBUSY' : 'EEXIST';
    if (quota > 0 && this.reserved() + quota > this.userLimit) return 'EDQUOT';
    if (quota > CAPACITY - 1 - this.reserved()) return 'ENOSPC';
    this.sets.set(set, { quota, gone: false, controller: set + 1 });
    return true;
  }

  setFree(set: number): Answer {
    if (this.locked) return 'EDEADLK';
    const there = this.sets.get(set);
    if (there === undefined) return 'ENOENT';
    this.freeAll(set);
    there.gone = true;
    this.endSets();
    return !this.sets.has(set);
  }

  endSets(): void {
    for (const [set, { gone }] of this.sets) if (gone && this.used(set) === 0) this.sets.delete(set);
  }

  adjust(set: number, quota: number): Answer {
    if (this.locked) return 'EDEADLK';
    const there = this.sets.get(set);
    if (there === undefined) return 'ENOENT';
    if (there.gone || quota < this.used(set)) return 'EBUSY';
    const more = quota - there.quota;
    if (more > 0 && this.reserved() + more > this.userLimit) return 'EDQUOT';
    if (more > CAPACITY - 1 - this.reserved()) return 'ENOSPC';
    there.quota = quota;
    return true;
  }

  alloc(set: number, min: number, max: number): Answer {
    if (this.locked) return 'EDEADLK';
    if (min > max) return 'EINVAL';
    const there = this.sets.get(set);
    if (there === undefined) return 'ENOENT';
    if (there.gone) return 'EBUSY';
    if (this.used(set) >= there.quota) return 'EDQUOT';
    const full = this.above(set).find((controller) => this.charge(controller) >= (this.max[controller] ?? 0));
    if (full !== undefined) {
      for (const controller of full === 0 ? [0] : [full, 0])
        this.events[controller] = (this.events[controller] ?? 0) + 1;
      return 'EDQUOT';
    }
    const inRange = this.freeIds.filter((id) => id >= min && id <= max);
    if (max < 1 || min >= CAPACITY) return 'ENOSPC';
    const id = this.choose(inRange);
    if (typeof id === 'string') return id;
    this.freeIds.splice(this.freeIds.indexOf(id), 1);
    const made: Id = { set, dying: false, spid: 0, bound: 0, held: new Map(), work: [], phase: 'none' };
    this.ids.set(id, made);
    this.announce('ALLOC', id, 0);
    return id;
  }

  choose(inRange: number[]): number | string {
    if (this.custom) {
      if (this.customFails === 'throws') this.failures++;
      if (this.customFails === 'none' || (this.customFails === '' && inRange.length === 0)) return 'ENOSPC';
      if (this.customFails === 'taken' && this.ids.size === 0) return 'ENOSPC';
      return this.customFails === '' ? Math.max(...inRange) : 'EIO';
    }
    if (inRange.length === 0) return 'ENOSPC';
    return this.cyclic ? (inRange[0] ?? 0) : Math.min(...inRange);
  }

  free(set: number, id: number): Answer {
    if (this.locked) return 'EDEADLK';
    const there = this.check(set, id);
    if (typeof there === 'string') return there;
    if (there.dying) return false;
    there.dying = true;
    if (this.inUse(there)) this.announce('FREE', id, there.bound === 0 ? 0 : there.spid);
    else this.settle(id);
    return !this.ids.has(id);
  }

  freeAll(set: number): Answer {
    if (this.locked) return 'EDEADLK';
    if (!this.sets.has(set)) return 'ENOENT';
    const list = [...this.ids].filter(([, id]) => id.set === set).map(([id]) => id);
    for (const id of list.sort((a, b) => a - b)) if (this.ids.get(id)?.set === set) this.free(set, id);
    return this.sets.has(set) ? this.used(set) : 0;
  }

  /** What follows when somebody has let go of an id. */
  settle(id: number): void {
    const there = this.ids.get(id);
    if (there === undefined || this.announcing === id) return;
    this.advance(there);
    if (!there.dying || this.inUse(there)) return;
    this.ids.delete(id);
    this.freeIds.push(id);
    this.endSets();
  }

  advance(id: Id): void {
    if (id.work.length === 0) {
      id.phase = 'none';
      return;
    }
    const now = (): Item[] => id.work.filter(({ status }) => status !== 'waits for the next round');
    if (now().length === 0) for (const item of id.work) item.status = 'waits';
    const first = Math.min(...now().map(({ phase }) => PHASES.indexOf(phase)));
    id.phase = (PHASES[first] ?? 'none') as Phase;
    for (const item of now()) {
      if (item.phase !== id.phase || item.status !== 'waits') continue;
      item.status = 'ready';
      this.ready.get(item.holder)?.push(item);
    }
  }

  get(set: number, id: number, holder: string): Answer {
    const there = this.check(set, id);
    if (typeof there === 'string') return there;
    if (there.dying) return 'EBUSY';
    there.held.set(holder, (there.held.get(holder) ?? 0) + 1);
    this.settle(id);
    return true;
  }

  put(set: number, id: number, holder: string): Answer {
    const there = this.check(set, id);
    if (typeof there === 'string') return there;
    const count = there.held.get(holder) ?? 0;
    if (count === 0) return 'EINVAL';
    if (count === 1) there.held.delete(holder);
    else there.held.set(holder, count - 1);
    this.settle(id);
    return !this.ids.has(id);
  }

  attach(set: number, id: number, spid: number): Answer {
    if (this.locked) return 'EDEADLK';
    const there = this.check(set, id);
    if (typeof there === 'string') return there;
    if (there.dying) return 'EBUSY';
    if (there.bound > 0) {
      if (there.spid !== spid) return 'EBUSY';
      there.bound++;
      return true;
    }
    const other = this.ids.get(this.found.get(`${set} ${spid}`) ?? 0);
    if (other !== undefined && !other.dying) return 'EBUSY';
    if (there.work.length > 0) return 'EAGAIN';
    there.spid = spid;
    there.bound = 1;
    this.found.set(`${set} ${spid}`, id);
    this.announce('BIND', id, spid);
    return true;
  }

  detach(set: number, id: number): Answer {
    if (this.locked) return 'EDEADLK';
    const there = this.check(set, id);
    if (typeof there === 'string') return there;
    if (there.bound === 0) return 'ENOENT';
    there.bound--;
    if (there.bound > 0) return false;
    const { spid } = there;
    if (this.found.get(`${set} ${spid}`) === id) this.found.delete(`${set} ${spid}`);
    this.announce('UNBIND', id, spid);
    return !this.ids.has(id);
  }

  find(set: number, spid: number, holder: string): Answer {
    if (!this.sets.has(set)) return 'ENOENT';
    const id = this.found.get(`${set} ${spid}`);
    if (id === undefined) return 'ENOENT';
    if (holder === '') return id;
    const answer = this.get(set, id, holder);
    return answer === true ? id : answer;
  }

  queue(set: number, id: number, { holder, phase }: { holder: string; phase: Phase }): Answer {
    const there = this.check(set, id);
    if (typeof there === 'string') return there;
    const late = PHASES.indexOf(phase) < PHASES.indexOf(there.phase);
    const begun = there.work.some(({ status }) => status === 'waits for the next round');
    const next = begun || (this.announcing === id ? this.nextRound : late);
    there.work.push({ holder, phase, status: next ? 'waits for the next round' : 'waits', id });
    this.settle(id);
    return true;
  }

  take(holder: string): Answer {
    const item = this.ready.get(holder)?.shift();
    if (item === undefined) return false;
    item.status = 'running';
    this.taken.get(holder)?.push(item);
    return `${item.id} ${item.phase}`;
  }

  finish(holder: string): Answer {
    const item = this.taken.get(holder)?.shift();
    if (item === undefined) return 'EINVAL';
    const there = this.ids.get(item.id);
    if (there !== undefined) there.work = there.work.filter((other) => other !== item);
    this.settle(item.id);
    return !this.ids.has(item.id);
  }

  setMax(controller: number, max: number): Answer {
    this.max[controller] = max;
    return true;
  }

  move(set: number, controller: number): Answer {
    const there = this.sets.get(set);
    if (there === undefined) return 'ENOENT';
    there.controller = controller;
    return true;
  }

  userMax(max: number): Answer {
    this.userLimit = max;
    return true;
  }

  register(scope: number, who: number): Answer {
    if (this.locked) return 'EDEADLK';
    if (this.chains.some((one) => one.scope === scope && one.who === who)) return 'EEXIST';
    this.chains.push({ scope, who });
    const bound = [...this.ids].filter(([, id]) => id.set === scope && id.bound > 0 && !id.dying);
    for (const [id, { spid }] of bound.sort(([a], [b]) => a - b)) {
      this.tell([who], { kind: 'BIND', set: scope, id, spid });
    }
    return true;
  }

  unregister(scope: number, who: number): Answer {
    if (this.locked) return 'EDEADLK';
    const there = this.chains.some((one) => one.scope === scope && one.who === who);
    this.chains = this.chains.filter((one) => one.scope !== scope || one.who !== who);
    return there ? true : 'ENOENT';
  }

  announce(kind: IoasidEventKind, id: number, spid: number): void {
    const set = this.ids.get(id)?.set ?? 0;
    const hear = this.chains.filter(({ scope }) => scope === -1 || scope === set).map(({ who }) => who);
    const rank = (who: number): number => RANK.indexOf(this.subscribers[who]?.priority ?? 'last');
    // The sort is stable: among equals, the order of registration.
    this.tell(
      hear.sort((a, b) => rank(a) - rank(b)),
      { kind, set, id, spid },
    );
  }

  tell(list: readonly number[], told: Told): void {
    const { id } = told;
    this.locked = true;
    this.announcing = id;
    this.nextRound = PHASES.indexOf(this.ids.get(id)?.phase ?? 'none') > 1;
    for (const who of list) {
      const subscriber = this.subscribers[who];
      if (subscriber === undefined) continue;
      this.log.push(runScript(this, subscriber, told));
      if (subscriber.script.throws && subscriber.script.on.includes(told.kind)) this.failures++;
    }
    this.locked = false;
    this.announcing = 0;
    this.settle(id);
  }

  allocator(on: boolean): Answer {
    if (on === this.custom) return on ? 'EEXIST' : 'ENOENT';
    if (this.ids.size > 0) return on ? 'EAGAIN' : 'EBUSY';
    this.custom = on;
    return true;
  }

  allocatorFails(how: '' | 'none' | 'throws' | 'taken' | 'outside'): void {
    this.customFails = how;
  }

  view(): unknown {
    return {
      log: this.log,
      failures: this.failures,
      available: CAPACITY - 1 - this.reserved(),
      sets: [...this.sets]
        .sort(([a], [b]) => a - b)
        .map(([set, { quota, gone }]) => [set, quota, this.used(set), gone]),
      controllers: this.max.map((max, at) => [max, this.charge(at), this.events[at]]),
      user: this.reserved(),
      ids: [...this.ids]
        .sort(([a], [b]) => a - b)
        .map(([id, of]) => ({
          id,
          state: this.state(of),
          spid: of.bound > 0 ? `${of.spid} ${of.bound} ${this.found.get(`${of.set} ${of.spid}`) === id}` : '',
          held: [...of.held].sort().join(),
          work: of.work.map(({ holder, phase, status }) => `${holder} ${phase} ${status}`),
          phase: of.dying && of.work.length === 0 ? 'reclaim' : of.phase,
        })),
    };
  }
}
