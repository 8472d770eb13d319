/**
 * A whole function and a part of another one in one VM, on the host's side with the real unit: one number means two
 * address spaces, and what keeps them apart does; without it, it does not.
 */
import { describe, expect, it } from 'vitest';
import { RIGHT } from '../../src/hardware/index.js';
import { PASID_TABLE_ENTRY, VTD_REGISTER } from '../../src/spec/index.js';
import { FIRST_RID, must } from '../vtd-driver/lab.js';
import {
  allocBytes,
  BothNumbers,
  freeBytes,
  Host,
  invalidateBytes,
  pageRequestOf,
  TestFunction,
  TestMdev,
} from './vm.js';

const PAGE = 0x10;
const NEXT_RID = FIRST_RID + 8;

const { DID, P } = PASID_TABLE_ENTRY;

type Access = Parameters<Host['lab']['access']>[0];

function reads({ lab }: Host, dma: Access, pasid: number): (number | undefined)[] {
  const found = lab.access(dma, [{ pasid, page: PAGE }]).filter(({ isWrite }) => !isWrite);
  return [...new Set(found.map(({ passed, value }) => (passed ? value : undefined)))];
}

/** The domain ids of the entries that the unit took in, by function and PASID. */
function domainsOf({ lab }: Host): Map<string, number> {
  const [unit] = lab.bench.units;
  const found = new Map<string, number>();
  if (unit === undefined) return found;
  unit.translator.audit = ({ rid, pasid }, words, at) => {
    if (P.get(words, at) === 1) found.set(`${rid} ${pasid}`, DID.get(words, at));
  };
  return found;
}

/** A part of one function, and another one whole. */
function machine(options: ConstructorParameters<typeof Host>[0] = {}, Whole = TestFunction) {
  const host = new Host(options);
  const [first, second] = [host.plug(), host.plug(NEXT_RID)];
  const part = new TestMdev('part', first.device);
  const whole = new Whole('whole', second.device);
  const vm = host.newVm('vm1', [part, whole]);
  vm.map(PAGE, 0, 0x1111);
  return { host, vm, part, whole, first, second };
}

describe('one number on a part and on a whole function', () => {
  it('is two address spaces, with two domain ids', () => {
    const { host, vm, part, whole, first, second } = machine();
    const domains = domainsOf(host);
    vm.allocAndBind(part, 101, 202);
    vm.allocAndBind(whole, 202, 303);
    expect([reads(host, first.dma, 202), reads(host, second.dma, 202)]).toEqual([[0x1111], [0x1111]]);
    expect([domains.size, new Set(domains.values()).size]).toEqual([2, 2]);
    expect([reads(host, first.dma, 303), reads(host, second.dma, 303), reads(host, second.dma, 101)]).toEqual(
      [[undefined], [undefined], [undefined]],
    );
    must(vm.unbind(part, 101, 202));
    expect([reads(host, first.dma, 202), reads(host, second.dma, 202)]).toEqual([[undefined], [0x1111]]);
  });

  it('has one domain id, where functions are to have none of their own', () => {
    const { host, vm, part, whole, first, second } = machine({ protections: { ownDomainIds: false } });
    const domains = domainsOf(host);
    vm.allocAndBind(part, 101, 202);
    vm.allocAndBind(whole, 202, 303);
    expect([reads(host, first.dma, 202), reads(host, second.dma, 202)]).toEqual([[0x1111], [0x1111]]);
    expect([domains.size, new Set(domains.values()).size]).toEqual([2, 1]);
  });

  it.each([
    [true, [], [202]],
    [false, [101], []],
  ])('is asked for by who has the function: %s', (pageRequestsByRid, toPart, toWhole) => {
    const { host, vm, part, whole, second } = machine({
      pri: true,
      ats: true,
      protections: { pageRequestsByRid },
    });
    vm.allocAndBind(part, 101, 202);
    vm.allocAndBind(whole, 202, 303);
    const [ofPart, ofWhole] = [vm.listen(part), vm.listen(whole)];
    host.request(second.device, 202);
    const pasids = (told: readonly Int32Array[]): number[] => told.map((each) => pageRequestOf(each).pasid);
    expect([pasids(ofPart), pasids(ofWhole)]).toEqual([toPart, toWhole]);
  });

  it('is bound for one of them alone, or for all if binds do not count for devices', () => {
    const sound = machine();
    sound.vm.allocAndBind(sound.part, 101, 202);
    expect(reads(sound.host, sound.second.dma, 202)).toEqual([undefined]);
    const { host, vm, part, first, second } = machine({ protections: { bindPerDevice: false } });
    vm.allocAndBind(part, 101, 202);
    expect([reads(host, first.dma, 202), reads(host, second.dma, 202)]).toEqual([[0x1111], [0x1111]]);
    must(vm.unbind(part, 101, 202));
    expect([reads(host, first.dma, 202), reads(host, second.dma, 202)]).toEqual([[undefined], [undefined]]);
  });
});

/** What a function reads by a PASID, and how many faults are told meanwhile. */
function tries(host: Host, dma: Access, pasid: number): readonly [number | undefined, boolean] {
  const before = host.lab.faults;
  const [value] = reads(host, dma, pasid);
  return [value, host.lab.faults > before];
}

