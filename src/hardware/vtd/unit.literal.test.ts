/**
 * A unit against the literal translation, over machines at random in every mode (legacy, first stage, second
 * stage, nested, pass-through). Each request is made twice, so that it is judged from the tables and from the
 * caches. The one difference: the unit marks entries accessed and dirty, which a nested second stage may refuse.
 */
import { expect, test } from 'vitest';
import { literalTranslation } from '../../../test/vtd/literal-translation.js';
import { memoryOf, requestOf } from '../../../test/vtd/machine-memory.js';
import { Draw, type RandomMachine, randomMachine, randomRequest } from '../../../test/vtd/random-machine.js';
import { Random, RandomChooser } from '../../base/index.js';
import { FAULT } from '../../spec/index.js';
import { emptyCompletion } from '../pci/root-complex.js';
import { VtdUnit } from './unit.js';

const MACHINES = 400;
const REQUESTS = 20;
/** Where CAP and ECAP put registers: of no meaning to tables, but to be sane. */
const FRO_NFR = (0x3ffn << 24n) | (0xffn << 40n);
const IRO = 0x3ffn << 8n;
/** Scalable mode: a machine that is in it has it. */
const SMTS = 1n << 43n;

function unitOf(machine: RandomMachine, seed: number): VtdUnit {
  const unit = new VtdUnit({
    name: 'dmar0',
    cap: (machine.cap & ~FRO_NFR) | (0x22n << 24n),
    ecap: (machine.ecap & ~IRO) | (0xfn << 8n) | SMTS,
    hostAddressWidth: Number(machine.hostAddressWidth),
    memory: memoryOf(machine.words, { first: 0, last: machine.lastFrame }),
    downstream: { invalidateDeviceTlb() {}, pageGroupResponse() {}, interrupt() {} },
    chooser: new RandomChooser(new Random(seed)),
    caches: { context: 2, pasid: 3, iotlb: 8 },
  });
  const mode = machine.isScalable ? 0x400n : 0n;
  unit.write64(0x20, Number(BigInt.asIntN(32, machine.root | mode)), Number(machine.root >> 32n));
  unit.write32(0x18, (1 << 31) | (1 << 30));
  return unit;
}

test(`of ${REQUESTS} requests, each made twice, in each of ${MACHINES} machines`, () => {
  let granted = 0;
  let unmarkable = 0;
  for (let seed = 0; seed < MACHINES; seed++) {
    const machine = randomMachine(seed);
    const unit = unitOf(machine, seed);
    const draw = new Draw(seed + MACHINES);
    for (let i = 0; i < REQUESTS; i++) {
      const request = randomRequest(draw);
      const expected = literalTranslation(machine, request);
      const asked = { ...requestOf(request), isTranslated: false, offset: 0xabc, length: 4 };
      for (const from of ['tables', 'caches']) {
        const out = emptyCompletion();
        const passes = unit.remap(asked, out);
        if (!passes && unit.translator.fault === FAULT.NESTED_WRITE_DENIED) {
          unmarkable++;
          continue;
        }
        const actual = passes
          ? { physical: (BigInt(out.frame) << 12n) | 0xabcn }
          : { fault: unit.translator.fault };
        expect({ seed, from, request, ...actual }).toEqual({
          ...{ seed, from, request },
          ...('fault' in expected ? expected : { physical: expected.physical }),
        });
        if (passes) granted++;
      }
    }
  }
  expect(granted).toBeGreaterThan(MACHINES);
  expect(unmarkable).toBeGreaterThan(0);
}, 60_000);
