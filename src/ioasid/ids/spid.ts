/**
 * SPIDs: a set's own names for its ids, one to one in the set; a guest's PASIDs. The IOMMU driver attaches when a
 * device binds and detaches when it unbinds: the first makes BIND, the last UNBIND, however many devices
 * there are.
 */
import { type Refusal, refuse } from '../../base/index.js';
import { checkOwner, checkSet, deadlock, goneHolder, isLive } from '../core/checks.js';
import { type IoasidHolder, type IoasidSet, LOCK } from '../core/core.js';
import { Ioasid, Spid } from '../core/ids.js';
import { takeReference } from '../holders/reference.js';
import { settle } from '../life/settle.js';
import { announce, EVENT } from '../notify/announce.js';
import { boundOf, MAX_BOUND, STATE, spidOf, spidWord, stateOf, workOf } from '../tables/id-columns.js';

type AttachErrno = 'EDEADLK' | 'EINVAL' | 'EOVERFLOW' | 'ENOENT' | 'EACCES' | 'EBUSY' | 'EAGAIN' | 'ENOMEM';

/**
 * Binds an id to `spid` for one more device. The first announces BIND.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` for what is no id or no SPID; `ENOENT` if the set or the id is
 * gone; `EACCES` if the id is of another set; `EBUSY` if it is being freed, has another SPID, or if the SPID
 * stands for another id that is not being freed; `EAGAIN` while work of an earlier unbinding is under way;
 * `EOVERFLOW` after 2047 devices; `ENOMEM`.
 */
export function ioasidAttachSpid(set: IoasidSet, id: number, spid: number): Refusal<AttachErrno> | undefined {
  const { core } = set;
  const { ids, spids } = core;
  if (core.lock !== LOCK.none) return deadlock(core, 'attaching a SPID');
  if (!Spid.is(spid)) return refuse('EINVAL', `${spid} is no SPID`);
  const refusal = checkOwner(set, id);
  if (refusal !== undefined) return refusal;
  if (stateOf(ids, id) === STATE.FREE_PENDING) return refuse('EBUSY', `IOASID ${id} is being freed`);
  const bound = boundOf(ids, id);
  if (bound !== 0) {
    if (spidOf(ids, id) !== spid) return refuse('EBUSY', `IOASID ${id} has SPID ${spidOf(ids, id)}`);
    if (bound === MAX_BOUND) return refuse('EOVERFLOW', `IOASID ${id} is bound ${bound} times`);
    ids.spid.set(id, spidWord(spid, bound + 1));
    return undefined;
  }
  const other = spids.find(set.record, spid);
  if (other !== 0 && stateOf(ids, other) !== STATE.FREE_PENDING) {
    return refuse('EBUSY', `SPID ${spid} of ${set.name} stands for IOASID ${other}`);
  }
  if (workOf(ids, id) !== 0) return refuse('EAGAIN', `IOASID ${id} is still being unbound`);
  if (core.fails('SPID')) return refuse('ENOMEM', `no memory for SPID ${spid} of ${set.name}`);
  if (spids.full) spids.grow();
  ids.spid.set(id, spidWord(spid, 1));
  spids.put(set.record, spid, id);
  settle(core, id);
  if (core.traced) core.emit('attach', id);
  announce(core, EVENT.BIND, id);
  return undefined;
}

/**
 * Unbinds an id for one device. The last announces UNBIND; that may have been what an id that is being freed
 * was waiting for: true if it was reclaimed.
 *
 * On failure: `EDEADLK` from a callback; `EINVAL` for what is no id; `ENOENT` if the set or the id is gone, or
 * it has no SPID; `EACCES` if the id is of another set.
 */
export function ioasidDetachSpid(
  set: IoasidSet,
  id: number,
): boolean | Refusal<'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EACCES'> {
  const { core } = set;
  const { ids } = core;
  if (core.lock !== LOCK.none) return deadlock(core, 'detaching a SPID');
  const refusal = checkOwner(set, id);
  if (refusal !== undefined) return refusal;
  const bound = boundOf(ids, id);
  if (bound === 0) return refuse('ENOENT', `IOASID ${id} has no SPID`);
  const spid = spidOf(ids, id);
  if (bound > 1) {
    ids.spid.set(id, spidWord(spid, bound - 1));
    return false;
  }
  core.spids.erase(set.record, spid, id);
  if (core.traced) core.emit('detach', id);
  return announceUnbind(set, id, spid);
}

/** The record no longer says the SPID when UNBIND is announced: it goes along in the event. */
function announceUnbind(set: IoasidSet, id: number, spid: number): boolean {
  const { core } = set;
  core.unbound = Spid.of(spid);
  core.ids.spid.set(id, spidWord(spid, 0));
  return announce(core, EVENT.UNBIND, id);
}

/**
 * The id that `spid` stands for in `set`; with `holder`, a reference to it is taken in that name. While an id
 * is being freed, it is found without reference until its SPID stands for another.
 *
 * On failure: `EDEADLK` from an allocator, with a holder; `EINVAL` for what is no SPID; `ENOENT` if the set or
 * the holder is gone, or the SPID stands for nothing; with a holder, `EBUSY` if the id is being freed, and
 * `EOVERFLOW` and `ENOMEM` as `ioasidGet`.
 */
export function ioasidFindBySpid(
  set: IoasidSet,
  spid: number,
  holder?: IoasidHolder,
): Ioasid | Refusal<'EDEADLK' | 'EINVAL' | 'ENOENT' | 'EBUSY' | 'EOVERFLOW' | 'ENOMEM'> {
  const { core } = set;
  if (holder !== undefined && core.lock === LOCK.allocator) return deadlock(core, 'taking a reference');
  if (!Spid.is(spid)) return refuse('EINVAL', `${spid} is no SPID`);
  const gone = checkSet(set);
  if (gone !== undefined) return gone;
  const id = core.spids.find(set.record, spid);
  if (id === 0) return refuse('ENOENT', `SPID ${spid} of ${set.name} stands for nothing`);
  if (holder !== undefined) {
    if (!isLive(core.holders.handles, holder)) return goneHolder(holder);
    const refusal = takeReference(core, id, holder);
    if (refusal !== undefined) return refusal;
  }
  return Ioasid.of(id);
}

/**
 * The SPID of an id that `set` has.
 *
 * On failure: `EINVAL` for what is no id; `ENOENT` if the set or the id is gone, or it has no SPID; `EACCES` if
 * it is of another set.
 */
export function ioasidSpidOf(set: IoasidSet, id: number): Spid | Refusal<'EINVAL' | 'ENOENT' | 'EACCES'> {
  const { ids } = set.core;
  const refusal = checkOwner(set, id);
  if (refusal !== undefined) return refusal;
  if (boundOf(ids, id) === 0) return refuse('ENOENT', `IOASID ${id} has no SPID`);
  return Spid.of(spidOf(ids, id));
}
