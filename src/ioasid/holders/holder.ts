/**
 * Holders: in whose name references are held and work is done. The series counts references and does not know
 * whose they are; here one user's `put` cannot spend another's.
 */
import { type Refusal, refuse } from '../../base/index.js';
import { deadlock, goneHolder, isLive } from '../core/checks.js';
import { type IoasidCore, IoasidHolder, LOCK } from '../core/core.js';
import { HOLDER, holderWord } from '../records/holder-record.js';

/**
 * Makes a holder. A driver has one for each of what it composes: a KVM, a virtual device, an IOMMU.
 *
 * @param wake is called when work of the holder becomes ready to be taken, to wake its worker. It runs under the
 *   lock: it may look, and every other call is `EDEADLK`
 *
 * On failure: `EDEADLK` from a callback; `ENOMEM`.
 */
export function ioasidHolderAlloc(
  core: IoasidCore,
  name: string,
  wake?: () => void,
): IoasidHolder | Refusal<'EDEADLK' | 'ENOMEM'> {
  if (core.lock !== LOCK.none) return deadlock(core, 'making a holder');
  if (core.fails('holder')) return refuse('ENOMEM', `no memory for the holder ${name}`);
  return core.holders.takeFor((record) => new IoasidHolder(core, record, { name, wake }));
}

/**
 * Forgets a holder.
 *
 * On failure: `EDEADLK` from a callback; `ENOENT` if that has been done; `EBUSY` while it holds references or has work.
 */
export function ioasidHolderFree(holder: IoasidHolder): Refusal<'EDEADLK' | 'ENOENT' | 'EBUSY'> | undefined {
  const { core, record } = holder;
  if (core.lock !== LOCK.none) return deadlock(core, 'forgetting a holder');
  if (!isLive(core.holders.handles, holder)) return goneHolder(holder);
  const references = holderWord(core, record, HOLDER.references);
  const work = holderWord(core, record, HOLDER.work);
  if (references + work !== 0) {
    return refuse('EBUSY', `${holder.name} holds ${references} references and has ${work} items of work`);
  }
  core.holders.give(record);
  return undefined;
}
