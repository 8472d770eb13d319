/**
 * Hostile guests against the whole stack: the host never throws, no rule breaks, another virtual machine's work
 * completes with the right bytes, and when the attacker has gone, everything is as before.
 *
 * `HOSTILE_OPERATIONS` says how many operations there are in all; `HOSTILE=seed:operations` does one attack alone,
 * as a test that fails prints it.
 */
import { expect, test } from 'vitest';
import { type Attack, attack, hostState, shrunk } from './run.js';

const EACH = 2000;
const TIMEOUT = 300_000;
const TOTAL = Number(process.env['HOSTILE_OPERATIONS'] ?? 20_000);

const [seed, operations = EACH] = (process.env['HOSTILE'] ?? '').split(':', 2).map(Number);
const ATTACKS: readonly Attack[] =
  seed === undefined || seed === 0
    ? Array.from({ length: Math.ceil(TOTAL / EACH) }, (_, i) => ({ seed: i + 1, operations: EACH }))
    : [{ seed, operations }];

/** The shortest attack that fails, and how to do it again. */
function failure(of: Attack): string {
  const { seed: found, operations: fewest } = shrunk(of);
  const wrong = attack({ seed: found, operations: fewest });
  return [...wrong, `again: HOSTILE=${found}:${fewest} npx vitest run --project unit test/hostile`].join(
    '\n',
  );
}

test.each(ATTACKS)('seed $seed, $operations operations', { timeout: TIMEOUT }, (of) => {
  attack({ ...of, operations: 0 });
  const before = hostState(of.seed);
  expect(before.left).toEqual([]);
  if (attack(of).length > 0) expect.fail(failure(of));
  expect(hostState(of.seed)).toEqual(before);
});
