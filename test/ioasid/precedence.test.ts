/** Where several errnos apply to one call, the one that stands first in base's table is told. */
import { describe, expect, it } from 'vitest';
import { type Errno, firstErrno } from '../../src/base/index.js';
import {
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidControllerAlloc,
  ioasidFindBySpid,
  ioasidFree,
  ioasidGet,
  ioasidHolderFree,
  ioasidPut,
  ioasidQueueWork,
  ioasidRegisterAllocator,
  ioasidRegisterNotifier,
  ioasidSetAlloc,
  ioasidSetFree,
  ioasidUserAlloc,
} from '../../src/ioasid/index.js';
import { errno, FailNth, listener, must, newCore, newHolder, newSet } from './kit.js';

const faults = new FailNth();
const core = newCore({ capacity: 64, faults });
const [set, other, gone] = [newSet(core, { quota: 9 }), newSet(core), newSet(core)];
const [holder, nobody] = [newHolder(core, 'kvm'), newHolder(core, 'nobody')];
const token = { name: 'vm1' };
const full = must(ioasidControllerAlloc(core, { name: 'full', max: 0 }));
const user = must(ioasidUserAlloc(core, { name: 'alice', max: 1 }));
const charged = must(ioasidSetAlloc(core, { type: 'mm', token, quota: 0, controller: full }));
const [mine, dying, theirs] = [
  must(ioasidAlloc(set, 1, 9)),
  must(ioasidAlloc(set, 1, 9)),
  must(ioasidAlloc(other, 1, 9)),
];
must(ioasidGet(set, dying, holder));
must(ioasidFree(set, dying));
must(ioasidAttachSpid(set, mine, 101));
must(ioasidHolderFree(nobody));
must(ioasidSetFree(gone));
const bad = listener([], { name: 'bad', priority: 'gpu' as 'cpu' });
const odd = { type: 'mm' as const, token, quota: 2.5 };
const ops = { name: 'vcmd', alloc: () => 1, free: () => undefined };

/** A call, and all the errnos that apply to it. */
const CALLS: Record<string, [() => unknown, ...Errno[]]> = {
  'alloc: no range, set gone': [() => ioasidAlloc(gone, 2, 1), 'EINVAL', 'ENOENT'],
  'alloc: at the quota, at a max, nothing there': [() => ioasidAlloc(charged, 64, 64), 'EDQUOT', 'ENOSPC'],
  'get: no id, holder gone': [() => ioasidGet(set, -1, nobody), 'EINVAL', 'ENOENT'],
  'get: of another set, holder gone': [() => ioasidGet(set, theirs, nobody), 'EACCES', 'ENOENT'],
  'get: being freed, holder gone': [() => ioasidGet(set, dying, nobody), 'EBUSY', 'ENOENT'],
  'get: being freed, of another set': [() => ioasidGet(other, dying, holder), 'EBUSY', 'EACCES'],
  'put: of another set, holder gone': [() => ioasidPut(set, theirs, nobody), 'EACCES', 'ENOENT'],
  'queue: no phase, of another set': [
    () => ioasidQueueWork(set, theirs, { holder, phase: 'flush' as 'stop' }),
    'EINVAL',
    'EACCES',
  ],
  'queue: of another set, holder gone': [
    () => ioasidQueueWork(set, theirs, { holder: nobody, phase: 'stop' }),
    'EACCES',
    'ENOENT',
  ],
  'find: no SPID, set gone': [() => ioasidFindBySpid(gone, -1), 'EINVAL', 'ENOENT'],
  'attach: no SPID, of another set': [() => ioasidAttachSpid(set, theirs, -1), 'EINVAL', 'EACCES'],
  'attach: SPID taken, of another set': [() => ioasidAttachSpid(set, theirs, 101), 'EBUSY', 'EACCES'],
  'register: no priority, set gone': [() => ioasidRegisterNotifier(gone, bad), 'EINVAL', 'ENOENT'],
  'make a set: no quota, token taken': [() => ioasidSetAlloc(core, odd), 'EINVAL', 'EEXIST'],
  'make a set: token taken, too many for the user': [
    () => ioasidSetAlloc(core, { type: 'mm', token, quota: 5, user }),
    'EEXIST',
    'EDQUOT',
  ],
  'make a set: too many for the user and the system': [
    () => ioasidSetAlloc(core, { type: 'none', quota: 5000, user }),
    'EDQUOT',
    'ENOSPC',
  ],
  'make an allocator: ids outstanding, no memory': [
    () => {
      faults.nth = faults.asked + 1;
      return ioasidRegisterAllocator(core, ops);
    },
    'EAGAIN',
    'ENOMEM',
  ],
};

describe('the first of several errnos is told', () => {
  for (const [name, [call, ...applying]] of Object.entries(CALLS)) {
    it(name, () => {
      expect(errno(call())).toBe(applying.reduce((a, b) => firstErrno(a, b)));
    });
  }
});
