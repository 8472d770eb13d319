import { describe, expect, it } from 'vitest';
import type { Move } from './facts.js';
import { History, job } from './history.fixture.js';

const move = (change: Partial<Move> = {}): Move => ({
  job: job(),
  page: 0x10,
  frame: 0x1234,
  offset: 0,
  bytes: 64,
  isWrite: false,
  isTranslated: true,
  ...change,
});

const fault = {
  name: 'SFS.2',
  by: 'vtd0',
  device: 'dsa0',
  pasid: 3,
  text: 'a write to 0x10000: the entry is not present',
};

const asked = (page: number, step: number) => ({ request: { page, step }, isByHardware: false });

const end = {
  ...{ stuck: [], bootFrames: new Set([1]), guestBootFrames: new Map(), pasidsInUse: 0 },
  strayNotifiers: [],
};

/** Alice has PASID 3 and her queue of dsa0 open. */
function alice(earned: readonly string[] = []): History {
  const history = new History(earned).at(100);
  history.ledger.pasids.given(3, 'alice', 100);
  history.ledger.opens.opened('alice', { device: 'dsa0', queue: 'dsa0/shared', via: 'dsa0/shared' });
  return history;
}

describe('a history without a fault', () => {
  it('breaks no rule', () => {
    const history = alice(['SFS.2']).page('alice', 0x10, 0x1234).at(700);
    const { judge, ledger } = history;
    ledger.frames.owned(0x99, { kind: 'kernel', use: 'page table of alice' }, 100);
    ledger.frames.owned(0x98, { kind: 'kernel', use: 'PASID table of 6a:01.0' }, 100);
    ledger.frames.owned(1, { kind: 'kernel', use: 'root table of dmar0' }, 0);
    judge.tell('given', { pasid: 4, mm: 'bob' });
    judge.tell('accepted', job());
    judge.tell('fetched', { device: 'dsa0', pasid: 3, root: 0x99, entry: '' });
    judge.tell('moved', move());
    judge.tell('faulted', fault);
    judge.tell('visible', { device: 'dsa0', pasid: 3, root: 0x99, entry: '' });
    judge.tell('freed', { frame: 0x1234, owner: { kind: 'page', mm: 'alice', page: 0x10 } });
    judge.tell('cutOff', { tasks: [] });
    judge.tell('answered', { device: 'dsa0', pasid: 3, group: 1, code: 0, ...asked(0x10, 650) });
    judge.tell('outcome', {
      job: 'copy1',
      process: 'alice',
      queue: '',
      expected: 'any',
      outcome: 'x',
      record: '',
    });
    judge.tell('refused', { process: 'alice', action: 'open', errno: 'EBUSY', why: '', expected: 'EBUSY' });
    ledger.opens.closed('alice', 'dsa0/shared');
    judge.tell('released', {
      id: 1,
      mm: 'alice',
      device: 'dsa0',
      queue: 'dsa0/shared',
      via: 'dsa0/shared',
      holders: [],
    });
    judge.tell('unbound', { device: 'dsa0', mm: 'alice', pasid: 3 });
    judge.tell('takenBack', 3);
    ledger.frames.freed(0x1234, 800);
    ledger.frames.freed(0x99, 800);
    judge.tell('gone', 'alice');
    judge.tell('ended', end);
    expect(history.found).toEqual([]);
  });
});

