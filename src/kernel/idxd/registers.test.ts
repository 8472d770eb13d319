/** Commands to an accelerator, as its driver takes their ends. */
import { expect, test } from 'vitest';
import { FakePlatform, fakeContext, finish } from '../../../test/kernel/fake-platform.js';
import { DSA_CMDSTS_REG, DSA_COMMAND, DSA_COMMAND_ERROR, encode } from '../../spec/index.js';
import { DsaRegisters, REGISTER } from './registers.js';

/** A device whose commands are over at once, with an error. */
function failing(error: number) {
  const [status = 0] = encode(DSA_CMDSTS_REG, { ERR: error });
  const read32 = (address: number): number => (address === REGISTER.CMDSTS.offset ? status : 0);
  const mmio = { read32, write32() {}, read64() {}, write64() {} };
  const context = fakeContext(new FakePlatform({ mmio }));
  const registers = new DsaRegisters(context, 0, 'dsa0');
  return {
    command: () => finish(context.tasks, registers.command(DSA_COMMAND.DRAIN_WQ, 1)),
    quiesce: () => finish(context.tasks, registers.quiesce(DSA_COMMAND.DRAIN_WQ, 1)),
  };
}

test('a queue that is not enabled has been drained', () => {
  const device = failing(DSA_COMMAND_ERROR.WQS_NOT_ENABLED);
  expect(device.quiesce()).toBeUndefined();
  expect(device.command()).toMatchObject({
    errno: 'EIO',
    why: 'dsa0: "drain WQ" failed with error 0x32',
  });
});

test('one that fails otherwise has not', () => {
  const device = failing(DSA_COMMAND_ERROR.HARDWARE_ERROR);
  expect(device.quiesce()).toMatchObject({ errno: 'EIO' });
});
