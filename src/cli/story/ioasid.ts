/** Sentences of the IOASID cores, the host's and the guests': a guest's are of the same kinds, under `guest:`. */
import { type Fields, of, ownPasidOf, pasidOf, plural, type Tell } from './words.js';

type TellOf = (fields: Fields, pasid: string) => string;

const KINDS: Readonly<Record<string, TellOf>> = {
  alloc: (_, pasid) => `${pasid} is allocated`,
  free: (_, pasid) => `${pasid} is freed`,
  reclaim: (_, pasid) => `${pasid} is free again`,
  get: (f, pasid) => `${pasid} is held by ${of(f, 'holder')}`,
  put: (f, pasid) => `${pasid} is let go of by ${of(f, 'holder')}`,
  attach: (f, pasid) => `SPID ${of(f, 'spid')} is attached to ${pasid}`,
  detach: (f, pasid) => `SPID ${of(f, 'spid')} is detached from ${pasid}`,
  'announce:ALLOC': (_, pasid) => `all who listen are told of ${pasid}`,
  'announce:BIND': (_, pasid) => `who listens to its set is told: ${pasid} is bound`,
  'announce:UNBIND': (_, pasid) => `who listens to its set is told: ${pasid} is unbound`,
  'announce:FREE': (_, pasid) => `all who listen are told: ${pasid} is freed`,
  'work:queued': (f, pasid) => `${pasid}: ${of(f, 'holder')} has to ${of(f, 'phase')} before it is free`,
  'work:taken': (f, pasid) => `${pasid}: ${of(f, 'holder')} begins to ${of(f, 'phase')}`,
  'work:finished': (f, pasid) => `${pasid}: ${of(f, 'phase')} is done`,
  'set:alloc': (f) =>
    `set ${of(f, 'set')} of ${of(f, 'token')} is there, with room for ${plural(f, 'quota', 'PASID')}`,
  'set:free': (f) => `set ${of(f, 'set')} is freed: no new PASIDs, and those that it has are freed`,
  'set:gone': (f) => `set ${of(f, 'set')} is gone: nothing is left of its PASIDs`,
};

export const IOASID_TELLS: Readonly<Record<string, Tell>> = Object.fromEntries(
  Object.entries(KINDS).flatMap(([kind, tell]): [string, Tell][] => [
    [kind, (fields) => tell(fields, pasidOf(fields))],
    [`guest:${kind}`, (fields) => tell(fields, ownPasidOf(fields))],
  ]),
);
