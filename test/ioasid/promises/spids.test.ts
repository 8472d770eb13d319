/** The sentences of the design's part "Private ids (SPIDs)", each with its test. */
import { describe, expect, it } from 'vitest';
import {
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidDetachSpid,
  ioasidFindBySpid,
  ioasidFinishWork,
  ioasidFree,
  ioasidGet,
  ioasidInspect,
  ioasidPut,
  ioasidQueueWork,
  ioasidRegisterNotifier,
  ioasidSetFree,
  ioasidSpidOf,
  ioasidTakeWork,
} from '../../../src/ioasid/index.js';
import { errno, listener, must, newCore, newHolder, newSet, refused } from '../kit.js';

describe('each set is a namespace', () => {
  it('SPID → id is one to one in the set, both ways', () => {
    const core = newCore({ capacity: 4096 });
    const set = newSet(core, { quota: 4000 });
    for (let i = 0; i < 1000; i++)
      must(ioasidAttachSpid(set, must(ioasidAlloc(set, 1, 4095)), (i * 37) % 1000));
    for (let i = 0; i < 1000; i += 3) must(ioasidDetachSpid(set, i + 1));
    for (let i = 0; i < 1000; i++) {
      const spid = (i * 37) % 1000;
      expect(errno(ioasidFindBySpid(set, spid))).toBe(i % 3 === 0 ? 'ENOENT' : 'ok');
      if (i % 3 === 0) continue;
      expect(ioasidFindBySpid(set, spid)).toBe(i + 1);
      expect(ioasidSpidOf(set, i + 1)).toBe(spid);
    }
  });

  it('two VMs may both use 101, backed by 201 and 202', () => {
    const core = newCore({ capacity: 1024 });
    const [vm1, vm2] = [newSet(core), newSet(core)];
    expect(ioasidAlloc(vm1, 201, 201)).toBe(201);
    expect(ioasidAlloc(vm2, 202, 202)).toBe(202);
    must(ioasidAttachSpid(vm1, 201, 101));
    must(ioasidAttachSpid(vm2, 202, 101));
    expect(ioasidFindBySpid(vm1, 101)).toBe(201);
    expect(ioasidFindBySpid(vm2, 101)).toBe(202);
    expect(ioasidSpidOf(vm2, 202)).toBe(101);
  });

  it('also with more than 4096 sets, whose numbers begin alike', () => {
    const core = newCore({ capacity: 20_000 });
    const sets = Array.from({ length: 9000 }, () => newSet(core, { quota: 1 }));
    const ids = sets.map((set) => must(ioasidAlloc(set, 1, 19_999)));
    sets.forEach((set, at) => {
      must(ioasidAttachSpid(set, ids[at] ?? 0, 101));
    });
    sets.forEach((set, at) => {
      expect(ioasidFindBySpid(set, 101)).toBe(ids[at]);
    });
    sets.forEach((set, at) => {
      if (at % 2 === 0) must(ioasidDetachSpid(set, ids[at] ?? 0));
    });
    sets.forEach((set, at) => {
      expect(errno(ioasidFindBySpid(set, 101))).toBe(at % 2 === 0 ? 'ENOENT' : 'ok');
    });
  });
});

