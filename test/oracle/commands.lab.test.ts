/**
 * Commands by register and the queue's errors, done to both twins one after the other, and every register that
 * answers compared. Where QEMU answers otherwise, both answers stand here, with the quirk's name.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findLab } from '../lab/machines.js';
import { DEVICES, KINDS, OracleMachine } from './machine.js';
import { ModelTwin } from './model-twin.js';
import { QemuTwin } from './qemu-twin.js';
import type { Step } from './twin.js';

const lab = findLab();
const QUEUE = 0x20_0000n;
const TE = 1n << 31n;
const SRTP = 1n << 30n;
const QIE = 1n << 26n;

const write = (offset: number, value: bigint, bytes: 4 | 8 = 4): Step => ({
  do: 'write',
  offset,
  bytes,
  value,
});
const read = (offset: number, bytes: 4 | 8 = 4): Step => ({ do: 'read', offset, bytes });
const store = (address: bigint, ...words: bigint[]): Step => ({ do: 'store', address, words });
const dma = (device: number, address: bigint): Step => ({ do: 'dma', device, address, slot: 0 });

const [GCMD, GSTS, RTADDR, CCMD, FSTS, FECTL] = [0x18, 0x1c, 0x20, 0x28, 0x34, 0x38];
const [IQH, IQT, IQA, ICS, IECTL, IOTLB, IVA, FRCD] = [0x80, 0x88, 0x90, 0x9c, 0xa0, 0xf8, 0xf0, 0x220];
const RECORD = [read(FRCD, 8), read(FRCD + 8, 8), read(FSTS), read(FECTL)];

interface Command {
  readonly what: string;
  readonly isScalable?: true;
  readonly steps: readonly Step[];
  /** What QEMU answers instead, by the place of the answer among those that are not empty, and why. */
  readonly quirk?: { readonly why: string; readonly theirs: Readonly<Record<number, bigint | boolean>> };
}

/** A legacy context entry for every device: its page 0 leads to frame 0x2000, and page 1 nowhere. */
const TABLES: readonly Step[] = [
  store(0x21_0000n, 0x21_1001n, 0n),
  ...DEVICES.map(({ rid }) => store(0x21_1000n + BigInt(rid * 16), 0x22_0001n, 0x102n)),
  ...[0x22_0000n, 0x22_1000n, 0x22_2000n].map((at) => store(at, (at + 0x1000n) | 3n)),
  store(0x22_3000n, 0x200_0003n, 0n),
  write(RTADDR, 0x21_0000n, 8),
  write(GCMD, SRTP),
  write(GCMD, TE),
];

const queue = (...descriptors: bigint[]): Step[] => [
  store(QUEUE, ...descriptors),
  write(IQA, QUEUE, 8),
  write(IQT, 0n, 8),
  write(GCMD, QIE),
];

