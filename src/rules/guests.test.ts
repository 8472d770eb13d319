/** Rules of virtual machines: owners are looked up through the guest's own books, and numbers through both. */
import { describe, expect, it } from 'vitest';
import type { Fetch } from './facts.js';
import { History, job } from './history.fixture.js';

/** The VMM has the guest's memory from page 0x1000 on; guest frame 0x100 is host frame 0x700. */
function twoVms(): History {
  const history = new History();
  for (const [name, first] of [
    ['vm1', 0x700],
    ['vm2', 0x900],
  ] as const) {
    const guest = history.ledger.addGuest(name);
    guest.addMemory({ gfn: 0x100, pages: 4, page: 0x1000 });
    for (let i = 0; i < 4; i++) history.page(name, 0x1000 + i, first + i);
  }
  history.ledger.pasids.given(202, 'vm1/alice', 10);
  history.ledger.pasids.named(202, 101);
  history.ledger.pasids.given(101, 'vm2/bob', 10);
  history.ledger.pasids.named(101, 202);
  guestPage(history, 'vm1', 'alice');
  guestPage(history, 'vm2', 'bob');
  return history;
}

function guestPage({ ledger }: History, vm: string, process: string): void {
  ledger.guest(vm)?.frames.owned(0x101, { kind: 'page', mm: `${vm}/${process}`, page: 0x10 }, 20);
  ledger.guest(vm)?.frames.owned(0x102, { kind: 'kernel', use: `page table of ${vm}/${process}` }, 20);
}

const alices = job({ process: 'vm1/alice', mm: 'vm1/alice', pasid: 202 });
const move = {
  ...{ job: alices, page: 0x10, offset: 0, bytes: 64, isWrite: false, isTranslated: true },
  frame: 0x701,
};

const entry: Fetch = { device: 'dsa0', pasid: 202, root: 0x102, second: 0x50, entry: 'P=1' };

