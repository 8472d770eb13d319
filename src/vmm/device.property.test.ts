/**
 * A virtual accelerator goes by its configuration space as a real one does: the same writes and commands to both leave
 * the same errors and states, whether they make sense or not.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEDICATED, Rig, SHARED, type WqFields } from '../../test/dsa/rig.js';
import { TestHost, value } from '../../test/vmm/host.js';
import {
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidDetachSpid,
  ioasidFree,
  ioasidSetAlloc,
} from '../ioasid/index.js';
import { GuestPasid, Pasid } from '../kernel/index.js';
import {
  DSA_COMMAND as CMD,
  DSA_CMD_REG,
  DSA_CMDSTS_REG,
  DSA_GENSTS_REG,
  DSA_TABLE,
  DSA_WQCFG,
  EXTENDED_CAPABILITY,
  encode,
} from '../spec/index.js';
import { VirtualFunction } from './device.js';

const [GENCTRL, GENSTS, INTCAUSE, COMMAND, STATUS, SWERROR] = [0x88, 0x90, 0x98, 0xa0, 0xa8, 0xc0];
const SPID = 101;
const WQ_STATE_AT = DSA_TABLE.WQCFG + (DSA_WQCFG.STATE.low >> 5) * 4;
const PASID_AT = DSA_TABLE.WQCFG + (DSA_WQCFG.PASID.low >> 5) * 4;
const ALL_INTERRUPTS = 7;

/** One of the two. */
interface Accelerator {
  readonly writeConfig: (offset: number, bytes: number, value: number) => void;
  readonly readConfig: (offset: number, bytes: number) => number;
  readonly write: (offset: number, value: number) => void;
  readonly read: (offset: number) => number;
  /** Lets it come to rest. */
  readonly run: () => void;
  /** Its queue, and what that is named, after what may have reset them. */
  readonly configure: () => void;
}

type Kind = 'shared' | 'dedicated';

function real(kind: Kind): Accelerator {
  const rig = new Rig({ wqs: 1, groups: 1, engines: 1, entries: 16 });
  const fields: WqFields = kind === 'shared' ? SHARED : { ...DEDICATED, SIZE: 4, THRESHOLD: 0 };
  return {
    writeConfig: (...args) => rig.device.writeConfig(...args),
    readConfig: (...args) => rig.device.readConfig(...args),
    write: (...args) => rig.write(...args),
    read: (offset) => rig.read(offset),
    run: () => rig.run(),
    configure: () => {
      rig.configureWq(0, fields);
      rig.configureGroup(0, 1, 1);
    },
  };
}

const host = new TestHost();
const set = value(ioasidSetAlloc(host.ioasids, { type: 'none', quota: 10 }));

function virtual(kind: Kind): Accelerator & { readonly end: () => void } {
  const mdev = host.newMdev('mdev', kind === 'shared' ? 0 : 1);
  const device = new VirtualFunction({
    ...{ name: 'vm1 dsa0', rid: 0x0100, mdev },
    shown: { pasidBits: 20, deviceTlbs: true, pageRequests: true },
    message: () => {},
    moved: () => {},
  });
  expect(device.open(set, () => {})).toBeUndefined();
  const id = value(ioasidAlloc(set, 700, 800));
  ioasidAttachSpid(set, id, SPID);
  mdev.bound({ guest: GuestPasid.of(SPID), host: Pasid.of(id), set });
  const [registers] = device.bars;
  return {
    writeConfig: (...args) => device.writeConfig(...args),
    readConfig: (...args) => device.readConfig(...args),
    write: (...args) => registers?.write32(...args),
    read: (offset) => registers?.read32(offset) ?? 0,
    run: () => host.runAll(),
    configure: () => registers?.write32(PASID_AT, encode(DSA_WQCFG, { PASID: SPID, PASID_EN: 1 })[2] ?? 0),
    end: () => {
      mdev.unbound(Pasid.of(id));
      host.run(mdev.remove());
      ioasidDetachSpid(set, id);
      ioasidFree(set, id);
      host.runAll();
    },
  };
}

