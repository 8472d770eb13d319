import { describe, expect, it } from 'vitest';
import { UndoLog } from '../base/index.js';
import { DSA_COMMAND as CMD, DSA_CMD_REG, encode } from '../spec/index.js';
import { BothNumbers } from './both-numbers.js';

const [COMMAND, STATUS] = [0xa0, 0xa8];
const ACTIVE = -(2 ** 31);

const word = (command: number, operand: number): number =>
  encode(DSA_CMD_REG, { CMD: command, OPERAND: operand })[0] ?? 0;

/** Registers that keep what is written, with guest PASID 101 behind host PASID 202. */
function machine() {
  const commands: number[] = [];
  const state = { status: 0 };
  const registers = new BothNumbers(new UndoLog(), {
    ...{ name: 'BAR0', bytes: 0x1000 },
    read32: (offset) => (offset === STATUS ? state.status : offset),
    write32: (offset, value) => {
      if (offset !== COMMAND) return;
      commands.push(value);
      state.status = ACTIVE;
    },
  });
  registers.bound({ guest: 101, host: 202 });
  return { registers, commands, state };
}

describe.each([CMD.DRAIN_PASID, CMD.ABORT_PASID])('command %i about a PASID', (command) => {
  it("is done for the host's number, then for the guest's, and active until then", () => {
    const { registers, commands, state } = machine();
    registers.write32(COMMAND, word(command, 101));
    expect([commands, registers.read32(STATUS)]).toEqual([[word(command, 202)], ACTIVE]);
    state.status = 0;
    expect(registers.read32(STATUS)).toBe(ACTIVE);
    expect(commands).toEqual([word(command, 202), word(command, 101)]);
    state.status = 0;
    expect([registers.read32(STATUS), commands.length]).toEqual([0, 2]);
  });

  it('fails as its first part does', () => {
    const { registers, commands, state } = machine();
    registers.write32(COMMAND, word(command, 101));
    state.status = 0x10;
    expect([registers.read32(STATUS), registers.read32(STATUS), commands.length]).toEqual([0x10, 0x10, 1]);
  });

  it.each([
    ['that nobody has', 55],
    ["that is the host's", 202],
  ])('is as it is for a number %s', (_, pasid) => {
    const { registers, commands, state } = machine();
    registers.write32(COMMAND, word(command, pasid));
    state.status = 0;
    expect([commands, registers.read32(STATUS)]).toEqual([[word(command, pasid)], 0]);
  });

  it('is as it is once the number is unbound', () => {
    const { registers, commands } = machine();
    registers.unbound(202);
    registers.write32(COMMAND, word(command, 101));
    expect(commands).toEqual([word(command, 101)]);
  });

  it('meets one that is active, in the function', () => {
    const { registers, commands, state } = machine();
    registers.write32(COMMAND, word(command, 101));
    registers.write32(COMMAND, word(CMD.DRAIN_ALL, 0));
    expect(commands).toEqual([word(command, 202), word(CMD.DRAIN_ALL, 0)]);
    state.status = 0;
    registers.write32(COMMAND, word(command, 101));
    expect(commands.slice(2)).toEqual([word(command, 101), word(command, 101)]);
  });

  it('goes no further after a reset', () => {
    const { registers, commands, state } = machine();
    registers.write32(COMMAND, word(command, 101));
    registers.reset();
    state.status = 0;
    expect([registers.read32(STATUS), commands.length]).toEqual([0, 1]);
  });
});

it('leaves everything else alone', () => {
  const { registers, commands } = machine();
  registers.write32(0x10, 5);
  registers.write32(COMMAND, word(CMD.ENABLE_WQ, 101));
  expect([registers.read32(0x10), commands]).toEqual([0x10, [word(CMD.ENABLE_WQ, 101)]]);
});