/** Each breaks one rule, and is told by that alone. */
const BROKEN: [string, (history: History) => void, string][] = [
  [
    "DMA into a frame that is another's by now",
    (history) => {
      history.page('alice', 0x10, 0x1234).at(770).ledger.frames.freed(0x1234, 770);
      history.state.caches = ['the IOTLB, domain 3', "dsa0's device TLB"];
      history.at(790).page('bob', 0x20, 0x1234).at(812).judge.tell('moved', move());
    },
    "ISOLATION: step 812: dsa0 read 64 bytes at 0x10000 for PASID 3 (job copy1 of alice, submitted to dsa0/shared at step 640), from frame 0x1234, which is bob's page 0x20000 since step 790: it was alice's page 0x10000 until step 770, and a translation of it is still in the IOTLB, domain 3 and in dsa0's device TLB, which has to forget it before the frame is free",
  ],
  [
    'DMA into a frame that is free',
    (history) => {
      history.page('alice', 0x10, 0x1234).ledger.frames.freed(0x1234, 770);
      history.at(812).judge.tell('moved', move({ isWrite: true, isTranslated: false, offset: 8 }));
    },
    "ISOLATION: step 812: dsa0 wrote 64 bytes at 0x10008 for PASID 3 (job copy1 of alice, submitted to dsa0/shared at step 640), into frame 0x1234, which is free since step 770: it was alice's page 0x10000 until step 770, and dsa0 went on with a translation from before, which an invalidation has to wait for",
  ],
  [
    'DMA to another page of its own',
    (history) => history.at(690).page('alice', 0x11, 0x1234).at(700).judge.tell('moved', move()),
    "ISOLATION: step 700: dsa0 read 64 bytes at 0x10000 for PASID 3 (job copy1 of alice, submitted to dsa0/shared at step 640), from frame 0x1234, which is alice's page 0x11000 since step 690: dsa0's device TLB led to the wrong page",
  ],
  [
    'DMA of a job where its descriptor names nothing',
    (history) =>
      history
        .page('alice', 0x11, 0x1234)
        .at(700)
        .judge.tell('moved', move({ page: 0x11 })),
    'ISOLATION: step 700: dsa0 read 64 bytes at 0x11000 for PASID 3 (job copy1 of alice, submitted to dsa0/shared at step 640), and the descriptor has it read 64 bytes at 0x10000',
  ],
  [
    'DMA beyond the end of what a descriptor names',
    (history) =>
      history
        .page('alice', 0x10, 0x1234)
        .at(700)
        .judge.tell('moved', move({ offset: 1 })),
    'ISOLATION: step 700: dsa0 read 64 bytes at 0x10001 for PASID 3 (job copy1 of alice, submitted to dsa0/shared at step 640), and the descriptor has it read 64 bytes at 0x10000',
  ],
  [
    'a write to what a descriptor has read',
    (history) =>
      history
        .page('alice', 0x10, 0x1234)
        .at(700)
        .judge.tell('moved', move({ isWrite: true })),
    'ISOLATION: step 700: dsa0 wrote 64 bytes at 0x10000 for PASID 3 (job copy1 of alice, submitted to dsa0/shared at step 640), and the descriptor has it write 64 bytes at 0x20000',
  ],
  [
    'a frame that is free while a cache leads to it',
    (history) => {
      history.state.holders = ['the IOTLB, domain 3, page 0x10000'];
      const owner = { kind: 'page', mm: 'alice', page: 0x10 } as const;
      history.at(700).judge.tell('freed', { frame: 0x1234, owner });
    },
    "CLEAN: step 700: frame 0x1234, alice's page 0x10000, is given back, and a way to it is still there: the IOTLB, domain 3, page 0x10000",
  ],
  [
    'a half-written entry that nobody has read',
    (history) =>
      history.at(5).judge.tell('visible', { device: 'dsa0', pasid: 3, root: undefined, entry: 'P=1' }),
    "TORN: step 5: memory holds dsa0's entry of PASID 3, which is alice's since step 100, with no root; the entry was P=1",
  ],
  [
    'a page that is not there, and is said to be',
    (history) => {
      history.page('alice', 0x10, 0x1234).at(600).ledger.frames.freed(0x1234, 600);
      const answer = { device: 'dsa0', pasid: 3, group: 1, code: 0, ...asked(0x10, 650) };
      history.at(700).judge.tell('answered', answer);
    },
    'UNDONE: step 700: dsa0 was told that the page of group 1, 0x10000 of PASID 3, is there, and alice has had none since it was asked for at step 650',
  ],
  [
    'work that goes on for most of a run that is cut off',
    (history) => {
      history.ledger.jobs.accepted(job());
      history.state.unanswered = ['page group 2'];
      history.at(30_000).judge.tell('cutOff', { tasks: [{ name: 'bob', at: 'idxd command' }] });
    },
    'PROGRESS: step 30000: for more than 15000 steps this has not come to an end: job copy1 of alice, submitted to dsa0/shared at step 640; page group 2; meanwhile: bob at idxd command',
  ],
  [
    'a job too many',
    (history) => {
      for (const [tag, name] of ['one', 'two'].entries()) history.ledger.jobs.accepted(job({ tag, name }));
      history.at(700).judge.tell('accepted', job());
    },
    'UNDONE: step 700: dsa0/shared took job copy1 of alice, submitted to dsa0/shared at step 640, and has room for 1, with 1 engine(s) to take from it; there were one; two',
  ],
  [
    'a queue that is closed before it is drained',
    (history) => {
      history.ledger.jobs.accepted(job());
      const open = history.ledger.opens.closed('alice', 'dsa0/shared');
      if (open !== undefined) history.at(700).judge.tell('released', open);
    },
    'ORDER: step 700: dsa0/shared is closed for alice, and still works for it: job copy1 of alice, submitted to dsa0/shared at step 640; it has to be drained before',
  ],
  [
    'a job that is lost on its way',
    (history) => {
      history.ledger.jobs.submitted(job());
      history.at(900).judge.tell('ended', { ...end, stuck: [{ name: 'alice', at: 'job copy1' }] });
    },
    'PROGRESS: step 900: nobody can go on: alice waits for job copy1; not done: job copy1 of alice, submitted to dsa0/shared at step 640, which no queue took',
  ],
  [
    'a PASID that is given twice',
    (history) => history.at(200).judge.tell('given', { pasid: 3, mm: 'bob' }),
    "UNIQUE: step 200: PASID 3 is given to bob, and is alice's since step 100",
  ],
  [
    'a PASID that is given while a cache holds it',
    (history) => {
      history.ledger.pasids.takenBack(3, 150);
      history.state.remains = ["dsa0's device TLB: page 0x10000"];
      history.at(200).judge.tell('given', { pasid: 3, mm: 'bob' });
    },
    "UNIQUE: step 200: PASID 3 is given to bob while something still holds it (it was alice's until step 150): dsa0's device TLB: page 0x10000",
  ],
  [
    "a descriptor with another's PASID",
    (history) => history.at(200).judge.tell('accepted', job({ process: 'child', mm: 'child' })),
    "OWNER: step 200: dsa0/shared took job copy1 of child, submitted to dsa0/shared at step 640, with PASID 3, which is alice's since step 100: child has no PASID and may submit nothing",
  ],
  [
    'a descriptor before the entry is there',
    (history) => {
      history.state.isBound = false;
      history.at(200).judge.tell('accepted', job());
    },
    "ORDER: step 200: dsa0/shared took job copy1 of alice, submitted to dsa0/shared at step 640, with PASID 3, for which dsa0's IOMMU has no entry: it has to be valid before the queue can be reached, and as long as it can",
  ],
  [
    'an unbind of a device that still works',
    (history) => {
      history.ledger.jobs.accepted(job());
      history.at(700).judge.tell('unbound', { device: 'dsa0', mm: 'alice', pasid: 3 });
    },
    'ORDER: step 700: dsa0 was unbound from alice, PASID 3, and still works for it: job copy1 of alice, submitted to dsa0/shared at step 640; it has to be drained before',
  ],
  [
    'an unbind of the one of two virtual devices that still works',
    (history) => {
      history.ledger.jobs.accepted(job({ via: 'one/shared' }));
      for (const via of ['another', 'one']) {
        history.at(700).judge.tell('unbound', { device: 'dsa0', via, mm: 'alice', pasid: 3 });
      }
    },
    'ORDER: step 700: one was unbound from alice, PASID 3, and still works for it: job copy1 of alice, submitted to dsa0/shared at step 640; it has to be drained before',
  ],
  [
    'what is left of a binding',
    (history) => {
      history.state.remains = ['a', 'b', 'c', 'd', 'e', 'f'];
      const open = history.ledger.opens.closed('alice', 'dsa0/shared');
      if (open !== undefined) history.at(300).judge.tell('released', open);
    },
    'CLEAN: step 300: alice has let go of dsa0/shared, its last queue of dsa0, and PASID 3 is still there: a; b; c; d; and 2 more',
  ],
  [
    'what is left of a PASID',
    (history) => {
      history.state.remains = ['cpu1: IA32_PASID'];
      history.at(300).judge.tell('takenBack', 3);
    },
    'CLEAN: step 300: PASID 3 of alice is given back, and is still there: cpu1: IA32_PASID',
  ],
  [
    'memory of who is gone',
    (history) => history.page('alice', 0x10, 0x1234).at(300).judge.tell('gone', 'alice'),
    "COUNT: step 300: alice is gone, and memory of it is not: frame 0x1234, alice's page 0x10000",
  ],
  [
    'a PASID of nobody',
    (history) => history.at(900).judge.tell('ended', { ...end, pasidsInUse: 1 }),
    'COUNT: step 900: all processes are gone, and PASIDs are not given back (1): PASID 3 of alice',
  ],
  [
    'a notifier of nobody',
    (history) => history.at(900).judge.tell('ended', { ...end, strayNotifiers: ['vdcm a', 'vdcm b'] }),
    'COUNT: step 900: all processes are gone, and who is to be told of a set of PASIDs that is gone is registered still: vdcm a; vdcm b',
  ],
  [
    'frames of nobody',
    (history) => {
      const table = { kind: 'kernel', use: 'page table of alice' } as const;
      history.ledger.frames.owned(0x99, table, 90);
      history.at(900).judge.tell('ended', end);
    },
    "COUNT: step 900: all processes are gone, and page frames of them are in use: frame 0x99, the kernel's (page table of alice)",
  ],
  [
    'a wait without an end',
    (history) => {
      history.ledger.jobs.accepted(job());
      history.state.unanswered = ['page group 2'];
      const stuck = [{ name: 'alice', at: 'job copy1' }];
      history.at(900).judge.tell('ended', { ...end, stuck });
    },
    'PROGRESS: step 900: nobody can go on: alice waits for job copy1; not done: job copy1 of alice, submitted to dsa0/shared at step 640; page group 2',
  ],
  [
    'work without an end',
    (history) => {
      history.ledger.jobs.accepted(job());
      history.at(900).judge.tell('ended', end);
    },
    'PROGRESS: step 900: all processes are gone, and this never came to an end: job copy1 of alice, submitted to dsa0/shared at step 640',
  ],
  [
    'a retry that goes on',
    (history) => history.at(5).judge.tell('gaveUp', { process: 'alice', what: 'ENQCMD, 9 times' }),
    'PROGRESS: step 5: alice gave up: ENQCMD, 9 times',
  ],
  [
    'an entry without a root',
    (history) =>
      history.at(5).judge.tell('fetched', { device: 'dsa0', pasid: 3, root: undefined, entry: 'P DID 1' }),
    "TORN: step 5: the IOMMU took in dsa0's entry of PASID 3, which is alice's since step 100, with no root; the entry was P DID 1",
  ],
  [
    "an entry with another's root",
    (history) => {
      history.ledger.frames.owned(0x99, { kind: 'kernel', use: 'page table of bob' }, 90);
      history.at(5).judge.tell('fetched', { device: 'dsa0', pasid: 3, root: 0x99, entry: 'P' });
    },
    "TORN: step 5: the IOMMU took in dsa0's entry of PASID 3, which is alice's since step 100, with the root 0x99000, which is the kernel's (page table of bob) since step 90; the entry was P",
  ],
  [
    'a fault that nobody earned',
    (history) => {
      history.ledger.jobs.accepted(job());
      history.at(700).judge.tell('faulted', fault);
    },
    "FAULTS: step 700: vtd0 reported SFS.2 of dsa0 for PASID 3, which is alice's since step 100: a write to 0x10000: the entry is not present; on dsa0 then: job copy1 of alice, submitted to dsa0/shared at step 640; the scenario earns no such fault",
  ],
  [
    'an answer that nobody waits for',
    (history) => {
      const answer = { device: 'dsa0', pasid: 3, group: 5, code: 0, request: undefined, isByHardware: false };
      history.at(700).judge.tell('answered', answer);
    },
    "FAULTS: step 700: dsa0 was answered page group 5 of PASID 3, which is alice's since step 100, with code 0, and waits for no such group",
  ],
  [
    'a job that ends otherwise',
    (history) => {
      const outcome = { job: 'copy1', process: 'alice', queue: 'dsa0/own', expected: 'success' };
      history.at(700).judge.tell('outcome', { ...outcome, outcome: 'page-fault', record: 'status 3' });
    },
    'FAULTS: step 700: job copy1 of alice on dsa0/own ended with page-fault (status 3); the scenario says success',
  ],
  [
    'a refusal that nobody earned',
    (history) => {
      const refused = { process: 'alice', action: 'open dsa0/own', why: 'no room', expected: undefined };
      history.at(7).judge.tell('refused', { ...refused, errno: 'ENOSPC' });
    },
    'UNDONE: step 7: alice was refused open dsa0/own with ENOSPC (no room); the scenario says that it is done',
  ],
  [
    'what should have been refused',
    (history) => {
      const refused = { process: 'alice', action: 'open dsa0/own', why: '', expected: 'EBUSY' } as const;
      history.at(7).judge.tell('refused', { ...refused, errno: undefined });
    },
    'UNDONE: step 7: alice did open dsa0/own; the scenario says that it is refused with EBUSY',
  ],
  [
    'a refused open that leaves state in the device',
    (history) => {
      history.state.remains = ["dsa1's PASID table entry, which is present"];
      const open = { mm: 'alice', device: 'dsa1', queue: 'dsa1/shared', hadPasid: true };
      history.at(7).judge.tell('failedOpen', open);
    },
    "UNDONE: step 7: alice was refused dsa1/shared, and of PASID 3 is left: dsa1's PASID table entry, which is present",
  ],
  [
    'a refused open that leaves a PASID',
    (history) => {
      const open = { mm: 'alice', device: 'dsa1', queue: 'dsa1/shared', hadPasid: false };
      history.at(7).judge.tell('failedOpen', open);
    },
    'UNDONE: step 7: alice was refused dsa1/shared, and has kept the PASID 3 that it got for it',
  ],
  [
    'a death that the scenario does not tell of',
    (history) => history.at(7).judge.tell('died', { process: 'alice', signal: 'SIGSEGV' }),
    'FAULTS: step 7: alice was killed by SIGSEGV; the scenario does not say so',
  ],
  [
    'a process that outlives what should have killed it',
    (history) => history.at(7).judge.tell('survived', { process: 'child', action: 'submit a' }),
    'OWNER: step 7: child did submit a; the scenario says that it is killed for that',
  ],
  [
    'bytes that did not come',
    (history) => {
      const place = { process: 'alice', region: 'dst', address: 0x10040 };
      history.at(7).judge.tell('mismatch', { ...place, found: '0x00', expected: '0x5a' });
    },
    'UNDONE: step 7: alice finds 0x00 at 0x10040 in its region dst, where 0x5a has to be: a job said success, and its bytes are not there',
  ],
];

describe('is found, by its rule alone:', () => {
  it.each(BROKEN)('%s', (_, happen, finding) => {
    const history = alice();
    happen(history);
    expect(history.found).toEqual([finding]);
  });
});

describe('a judge', () => {
  it('tells a rule once a run, and anew after a restore', () => {
    const history = alice();
    const broken = (): void => history.judge.tell('gaveUp', { process: 'alice', what: 'x' });
    broken();
    broken();
    expect(history.found).toHaveLength(1);
    history.judge.restore();
    expect(history.found).toEqual([]);
    broken();
    expect(history.found).toHaveLength(1);
  });
});
