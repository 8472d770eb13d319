/** What the core writes into the trace. */
import { describe, expect, it } from 'vitest';
import { Trace } from '../../src/base/index.js';
import {
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidDetachSpid,
  ioasidFinishWork,
  ioasidFree,
  ioasidGet,
  ioasidPut,
  ioasidQueueWork,
  ioasidRegisterNotifier,
  ioasidSetFree,
  ioasidTakeWork,
} from '../../src/ioasid/index.js';
import { listener, must, newCore, newHolder, newSet } from './kit.js';

describe('the trace', () => {
  it('has of the kinds that are read alone', () => {
    const trace = new Trace();
    const core = newCore({ trace: trace.sink, traces: (kind) => kind === 'alloc' || kind === 'set:alloc' });
    const set = newSet(core);
    must(ioasidFree(set, must(ioasidAlloc(set, 1, 7))));
    expect(trace.events.map(({ kind }) => kind)).toEqual(['set:alloc', 'alloc']);
  });

  it('has an event for each change, with step, actor and fields', () => {
    const trace = new Trace();
    let step = 0;
    const core = newCore({ trace: trace.sink, actor: 'host', step: () => step });
    const set = newSet(core, { type: 'mm', token: { name: 'vm1' } });
    const kvm = newHolder(core, 'kvm');
    must(ioasidRegisterNotifier(core, listener([], { name: 'iommu', priority: 'iommu', events: ['BIND'] })));
    const id = must(ioasidAlloc(set, 1, 7));
    step = 5;
    must(ioasidAttachSpid(set, id, 101));
    must(ioasidGet(set, id, kvm));
    must(ioasidFree(set, id));
    must(ioasidQueueWork(set, id, { holder: kvm, phase: 'drain' }));
    const work = must(ioasidTakeWork(kvm));
    must(ioasidDetachSpid(set, id));
    must(ioasidPut(set, id, kvm));
    step = 9;
    if (work !== undefined) must(ioasidFinishWork(work));
    must(ioasidSetFree(set));
    expect(trace.events.every(({ actor, layer }) => actor === 'host' && layer === 'ioasid')).toBe(true);
    expect(
      trace.events.map((event) => [event.step, event.kind, Object.values(event.fields).join(' ')]),
    ).toEqual([
      [0, 'set:alloc', '1 3 vm1'],
      [0, 'alloc', '1 1'],
      [0, 'announce:ALLOC', '1 1'],
      [5, 'attach', '1 1 101'],
      [5, 'announce:BIND', '1 1 101'],
      [5, 'get', '1 1 101 kvm'],
      [5, 'free', '1 1 101'],
      [5, 'announce:FREE', '1 1 101'],
      [5, 'work:queued', '1 1 101 kvm drain'],
      [5, 'work:taken', '1 1 101 kvm drain'],
      [5, 'detach', '1 1 101'],
      [5, 'announce:UNBIND', '1 1 101'],
      [5, 'put', '1 1 kvm'],
      [9, 'work:finished', '1 1 drain'],
      [9, 'reclaim', '1 1'],
      [9, 'set:free', '1'],
      [9, 'set:gone', '1'],
    ]);
  });
});