describe('a history of two virtual machines', () => {
  it('without a fault breaks no rule', () => {
    const history = twoVms();
    history.ledger.frames.owned(0x50, { kind: 'kernel', use: 'page table of vm1' }, 5);
    history.state.mapping = { core: 202, cpu: 202 };
    const { judge, ledger } = history;
    judge.tell('accepted', alices);
    judge.tell('moved', move);
    judge.tell('fetched', entry);
    const binding = { device: 'dsa0', mm: 'vm1/alice', pasid: 202 };
    judge.tell('bound', { ...binding, vm: 'vm1', guest: 101 });
    history.state.mapping = { core: undefined, cpu: undefined };
    judge.tell('unbound', binding);
    for (let i = 0; i < 4; i++) ledger.frames.freed(0x700 + i, 90);
    judge.tell('vmGone', { vm: 'vm1', left: [] });
    expect(history.found).toEqual([]);
  });

  it('of which one goes to another VMM, knows its memory there, and no more where it was', () => {
    const history = new History();
    const { judge, ledger } = history;
    const guest = ledger.addGuest('vm1', ['vm1-there']);
    guest.addMemory({ gfn: 0x100, pages: 4, page: 0x1000 });
    for (let i = 0; i < 4; i++) {
      history.page('vm1', 0x1000 + i, 0x700 + i);
      history.page('vm1-there', 0x2000 + i, 0x900 + i);
    }
    guestPage(history, 'vm1', 'alice');
    guest.pasids.given(101, 'vm1/alice', 10);
    const ofAlice = { kind: 'page', mm: 'vm1/alice', page: 0x10 };
    expect([ledger.ownerOf(0x701), ledger.guest('vm1-there'), ledger.guestOf('vm1-there')]).toEqual([
      ofAlice,
      guest,
      guest,
    ]);
    expect(ledger.ownerOf(0x901)).toMatchObject({ mm: 'vm1-there' });
    ledger.mark();
    guest.moved({ vmm: 'vm1-there', slots: [{ gfn: 0x100, pages: 4, page: 0x2000 }] });
    expect([ledger.ownerOf(0x701), ledger.ownerOf(0x901)]).toMatchObject([{ mm: 'vm1' }, ofAlice]);
    expect([ledger.frameOf(guest, 0x101), guest.vmm]).toEqual([0x901, 'vm1-there']);
    const [before, after] = [
      { core: 202, cpu: 202 },
      { core: 505, cpu: 505 },
    ];
    const move = { vm: 'vm1', from: 'vm1', to: 'vm1-there' };
    guest.pasids.backed(101, 505);
    judge.tell('migrated', { ...move, pasids: [{ mm: 'vm1/alice', guest: 101, before, after }] });
    expect(history.found).toEqual([]);
    ledger.restore();
    expect([ledger.ownerOf(0x701), guest.vmm]).toEqual([ofAlice, 'vm1']);
  });

  it.each([
    ['none', { core: undefined, cpu: undefined }, 505],
    ['what it was there', { core: 202, cpu: 202 }, 202],
    ['another in KVM’s table', { core: 505, cpu: 202 }, 505],
  ])('of which one goes to another VMM, and %s backs a PASID of its there', (_what, after, backing) => {
    const history = twoVms();
    const pasids = history.ledger.guest('vm1')?.pasids;
    pasids?.given(101, 'vm1/alice', 10);
    pasids?.backed(101, backing);
    const before = { core: 202, cpu: 202 };
    const led = [{ mm: 'vm1/alice', guest: 101, before, after }];
    history.judge.tell('migrated', { vm: 'vm1', from: 'vm1', to: 'vm1-there', pasids: led });
    expect(history.found).toEqual([
      expect.stringMatching(
        /^MAPPING: .* vm1 went from vm1 to vm1-there with guest PASID 101 of vm1\/alice, which/,
      ),
    ]);
  });

  it('of which one is a guest that nobody knows from inside, has the bounds of its machine', () => {
    const history = twoVms();
    const { judge, ledger } = history;
    ledger.frames.owned(0x50, { kind: 'kernel', use: 'page table of vm1' }, 5);
    const guest = ledger.guest('vm1');
    if (guest !== undefined) guest.isOpaque = true;
    judge.tell('moved', { ...move, page: 0x99, frame: 0x703 });
    judge.tell('fetched', { ...entry, root: 0x1ff });
    expect(history.found).toEqual([]);
    judge.tell('moved', { ...move, frame: 0x901 });
    judge.tell('fetched', { ...entry, second: 0x51 });
    expect(history.found.map((found) => found.split(':', 1)[0])).toEqual(['ISOLATION', 'TORN']);
  });

  it('of which nobody knows one from inside: which of its PASIDs it uses where is its own affair, others’ are not', () => {
    const history = twoVms();
    const { judge, ledger } = history;
    const guest = ledger.guest('vm1');
    if (guest !== undefined) guest.isOpaque = true;
    ledger.pasids.given(9, 'vm1/kernel', 10);
    history.state.isBound = false;
    judge.tell('accepted', { ...alices, pasid: 9 });
    judge.tell('accepted', alices);
    expect(history.found).toEqual([]);
    judge.tell('accepted', { ...alices, pasid: 101 });
    // What stands in the configuration of a queue that it has a part of is the host's.
    judge.tell('accepted', { ...alices, isDedicated: true });
    expect(history.found.map((found) => found.split(':', 1)[0])).toEqual(['OWNER', 'ORDER']);
  });

  describe('of which one works without PASIDs', () => {
    const frames = new Map([[0x10, 0x101]]);
    const kernels = { ...alices, process: 'vm1/kernel', mm: 'vm1/kernel', pasid: 9, frames };

    /** PASID 9 stands for them, whoever has asked for it. */
    function history(): History {
      const made = twoVms();
      const { ledger } = made.at(812);
      ledger.frames.owned(0x50, { kind: 'kernel', use: 'page table of vm1' }, 5);
      ledger.guest('vm1')?.frames.owned(0x103, { kind: 'kernel', use: 'page table of dma 00:05.0' }, 20);
      ledger.pasids.given(9, 'boot', 10);
      ledger.pasids.takenFor(9, 'vm1/kernel');
      return made;
    }

    it('its kernel reaches what its descriptor names, by the whole memory or what it maps for a device', () => {
      const { judge, ledger, found } = history();
      const { pasids } = ledger;
      expect([pasids.of('boot'), pasids.of('vm1/kernel'), pasids.liveIn('vm1')]).toEqual([undefined, 9, 2]);
      judge.tell('accepted', kernels);
      judge.tell('moved', { ...move, job: kernels });
      judge.tell('fetched', { ...entry, pasid: 9, root: undefined });
      judge.tell('fetched', { ...entry, pasid: 9, root: 0x103 });
      expect(found).toEqual([]);
    });

    it.each<[string, string, (judge: History['judge']) => void]>([
      [
        'another frame of its own',
        'ISOLATION',
        (judge) => judge.tell('moved', { ...move, job: kernels, frame: 0x702 }),
      ],
      [
        'what it has not named',
        'ISOLATION',
        (judge) => judge.tell('moved', { ...move, job: { ...kernels, frames: new Map() } }),
      ],
      [
        'no second stage',
        'TORN',
        (judge) => judge.tell('fetched', { ...entry, pasid: 9, root: undefined, second: undefined }),
      ],
      ["a process's table", 'TORN', (judge) => judge.tell('fetched', { ...entry, pasid: 9, root: 0x102 })],
    ])('and not %s', (_what, rule, tells) => {
      const made = history();
      tells(made.judge);
      expect(made.found.map((found) => found.split(':', 1)[0])).toEqual([rule]);
    });
  });

  it.each<[string, (history: History) => void, string]>([
    [
      "DMA into another machine's memory",
      ({ judge }) => judge.tell('moved', { ...move, frame: 0x901 }),
      "ISOLATION: step 812: dsa0 read 64 bytes at 0x10000 for PASID 202 (job copy1 of vm1/alice, submitted to dsa0/shared at step 640), from frame 0x901, which is vm2/bob's page 0x10000 since step 20: it has never been vm1/alice's, for whom dsa0's device TLB let it through: a way out of vm1 into vm2",
    ],
    [
      'DMA into memory that is free in its own guest',
      ({ judge }) => judge.tell('moved', { ...move, frame: 0x703 }),
      "ISOLATION: step 812: dsa0 read 64 bytes at 0x10000 for PASID 202 (job copy1 of vm1/alice, submitted to dsa0/shared at step 640), from frame 0x703, which is free memory of vm1 since step 0: it has never been vm1/alice's, for whom dsa0's device TLB let it through",
    ],
    [
      "DMA into its own guest's kernel",
      ({ judge }) => judge.tell('moved', { ...move, frame: 0x702 }),
      "ISOLATION: step 812: dsa0 read 64 bytes at 0x10000 for PASID 202 (job copy1 of vm1/alice, submitted to dsa0/shared at step 640), from frame 0x702, which is vm1's kernel's (page table of vm1/alice) since step 20: it has never been vm1/alice's, for whom dsa0's device TLB let it through",
    ],
    [
      'a number that was not translated',
      ({ judge }) => judge.tell('accepted', { ...alices, pasid: 101 }),
      "OWNER: step 812: dsa0/shared took job copy1 of vm1/alice, submitted to dsa0/shared at step 640, with PASID 101, which is vm2/bob's, guest PASID 202, since step 10: vm1/alice's own is 202",
    ],
    [
      'a guest bound, and KVM told nothing',
      (history) => {
        history.state.mapping = { core: 202, cpu: undefined };
        const fact = { device: 'dsa0', mm: 'vm1/alice', pasid: 202, vm: 'vm1', guest: 101 };
        history.judge.tell('bound', fact);
      },
      "MAPPING: step 812: dsa0 is bound to vm1/alice, guest PASID 101, which PASID 202 backs; the set of its virtual machine has it for 202, KVM's table for none",
    ],
    [
      "KVM's table leads on after the last unbind",
      (history) => {
        history.state.mapping = { core: undefined, cpu: 202 };
        history.judge.tell('unbound', { device: 'dsa0', mm: 'vm1/alice', pasid: 202 });
      },
      "MAPPING: step 812: dsa0, the last device of vm1/alice, is unbound, and guest PASID 101 still leads to PASID 202: the set of its virtual machine has it for none, KVM's table for 202",
    ],
    [
      'a number of a guest that two address spaces have',
      ({ judge, ledger }) => {
        ledger.guest('vm1')?.pasids.given(101, 'vm1/alice', 10);
        judge.tell('backed', { vm: 'vm1', mm: 'vm1/eve', guest: 101, pasid: 303 });
      },
      "MAPPING: step 812: guest PASID 101 of vm1 is given to vm1/eve, backed by 303, and is vm1/alice's since step 10",
    ],
    [
      "a nested entry with another machine's second stage",
      ({ judge, ledger }) => {
        ledger.frames.owned(0x50, { kind: 'kernel', use: 'page table of vm2' }, 5);
        judge.tell('fetched', entry);
      },
      "TORN: step 812: the IOMMU took in dsa0's entry of PASID 202, which is vm1/alice's, guest PASID 101, since step 10, with the second stage 0x50000, which is the kernel's (page table of vm2) since step 5; the entry was P=1",
    ],
    [
      'a nested entry without a second stage',
      ({ judge }) => judge.tell('fetched', { ...entry, second: undefined, root: 0x102 }),
      "TORN: step 812: the IOMMU took in dsa0's entry of PASID 202, which is vm1/alice's, guest PASID 101, since step 10, with the root 0x102000, which nobody ever owned; the entry was P=1",
    ],
    [
      'a virtual machine whose memory is not given back',
      ({ judge }) => judge.tell('vmGone', { vm: 'vm1', left: ['its set of PASIDs'] }),
      'COUNT: step 812: vm1 is gone, and the host has not everything back: 4 page frames of its memory; its set of PASIDs',
    ],
    [
      'a virtual machine that was reset and keeps a PASID',
      ({ judge }) => judge.tell('vmReset', { vm: 'vm1', left: ['PASID 202 of vm1/alice, guest PASID 101'] }),
      'COUNT: step 812: vm1 was reset, and has not given back: PASID 202 of vm1/alice, guest PASID 101',
    ],
  ])('%s', (_, happens, message) => {
    const history = twoVms().at(812);
    happens(history);
    expect(history.found).toEqual([message]);
  });
});
