/**
 * Sentences of a kernel, the host's and the guests': processes, address spaces, the IOMMU, the accelerator's driver.
 */
import { type Fields, forJob, forWork, of, ownPasidOf, pasidOf, plural, type Tell, why } from './words.js';

/** Of whose work a fault is; nobody may know. */
const whose = (fields: Fields): string =>
  `${fields['pasid'] == null && fields['guestPasid'] == null ? 'no PASID' : ownPasidOf(fields)}${forWork(fields)}`;

export const KERNEL_TELLS: Readonly<Record<string, Tell>> = {
  'kernel:booted': (f) => `the kernel has booted, with ${plural(f, 'frames', 'frame')} of its own`,

  'process:new': (f) => `process ${of(f, 'process')} is there, pid ${of(f, 'pid')}`,
  'process:fork': (f) => `pid ${of(f, 'parent')} has forked pid ${of(f, 'pid')}`,
  'process:pasid': (f) => `#GP on the first ENQCMD: IA32_PASID is loaded with ${ownPasidOf(f)}`,
  'process:trap': (f) => `#${of(f, 'vector')} that the kernel cannot serve${why(f)}`,
  'process:signal': (f) => `${of(f, 'signal')} to ${of(f, 'process')}`,
  'process:exit': (f) => `${of(f, 'process')} is gone`,

  'mm:map': (f) => `promises ${plural(f, 'pages', 'page')} at ${of(f, 'page')} to ${of(f, 'mm')}`,
  'mm:unmap': (f) =>
    `${plural(f, 'pages', 'page')} at ${of(f, 'page')} of ${of(f, 'mm')} ${f['pages'] === 1 ? 'is' : 'are'} gone, from all caches too`,
  'mm:lost': (f) =>
    `${plural(f, 'pages', 'page')} at ${of(f, 'page')} of ${of(f, 'mm')}: the frames stay taken, for hardware did not confirm that it is done with them`,
  'mm:protect': (f) =>
    `${plural(f, 'pages', 'page')} at ${of(f, 'page')} of ${of(f, 'mm')} ${f['pages'] === 1 ? 'has' : 'have'} other rights`,
  'mm:exit': (f) => `the memory of ${of(f, 'mm')} goes`,
  'mm:end': (f) => `the address space of ${of(f, 'mm')} is gone`,

  'sva:bind': (f) => `${of(f, 'device')} is bound to ${ownPasidOf(f)}: its table entry is there`,
  'sva:unbind': (f) => `${of(f, 'device')} is unbound from ${ownPasidOf(f)}: entry and caches are clear`,

  'idxd:configure': (f) => `${of(f, 'device')} has ${plural(f, 'wqs', 'work queue')}`,
  'idxd:open': (f) => `${of(f, 'wq')} is open, for ${ownPasidOf(f)}`,
  'idxd:copy': (f) =>
    `has ${of(f, 'wq')} copy ${of(f, 'bytes')} bytes, from ${of(f, 'from')} to ${of(f, 'to')} of its memory: ${of(f, 'source')} and ${of(f, 'target')} for the device`,
  'idxd:close': (f) => `${of(f, 'wq')} is closed, for ${ownPasidOf(f)}`,
  'idxd:reset': (f) => `${of(f, 'device')} is reset: what its queues had is abandoned, or done`,
  'idxd:interrupt': (f) =>
    `${of(f, 'device')}: descriptors of ${ownPasidOf(f)} may ask for vector ${of(f, 'vector')}, by handle ${of(f, 'handle')}`,
  'idxd:ims': (f) =>
    f['pasid'] === null
      ? `interrupt message entry ${of(f, 'entry')} of ${of(f, 'device')} is for nobody's descriptors`
      : `interrupt message entry ${of(f, 'entry')} of ${of(f, 'device')} is for descriptors of ${pasidOf(f)}`,
  'idxd:error': (f) =>
    `${of(f, 'device')} reports "${of(f, 'error')}" at ${of(f, 'address')}: ${of(f, 'operation')}, ${whose(f)}`,
  'idxd:no-log': (f) => `${of(f, 'device')} has no event log${why(f)}`,
  'idxd:record': (f) =>
    `writes a completion record for ${ownPasidOf(f)}, which the device could not write: it is in the event log`,
  'idxd:remove': (f) => `${of(f, 'device')} is closed for all, and disabled`,
  'idxd:quiesce-failed': (f) => `${of(f, 'device')} does not let go${why(f)}`,

  'pci:add': (f) => `the function at ${of(f, 'device')} has come`,
  'pci:remove': (f) => `the function at ${of(f, 'device')} is let go of`,
  'pci:held': (f) => `cannot let go of the function at ${of(f, 'device')}${why(f)}`,
  'pci:refused': (f) => `cannot use the function at ${of(f, 'device')}${why(f)}`,

  'iommu:add': (f) =>
    `${of(f, 'device')} is behind ${of(f, 'unit')}, with ${of(f, 'pasidBits')} bits of PASID`,
  'iommu:remove': (f) => `${of(f, 'device')} is behind ${of(f, 'unit')} no more`,
  'iommu:refused': (f) => `${of(f, 'device')} cannot be put behind an IOMMU${why(f)}`,
  'iommu:fault': (f) =>
    `${of(f, 'unit')} blocks ${of(f, 'rid')}, ${of(f, 'access')} at ${of(f, 'page')}, ${whose(f)}${why(f, 'reason')}`,
  'iommu:fault-overflow': (f) => `${of(f, 'unit')} has lost faults: there was no room for them`,
  'iommu:page-request-refused': (f) =>
    `cannot have page ${of(f, 'page')} for ${of(f, 'rid')}, ${whose(f)}${why(f)}`,
  'iommu:page-response': (f) =>
    `answers group ${of(f, 'group')} of ${of(f, 'rid')}: ${of(f, 'response')}, ${ownPasidOf(f)}${forJob(f)}`,
  'iommu:page-request-unknown': (f) => `${of(f, 'unit')}: type ${of(f, 'type')} is no page request`,
  'iommu:page-request-overflow': (f) => `${of(f, 'unit')} has lost page requests: its queue was full`,
  'iommu:queue-error': (f) =>
    `${of(f, 'unit')} stops at descriptor ${of(f, 'slot')} of its invalidation queue${why(f, 'reason')}`,
  'iommu:unexpected-completion': (f) =>
    `${of(f, 'unit')} has an answer of ${of(f, 'rid')} that nobody waits for`,
  'iommu:invalidation-timeout': (f) => `${of(f, 'rid')} does not answer an invalidation of ${of(f, 'unit')}`,
  'iommu:replace-unconfirmed': (f) => `cannot know that ${of(f, 'device')} has forgotten an old table`,
  'iommu:virtual-command': (f) =>
    f['status'] === null
      ? `${of(f, 'unit')} does not answer virtual command ${of(f, 'command')}`
      : `${of(f, 'unit')} fails virtual command ${of(f, 'command')} with status ${of(f, 'status')}`,
};
