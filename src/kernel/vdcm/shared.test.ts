import { describe, expect, test, vi } from 'vitest';
import { type OpenMdev, openMdev } from '../../../test/vmm/open-mdev.js';
import { DSA_COMMAND as CMD, DSA_CMD_REG, encode } from '../../spec/index.js';
import { GuestPasid, Pasid } from '../ids.js';

const COMMAND = 0xa0;
const NUMBER = Pasid.of(900);

function submit({ host, mdev }: OpenMdev, command: number, operand = 0): void {
  mdev.write32(COMMAND, encode(DSA_CMD_REG, { CMD: command, OPERAND: operand })[0] ?? 0);
  host.runAll();
}

describe('a share of a shared queue has nothing of a default PASID, though others on the function may', () => {
  test('to drain when that goes, until the number is another PASID', () => {
    const { host, idxd, mdev, set } = openMdev();
    const quiesce = vi.spyOn(idxd, 'quiesceGuest');
    mdev.bound({ guest: undefined, host: NUMBER, set: host.kernel.pasids });
    expect(host.run(mdev.drain(NUMBER))).toBeUndefined();
    mdev.unbound(NUMBER);
    expect(quiesce).not.toHaveBeenCalled();
    mdev.bound({ guest: GuestPasid.of(101), host: NUMBER, set });
    mdev.unbound(NUMBER);
    expect(host.run(mdev.drain(NUMBER))).toBeUndefined();
    expect(quiesce).toHaveBeenCalledTimes(1);
  });

  test.each(['DRAIN_ALL', 'ABORT_ALL', 'DISABLE_DEVICE', 'RESET_DEVICE', 'DRAIN_WQ'] as const)(
    'that a command waits for: %s',
    (command) => {
      const it = openMdev();
      const { host, idxd, mdev, set } = it;
      const quiesce = vi.spyOn(idxd, 'quiesceGuest');
      mdev.bound({ guest: undefined, host: NUMBER, set: host.kernel.pasids });
      mdev.bound({ guest: GuestPasid.of(101), host: Pasid.of(700), set });
      for (const each of [CMD.ENABLE_DEVICE, CMD.ENABLE_WQ]) submit(it, each);
      submit(it, CMD[command], command === 'DRAIN_WQ' ? 1 : 0);
      expect(quiesce.mock.calls.map(([pasid]) => pasid)).toEqual([700]);
    },
  );

  test('that a reset abandons', () => {
    const { host, idxd, mdev } = openMdev();
    const quiesce = vi.spyOn(idxd, 'quiesceGuest');
    mdev.bound({ guest: undefined, host: NUMBER, set: host.kernel.pasids });
    host.run(mdev.reset());
    expect(quiesce).not.toHaveBeenCalled();
  });
});
