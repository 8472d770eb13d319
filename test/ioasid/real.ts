/** The core behind the calls of the random histories. */
import type { Chooser } from '../../src/base/index.js';
import {
  INVALID_IOASID,
  type IoasidController,
  type IoasidCore,
  type IoasidHolder,
  type IoasidSet,
  type IoasidSubscription,
  type IoasidToken,
  type IoasidUser,
  type IoasidWork,
  ioasidAdjustSet,
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidCapacity,
  ioasidControllerAlloc,
  ioasidControllerRead,
  ioasidControllerSetMax,
  ioasidCreate,
  ioasidDetachSpid,
  ioasidFailures,
  ioasidFindBySpid,
  ioasidFindMmSet,
  ioasidFinishWork,
  ioasidFree,
  ioasidFreeAllInSet,
  ioasidGet,
  ioasidHolderAlloc,
  ioasidMoveSet,
  ioasidPut,
  ioasidQueueWork,
  ioasidRegisterAllocator,
  ioasidRegisterNotifier,
  ioasidRegisterNotifierMm,
  ioasidReports,
  ioasidSetAlloc,
  ioasidSetFree,
  ioasidSetRead,
  ioasidTakeWork,
  ioasidUnregisterAllocator,
  ioasidUnregisterNotifier,
  ioasidUserAlloc,
  ioasidUserRead,
  ioasidUserSetMax,
  isRefusal,
  type Phase,
} from '../../src/ioasid/index.js';
import { type Answer, type Api, CAPACITY, HOLDERS, runScript, SETS, type Subscriber } from './api.js';
import { errno, must } from './kit.js';

const plain = (answer: unknown): Answer => {
  if (isRefusal(answer)) return errno(answer);
  return answer === undefined ? true : (answer as Answer);
};

export class Real implements Api {
  readonly log: string[] = [];
  readonly core: IoasidCore;
  readonly tokens: readonly IoasidToken[] = SETS.map((set) => ({ name: `vm${set}` }));
  readonly holders = new Map<string, IoasidHolder>();
  readonly controllers: IoasidController[];
  readonly user: IoasidUser;
  /** A set that there is not stands in where there is none, so that calls on dead handles are tried too. */
  readonly handles: IoasidSet[];
  readonly subscriptions = new Map<string, IoasidSubscription>();
  readonly taken = new Map<string, IoasidWork[]>(HOLDERS.map((name) => [name, []]));
  customFails: '' | 'none' | 'throws' | 'taken' | 'outside' = '';
  /** What the custom allocator has given out. */
  readonly given = new Set<number>();

  readonly subscribers: readonly Subscriber[];

  constructor(subscribers: readonly Subscriber[], options: { cyclic: boolean; faults?: Chooser }) {
    this.subscribers = subscribers;
    const { cyclic, faults } = options;
    const policy = cyclic ? 'cyclic' : 'lowest';
    this.core = must(
      ioasidCreate({ capacity: CAPACITY, policy, ...(faults === undefined ? {} : { faults }) }),
    );
    const { core } = this;
    for (const name of HOLDERS) this.holders.set(name, must(ioasidHolderAlloc(core, name)));
    const root = must(ioasidControllerAlloc(core, { name: 'root', max: 9 }));
    const below = SETS.map((set) =>
      must(ioasidControllerAlloc(core, { name: `vm${set}`, parent: root, max: 9 })),
    );
    this.controllers = [root, ...below];
    this.user = must(ioasidUserAlloc(core, { name: 'alice', max: 9 }));
    this.handles = SETS.map(() => {
      const dead = must(ioasidSetAlloc(core, { type: 'none', quota: 0 }));
      must(ioasidSetFree(dead));
      return dead;
    });
  }

  set(set: number): IoasidSet {
    return this.handles[set] as IoasidSet;
  }

  holder(name: string): IoasidHolder {
    return this.holders.get(name) as IoasidHolder;
  }

  setAlloc(set: number, quota: number): Answer {
    const [token, controller] = [
      this.tokens[set] as IoasidToken,
      this.controllers[set + 1] as IoasidController,
    ];
    const answer = ioasidSetAlloc(this.core, { type: 'mm', token, quota, controller, user: this.user });
    if (isRefusal(answer)) return answer.errno;
    this.handles[set] = answer;
    return true;
  }

  setFree = (set: number): Answer => plain(ioasidSetFree(this.set(set)));
  adjust = (set: number, quota: number): Answer => plain(ioasidAdjustSet(this.set(set), quota));
  alloc = (set: number, min: number, max: number): Answer => plain(ioasidAlloc(this.set(set), min, max));
  free = (set: number, id: number): Answer => plain(ioasidFree(this.set(set), id));
  freeAll = (set: number): Answer => plain(ioasidFreeAllInSet(this.set(set)));
  get = (set: number, id: number, holder: string): Answer =>
    plain(ioasidGet(this.set(set), id, this.holder(holder)));
  put = (set: number, id: number, holder: string): Answer =>
    plain(ioasidPut(this.set(set), id, this.holder(holder)));
  attach = (set: number, id: number, spid: number): Answer =>
    plain(ioasidAttachSpid(this.set(set), id, spid));
  detach = (set: number, id: number): Answer => plain(ioasidDetachSpid(this.set(set), id));
  find = (set: number, spid: number, holder: string): Answer =>
    plain(ioasidFindBySpid(this.set(set), spid, holder === '' ? undefined : this.holder(holder)));
  queue = (set: number, id: number, item: { holder: string; phase: Phase }): Answer =>
    plain(ioasidQueueWork(this.set(set), id, { holder: this.holder(item.holder), phase: item.phase }));
  setMax = (at: number, max: number): Answer =>
    plain(ioasidControllerSetMax(this.controllers[at] as IoasidController, max));
  move = (set: number, at: number): Answer => plain(ioasidMoveSet(this.set(set), this.controllers[at]));
  userMax = (max: number): Answer => plain(ioasidUserSetMax(this.user, max));

