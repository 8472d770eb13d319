/** What a virtual accelerator makes of its configuration space. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { PCI_ENABLED, TestHost, value } from '../../../test/vmm/host.js';
import { type IoasidSet, ioasidAlloc, ioasidAttachSpid, ioasidSetAlloc } from '../../ioasid/index.js';
import {
  DSA_COMMAND as CMD,
  DSA_CMD_REG,
  DSA_CMDSTS_REG,
  DSA_GENSTS_REG,
  DSA_SWERROR_REG,
  DSA_TABLE,
  DSA_WQCFG,
  DSA_COMMAND_ERROR as ERROR,
  encode,
  type Field,
} from '../../spec/index.js';
import { GuestPasid, Pasid } from '../ids.js';
import type { IdxdDevice, Mdev } from '../index.js';
import type { PciState } from './pci-state.js';

const [GENCTRL, GENSTS, INTCAUSE, COMMAND, STATUS, SWERROR] = [0x88, 0x90, 0x98, 0xa0, 0xa8, 0xc0];
const PASID_AT = DSA_TABLE.WQCFG + 8;
const [SHARED, DEDICATED] = [0, 1] as const;
const [DISABLED, ENABLED, HALTED] = [0, 1, 3];
const PCI_CHANGED = 0x51;
const { SUCCESS } = ERROR;

let host: TestHost;
let idxd: IdxdDevice;
let set: IoasidSet;
let interrupts: number[];

beforeEach(() => {
  boot(1);
});

function boot(seed: number): void {
  host = new TestHost(seed);
  const [found] = host.kernel.idxds;
  if (found === undefined) throw new Error('no accelerator');
  idxd = found;
  set = value(ioasidSetAlloc(host.ioasids, { type: 'none', quota: 10 }));
  interrupts = [];
}

/** A virtual device with guest PASID 101 bound, and named if it can be. */
function opened(wq: 0 | 1, pci: Partial<PciState> = {}): Mdev {
  const mdev = host.newMdev(`mdev${wq}`, wq);
  expect(mdev.open(set, (vector) => void interrupts.push(vector))).toBeUndefined();
  mdev.configWritten({ ...PCI_ENABLED, ...pci });
  bind(mdev, 101);
  name(mdev);
  return mdev;
}

const name = (mdev: Mdev): void =>
  mdev.write32(PASID_AT, encode(DSA_WQCFG, { PASID: 101, PASID_EN: 1 })[2] ?? 0);

function bind(mdev: Mdev, spid: number): number {
  const id = value(ioasidAlloc(set, 700, 800));
  expect(ioasidAttachSpid(set, id, spid)).toBeUndefined();
  mdev.bound({ guest: GuestPasid.of(spid), host: Pasid.of(id), set });
  return id;
}

function submit(mdev: Mdev, command: number, operand = 0): void {
  mdev.write32(COMMAND, encode(DSA_CMD_REG, { CMD: command, OPERAND: operand })[0] ?? 0);
}

/** Has a command carried out; its error. */
function run(mdev: Mdev, command: number, operand = 0): number {
  submit(mdev, command, operand);
  host.runAll();
  return field(mdev, STATUS, DSA_CMDSTS_REG.ERR);
}

const enable = (mdev: Mdev): number[] => [run(mdev, CMD.ENABLE_DEVICE), run(mdev, CMD.ENABLE_WQ)];

function field(mdev: Mdev, offset: number, of: Field): number {
  return of.get(
    Int32Array.from({ length: 16 }, (_, i) => mdev.read32(offset + i * 4)),
    0,
  );
}

const stateOf = (mdev: Mdev): number => field(mdev, GENSTS, DSA_GENSTS_REG.STATE);

/** The state of the real queue, and the PASID there. */
function real(wq: number): readonly [state: number, pasid: number] {
  const words = idxd.registers.readAt(idxd.registers.wqcfgAt(wq), DSA_WQCFG.bytes);
  return [DSA_WQCFG.STATE.get(words, 0), DSA_WQCFG.PASID.get(words, 0)];
}

