/**
 * Runs of the kernel's own driver, recorded on the model's machine and played again on QEMU: every byte that was
 * written, every answer that the driver got, every DMA and the unit's registers have to be the same. And what is
 * altered in a recording has to be noticed.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { findLab } from '../lab/machines.js';
import { DriverRun, UNMAP_UNDER_USE } from './driver-run.js';
import { KINDS, type Kind, OracleMachine } from './machine.js';
import { QUIRKS } from './quirks.js';
import type { Recorded } from './recorded-host.js';
import { type End, REGISTERS, Replay } from './replay.js';
import { type Judged, judgeReplay } from './replay-judge.js';

const lab = findLab();
const SEED = Number(process.env['IOASIS_ORACLE_SEED'] ?? 1);
/** Of each mode, the kind that is without more, and has two runs. */
const PLAIN = ['legacy', 'second stage', 'first stage'];
const OPERATIONS = 60;
const UNIT = 0xfed9_0000;
const [GCMD, IQA] = [UNIT + 0x18, UNIT + 0x90];

const machines: OracleMachine[] = [];
let count = 0;

/** A QEMU as after reset. */
async function fresh(kind: Kind): Promise<OracleMachine> {
  if ('missing' in lab) throw new Error('there is no lab');
  const machine = await OracleMachine.start(lab.folder, `replay-${process.pid}-${count++}`, kind);
  machines.push(machine);
  return machine;
}

afterEach(async () => void (await Promise.all(machines.splice(0).map((machine) => machine.end()))));

const endOf = ({ host }: DriverRun): End => ({
  frames: new Map(host.written.map((frame) => [frame, host.frame(frame)])),
  registers: new Map(REGISTERS.map((each) => [each, host.register(each.offset, each.bytes)])),
});

async function replayed(machine: OracleMachine, recording: readonly Recorded[], end: End): Promise<Judged> {
  return judgeReplay(recording, await new Replay(machine).run(recording, end));
}

/** How many DMAs were done, were blocked, and met a record that was in use. */
function tallyOf(recording: readonly Recorded[]) {
  const dmas = recording.filter((each) => each.did === 'dma');
  const done = dmas.filter(({ at }) => at !== undefined).length;
  return {
    done,
    blocked: dmas.length - done,
    overflows: dmas.filter(({ status }) => (status & 1n) === 1n).length,
  };
}

const title = 'missing' in lab ? `a recorded run (skipped: ${lab.missing})` : 'a recorded run';

describe.skipIf('missing' in lab)(`${title} ends in QEMU in the same bytes`, () => {
  const runs = KINDS.flatMap((kind) =>
    (PLAIN.includes(kind.name) ? [SEED, SEED + 1] : [SEED + 2]).map((seed) => ({
      name: kind.name,
      kind,
      seed,
    })),
  );

  test.each(runs)('$name, seed $seed', async ({ name, kind, seed }) => {
    const machine = await fresh(kind);
    const run = new DriverRun(machine, seed);
    run.unmapUnderUse();
    run.go(OPERATIONS);
    const { recording } = run.host;
    const { differences, quirks } = await replayed(machine, recording, endOf(run));
    expect(differences.slice(0, 10)).toEqual([]);
    for (const quirk of quirks.keys()) expect(Object.keys(QUIRKS)).toContain(quirk);
    const { done, blocked, overflows } = tallyOf(recording);
    const explained = [...quirks].map(([quirk, times]) => `${quirk} ${times}`).join(', ');
    console.log(
      `${name}: ${recording.length} accesses, ${done} DMAs done, ${blocked} blocked; quirks: ${explained}`,
    );
    for (const each of [done, blocked, overflows]) expect(each).toBeGreaterThan(10);
  });
});

/** A recording with one thing altered. */
type Alteration = (recording: readonly Recorded[]) => Recorded[];

type Store = Extract<Recorded, { did: 'store' }>;

/** The entries of tables that were stored after a note, up to the next one; those of the queue, if `isQueue`. */
function storesAfter(recording: readonly Recorded[], note: string, isQueue = false): Store[] {
  const from = recording.findIndex((each) => each.did === 'note' && each.text.startsWith(note));
  const to = recording.findIndex((each, i) => i > from + 1 && each.did === 'note');
  const queue = recording.find((each) => each.did === 'write' && each.address === IQA);
  const base = queue?.did === 'write' ? Number((queue.value >> 12n) << 12n) : 0;
  return recording.slice(from, to).filter((each): each is Store => {
    if (each.did !== 'store' || each.data.length !== 8) return false;
    return (each.address >= base && each.address < base + 4096) === isQueue;
  });
}

/** A recording with a bit of a store flipped. */
function flipped(recording: readonly Recorded[], store: Store | undefined, bit: number): Recorded[] {
  return recording.map((each) => {
    if (each !== store || each.did !== 'store') return each;
    const data = each.data.map((byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
    return { ...each, data };
  });
}

/** IOTLB invalidations, with a PASID and without. */
const isTranslations = ({ data: [first = 0] }: Store): boolean => [2, 6].includes(first & 0xf);

/** What is altered, and the first thing that it has to show in. */
const ALTERATIONS: readonly { what: string; alter: Alteration; shows: RegExp; ours: string }[] = [
  {
    what: 'an invalidation that names another domain',
    alter: (recording) => {
      const inQueue = storesAfter(recording, UNMAP_UNDER_USE, true);
      return flipped(recording, inQueue.find(isTranslations), 31);
    },
    ...{ shows: /^write of device 0 at 0x10...$/, ours: 'blocked' },
  },
  {
    what: 'a leaf that leads to another frame',
    alter: (recording) => flipped(recording, storesAfter(recording, 'map 10 in').at(-1), 12),
    ...{ shows: /^where device 0 at 0x10... writes$/, ours: '0x12345678' },
  },
  {
    what: 'an entry of which the present bit is not set',
    alter: (recording) => flipped(recording, storesAfter(recording, 'attach domain').at(-1), 0),
    ...{ shows: /^write of device 0 at 0x10...$/, ours: 'done' },
  },
  {
    what: 'translation that is not switched on',
    alter: (recording) =>
      recording.filter((each) => each.did !== 'write' || each.address !== GCMD || each.value >> 31n === 0n),
    ...{ shows: /^GSTS, read$/, ours: '0xc4000000' },
  },
];

describe.skipIf('missing' in lab)('what is altered in a recording is noticed', () => {
  const kinds = KINDS.filter(({ name }) => PLAIN.includes(name));

  test.each(kinds)('$name', async (kind) => {
    const unit = await fresh(kind);
    const run = new DriverRun(unit, 1);
    run.unmapUnderUse();
    const { recording } = run.host;
    expect((await replayed(unit, recording, endOf(run))).differences).toEqual([]);
    for (const { what, alter, shows, ours } of ALTERATIONS) {
      const { differences } = await replayed(await fresh(kind), alter(recording), endOf(run));
      const found = differences.filter((each) => shows.test(each.what));
      expect(found[0]?.ours, `${what}: ${JSON.stringify(differences.slice(0, 5))}`).toBe(ours);
    }
  });
});