  take(holder: string): Answer {
    const work = must(ioasidTakeWork(this.holder(holder)));
    if (work === undefined) return false;
    this.taken.get(holder)?.push(work);
    return `${work.id} ${work.phase}`;
  }

  finish(holder: string): Answer {
    const work = this.taken.get(holder)?.shift();
    return work === undefined ? 'EINVAL' : plain(ioasidFinishWork(work));
  }

  register(scope: number, who: number): Answer {
    const subscriber = this.subscribers[who] as Subscriber;
    const notifier = this.notifier(subscriber);
    const token = this.tokens[scope];
    const answer =
      token === undefined
        ? ioasidRegisterNotifier(this.core, notifier)
        : ioasidRegisterNotifierMm(this.core, token, notifier);
    if (isRefusal(answer)) return answer.errno;
    this.subscriptions.set(`${scope} ${who}`, answer);
    return true;
  }

  readonly #notifiers = new Map<Subscriber, Parameters<typeof ioasidRegisterNotifier>[1]>();
  notifier(subscriber: Subscriber): Parameters<typeof ioasidRegisterNotifier>[1] {
    const made = this.#notifiers.get(subscriber) ?? {
      name: subscriber.name,
      priority: subscriber.priority,
      notify: ({ kind, id, spid, set }) => {
        const told = { kind, id, spid: spid ?? 0, set: this.tokens.indexOf(set?.token as IoasidToken) };
        this.log.push(runScript(this, subscriber, told));
        if (subscriber.script.throws && subscriber.script.on.includes(kind)) throw new Error(subscriber.name);
      },
    };
    this.#notifiers.set(subscriber, made);
    return made;
  }

  unregister(scope: number, who: number): Answer {
    const subscription = this.subscriptions.get(`${scope} ${who}`);
    if (subscription === undefined) return 'ENOENT';
    return plain(ioasidUnregisterNotifier(subscription));
  }

  readonly ops = {
    name: 'vcmd',
    alloc: (min: number, max: number): number => {
      if (this.alloc(0, 1, 4) !== 'EDEADLK') throw new Error('the lock is held');
      if (this.customFails === 'none') return INVALID_IOASID;
      if (this.customFails === 'throws') throw new Error('vcmd');
      if (this.customFails === 'outside') return max + 1;
      const range = Array.from({ length: max - min + 1 }, (_, at) => min + at);
      if (this.customFails === 'taken') return ioasidReports(this.core)[0]?.id ?? INVALID_IOASID;
      const id = range.filter((one) => !this.given.has(one)).at(-1) ?? INVALID_IOASID;
      this.given.add(id);
      return id;
    },
    free: (id: number): void => {
      this.given.delete(id);
    },
  };

  allocator = (on: boolean): Answer =>
    plain(on ? ioasidRegisterAllocator(this.core, this.ops) : ioasidUnregisterAllocator(this.core, this.ops));

  allocatorFails(how: '' | 'none' | 'throws' | 'taken' | 'outside'): void {
    this.customFails = how;
  }

  view(): unknown {
    const { core } = this;
    return {
      log: this.log,
      failures: ioasidFailures(core).count,
      available: ioasidCapacity(core).available,
      sets: SETS.flatMap((set) => {
        const found = ioasidFindMmSet(core, this.tokens[set] as IoasidToken);
        if (isRefusal(found)) return [];
        const { quota, used, ownerGone } = must(ioasidSetRead(found));
        return [[set, quota, used, ownerGone]];
      }),
      controllers: this.controllers.map((controller) => {
        const { max, current, events } = must(ioasidControllerRead(controller));
        return [max, current, events];
      }),
      user: must(ioasidUserRead(this.user)).current,
      ids: ioasidReports(core).map(({ id, state, spid, bound, found, holders, work, phase }) => ({
        id,
        state,
        spid: spid === undefined ? '' : `${spid} ${bound} ${found}`,
        held: holders
          .map(({ holder, count }) => [holder, count])
          .sort()
          .join(),
        work: work.map((item) => `${item.holder} ${item.phase} ${item.status}`),
        phase,
      })),
    };
  }

  /** Puts the core back to the mark, and with it what the callers of that time held. */
  mark(): () => void {
    this.core.mark();
    const handles = [...this.handles];
    const subscriptions = [...this.subscriptions];
    const taken = [...this.taken].map(([name, list]) => [name, [...list]] as const);
    const given = [...this.given];
    const { customFails } = this;
    const heard = this.log.length;
    return () => {
      this.core.restore();
      this.handles.splice(0, handles.length, ...handles);
      this.subscriptions.clear();
      for (const [key, value] of subscriptions) this.subscriptions.set(key, value);
      for (const [name, list] of taken) this.taken.set(name, [...list]);
      this.given.clear();
      for (const id of given) this.given.add(id);
      this.customFails = customFails;
      this.log.length = heard;
    };
  }
}