describe('a virtual accelerator is enabled', () => {
  test.each([
    ['as a bus master only', SHARED, { isBusMaster: false }, [ERROR.BUS_MASTER, ERROR.DEVICE_NOT_ENABLED]],
    ['with PASIDs only where they are', SHARED, { isPasidEnabled: false }, [SUCCESS, ERROR.WQ_PASID_ENABLE]],
    ['with one PASID too', DEDICATED, { isPasidEnabled: false }, [SUCCESS, ERROR.WQ_PASID_ENABLE]],
    ['to block where it may ask', DEDICATED, { isPriEnabled: false }, [SUCCESS, ERROR.WQ_BLOCK_ON_FAULT]],
    ['without a word of ATS', SHARED, { isAtsEnabled: false }, [SUCCESS, SUCCESS]],
  ] as const)('%s (queue %i)', (_, wq, pci, errors) => {
    expect(enable(opened(wq, pci))).toEqual(errors);
    expect(real(DEDICATED)).toEqual([DISABLED, 0]);
  });

  test('without PASIDs where its queue names none', () => {
    const mdev = opened(DEDICATED, { isPasidEnabled: false });
    const id = value(ioasidAlloc(host.kernel.pasids, 900, 999));
    mdev.bound({ guest: undefined, host: Pasid.of(id), set: host.kernel.pasids });
    mdev.write32(PASID_AT, 0);
    expect([enable(mdev), real(DEDICATED)]).toEqual([
      [SUCCESS, SUCCESS],
      [ENABLED, id],
    ]);
  });

  test('by each virtual machine anew', () => {
    const mdev = opened(DEDICATED);
    enable(mdev);
    host.run(mdev.close());
    expect(mdev.open(set, () => {})).toBeUndefined();
    expect(run(mdev, CMD.ENABLE_DEVICE)).toBe(ERROR.BUS_MASTER);
  });
});

describe('a virtual accelerator that is enabled', () => {
  test.each([
    { isBusMaster: false },
    { isPasidEnabled: false },
    { isPrivilegedEnabled: true },
    { isAtsEnabled: false },
    { isPriEnabled: false },
  ])('halts when configuration space changes: %j', (change) => {
    const mdev = opened(DEDICATED);
    expect(enable(mdev)).toEqual([SUCCESS, SUCCESS]);
    mdev.write32(GENCTRL, 3);
    mdev.configWritten({ ...PCI_ENABLED, ...change });
    expect([stateOf(mdev), field(mdev, SWERROR, DSA_SWERROR_REG.ERROR)]).toEqual([HALTED, PCI_CHANGED]);
    expect([mdev.read32(INTCAUSE), interrupts]).toEqual([0x11, [0, 0]]);
    host.runAll();
    expect(real(DEDICATED)).toEqual([DISABLED, 0]);
    expect(host.kinds().filter((kind) => kind === 'vdcm:halt')).toHaveLength(1);
  });

  test('is led out of that by a reset of the device alone', () => {
    const mdev = opened(DEDICATED);
    enable(mdev);
    mdev.configWritten({ ...PCI_ENABLED, isBusMaster: false });
    for (const command of [CMD.ENABLE_DEVICE, CMD.DRAIN_ALL, CMD.RESET_WQ, CMD.REQUEST_INT_HANDLE]) {
      expect(run(mdev, command)).toBe(ERROR.HALTED);
    }
    expect([run(mdev, CMD.RESET_DEVICE), stateOf(mdev)]).toEqual([SUCCESS, DISABLED]);
    expect(field(mdev, SWERROR, DSA_SWERROR_REG.ERROR)).toBe(PCI_CHANGED);
    expect(run(mdev, CMD.ENABLE_DEVICE)).toBe(ERROR.BUS_MASTER);
    mdev.configWritten(PCI_ENABLED);
    name(mdev);
    expect([enable(mdev), real(DEDICATED)[0]]).toEqual([[SUCCESS, SUCCESS], ENABLED]);
  });

  test('is not told of a write that changes nothing, and one that is disabled does not care', () => {
    const mdev = opened(DEDICATED);
    enable(mdev);
    mdev.configWritten({ ...PCI_ENABLED });
    run(mdev, CMD.DISABLE_DEVICE);
    mdev.configWritten({ ...PCI_ENABLED, isBusMaster: false });
    expect([stateOf(mdev), field(mdev, SWERROR, DSA_SWERROR_REG.VALID)]).toEqual([DISABLED, 0]);
  });

  test('abandons what it has on a shared queue, and of what another has too, it waits', () => {
    const [mdev, other] = [opened(SHARED), host.newMdev('other')];
    expect(other.open(set, () => {})).toBeUndefined();
    const [own, common] = [Pasid.of(700), bind(mdev, 102)];
    other.bound({ guest: GuestPasid.of(102), host: Pasid.of(common), set });
    enable(mdev);
    const quiesce = vi.spyOn(idxd, 'quiesceGuest');
    mdev.configWritten({ ...PCI_ENABLED, isPasidEnabled: false });
    host.runAll();
    expect(quiesce.mock.calls).toEqual([
      [own, true],
      [common, false],
    ]);
  });

  test('does one thing for any number of changes', () => {
    const mdev = opened(SHARED);
    enable(mdev);
    for (let i = 0; i < 20; i++) mdev.configWritten({ ...PCI_ENABLED, isBusMaster: i % 2 === 1 });
    expect(host.tasks.tasks.map(({ name: task }) => task)).toEqual(['mdev0 halts']);
    host.runAll();
  });
});

