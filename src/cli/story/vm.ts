/** Sentences of what stands between host and guests: KVM, VFIO's guest PASIDs, VDCM, the virtual IOMMU. */
import { of, ownPasidOf, pasidOf, type Tell, why } from './words.js';

const ACTIONS: Readonly<Record<string, string>> = {
  retry: 'the guest is to try again',
  'general-protection': '#GP into the guest',
};

export const VM_TELLS: Readonly<Record<string, Tell>> = {
  'kvm:bind': (f) =>
    f['ok'] === false
      ? `KVM has no memory to translate ${ownPasidOf(f)}: its ENQCMD will exit`
      : `KVM translates guest PASID ${of(f, 'guestPasid')} of ${of(f, 'owner')} to host PASID ${of(f, 'pasid')}`,
  'kvm:unbind': (f) => `KVM translates ${ownPasidOf(f)} no more`,
  'kvm:exit': (f) =>
    `exit of ${of(f, 'vm')}'s CPU: ${of(f, 'reason').toUpperCase()} with ${ownPasidOf(f)}, not in KVM's table: ${ACTIONS[of(f, 'action')] ?? of(f, 'action')}`,
  'kvm:destroyed': (f) => `KVM has nothing of ${of(f, 'vm')} any more`,

  'guest:bind': (f) => `VFIO binds ${pasidOf(f)} on ${of(f, 'device')}: nested entry is there`,
  'guest:unbind': (f) => `VFIO has unbound ${pasidOf(f)} from ${of(f, 'device')}: entry and caches are clear`,
  'guest:mute': (f) =>
    `VFIO has unbound ${pasidOf(f)} from ${of(f, 'device')}: its entry leads nowhere, and faults on it are not recorded`,
  'guest:held': (f) =>
    `VFIO keeps ${pasidOf(f)} for ${of(f, 'device')}: hardware did not say that it has let go`,
  'guest:response-dropped': (f) =>
    `VFIO drops an answer of ${of(f, 'vm')}: ${of(f, 'device')} has not asked in group ${of(f, 'group')} for guest PASID ${of(f, 'guestPasid')}`,

  'vfio:open': (f) => `${of(f, 'device')} is a virtual machine's, whole`,
  'vfio:reset': (f) => `${of(f, 'device')} is reset, by itself: nothing is left in it of what it did`,
  'vfio:close': (f) => `${of(f, 'device')} is nobody's any more`,
  'iommu:default-pasid': (f) =>
    `PASID ${of(f, 'pasid')} stands for requests without one of virtual devices of ${of(f, 'domain')}`,
  'iommu:aux-entry': (f) =>
    `${of(f, 'device')} is attached to the memory of ${of(f, 'domain')} under its default PASID ${of(f, 'pasid')}`,
  'iommu:aux-clear': (f) =>
    `${of(f, 'device')} has nothing of the default PASID ${of(f, 'pasid')} of ${of(f, 'domain')} any more: entry and caches are clear`,

  'viommu:rid-pasid': (f) =>
    `virtual IOMMU: host PASID ${of(f, 'pasid')} stands for requests of ${of(f, 'rid')} without one`,
  'viommu:attach': (f) =>
    `virtual IOMMU: requests of ${of(f, 'rid')} without a PASID meet the memory of ${of(f, 'vm')} as it is`,
  'viommu:attach-refused': (f) =>
    `virtual IOMMU: requests of ${of(f, 'rid')} without a PASID stay blocked${why(f)}`,
  'viommu:detach': (f) =>
    `virtual IOMMU: requests of ${of(f, 'rid')} without a PASID meet the memory of ${of(f, 'vm')} no more`,
  'viommu:detach-failed': (f) =>
    `virtual IOMMU: the host does not block requests of ${of(f, 'rid')} without a PASID${why(f)}`,
  'viommu:bind': (f) => `virtual IOMMU: entry of ${ownPasidOf(f)} at ${of(f, 'rid')} is new, and bound`,
  'viommu:bind-refused': (f) =>
    `virtual IOMMU: the host does not bind ${ownPasidOf(f)} at ${of(f, 'rid')}${why(f)}`,
  'viommu:unbind': (f) => `virtual IOMMU: entry of ${ownPasidOf(f)} at ${of(f, 'rid')} is gone, and unbound`,
  'viommu:mute': (f) =>
    `virtual IOMMU: entry of ${ownPasidOf(f)} at ${of(f, 'rid')} is gone, and its faults are not to be recorded`,
  'viommu:unbind-failed': (f) =>
    `virtual IOMMU: the host does not unbind ${ownPasidOf(f)} at ${of(f, 'rid')}${why(f)}`,

  'viommu:backed': (f) =>
    `virtual IOMMU: host PASID ${of(f, 'pasid')} stands behind guest PASID ${of(f, 'guestPasid')} of ${of(f, 'owner')}`,

  'vmm:stop-copy': (f) =>
    `VMM: ${of(f, 'vm')} stands still: ${of(f, 'pages')} pages and ${of(f, 'pasids')} guest PASIDs go to ${of(f, 'to')}`,
  'vmm:migrated': (f) =>
    `VMM: the guest of ${of(f, 'vm')} is that of ${of(f, 'to')}, and ${of(f, 'vm')} is gone`,
  'vmm:not-migrated': (f) => `VMM: the guest of ${of(f, 'vm')} does not go to ${of(f, 'to')}${why(f)}`,
  'vmm:plug': (f) => `VMM: ${of(f, 'device')} is plugged in at ${of(f, 'rid')}`,
  'vmm:unplug': (f) => `VMM: the guest of ${of(f, 'vm')} is asked for ${of(f, 'device')}`,
  'vmm:gone': (f) => `VMM: ${of(f, 'device')} is out, and nothing of ${of(f, 'vm')} is left in it`,

  'vdcm:create': (f) => `mediated device ${of(f, 'mdev')} is a part of ${of(f, 'wq')}`,
  'vdcm:reset': (f) => `mediated device ${of(f, 'mdev')} is reset: its queue has nothing of its VM`,
  'vdcm:enable': (f) => `mediated device ${of(f, 'mdev')}: its queue works with ${pasidOf(f)}`,
  'vdcm:halt': (f) =>
    `mediated device ${of(f, 'mdev')} halts: its guest has changed its configuration space while it was enabled`,
  'vdcm:interrupt': (f) => `mediated device ${of(f, 'mdev')} sends its vector ${of(f, 'vector')}`,
  'vdcm:lost': (f) => `mediated device ${of(f, 'mdev')}: its queue is disabled, for ${pasidOf(f)} goes`,
  'vdcm:remove': (f) => `mediated device ${of(f, 'mdev')} is removed`,
};
