/**
 * The story of a run: one line an event, with step, actor, and what happened in a person's words. Sentences stand by
 * the layer that tells them.
 */
import type { Event } from '../../base/index.js';
import type { Paint } from '../terminal.js';
import { HARDWARE_TELLS } from './hardware.js';
import { IOASID_TELLS } from './ioasid.js';
import { KERNEL_TELLS } from './kernel.js';
import { VM_TELLS } from './vm.js';
import { of, type Tell } from './words.js';

const MACHINE_TELLS: Readonly<Record<string, Tell>> = {
  step: (f) => of(f, 'does'),
  stopped: (f) => `the modelled software cannot go on: ${of(f, 'why')}`,
  finding: (f) => `${of(f, 'rule')} is broken: ${of(f, 'message')}`,
};

/** By kind of event. */
const TELLS: ReadonlyMap<string, Tell> = new Map(
  [MACHINE_TELLS, IOASID_TELLS, KERNEL_TELLS, VM_TELLS, HARDWARE_TELLS].flatMap((each) =>
    Object.entries(each),
  ),
);

const STEP_WIDTH = 6;
const ACTOR_WIDTH = 18;

/** What happened; undefined for a kind that nobody has a sentence for. */
export const sentenceOf = ({ kind, fields }: Pick<Event, 'kind' | 'fields'>): string | undefined =>
  TELLS.get(kind)?.(fields);

/** One line, without its end. */
export function storyLine(event: Event, paint: Paint): string {
  const { step, actor, kind, layer, fields } = event;
  const what = sentenceOf(event) ?? `${kind} ${JSON.stringify(fields)}`;
  const who = `${fitted(actor)}  `;
  const line = `${String(step).padStart(STEP_WIDTH)}  `;
  if (layer === 'rules') return paint.faint(line) + who + paint.bad(what);
  if (layer === 'machine') return paint.faint(line) + paint.accent(who) + paint.strong(what);
  return paint.faint(line) + who + what;
}

/** As wide as the column, whatever its length. */
const fitted = (actor: string): string =>
  actor.length > ACTOR_WIDTH ? `${actor.slice(0, ACTOR_WIDTH - 1)}…` : actor.padEnd(ACTOR_WIDTH);