describe('a halt', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('may come while a queue is being enabled (%i steps on)', (steps) => {
    const mdev = opened(DEDICATED);
    run(mdev, CMD.ENABLE_DEVICE);
    submit(mdev, CMD.ENABLE_WQ);
    host.some(steps);
    mdev.configWritten({ ...PCI_ENABLED, isBusMaster: false });
    host.runAll();
    expect([real(DEDICATED)[0], stateOf(mdev)]).toEqual([DISABLED, HALTED]);
  });

  test('is over before the reset that leads out of it', () => {
    for (let seed = 1; seed <= 20; seed++) {
      boot(seed);
      const mdev = opened(DEDICATED);
      enable(mdev);
      mdev.configWritten({ ...PCI_ENABLED, isBusMaster: false });
      mdev.configWritten(PCI_ENABLED);
      for (const command of [CMD.RESET_DEVICE, CMD.ENABLE_DEVICE, CMD.ENABLE_WQ]) {
        name(mdev);
        submit(mdev, command);
        // A guest polls, and goes on at once.
        while (field(mdev, STATUS, DSA_CMDSTS_REG.ACTIVE) === 1) host.some(1);
      }
      host.runAll();
      expect(real(DEDICATED)[0]).toBe(ENABLED);
    }
  });

  test('of one that stands still leaves its queue disabled when it goes on', () => {
    const mdev = opened(DEDICATED);
    enable(mdev);
    host.run(mdev.suspend());
    mdev.configWritten({ ...PCI_ENABLED, isBusMaster: false });
    host.some(1000);
    host.run(mdev.resume());
    expect([real(DEDICATED)[0], stateOf(mdev)]).toEqual([DISABLED, HALTED]);
  });

  test.each(['reset', 'close', 'remove'] as const)('does not outlive a %s', (what) => {
    const mdev = opened(DEDICATED);
    enable(mdev);
    mdev.configWritten({ ...PCI_ENABLED, isBusMaster: false });
    host.run(mdev[what]());
    expect([host.tasks.tasks, real(DEDICATED)]).toEqual([[], [DISABLED, 0]]);
    if (what === 'reset') expect(stateOf(mdev)).toBe(DISABLED);
  });

  test('is not for one that its virtual machine has lost', () => {
    const mdev = opened(DEDICATED);
    enable(mdev);
    mdev.abandon();
    mdev.configWritten({ ...PCI_ENABLED, isBusMaster: false });
    expect([stateOf(mdev), host.tasks.tasks]).toEqual([ENABLED, []]);
  });
});
