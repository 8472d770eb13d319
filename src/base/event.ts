/**
 * Everything that happens is one event in one trace. The text that `run` prints, the JSON Lines, the findings
 * and the time line are all made from these.
 */

/** The version of the event type below: raised when a reader of the old one would misread the new one. */
export const TRACE_VERSION = 1;

/** The part of the house in which something happened. */
export type Layer = 'ioasid' | 'hardware' | 'kernel' | 'vmm' | 'machine' | 'rules';

/** What a field of an event may hold: numbers are finite; 64-bit values and addresses are text (`0x…`). */
export type FieldValue = string | number | boolean | null;

/** One thing that happened. */
export interface Event {
  /** The scheduler's step in which it happened, from 0. Events of one step stand in their order. */
  readonly step: number;
  /** Who did it: `host`, `vm1`, `vm1/worker`, `dsa0`, … */
  readonly actor: string;
  readonly layer: Layer;
  /** What happened, as one word or `subject:verb`. */
  readonly kind: string;
  readonly fields: Readonly<Record<string, FieldValue>>;
}

/** Takes events as they happen. */
export type EventSink = (event: Event) => void;

/** Keeps every event, oldest first. */
export class Trace {
  readonly #events: Event[] = [];
  readonly sink: EventSink = (event) => {
    this.#events.push(event);
  };

  get events(): readonly Event[] {
    return this.#events;
  }

  /** The trace as JSON Lines: a head with the version, then a line an event. */
  toJsonLines(): string {
    const lines = [{ version: TRACE_VERSION }, ...this.#events].map((line) => JSON.stringify(line));
    return `${lines.join('\n')}\n`;
  }
}
