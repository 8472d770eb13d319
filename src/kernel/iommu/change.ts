/**
 * A change of what a domain says beside its table: it is made while nobody attaches or replaces anything, and then in
 * the entries that hardware has of it, on all units.
 */
import { type Errno, isRefusal, type Refusal, refuse, type Task } from '../../base/index.js';
import type { IommuDevice } from './device.js';
import type { IommuDriver } from './driver.js';
import type { PagingDomain } from './paging-domain.js';

/** The devices and units that there are. */
interface Machine {
  readonly devices: readonly IommuDevice[];
  readonly drivers: readonly IommuDriver[];
}

/**
 * Changes a domain, and then the entries that it has.
 *
 * @param of `can`: whether a unit can do it; `change`: does it, or refuses
 *
 * On failure: `EOPNOTSUPP` if a unit that it is attached behind cannot, or what `change` refuses with: nothing has
 * changed. `EIO` if hardware did not confirm.
 */
export function* changeDomain<E extends Errno = never>(
  { devices, drivers }: Machine,
  domain: PagingDomain,
  of: {
    readonly can: (driver: IommuDriver) => boolean;
    readonly change: () => Refusal<E> | undefined;
  },
): Task<Refusal<'EOPNOTSUPP' | 'EIO' | E> | undefined> {
  const locked = devices.toSorted((a, b) => a.rid - b.rid);
  for (const device of locked) yield* device.lock.lock();
  try {
    const unable = locked.find((device) => !of.can(device.driver) && hasOn(device, domain));
    if (unable !== undefined) {
      return refuse('EOPNOTSUPP', `${unable.driver.name} cannot, and ${unable.name} has ${domain.name}`);
    }
    const refusal = of.change();
    if (isRefusal(refusal)) return refusal;
    let first: Refusal<'EIO'> | undefined;
    // All units, whatever one of them answers (bug F14).
    for (const driver of drivers) {
      const unconfirmed = yield* driver.update(domain);
      first ??= unconfirmed;
    }
    return first;
  } finally {
    for (const device of locked) device.lock.unlock();
  }
}

/** Whether a domain, or what is built on it, is attached to a device. */
const hasOn = (device: IommuDevice, on: PagingDomain): boolean =>
  device.attachments
    .values()
    .some(({ domain }) => domain === on || (domain.type === 'nested' && domain.parent === on));