describe('a guest whose memory went before its device was drained', () => {
  type End = (of: ReturnType<typeof machine>) => void;

  it.each<[string, End, readonly [number | undefined, boolean]]>([
    ['it is unbound', ({ vm, whole }) => must(vm.unbind(whole, 101, 202)), [undefined, true]],
    ['its number is freed', ({ vm }) => must(vm.container.pasidRequest(freeBytes(202))), [undefined, true]],
    ['it is bound anew', ({ vm, whole }) => must(vm.bind(whole, 101, 202)), [0x1111, false]],
    [
      'the function goes',
      ({ host, vm, whole }) => must(host.run(vm.container.removeDevice(whole))),
      [undefined, true],
    ],
    ['the machine ends', ({ vm }) => vm.end(), [undefined, true]],
  ])('has a whole function reach nothing, and no faults of it told, until %s', (_when, end, after) => {
    const all = machine();
    const { host, vm, whole, second } = all;
    vm.allocAndBind(whole, 101, 202);
    for (let i = 0; i < 2; i++) {
      must(vm.mute(whole, 101, 202));
      expect(tries(host, second.dma, 101)).toEqual([undefined, false]);
    }
    end(all);
    host.lab.bench.runAll();
    expect(tries(host, second.dma, 101)).toEqual(after);
  });

  it('has nothing left of it when all is over', () => {
    const { host, vm, whole } = machine();
    const before = host.resources;
    vm.allocAndBind(whole, 101, 202);
    must(vm.mute(whole, 101, 202));
    must(vm.container.pasidRequest(freeBytes(202)));
    host.lab.bench.runAll();
    // The table of its entry stays, for the next one.
    expect({ ...host.resources, frames: 0 }).toEqual({ ...before, frames: 0 });
  });

  it('has what is still in the queue of the unit answered before its number is another’s (E4)', () => {
    const { host, vm, whole, second } = machine({ ats: true, pri: true });
    vm.allocAndBind(whole, 101, 202);
    const [unit] = host.lab.bench.units;
    // Masked: nobody looks into the queue for the sake of an interrupt.
    unit?.write32(VTD_REGISTER.PECTL.offset, 1 << 31);
    const rights = RIGHT.READ | RIGHT.USER;
    unit?.requestPage({ rid: NEXT_RID, pasid: 101, page: PAGE, rights, group: 3, isLast: true });
    must(vm.mute(whole, 101, 202));
    expect(second.dma.responses).toEqual([]);
    must(vm.unbind(whole, 101, 202));
    vm.allocAndBind(whole, 101, 303);
    const next = vm.listen(whole);
    unit?.write32(VTD_REGISTER.PECTL.offset, 0);
    host.lab.bench.runAll();
    expect(next).toEqual([]);
    expect(second.dma.responses).toMatchObject([{ pasid: 101, group: 3, code: 1 }]);
  });

  it('has nothing left in a part, which the host drains', () => {
    const { host, vm, part, first } = machine();
    vm.allocAndBind(part, 101, 202);
    must(vm.mute(part, 101, 202));
    expect([part.drained, tries(host, first.dma, 202)]).toEqual([[202], [undefined, true]]);
    expect(vm.unbind(part, 101, 202)).toMatchObject({ errno: 'ENOENT' });
  });
});

describe('a whole function with both numbers', () => {
  it('reaches the same memory by each, and nothing by either when that is unbound', () => {
    const { host, vm, whole, second } = machine({}, BothNumbers);
    vm.allocAndBind(whole, 101, 202);
    expect([reads(host, second.dma, 101), reads(host, second.dma, 202)]).toEqual([[0x1111], [0x1111]]);
    vm.map(PAGE, 1, 0x2222);
    must(host.run(vm.container.invalidate(whole, invalidateBytes(101, PAGE))));
    expect([reads(host, second.dma, 101), reads(host, second.dma, 202)]).toEqual([[0x2222], [0x2222]]);
    must(vm.unbind(whole, 101, 202));
    expect([reads(host, second.dma, 101), reads(host, second.dma, 202)]).toEqual([[undefined], [undefined]]);
  });

  it('needs one entry where both are one', () => {
    const { host, vm, whole, second } = machine({}, BothNumbers);
    vm.allocAndBind(whole, 101, 101);
    expect(reads(host, second.dma, 101)).toEqual([0x1111]);
    vm.end();
    expect(reads(host, second.dma, 101)).toEqual([undefined]);
  });

  it('refuses a number that is another one there, and leaves nothing of it', () => {
    const { host, vm, whole, second } = machine({}, BothNumbers);
    vm.allocAndBind(whole, 101, 202);
    must(vm.container.pasidRequest(allocBytes(303)));
    expect(vm.bind(whole, 202, 303)).toMatchObject({ errno: 'EBUSY' });
    must(vm.container.pasidRequest(allocBytes(101)));
    expect(vm.bind(whole, 404, 101)).toMatchObject({ errno: 'EBUSY' });
    expect([reads(host, second.dma, 404), reads(host, second.dma, 303)]).toEqual([[undefined], [undefined]]);
    must(vm.bind(whole, 505, 303));
    expect([reads(host, second.dma, 505), reads(host, second.dma, 303)]).toEqual([[0x1111], [0x1111]]);
  });

  it("is told of page requests by the guest's number, and answers by the one that asked", () => {
    const { host, vm, whole, second } = machine({ pri: true, ats: true }, BothNumbers);
    vm.allocAndBind(whole, 101, 202);
    const told = vm.listen(whole);
    host.request(second.device, 202, { group: 4 });
    host.request(second.device, 101, { group: 5 });
    expect(told.map(pageRequestOf)).toMatchObject([
      { pasid: 101, group: 4 },
      { pasid: 101, group: 5 },
    ]);
    must(vm.answer(whole, 101, 4));
    must(vm.answer(whole, 101, 5));
    expect(vm.answer(whole, 101, 4)).toMatchObject({ errno: 'EINVAL' });
    expect(second.dma.responses.map(({ pasid, group }) => [pasid, group])).toEqual([
      [202, 4],
      [101, 5],
    ]);
  });
});
