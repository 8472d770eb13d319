/**
 * The model against QEMU over random machines: the same bytes to both, the same DMAs, and what became of them.
 *
 * `IOASIS_ORACLE_DMAS` says how many DMAs, over all kinds of units together (3000), and `IOASIS_ORACLE_SEED` where
 * the cases begin (1). A case that fails is made smaller, and printed with the seed that it came from.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findLab } from '../lab/machines.js';
import type { Case } from './case.js';
import { generate } from './generate.js';
import { judge, type Unit, type Verdict } from './judge.js';
import { KINDS, type Kind, OracleMachine } from './machine.js';
import { QemuTwin } from './qemu-twin.js';
import { QUIRKS } from './quirks.js';
import { reportOf } from './report.js';
import { compare } from './run.js';
import { shrink } from './shrink.js';

const DMAS = Number(process.env['IOASIS_ORACLE_DMAS'] ?? 3000);
const SEED = Number(process.env['IOASIS_ORACLE_SEED'] ?? 1);
const lab = findLab();

/** What a kind's cases came to. */
interface Tally {
  cases: number;
  dmas: number;
  open: number;
  readonly quirks: Map<string, number>;
}

async function verdictOf(machine: OracleMachine, each: Case): Promise<Verdict> {
  const { cap, ecap, kind } = machine;
  const unit: Unit = { cap, ecap, hasTransientMappings: kind.options.includes('stale-tm') };
  const verdict = judge(each, unit, await compare(machine, each));
  new QemuTwin(machine).clear(verdict.lost);
  return verdict;
}

/** Runs a kind's cases until it has made its DMAs; throws with the smallest case that differs. */
async function run(machine: OracleMachine, dmas: number): Promise<Tally> {
  const { mode } = machine.kind;
  const tally: Tally = { cases: 0, dmas: 0, open: 0, quirks: new Map() };
  for (let seed = SEED; tally.dmas < dmas; seed++) {
    const each = generate(seed, { mode, cap: machine.cap, ecap: machine.ecap });
    const verdict = await verdictOf(machine, each);
    if (verdict.differences.length > 0) {
      const fails = async (smaller: Case) => (await verdictOf(machine, smaller)).differences.length > 0;
      const smallest = await shrink(each, fails);
      const { differences } = await verdictOf(machine, smallest);
      throw new Error(
        `seed ${seed} differs, and so does this part of it:\n${reportOf(smallest, differences)}`,
      );
    }
    tally.cases++;
    tally.dmas += verdict.dmas;
    tally.open += verdict.open;
    for (const [name, count] of verdict.quirks) tally.quirks.set(name, (tally.quirks.get(name) ?? 0) + count);
  }
  return tally;
}

const title = 'missing' in lab ? `the model and QEMU (skipped: ${lab.missing})` : 'the model and QEMU';

describe.skipIf('missing' in lab).each(KINDS.map((kind, index) => ({ name: kind.name, kind, index })))(
  `${title}: $name`,
  ({ kind, index }: { kind: Kind; index: number }) => {
    let machine: OracleMachine | undefined;
    beforeAll(async () => {
      if ('missing' in lab) return;
      machine = await OracleMachine.start(lab.folder, `oracle-${process.pid}-${index}`, kind);
    });
    afterAll(() => machine?.end());

    test(`agree on ${Math.ceil(DMAS / KINDS.length)} DMAs, from seed ${SEED} on`, async () => {
      if (machine === undefined) throw new Error('QEMU is not there');
      const { cases, dmas, open, quirks } = await run(machine, Math.ceil(DMAS / KINDS.length));
      const explained = [...quirks].map(([name, count]) => `${name} ${count}`).join(', ');
      console.log(`${kind.name}: ${cases} cases, ${dmas} DMAs, ${open} open; quirks: ${explained}`);
      for (const name of quirks.keys()) expect(Object.keys(QUIRKS)).toContain(name);
      expect(dmas).toBeGreaterThan(0);
    }, 600_000);
  },
);