const COMMANDS: readonly Command[] = [
  {
    what: 'registers after reset',
    steps: [GSTS, FSTS, FECTL, ICS, IECTL, IQH, IQT].map((at) => read(at)),
  },
  {
    what: 'registers read back as written, but for what is write-only or reserved',
    steps: [
      ...[write(IVA, 0x1234_5041n, 8), read(IVA, 8), write(RTADDR, 0x123_4400n, 8), read(RTADDR, 8)],
      ...[write(IQA, 0x123_4000n, 8), write(FECTL, 0n), read(FECTL), write(0x3c, -1n & 0xffffn), read(0x3c)],
      ...[write(0x40, 0xffff_ffffn), read(0x40), write(CCMD, 0x3_1234_5678n, 8), read(CCMD, 8), read(GSTS)],
    ],
  },
  {
    what: 'translation goes on and off',
    steps: [
      read(GSTS),
      ...TABLES,
      read(GSTS),
      dma(0, 0n),
      dma(0, 0x1000n),
      write(GCMD, 0n),
      read(GSTS),
      dma(0, 0x1000n),
    ],
  },
  {
    what: 'the context cache and the IOTLB invalidated by register, each granularity',
    steps: [1n, 2n, 3n].flatMap((granularity) => [
      ...TABLES,
      ...[dma(0, 0n), store(0x22_3000n, 0n), write(IVA, 0n, 8)],
      write(IOTLB, (1n << 63n) | (granularity << 60n) | (1n << 32n), 8),
      ...[read(IOTLB, 8), dma(0, 0n), ...RECORD, write(FRCD + 12, 1n << 31n)],
      ...[store(0x21_1180n, 0n), write(CCMD, (1n << 63n) | (granularity << 61n) | (0x18n << 16n) | 1n, 8)],
      ...[read(CCMD, 8), dma(0, 0n), ...RECORD, write(FRCD + 12, 1n << 31n), write(GCMD, 0n)],
    ]),
    quirk: {
      why: 'a domain-selective context-cache invalidation is done, and reported, as a global one',
      theirs: { 20: (2n << 61n) | (1n << 59n) | 1n },
    },
  },
  {
    what: 'a second fault of another requester overflows; the record stays',
    steps: [...TABLES, dma(0, 0x1000n), dma(1, 0x1000n), ...RECORD, write(FSTS, 1n), ...RECORD],
  },
  {
    what: 'a second fault of the same requester',
    steps: [...TABLES, dma(0, 0x1000n), dma(0, 0x1000n), ...RECORD],
    quirk: { why: 'faults of one requester are compressed: no overflow', theirs: { 4: 2n } },
  },
  {
    what: 'a fault record is cleared, then FSTS is quiet',
    steps: [...TABLES, dma(0, 0x1000n), write(FRCD + 12, 1n << 31n), ...RECORD, dma(1, 0x1000n), ...RECORD],
    quirk: {
      why: 'FECTL.IP stays until FSTS is written, though nothing is pending',
      theirs: { 4: 0xc000_0000n },
    },
  },
  {
    what: 'a pending fault interrupt is sent when it is unmasked',
    steps: [...TABLES, dma(0, 0x1000n), read(FECTL), write(FECTL, 0n), read(FECTL), read(FSTS)],
  },
  {
    what: 'an unmasked fault interrupt is not pending',
    steps: [...TABLES, write(FECTL, 0n), dma(0, 0x1000n), read(FECTL), read(FSTS)],
  },
  {
    what: 'a wait descriptor writes its status, and interrupts',
    steps: [
      ...queue(0x25n | (0xabcdn << 32n), 0x20_1000n, 0x15n, 0n),
      ...[
        write(IQT, 0x10n, 8),
        read(IQH, 8),
        { do: 'load', frames: [0x201] } as const,
        read(ICS),
        read(IECTL),
      ],
      ...[write(IQT, 0x20n, 8), read(IQH, 8), read(ICS), read(IECTL), write(ICS, 1n), read(ICS), read(IECTL)],
    ],
  },
  {
    what: 'a tail beyond the queue is an error',
    steps: [...queue(0x15n, 0n), write(IQT, 0x2000n, 8), read(IQH, 8), read(FSTS), read(FECTL)],
  },
  {
    what: 'a queue of 32-byte descriptors: an odd tail is an error',
    isScalable: true,
    steps: [
      ...[
        store(QUEUE, 0x15n, 0n, 0n, 0n),
        write(IQA, QUEUE | 0x800n, 8),
        write(IQT, 0n, 8),
        write(GCMD, QIE),
      ],
      ...[write(IQT, 0x10n, 8), read(IQH, 8), read(FSTS), read(FECTL)],
    ],
  },
  {
    what: 'the queue stops at a wrong descriptor, and goes on when it is mended',
    steps: [
      ...[
        ...queue(0x12n, 0n, 0xfn, 0n, 0x15n, 0n),
        write(IQT, 0x30n, 8),
        read(IQH, 8),
        read(FSTS),
        read(ICS),
      ],
      ...[store(QUEUE + 0x10n, 0x12n, 0n), write(FSTS, 0x10n), write(IQT, 0x30n, 8)],
      ...[read(IQH, 8), read(FSTS), read(ICS)],
    ],
  },
  {
    what: 'a queue wraps, and a larger one is longer',
    steps: [
      ...[store(QUEUE, ...Array.from({ length: 1024 }, (_, i) => (i % 2 === 0 ? 0x15n : 0n)))],
      ...[
        write(IQA, QUEUE | 1n, 8),
        write(IQT, 0n, 8),
        write(GCMD, QIE),
        write(IQT, 0x1ff0n, 8),
        read(IQH, 8),
      ],
      ...[write(IQT, 0x20n, 8), read(IQH, 8), read(FSTS), read(GSTS)],
    ],
  },
  {
    what: 'the head is zero when the queue has been switched off',
    steps: [...queue(0x15n, 0n), write(IQT, 0x10n, 8), write(GCMD, 0n), read(IQH, 8), read(GSTS)],
  },
];

const title = 'missing' in lab ? `commands (skipped: ${lab.missing})` : 'commands';

describe.skipIf('missing' in lab)(`${title} do to the model what they do to QEMU`, () => {
  const machines: OracleMachine[] = [];
  let count = 0;

  /** A QEMU as after reset. */
  async function fresh(isScalable: boolean): Promise<OracleMachine> {
    const kind = KINDS[isScalable ? 2 : 0];
    if ('missing' in lab || kind === undefined) throw new Error('there is no lab');
    const machine = await OracleMachine.start(lab.folder, `commands-${process.pid}-${count++}`, kind);
    machines.push(machine);
    return machine;
  }

  beforeAll(() => void machines.splice(0));
  afterAll(async () => void (await Promise.all(machines.map((machine) => machine.end()))));

  test.each(COMMANDS)('$what', async ({ isScalable, steps, quirk }) => {
    const machine = await fresh(isScalable === true);
    const ours = (await new ModelTwin(machine).run(steps)).filter((answer) => answer !== undefined);
    const theirs = (await new QemuTwin(machine).run(steps)).filter((answer) => answer !== undefined);
    const expected = ours.map((answer, index) => quirk?.theirs[index] ?? answer);
    expect(theirs.map(plain)).toEqual(expected.map(plain));
    if (quirk !== undefined) expect(theirs.map(plain), quirk.why).not.toEqual(ours.map(plain));
  });
});

/** An answer that reads well where it differs. */
function plain(answer: unknown): unknown {
  if (typeof answer === 'bigint') return `0x${answer.toString(16)}`;
  if (Array.isArray(answer))
    return answer.map((each) =>
      each instanceof Uint8Array
        ? Buffer.from(each)
            .toString('hex')
            .replace(/(00)+$/, '')
        : each,
    );
  return answer;
}
