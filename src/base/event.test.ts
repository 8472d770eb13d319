import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Event, TRACE_VERSION, Trace } from './event.js';

const ALLOC: Event = {
  step: 0,
  actor: 'vm1/worker',
  layer: 'ioasid',
  kind: 'ioasid:alloc',
  fields: { id: 201, set: 'vm1', address: '0xfee00000', shared: false, spid: null },
};

const aField = fc.oneof(fc.string(), fc.maxSafeInteger(), fc.boolean(), fc.constant(null));
const anEvent: fc.Arbitrary<Event> = fc.record({
  step: fc.nat(),
  actor: fc.string(),
  layer: fc.constantFrom('ioasid', 'hardware', 'kernel', 'vmm', 'machine', 'rules'),
  kind: fc.string({ unit: 'binary' }),
  fields: fc.dictionary(
    fc.string().filter((name) => name !== '__proto__'),
    aField,
    { noNullPrototype: true },
  ),
});

const traceOf = (events: readonly Event[]): Trace => {
  const trace = new Trace();
  for (const event of events) trace.sink(event);
  return trace;
};

describe('a trace', () => {
  it('keeps events in their order', () => {
    const second = { ...ALLOC, step: 1 };
    expect(new Trace().events).toEqual([]);
    expect(traceOf([ALLOC, second, ALLOC]).events).toEqual([ALLOC, second, ALLOC]);
  });

  it('is one of its own: nothing is shared between traces', () => {
    const one = traceOf([ALLOC]);
    expect(new Trace().events).toEqual([]);
    expect(one.events).toEqual([ALLOC]);
  });

  it('is written as a head with the version and a line an event', () => {
    expect(TRACE_VERSION).toBe(1);
    expect(traceOf([]).toJsonLines()).toBe('{"version":1}\n');
    expect(traceOf([ALLOC]).toJsonLines()).toBe(
      '{"version":1}\n' +
        '{"step":0,"actor":"vm1/worker","layer":"ioasid","kind":"ioasid:alloc",' +
        '"fields":{"id":201,"set":"vm1","address":"0xfee00000","shared":false,"spid":null}}\n',
    );
  });

  it('comes back from its lines, whatever is in the texts', () => {
    fc.assert(
      fc.property(fc.array(anEvent, { maxLength: 5 }), (events) => {
        const text = traceOf(events).toJsonLines();
        expect(text.endsWith('\n')).toBe(true);
        const [head, ...lines] = text
          .slice(0, -1)
          .split('\n')
          .map((line): unknown => JSON.parse(line));
        expect(head).toEqual({ version: TRACE_VERSION });
        expect(lines).toEqual(events);
      }),
    );
  });
});
