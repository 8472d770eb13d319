/**
 * The calls that random histories are made of, by plain numbers and names, so that the core and the model can
 * both be behind them, and a handler's script can run on either.
 */
import type { IoasidEventKind, NotifierPriority, Phase } from '../../src/ioasid/index.js';

export const CAPACITY = 5;
export const SETS = [0, 1] as const;
export const HOLDERS = ['kvm', 'vdcm'] as const;
export const SPIDS = [101, 102, 103] as const;

/** What a script of a handler may do; `api` is the core or the model. */
export interface Script {
  /** On which events it does anything. */
  readonly on: readonly IoasidEventKind[];
  readonly get: boolean;
  readonly put: boolean;
  readonly work: Phase | undefined;
  /** Calls that are refused under the lock. */
  readonly reenters: boolean;
  readonly throws: boolean;
}

export interface Told {
  readonly kind: IoasidEventKind;
  readonly set: number;
  readonly id: number;
  readonly spid: number;
}

export type Answer = string | number | boolean;

/** Sets are by the index of their token; everything else by name or number. An errno is a string. */
export interface Api {
  setAlloc(set: number, quota: number): Answer;
  setFree(set: number): Answer;
  adjust(set: number, quota: number): Answer;
  alloc(set: number, min: number, max: number): Answer;
  free(set: number, id: number): Answer;
  freeAll(set: number): Answer;
  get(set: number, id: number, holder: string): Answer;
  put(set: number, id: number, holder: string): Answer;
  attach(set: number, id: number, spid: number): Answer;
  detach(set: number, id: number): Answer;
  find(set: number, spid: number, holder: string): Answer;
  queue(set: number, id: number, item: { holder: string; phase: Phase }): Answer;
  /** Takes the next item of a holder, and finishes the oldest taken one. */
  take(holder: string): Answer;
  finish(holder: string): Answer;
  setMax(controller: number, max: number): Answer;
  move(set: number, controller: number): Answer;
  userMax(max: number): Answer;
  register(scope: number, who: number): Answer;
  unregister(scope: number, who: number): Answer;
  /** A custom allocator that gives the highest id; `fails`: in what way it will not. */
  allocator(on: boolean): Answer;
  allocatorFails(how: '' | 'none' | 'throws' | 'taken' | 'outside'): void;
  view(): unknown;
}

/** Whoever registers: a priority and a script each. */
export interface Subscriber {
  readonly name: string;
  readonly priority: NotifierPriority;
  readonly script: Script;
}

/** Runs a handler's script, and logs what it was told and answered. */
export function runScript(api: Api, who: Subscriber, told: Told): string {
  const { script, name } = who;
  const holder = who.priority === 'cpu' ? 'kvm' : 'vdcm';
  const said: Answer[] = [];
  if (script.on.includes(told.kind)) {
    if (script.get) said.push(api.get(told.set, told.id, holder));
    if (script.put) said.push(api.put(told.set, told.id, holder));
    // Somebody else's id: a put here can end another id, or a set, under the one that is announced.
    if (script.put) said.push(api.put(1 - told.set, (told.id % (CAPACITY - 1)) + 1, holder));
    if (script.work !== undefined) said.push(api.queue(told.set, told.id, { holder, phase: script.work }));
    if (script.reenters) {
      said.push(api.free(told.set, told.id), api.alloc(told.set, 1, 4), api.detach(told.set, told.id));
      said.push(api.setFree(told.set), api.register(-1, 0), api.freeAll(told.set), api.adjust(told.set, 4));
    }
  }
  return `${name}: ${told.kind} ${told.id}/${told.spid} ${said.join(' ')}`;
}
