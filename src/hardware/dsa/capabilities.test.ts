/** What the capability registers say is what there is: each operation and command that they have, and no other. */
import { describe, expect, test } from 'vitest';
import { descriptor, RECORD, Rig, SHARED } from '../../../test/dsa/rig.js';
import {
  DSA_COMMAND_ERROR,
  DSA_COMMAND_NAMES,
  DSA_GENCAP_REG,
  DSA_GRPCAP_REG,
  DSA_NOOP,
  DSA_OPCODE_NAMES,
  DSA_WQCAP_REG,
  DSA_FLAG as FLAG,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import type { DsaOptions } from '../index.js';

const OPCAP = 0x40;
const CMDCAP = 0xb0;
const MOST_COMMANDS = 32;

/** The numbers of the bits that are set from a register on. */
function bits(rig: Rig, at: number, words: number): number[] {
  return Array.from({ length: words * 32 }, (_, i) => i).filter(
    (i) => ((rig.read(at + Math.floor(i / 32) * 4) >>> (i % 32)) & 1) === 1,
  );
}

test('every operation that is advertised is known to the device, and no other', () => {
  const rig = new Rig();
  rig.start([SHARED]);
  const advertised = bits(rig, OPCAP, 8);
  const known = Array.from({ length: 256 }, (_, OPCODE) => OPCODE).filter((OPCODE) => {
    // Of most there is something wrong with this: but not that there is no such operation.
    rig.submit(descriptor(DSA_NOOP, { OPCODE, FLAGS: FLAG.CRAV | FLAG.RCR, RECORD }));
    rig.run();
    return rig.status !== STATUS.BAD_OPCODE;
  });
  expect(known).toEqual(advertised);
  const names: Readonly<Record<number, string>> = DSA_OPCODE_NAMES;
  expect(advertised.map((opcode) => names[opcode])).not.toContain(undefined);
});

describe.each<[string, Partial<DsaOptions>]>([
  ['with interrupt handles', { interruptHandles: 4 }],
  ['without', {}],
])('a device %s', (_, options) => {
  test('has every command that it advertises, and no other', () => {
    const rig = new Rig(options);
    rig.enablePci();
    const advertised = bits(rig, CMDCAP, 2);
    const known = Array.from({ length: MOST_COMMANDS }, (_, command) => command).filter(
      (command) => rig.command(command, 0) !== DSA_COMMAND_ERROR.INVALID_COMMAND,
    );
    expect(known).toEqual(advertised);
    const names: Readonly<Record<number, string>> = DSA_COMMAND_NAMES;
    expect(advertised.map((command) => names[command])).not.toContain(undefined);
  });
});

test.each([
  [
    'GENCAP',
    0x10,
    DSA_GENCAP_REG,
    [
      ...['BLOCK_ON_FAULT', 'OVERLAP_COPY', 'CACHE_CONTROL', 'CMD_CAP', 'FAULT_INFO', 'EVL_SUPPORT'],
      ...['MAX_XFER_SHIFT', 'MAX_BATCH_SHIFT', 'IMS_SIZE', 'CONFIG'],
    ],
  ],
  [
    'WQCAP',
    0x20,
    DSA_WQCAP_REG,
    [
      ...['TOTAL_SIZE', 'WQS', 'WQCFG_SIZE', 'SHARED', 'DEDICATED', 'ATS', 'PRIORITY', 'OCCUPANCY'],
      ...['OP_CONFIG', 'PRS'],
    ],
  ],
  ['GRPCAP', 0x30, DSA_GRPCAP_REG, ['GROUPS']],
] as const)('%s has what is there, and nothing else', (_, at, layout, there) => {
  const rig = new Rig();
  const words = Int32Array.of(rig.read(at), rig.read(at + 4));
  const said = layout.fields.filter((field) => field.get(words, 0) !== 0).map(({ name }) => name);
  expect(said).toEqual(there);
});