type Act = (to: Accelerator) => void;

/** Where an extended capability is. */
function capability({ readConfig }: Accelerator, id: number): number {
  let at = 0x100;
  while (readConfig(at, 2) !== id) at = readConfig(at + 2, 2) >>> 4;
  return at;
}

const enables: readonly (readonly [id: number, offset: number, bit: number])[] = [
  [EXTENDED_CAPABILITY.PASID, 6, 1],
  [EXTENDED_CAPABILITY.PRI, 4, 1],
  [EXTENDED_CAPABILITY.ATS, 6, 0x8000],
];

const command =
  (of: number, operand = 0): Act =>
  (to) => {
    to.write(COMMAND, encode(DSA_CMD_REG, { CMD: of, OPERAND: operand, INT: 1 })[0] ?? 0);
    to.run();
    if (of === CMD.RESET_DEVICE || of === CMD.RESET_WQ) to.configure();
  };

const enableAll: Act = (to) => {
  to.writeConfig(4, 2, 6);
  for (const [id, offset, bit] of enables) to.writeConfig(capability(to, id) + offset, 2, bit);
};

const ACTS: readonly (readonly [name: string, act: Act])[] = [
  ['bus mastering on', (to) => to.writeConfig(4, 2, 6)],
  ['bus mastering off', (to) => to.writeConfig(4, 2, 2)],
  ...enables.flatMap(([id, offset, bit]): readonly (readonly [string, Act])[] => [
    [`capability ${id} on`, (to) => to.writeConfig(capability(to, id) + offset, 2, bit)],
    [`capability ${id} off`, (to) => to.writeConfig(capability(to, id) + offset, 2, 0)],
  ]),
  ['all on', enableAll],
  ['enable device', command(CMD.ENABLE_DEVICE)],
  ['enable queue', command(CMD.ENABLE_WQ)],
  ['both', (to) => [CMD.ENABLE_DEVICE, CMD.ENABLE_WQ].forEach((each) => void command(each)(to))],
  ['disable device', command(CMD.DISABLE_DEVICE)],
  ['disable queue', command(CMD.DISABLE_WQ, 1)],
  ['reset device', command(CMD.RESET_DEVICE)],
  ['reset queue', command(CMD.RESET_WQ, 1)],
  ['drain all', command(CMD.DRAIN_ALL)],
  ['allow interrupts', (to) => to.write(GENCTRL, ALL_INTERRUPTS)],
  ['clear causes', (to) => to.write(INTCAUSE, -1)],
  ['clear errors', (to) => to.write(SWERROR, 3)],
];

/** What a driver sees. */
function seen(of: Accelerator): Readonly<Record<string, number>> {
  of.run();
  const word = (offset: number): Int32Array => Int32Array.of(of.read(offset));
  return {
    error: DSA_CMDSTS_REG.ERR.get(word(STATUS), 0),
    device: DSA_GENSTS_REG.STATE.get(word(GENSTS), 0),
    queue: (of.read(WQ_STATE_AT) >>> (DSA_WQCFG.STATE.low % 32)) & 3,
    causes: of.read(INTCAUSE),
    recorded: of.read(SWERROR),
  };
}

test.each(['shared', 'dedicated'] as const)(
  'a virtual accelerator on a %s queue goes by configuration space as a real one does',
  (kind) => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...ACTS), { maxLength: 24 }), (acts) => {
        const [one, other] = [real(kind), virtual(kind)];
        try {
          for (const each of [one, other]) each.configure();
          for (const [name, act] of [['all on', enableAll] as const, ...acts]) {
            for (const each of [one, other]) act(each);
            expect([name, seen(other)]).toEqual([name, seen(one)]);
          }
        } finally {
          other.end();
        }
      }),
      { numRuns: 300 },
    );
  },
);
