/** The virtual command registers: a command goes to the other end, and its answer comes back when that likes. */
import { expect, test } from 'vitest';
import { ECAP, UnitBench } from '../../../test/vtd/unit-bench.js';
import type { VirtualCommand, VirtualResponse } from './virtual-commands.js';

const VCS = 1n << 44n;
const VCMD = 0xe00;
const VCRSP = 0xe10;
const VCCAP = 0xe30;

function withVmm() {
  const commands: VirtualCommand[] = [];
  const answers: ((response: VirtualResponse) => void)[] = [];
  const bench = new UnitBench({
    ecap: ECAP | VCS,
    virtualCommands: {
      allocatesPasids: true,
      submit: (command, respond) => {
        commands.push(command);
        answers.push(respond);
      },
    },
  });
  return { unit: bench.unit, commands, answers };
}

test('a command is in progress until it is answered', () => {
  const { unit, commands, answers } = withVmm();
  expect([unit.read32(VCCAP), unit.read32(VCRSP)]).toEqual([1, 0]);
  unit.write64(VCMD, 1, 0);
  expect([commands, unit.read32(VCRSP)]).toEqual([[{ code: 1, operand: 0 }], 1]);
  answers[0]?.({ status: 0, result: 0x12345 });
  expect([unit.read32(VCRSP), unit.read32(VCRSP + 4)]).toEqual([0x23450000, 1]);
});

test('the operand, a refusal, and an answer too many', () => {
  const { unit, commands, answers } = withVmm();
  unit.write32(VCMD + 4, 0x1);
  expect(commands).toEqual([]);
  unit.write32(VCMD, (0x2345 << 16) | 2);
  answers[0]?.({ status: 16, result: 0 });
  answers[0]?.({ status: 0, result: 7 });
  expect([commands, unit.read32(VCRSP)]).toEqual([[{ code: 2, operand: 0x12345 }], 32]);
});

test('a command while another is in progress is lost', () => {
  const { unit, commands } = withVmm();
  unit.write64(VCMD, 1, 0);
  unit.write64(VCMD, 2, 0);
  expect(commands.length).toBe(1);
});

test('nobody at the other end: no such capability, and no such registers', () => {
  const { unit } = new UnitBench({ ecap: ECAP | VCS });
  unit.write64(VCMD, 1, 0);
  expect([unit.read32(0x14) & (1 << 12), unit.read32(VCCAP), unit.read32(VCRSP)]).toEqual([0, 0, 0]);
});

test('what the model has not is not offered', () => {
  const { unit } = new UnitBench({ ecap: ECAP | (1n << 3n) | (1n << 4n) | (1n << 51n) });
  expect([unit.read32(0x10) & 0x18, unit.read32(0x14) & (1 << 19), unit.read32(0xb8)]).toEqual([0, 0, 0]);
});
