import { describe, expect, it } from 'vitest';
import { Ledger } from './ledger.js';
import { NOBODY } from './numbering.js';

const PART = 'dsa0';
const WHOLE = 'dsa1';

/** `vm1` has `dsa1` whole. Alice is guest PASID 101 and host PASID 202, bob 202 and 303. */
function ledgerOf(takesBothNumbers: boolean): Ledger {
  const ledger = new Ledger();
  const guest = ledger.addGuest('vm1');
  ledger.numbering.assign(WHOLE, { guest, takesBothNumbers });
  const give = (mm: string, number: number, pasid: number): void => {
    ledger.pasids.given(pasid, mm, 0);
    ledger.pasids.named(pasid, number);
    guest.pasids.given(number, mm, 0);
    guest.pasids.backed(number, pasid);
  };
  give('vm1/alice', 101, 202);
  give('vm1/bob', 202, 303);
  ledger.pasids.given(404, 'erin', 0);
  return ledger;
}

describe('numbers of devices', () => {
  it("are the host's, and on a whole function its guest's", () => {
    const { numbering } = ledgerOf(false);
    expect([numbering.idOf(PART, 202), numbering.idOf(WHOLE, 202), numbering.idOf(WHOLE, 101)]).toEqual([
      202, 303, 202,
    ]);
    expect([numbering.idOf(WHOLE, 303), numbering.idOf(WHOLE, 404)]).toEqual([NOBODY, NOBODY]);
    expect([numbering.numbersOf(PART, 202), numbering.numbersOf(WHOLE, 202)]).toEqual([[202], [101]]);
    expect(numbering.numbersOf(WHOLE, 404)).toEqual([]);
  });

  it('may be both, where no guest has the number', () => {
    const { numbering } = ledgerOf(true);
    expect([numbering.idOf(WHOLE, 303), numbering.numbersOf(WHOLE, 303)]).toEqual([303, [202, 303]]);
    expect([numbering.idOf(WHOLE, 202), numbering.idsOf(WHOLE, 202)]).toEqual([303, [303, 202]]);
    expect(numbering.numbersOf(WHOLE, 202)).toEqual([101]);
    expect(numbering.idOf(WHOLE, 404)).toBe(NOBODY);
  });

  it('are those of whom the device is bound to, if one number is two', () => {
    const { numbering, opens } = ledgerOf(true);
    opens.opened('vm1/alice', { device: WHOLE, queue: 'dsa1/common', via: 'whole/common' });
    expect(numbering.idOf(WHOLE, 202)).toBe(202);
  });

  it('go on to the next whom the guest gives one', () => {
    const ledger = ledgerOf(false);
    const guest = ledger.guest('vm1');
    guest?.pasids.takenBack(101, 1);
    expect(ledger.numbering.numbersOf(WHOLE, 202)).toEqual([101]);
    guest?.pasids.given(101, 'vm1/carol', 2);
    guest?.pasids.backed(101, 505);
    expect([ledger.numbering.numbersOf(WHOLE, 202), ledger.numbering.idOf(WHOLE, 101)]).toEqual([[], 505]);
  });

  it('are told apart in caches by the device that had the domain last', () => {
    const { numbering } = ledgerOf(false);
    numbering.tookIn(PART, 3);
    numbering.tookIn(WHOLE, 4);
    const isTagOf = (domain: number): boolean[] =>
      [202, 303].map((pasid) => numbering.isTagOf(pasid, { domain, number: 202 }));
    expect([isTagOf(3), isTagOf(4)]).toEqual([
      [true, false],
      [false, true],
    ]);
    numbering.tookIn(PART, 4);
    expect(isTagOf(4)).toEqual([true, false]);
  });
});
