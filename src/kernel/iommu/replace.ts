/**
 * Another domain for several attachments, on all or on none (bugs F1 to F3). First everything is reserved, and nothing
 * has changed; then one after the other is changed; if one fails, those that were changed go back to what *they* had,
 * and only those. What is on record changes last.
 *
 * A process's memory neither takes a place nor gives one up: `EBUSY`. So it is in Linux: only who attached a domain
 * replaces it (iommufd), and a binding's PASID is another's to give, for the address space on all devices at once.
 */
import { isRefusal, type Refusal, refuse, type Task } from '../../base/index.js';
import type { KernelContext } from '../context.js';
import { Attachment } from './device.js';
import type { Domain } from './domain.js';
import type { AttachErrno, Replacement } from './driver.js';
import { PagingDomain } from './paging-domain.js';

/** Counts uses of a domain that can be freed: a nested one uses what it is built on. */
export function countUse(domain: Domain, change: 1 | -1): void {
  const counted = domain.type === 'nested' ? domain.parent : domain;
  if (counted instanceof PagingDomain) counted.uses.value += change;
}

/** The devices are locked. */
export function* replaceLocked(
  context: KernelContext,
  attachments: readonly Attachment[],
  domain: Domain,
): Task<readonly Attachment[] | Refusal<AttachErrno>> {
  if (new Set(attachments).size < attachments.length) return refuse('EINVAL', 'an attachment is named twice');
  const steps = reserve(attachments, domain);
  if (isRefusal(steps)) return steps;
  for (const attachment of attachments) attachment.change().entry = 'changing';
  countUse(domain, 1);
  const { refusal, isSettled } = yield* applyAll(steps);
  const made = refusal === undefined ? commit(context, steps, domain) : attachments;
  // The use for the way; what caches may still hold of the domain keeps it from being freed.
  if (isSettled) countUse(domain, -1);
  for (const attachment of attachments) {
    attachment.change().entry = refusal === undefined ? 'none' : 'present';
    attachment.wake();
  }
  return refusal ?? made;
}

/** One after the other, or none: whether hardware confirmed it in the end. */
function* applyAll(
  steps: readonly Step[],
): Task<{ readonly refusal: Refusal<'EIO'> | undefined; readonly isSettled: boolean }> {
  for (const [begun, { replacement }] of steps.entries()) {
    const refusal = yield* replacement.apply();
    if (refusal === undefined) continue;
    for (const rest of steps.slice(begun + 1)) rest.replacement.cancel();
    let isSettled = true;
    for (const done of steps.slice(0, begun + 1).toReversed()) {
      if ((yield* done.replacement.revert()) !== undefined) isSettled = false;
    }
    return { refusal, isSettled };
  }
  return { refusal: undefined, isSettled: true };
}

/** One attachment, and its change. */
interface Step {
  readonly attachment: Attachment;
  readonly replacement: Replacement;
}

function reserve(attachments: readonly Attachment[], domain: Domain): Step[] | Refusal<AttachErrno> {
  const steps: Step[] = [];
  for (const attachment of attachments) {
    const replacement = reserveOne(attachment, domain);
    if (!isRefusal(replacement)) {
      steps.push({ attachment, replacement });
      continue;
    }
    for (const step of steps.toReversed()) step.replacement.cancel();
    return replacement;
  }
  return steps;
}

function reserveOne(attachment: Attachment, to: Domain): Replacement | Refusal<AttachErrno> {
  const { device, pasid, domain, dying, entry } = attachment;
  if (
    device.presence.value !== 'there' ||
    dying ||
    entry !== 'present' ||
    device.attachments.get(pasid) !== attachment
  ) {
    return refuse('EBUSY', `PASID ${pasid} of ${device.name} is on its way out`);
  }
  if (domain.handleFault !== undefined || to.handleFault !== undefined || attachment.client !== undefined) {
    return refuse('EBUSY', `PASID ${pasid} of ${device.name}: page requests are served`);
  }
  return device.driver.prepareReplace(device, pasid, { from: domain, to });
}

/** Hardware has let go of the old domains: puts the new one on record. */
function commit(context: KernelContext, steps: readonly Step[], domain: Domain): Attachment[] {
  return steps.map(({ attachment, replacement }) => {
    const { device, pasid } = attachment;
    replacement.commit();
    const made = new Attachment(context, device, { pasid, domain });
    made.change().entry = 'present';
    made.change().users = attachment.users;
    device.attachments.set(pasid, made);
    attachment.change().replacedBy = made;
    countUse(domain, 1);
    countUse(attachment.domain, -1);
    return made;
  });
}
