/**
 * A device goes: its own driver has quiesced it, and nothing of it may be left where hardware looks. First nobody
 * attaches to it any more; then every PASID is detached, with its entry cleared, caches flushed and page requests
 * answered; then it stops asking for pages and translations; then its tables go. Bindings that somebody still has of
 * it stand for nothing from then on, and are undone as always.
 *
 * A device that was pulled out answers no invalidation, and has nothing that could be invalidated: the tables go all
 * the same.
 */
import type { Refusal, Task } from '../../base/index.js';
import type { Attachment, IommuDevice } from './device.js';

/**
 * Takes all of a device out of hardware's reach.
 *
 * On failure: `EIO` if hardware did not confirm; what it may still use stays, and it can be tried again.
 */
export function* clearDevice(
  device: IommuDevice,
  detach: (attachment: Attachment) => Task<Refusal<'EIO'> | undefined>,
): Task<Refusal<'EIO'> | undefined> {
  const { pci, driver, attachments, dma } = device;
  // Who has the lock attaches or replaces; who comes after sees that it is on its way out.
  yield* device.lock.lock();
  device.presence.value = 'leaving';
  device.lock.unlock();
  // What requests without a PASID meet goes last.
  const pasids = attachments.keys().sort((a, b) => b - a);
  for (const pasid of pasids) {
    const attachment = attachments.get(pasid);
    const refusal = attachment && (yield* detach(attachment));
    if (refusal !== undefined) return refusal;
  }
  // PASIDs cannot be switched while ATS is on.
  if (device.pri) pci.disablePri();
  if (device.ats) pci.disableAts();
  if (device.pasidBits > 0) pci.disablePasid();
  const refusal = yield* driver.removeDevice(device);
  if (refusal !== undefined) return refusal;
  dma.value?.free();
  dma.value = undefined;
  device.presence.value = 'gone';
  return undefined;
}
