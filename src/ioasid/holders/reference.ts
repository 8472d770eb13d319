/**
 * References: `get` and `put` in the name of a holder. The list is searched, for there are few holders of one id.
 */
import { type Refusal, refuse } from '../../base/index.js';
import { checkHolder, deadlock } from '../core/checks.js';
import { type IoasidCore, type IoasidHolder, type IoasidSet, LOCK } from '../core/core.js';
import { settle } from '../life/settle.js';
import { countReference, HOLDER, holderWord } from '../records/holder-record.js';
import { findReference, REFERENCE, removeReference } from '../records/reference-list.js';
import { holdersOf, STATE, setHolders, stateOf } from '../tables/id-columns.js';

type GetErrno = 'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EACCES' | 'EBUSY' | 'EOVERFLOW' | 'ENOMEM';

/** The most references that one holder can hold, to all ids together: what a word can count. */
const MAX_REFERENCES = 0x7fff_ffff;

/**
 * Takes a reference to an id in the name of `holder`. Handlers may.
 *
 * On failure: `EDEADLK` from an allocator; `EINVAL` for what is no id; `ENOENT` if the set, the id or the
 * holder is gone; `EACCES` if the id is of another set; `EBUSY` if it is being freed;
 * `EOVERFLOW` if the holder holds 2^31 - 1; `ENOMEM`.
 */
export function ioasidGet(set: IoasidSet, id: number, holder: IoasidHolder): Refusal<GetErrno> | undefined {
  const { core } = set;
  if (core.lock === LOCK.allocator) return deadlock(core, 'taking a reference');
  const refusal = checkHolder(set, id, holder);
  if (refusal !== undefined) return refusal;
  return takeReference(core, id, holder);
}

/** Takes a reference to an id that is known to be the caller's, for a holder that lives. @internal */
export function takeReference(
  core: IoasidCore,
  id: number,
  holder: IoasidHolder,
): Refusal<'EBUSY' | 'EOVERFLOW' | 'ENOMEM'> | undefined {
  if (stateOf(core.ids, id) === STATE.FREE_PENDING) return refuse('EBUSY', `IOASID ${id} is being freed`);
  if (holderWord(core, holder.record, HOLDER.references) === MAX_REFERENCES) {
    return refuse('EOVERFLOW', `${holder.name} holds ${MAX_REFERENCES} references`);
  }
  const { store } = core.references;
  const held = findReference(core, id, holder.record);
  if (held !== 0) {
    const at = (held << 2) + REFERENCE.count;
    store.set(at, (store.words[at] ?? 0) + 1);
  } else {
    if (core.fails('reference')) return refuse('ENOMEM', `no memory for a reference of ${holder.name}`);
    const reference = core.references.take();
    const at = reference << 2;
    store.touch(at);
    store.words[at + REFERENCE.holder] = holder.record;
    store.words[at + REFERENCE.count] = 1;
    store.words[at + REFERENCE.next] = holdersOf(core.ids, id);
    store.words[at + REFERENCE.since] = core.step();
    setHolders(core.ids, id, reference);
  }
  countReference(core, holder.record, 1);
  if (core.traced) core.emit('get', id, { holder: holder.name });
  if (stateOf(core.ids, id) === STATE.IDLE) settle(core, id);
  return undefined;
}

/**
 * Gives a reference back that `holder` holds; the last one to an id that is being freed reclaims it: true if
 * so. Handlers may.
 *
 * On failure: `EDEADLK` from an allocator; `EINVAL` for what is no id, or if the holder holds none; `ENOENT` if
 * the set, the id or the holder is gone; `EACCES` if the id is of another set.
 */
export function ioasidPut(
  set: IoasidSet,
  id: number,
  holder: IoasidHolder,
): boolean | Refusal<'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EACCES'> {
  const { core } = set;
  if (core.lock === LOCK.allocator) return deadlock(core, 'giving a reference back');
  const refusal = checkHolder(set, id, holder);
  if (refusal !== undefined) return refusal;
  const { store } = core.references;
  const held = findReference(core, id, holder.record);
  if (held === 0) return refuse('EINVAL', `${holder.name} holds no reference to IOASID ${id}`);
  const at = held << 2;
  store.touch(at);
  const count = (store.words[at + REFERENCE.count] ?? 0) - 1;
  store.words[at + REFERENCE.count] = count;
  countReference(core, holder.record, -1);
  if (core.traced) core.emit('put', id, { holder: holder.name });
  if (count !== 0) return false;
  removeReference(core, id, held);
  core.references.give(held);
  return settle(core, id);
}
