/** Faults of the accelerator's driver, and of its parts as virtual devices. */
import { type Fault, faultsIn } from './fault.js';

const idxd = faultsIn('src/kernel/idxd', { tests: ['src/kernel/idxd', 'src/kernel/vdcm'] });
const vdcm = faultsIn('src/kernel/vdcm', { tests: ['src/kernel/vdcm'] });

export const ACCELERATOR_FAULTS: readonly Fault[] = [
  idxd('the PASID of an interrupt entry is changed behind who masks it (B7)', 'interrupt-storage.ts', {
    find: 'this.#write({ ...this.#control.value, pasid });',
    replace:
      'const before = this.#control.value; this.#write({ ...before, pasid }); this.#control.value = before;',
  }),
  idxd('an interrupt is told to who has the entry next', 'interrupt-storage.ts', {
    find: 'if (this.#listener.value !== listener) return;',
    replace: '',
  }),
  idxd('who inherits a descriptor has what its opener has (G1)', 'wq-files.ts', {
    find: 'if (file.binding.mm !== process.mm) return',
    replace: 'if (process.pid < 0) return',
  }),
  idxd('a vector that is given back may still be asked for', 'completion-interrupts.ts', {
    find: '    const refusal = yield* this.#registers.releaseHandle(handle);\n    this.#permit(vector, undefined);',
    replace: '    const refusal = yield* this.#registers.releaseHandle(handle);',
  }),
  vdcm('an entry is for whatever PASID the guest has written (B11)', 'interrupts.ts', {
    find: 'return this.#bound.hostOf(hasPasid ? GuestPasid.of(DSA_MSIXPERM.PASID.get(words, 0)) : undefined);',
    replace: 'return hasPasid ? DSA_MSIXPERM.PASID.get(words, 0) : undefined;',
  }),
  vdcm('a PASID stays in its entry when it is drained', 'interrupts.ts', {
    find: 'if (entry.pasid === host) entry.permit(undefined);',
    replace: 'if (host < 0) entry.permit(undefined);',
  }),
  vdcm('the end of a PASID is looked for by the number of the guest (B1)', 'dedicated.ts', {
    find: 'return this.#held.value?.host === host;',
    replace: 'return Number(this.#held.value?.guest) === Number(host);',
  }),
  vdcm('the end of any PASID lets go of what is held (B2)', 'dedicated.ts', {
    find: 'return this.#held.value?.host === host;',
    replace: 'return this.#held.value !== undefined;',
  }),
  vdcm('the end of a queue that is not enabled gives up (B3)', 'dedicated.ts', {
    find: 'if (held === undefined || !this.#holds(host)) return undefined;',
    replace: 'if (held === undefined || !this.#holds(host) || !this.#wq.isEnabled) return undefined;',
  }),
  vdcm('who is told of a VM is told of it for ever (B4)', 'dedicated.ts', {
    find: 'if (owner !== undefined) ioasidUnregisterNotifier(owner.subscription);',
    replace: '',
  }),
  vdcm('whatever is bound in the VM is accepted (B11)', 'dedicated.ts', {
    find: 'if (this.#bound.get(host) === guest) {',
    replace: 'if (guest !== undefined) {',
  }),
  vdcm('a queue that goes on is translated again (B5)', 'dedicated.ts', {
    find: 'if (this.#held.value === undefined) this.#take(guest);',
    replace: 'this.#take(guest);',
  }),
  vdcm('a part is enabled that is no bus master', 'pci-state.ts', {
    find: 'pci.isBusMaster ? ERROR.SUCCESS : ERROR.BUS_MASTER',
    replace: 'ERROR.SUCCESS',
  }),
  vdcm('a queue is enabled with PASIDs where there are none', 'pci-state.ts', {
    find: 'return usesPasids && !pci.isPasidEnabled ? ERROR.WQ_PASID_ENABLE : ERROR.SUCCESS;',
    replace: 'return ERROR.SUCCESS;',
  }),
  vdcm('a halt leaves its queue working', 'command-unit.ts', {
    find: '    yield* this.#target.queue.disable(true);\n    this.#isHalting',
    replace: '    this.#isHalting',
  }),
  vdcm('a reset does not wait for the halt that it leads out of', 'command-unit.ts', {
    find: 'while (this.#isHeld.value || this.#isHalting.value) yield',
    replace: 'while (this.#isHeld.value) yield',
  }),
  vdcm('a device that halted while it stood still goes on', 'mdev.ts', {
    find: 'if (!isHalted && ',
    replace: 'if (',
  }),
  vdcm('a device that was enabled for one VM is so for the next', 'mdev.ts', {
    find: '    this.#pci.value = PCI_RESET;\n',
    replace: '',
  }),
  vdcm('a reset of the device forgets its error', 'registers.ts', {
    find: 'for (const field of swerror.fields) this.#file.setBig(SWERROR, field, field.getBig(recorded, 0));',
    replace: '',
  }),
  vdcm('a part of a shared queue waits for the default PASID of its VM', 'shared.ts', {
    find: '      if (pasid === this.#unused.value) continue;\n',
    replace: '',
  }),
];
