/**
 * Counts come to the end of their words: the references of a holder, the refusals of a controller, the numbers of
 * sets. What takes hours to count up to is put there by hand.
 */
import { expect, it } from 'vitest';
import {
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidControllerAlloc,
  ioasidControllerRead,
  ioasidFindBySpid,
  ioasidFinishWork,
  ioasidGet,
  ioasidHeldBy,
  ioasidPut,
  ioasidQueueWork,
  ioasidRegisterNotifier,
  ioasidSetAlloc,
  ioasidSetFree,
  ioasidTakeWork,
} from '../../src/ioasid/index.js';
import { SUBSCRIBER, subscriberWord } from '../../src/ioasid/records/chain.js';
import { HOLDER } from '../../src/ioasid/records/holder-record.js';
import { REFERENCE } from '../../src/ioasid/records/reference-list.js';
import { holdersOf } from '../../src/ioasid/tables/id-columns.js';
import { listener, must, newCore, newHolder, newSet, refused } from './kit.js';

const MOST = 2 ** 31 - 1;

it('2^31 references are EOVERFLOW, and the first of them can still be put', () => {
  const core = newCore();
  const [set, kvm] = [newSet(core), newHolder(core, 'kvm')];
  const id = must(ioasidAlloc(set, 1, 7));
  must(ioasidAttachSpid(set, id, 101));
  must(ioasidGet(set, id, kvm));
  core.references.store.set((holdersOf(core.ids, id) << 2) + REFERENCE.count, MOST);
  core.holders.store.set((kvm.record << 3) + HOLDER.references, MOST);
  expect(refused(core, () => ioasidGet(set, id, kvm))).toBe('EOVERFLOW');
  expect(refused(core, () => ioasidFindBySpid(set, 101, kvm))).toBe('EOVERFLOW');
  expect(ioasidPut(set, id, kvm)).toBe(false);
  expect(must(ioasidHeldBy(kvm))[0]?.holders).toMatchObject([{ holder: 'kvm', count: MOST - 1 }]);
});

it('the events of a controller stay at the most that they can be', () => {
  const core = newCore();
  const controller = must(ioasidControllerAlloc(core, { name: 'vms', max: 0 }));
  const set = newSet(core, { controller });
  must(refused(core, () => ioasidAlloc(set, 1, 7)));
  const { store } = core.controllers;
  const first = controller.record << 3;
  for (let at = first; at < first + 8; at++) if (store.words[at] === 1) store.set(at, MOST - 1);
  for (let i = 0; i < 3; i++) refused(core, () => ioasidAlloc(set, 1, 7));
  expect(ioasidControllerRead(controller)).toMatchObject({ events: MOST, eventsLocal: MOST });
});

it('there are 2^24 - 1 sets, as an id’s word can tell apart; more are ENOMEM until one goes', () => {
  const core = newCore();
  const first = must(ioasidSetAlloc(core, { type: 'none', quota: 0 }));
  const made = 1;
  core.sets.store.set(made, 2 ** 24 - 1);
  expect(refused(core, () => ioasidSetAlloc(core, { type: 'none', quota: 0 }))).toBe('ENOMEM');
  must(ioasidSetFree(first));
  expect(must(ioasidSetAlloc(core, { type: 'none', quota: 0 })).record).toBe(first.record);
});

it('work does not use up the numbers that order the chains', () => {
  const core = newCore();
  const [set, kvm] = [newSet(core), newHolder(core, 'kvm')];
  const id = must(ioasidAlloc(set, 1, 7));
  const keys = ['first', 'second'].map((name) => {
    for (let i = 0; i < 5; i++) {
      must(ioasidQueueWork(set, id, { holder: kvm, phase: 'stop' }));
      must(ioasidFinishWork(must(ioasidTakeWork(kvm)) ?? expect.fail('there is work')));
    }
    const { record } = must(ioasidRegisterNotifier(core, listener([], { name, priority: 'cpu' })));
    return subscriberWord(core, record, SUBSCRIBER.key);
  });
  expect(keys).toEqual([1, 2]);
});
