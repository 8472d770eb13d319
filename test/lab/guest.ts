/**
 * How a suite (`*.lab.test.ts`) gets a guest of the lab: it wraps itself in `describeWithGuest`.
 *
 * @module
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, inject } from 'vitest';
import type { Answer, Request } from './desk.js';
import type { Guest, Kind } from './machines.js';

export type { Guest, Kind } from './machines.js';

/**
 * A suite with a running guest of `kind`, which it has to itself until it ends; `guest()` gives it within a test.
 * The guest comes from an earlier suite if there was one: put back what you change. Not to be nested: two suites
 * that each hold one guest and wait for the other's would wait for ever. Without the lab the suite is skipped, and
 * its title says why.
 */
export function describeWithGuest(kind: Kind, title: string, suite: (guest: () => Guest) => void): void {
  const lab = inject('lab');
  if ('missing' in lab) {
    describe.skip(`${title} (skipped: ${lab.missing})`, () =>
      suite(() => {
        throw new Error(lab.missing);
      }));
    return;
  }
  ask(lab.desk, { ask: 'boot', kind }).end();
  describe(title, () => {
    let loan: Socket | undefined;
    let guest: Guest | undefined;
    beforeAll(async () => {
      loan = ask(lab.desk, { ask: 'lend', kind });
      guest = await answerOf(loan);
    });
    afterAll(() => void loan?.destroy());
    suite(() => {
      if (guest === undefined) throw new Error('a guest is there within a test only');
      return guest;
    });
  });
}

function ask(desk: string, request: Request): Socket {
  const socket = connect(desk);
  socket.write(`${JSON.stringify(request)}\n`);
  return socket;
}

async function answerOf(loan: Socket): Promise<Guest> {
  const lines = createInterface(loan);
  const closed = once(loan, 'close').then((): never => {
    throw new Error('the desk closed before it lent a guest');
  });
  const [line] = await Promise.race([once(lines, 'line'), closed]);
  const answer: Answer = JSON.parse(line);
  if ('error' in answer) throw new Error(answer.error);
  return answer.guest;
}
