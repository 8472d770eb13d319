import { describe, expect, it } from 'vitest';
import { fakeContext, finish } from '../../../../test/kernel/fake-platform.js';
import { UNIT_AT, UnitPlatform } from '../../../../test/kernel/unit-platform.js';
import { CCMD_REG, IOTLB_REG, iotlbRegisters, VTD_REGISTER } from '../../../spec/index.js';
import type { Mmio } from '../../platform.js';
import * as inv from './invalidations.js';
import { RegisterInvalidations } from './register-invalidations.js';
import { UnitRegisters } from './registers.js';

const IRO = 0x10;
const { IVA, IOTLB } = iotlbRegisters(IRO);

/** Registers whose commands take a while, and answer what they are told to. */
class SlowRegisters implements Mmio {
  readonly writes: { register: string; words: number[] }[] = [];
  readonly #now = new Map<number, [number, number]>();
  #polls = 0;
  readonly #answers: Readonly<Record<number, (words: Int32Array) => void>>;

  constructor(answers: Readonly<Record<number, (words: Int32Array) => void>>) {
    this.#answers = answers;
  }

  read32(): number {
    return 0;
  }

  write32(): void {}

  read64(address: number, out: Int32Array): void {
    const at = address - UNIT_AT;
    out.set(this.#now.get(at) ?? [0, 0]);
    if (++this.#polls % 4 === 0) this.#answers[at]?.(out);
  }

  write64(address: number, lo: number, hi: number): void {
    const at = address - UNIT_AT;
    const register = [VTD_REGISTER.CCMD, IVA, IOTLB].find(({ offset }) => offset === at)?.name ?? String(at);
    this.writes.push({ register, words: [lo, hi] });
    this.#now.set(at, [lo, hi]);
  }
}

function started(iotlbAnswer: number) {
  const mmio = new SlowRegisters({
    [VTD_REGISTER.CCMD.offset](words) {
      CCMD_REG.ICC.set(words, 0, 0);
      CCMD_REG.CAIG.set(words, 0, CCMD_REG.CIRG.get(words, 0));
    },
    [IOTLB.offset](words) {
      IOTLB_REG.IVT.set(words, 0, 0);
      IOTLB_REG.IAIG.set(words, 0, iotlbAnswer);
    },
  });
  const context = fakeContext(new UnitPlatform().platform);
  const registers = new UnitRegisters(mmio, UNIT_AT);
  return { mmio, context, by: new RegisterInvalidations(context, registers, { name: 'dmar0', iro: IRO }) };
}

describe('invalidation by registers', () => {
  it('gives one command after the other, the address before its command', () => {
    const { mmio, context, by } = started(1);
    const block = { page: 0x1234, order: 2 };
    const wanted = [inv.flushContext(0x6a08, 7), inv.flushDomainPages(7, block), inv.flushDomain(7)];
    expect(finish(context.tasks, by.sync(wanted))).toBeUndefined();
    expect(mmio.writes.map(({ register }) => register)).toEqual(['CCMD', 'IVA', 'IOTLB', 'IOTLB']);
    const [ccmd, iva, pages, domain] = mmio.writes.map(({ words }) => Int32Array.from(words));
    if (ccmd === undefined || iva === undefined || pages === undefined || domain === undefined) return;
    expect([CCMD_REG.SID.get(ccmd, 0), CCMD_REG.DID.get(ccmd, 0), CCMD_REG.CIRG.get(ccmd, 0)]).toEqual([
      0x6a08, 7, 3,
    ]);
    expect(Array.from(iva)).toEqual([0x123_4002, 0]);
    expect([IOTLB_REG.DID.get(pages, 0), IOTLB_REG.IIRG.get(pages, 0)]).toEqual([7, 3]);
    expect([IOTLB_REG.DID.get(domain, 0), IOTLB_REG.IIRG.get(domain, 0)]).toEqual([7, 2]);
  });

  it('says that hardware did nothing, and goes on with the next', () => {
    const { context, by } = started(0);
    const refused = finish(context.tasks, by.sync([inv.flushContexts(), inv.flushIotlb()]));
    expect(refused).toMatchObject({ errno: 'EIO', why: 'dmar0 refused an invalidation by register' });
    expect(finish(context.tasks, by.sync([inv.flushContexts()]))).toBeUndefined();
  });
});