describe('attach', () => {
  it('is refused for a taken SPID (EBUSY), an id of another set, an id that is being freed', () => {
    const core = newCore();
    const [set, other] = [newSet(core), newSet(core)];
    const holder = newHolder(core, 'kvm');
    const [a, b] = [must(ioasidAlloc(set, 1, 7)), must(ioasidAlloc(set, 1, 7))];
    const foreign = must(ioasidAlloc(other, 1, 7));
    must(ioasidAttachSpid(set, a, 101));
    expect(refused(core, () => ioasidAttachSpid(set, b, 101))).toBe('EBUSY');
    expect(refused(core, () => ioasidAttachSpid(set, a, 102))).toBe('EBUSY');
    expect(refused(core, () => ioasidAttachSpid(set, foreign, 103))).toBe('EACCES');
    must(ioasidGet(set, b, holder));
    must(ioasidFree(set, b));
    expect(refused(core, () => ioasidAttachSpid(set, b, 103))).toBe('EBUSY');
    for (const spid of [-1, 1 << 20, 0.5, 0xffff_ffff]) {
      expect(refused(core, () => ioasidAttachSpid(set, a, spid))).toBe('EINVAL');
      expect(refused(core, () => ioasidFindBySpid(set, spid))).toBe('EINVAL');
    }
    must(ioasidSetFree(other));
    expect(refused(core, () => ioasidFindBySpid(other, 101))).toBe('ENOENT');
  });

  it('the first emits BIND, the last detach UNBIND, once each, however many devices are bound', () => {
    const core = newCore();
    const set = newSet(core);
    const log: string[] = [];
    must(ioasidRegisterNotifier(set, listener(log, { name: 'kvm', priority: 'cpu' })));
    const id = must(ioasidAlloc(set, 1, 7));
    for (let device = 0; device < 3; device++) must(ioasidAttachSpid(set, id, 101));
    for (let device = 0; device < 3; device++) must(ioasidDetachSpid(set, id));
    expect(log).toEqual(['kvm ALLOC 1', 'kvm BIND 1/101', 'kvm UNBIND 1/101']);
    expect(refused(core, () => ioasidDetachSpid(set, id))).toBe('ENOENT');
    expect(refused(core, () => ioasidSpidOf(set, id))).toBe('ENOENT');
  });

  it('2047 devices can have bound an id', () => {
    const core = newCore();
    const set = newSet(core);
    const id = must(ioasidAlloc(set, 1, 7));
    for (let device = 0; device < 2047; device++) must(ioasidAttachSpid(set, id, 1_048_575));
    expect(refused(core, () => ioasidAttachSpid(set, id, 1_048_575))).toBe('EOVERFLOW');
    expect(ioasidSpidOf(set, id)).toBe(1_048_575);
  });

  it('waits for the end of an earlier unbinding: EAGAIN', () => {
    const core = newCore();
    const set = newSet(core);
    const kvm = newHolder(core, 'kvm');
    const id = must(ioasidAlloc(set, 1, 7));
    must(ioasidAttachSpid(set, id, 101));
    must(ioasidDetachSpid(set, id));
    must(ioasidQueueWork(set, id, { holder: kvm, phase: 'stop' }));
    expect(refused(core, () => ioasidAttachSpid(set, id, 101))).toBe('EAGAIN');
    const work = must(ioasidTakeWork(kvm));
    if (work !== undefined) must(ioasidFinishWork(work));
    must(ioasidAttachSpid(set, id, 101));
  });
});

describe('a SPID whose id is FREE_PENDING', () => {
  function dying() {
    const core = newCore();
    const set = newSet(core);
    const holder = newHolder(core, 'vdcm');
    const old = must(ioasidAlloc(set, 1, 7));
    must(ioasidAttachSpid(set, old, 101));
    must(ioasidGet(set, old, holder));
    must(ioasidFree(set, old));
    return { core, set, holder, old };
  }

  it('can be attached to a new id at once; lookups find the new one only', () => {
    const { set, old } = dying();
    expect(ioasidFindBySpid(set, 101)).toBe(old);
    const next = must(ioasidAlloc(set, 1, 7));
    must(ioasidAttachSpid(set, next, 101));
    expect(ioasidFindBySpid(set, 101)).toBe(next);
    expect(must(ioasidInspect(set.core, old)).found).toBe(false);
  });

  it('what a late handler clears for the old id does not erase the new pair', () => {
    const { set, holder, old } = dying();
    const next = must(ioasidAlloc(set, 1, 7));
    must(ioasidAttachSpid(set, next, 101));
    const log: string[] = [];
    must(ioasidRegisterNotifier(set, listener(log, { name: 'kvm', priority: 'cpu' })));
    must(ioasidDetachSpid(set, old));
    expect(log).toEqual([`kvm BIND ${next}/101`, `kvm UNBIND ${old}/101`]);
    expect(ioasidFindBySpid(set, 101)).toBe(next);
    expect(ioasidPut(set, old, holder)).toBe(true);
    expect(ioasidFindBySpid(set, 101)).toBe(next);
  });

  it('lookup with reference is EBUSY, so that nothing revives it', () => {
    const { core, set, holder } = dying();
    expect(refused(core, () => ioasidFindBySpid(set, 101, holder))).toBe('EBUSY');
  });
});
