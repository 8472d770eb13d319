/**
 * One virtual machine, as KVM keeps it: its memory for the CPUs (EPT), its CPUs, and how they translate its PASIDs.
 *
 * PASID translation is on, for all CPUs of the VM, before a device's page is in the EPT, and goes off after the last
 * one is out: a guest that reached a shared queue with its own PASIDs would reach into other VMs (bugs B8). An exit
 * never waits: what KVM's user has to do about it, it only notes.
 */
import { isRefusal, KeptList, KeptValue, type Refusal, refuse, type Task } from '../../base/index.js';
import type { IoasidCore } from '../../ioasid/index.js';
import { type KernelContext, tell } from '../context.js';
import { GuestPasid } from '../ids.js';
import type { AddressSpace } from '../mm/address-space.js';
import type { ExitAction, VcpuPort, VmExit, Vmx } from '../platform.js';
import { GuestMemory, type KvmSlot } from './memory.js';
import type { PasidPair } from './pasid-table.js';
import { PasidTranslation } from './pasids.js';
import { Retries } from './retries.js';

export interface KvmVmOptions {
  readonly name: string;
  /** The VMM's address space. */
  readonly mm: AddressSpace;
  readonly vmx: Vmx;
  readonly ioasids: IoasidCore;
  /** How often in a row a CPU is told to retry for one PASID. */
  readonly retries: number;
}

/** Is told of the first use of a PASID that is not translated: somebody may have to look what it is. */
export type UnknownPasidHandler = (guestPasid: GuestPasid) => void;

interface Vcpu {
  readonly port: VcpuPort;
  readonly retries: Retries;
}

export class KvmVm {
  readonly name: string;
  readonly #context: KernelContext;
  readonly #options: KvmVmOptions;
  readonly #memory: GuestMemory;
  readonly #vcpus: KeptList<Vcpu>;
  readonly #translation: KeptValue<PasidTranslation | undefined>;
  readonly #onUnknownPasid: KeptValue<UnknownPasidHandler>;
  readonly #isGone: KeptValue<boolean>;

  private constructor(
    context: KernelContext,
    options: KvmVmOptions,
    of: { readonly memory: GuestMemory; readonly vcpus: KeptList<Vcpu> },
  ) {
    this.name = options.name;
    this.#context = context;
    this.#options = options;
    this.#memory = of.memory;
    this.#vcpus = of.vcpus;
    this.#translation = new KeptValue<PasidTranslation | undefined>(context.log, undefined);
    this.#onUnknownPasid = new KeptValue<UnknownPasidHandler>(context.log, () => {});
    this.#isGone = new KeptValue(context.log, false);
    options.mm.pin();
    options.mm.addNotifier(of.memory);
  }

  /**
   * A VM without memory or CPUs.
   *
   * On failure: `ENOMEM`.
   */
  static create(context: KernelContext, options: KvmVmOptions): KvmVm | Refusal<'ENOMEM'> {
    const { name, mm } = options;
    const vcpus = new KeptList<Vcpu>(context.log);
    const memory = GuestMemory.create(context, { name, mm, flush: () => flush(vcpus) });
    return isRefusal(memory) ? memory : new KvmVm(context, options, { memory, vcpus });
  }

  /** Called at each exit for a PASID that is not translated, in the exit: it may not sleep. */
  get onUnknownPasid(): UnknownPasidHandler {
    return this.#onUnknownPasid.value;
  }
  set onUnknownPasid(handler: UnknownPasidHandler) {
    this.#onUnknownPasid.value = handler;
  }

  /**
   * Adds a run of pages of the VMM's to the guest's memory.
   *
   * On failure: `EINVAL` for a range that is none; `EEXIST` if something is at one of its guest frames; `ESRCH` if
   * the VMM's memory is gone; `EFAULT` if a page is not the VMM's to write; `ENOMEM`; `ENODEV` if the VM is gone.
   * Nothing of it is mapped then.
   */
  *setMemory(
    slot: KvmSlot,
  ): Task<Refusal<'ENODEV' | 'EINVAL' | 'EEXIST' | 'ESRCH' | 'EFAULT' | 'ENOMEM'> | undefined> {
    if (this.#isGone.value) return refuse('ENODEV', `${this.name} is gone`);
    return yield* this.#memory.add(slot);
  }

  /**
   * Maps a page of a device, a portal, into the guest.
   *
   * On failure: `ENODEV` if the VM is gone; `EPERM` while PASIDs are not translated; `EINVAL` if the frame is RAM;
   * `EEXIST` if something is at that guest frame; `ENOMEM`.
   */
  *mapDevicePage(
    gfn: number,
    frame: number,
  ): Task<Refusal<'ENODEV' | 'EPERM' | 'EINVAL' | 'EEXIST' | 'ENOMEM'> | undefined> {
    if (this.#isGone.value) return refuse('ENODEV', `${this.name} is gone`);
    if (this.#translation.value === undefined) {
      return refuse('EPERM', `${this.name} does not translate PASIDs: no portal may be mapped`);
    }
    return yield* this.#memory.addDevice(gfn, frame);
  }

  /**
   * Takes a page of a device away, if it is there: when it returns, the guest does not reach it, and finds nothing
   * there.
   *
   * @param isHeld it will be mapped again: instructions that go there wait for it, and none of them is lost
   */
  *unmapDevicePage(gfn: number, isHeld = false): Task {
    yield* this.#memory.removeDevice(gfn, isHeld);
  }

  /**
   * One more CPU, which runs nothing but this guest.
   *
   * On failure: `ENODEV` if the VM is gone.
   */
  createVcpu(): VcpuPort | Refusal<'ENODEV'> {
    if (this.#isGone.value) return refuse('ENODEV', `${this.name} is gone`);
    const { vmx, retries } = this.#options;
    const port = vmx.createVcpu(`${this.name}/vcpu${this.#vcpus.length}`);
    const vcpu = { port, retries: new Retries(this.#context.log, retries) };
    port.setEpt(this.#memory.root);
    port.setPasidTranslation(this.#translation.value?.table);
    port.onExit((exit) => this.#exit(vcpu, exit));
    this.#vcpus.push(vcpu);
    return port;
  }

  /**
   * Has the CPUs translate the guest's PASIDs, those that are bound in the VM's set; whether that is there yet or not.
   * Once more is no error.
   *
   * On failure: `ENODEV` if the CPUs cannot, or the VM is gone; `ENOMEM`.
   */
  enablePasidTranslation(): Refusal<'ENODEV' | 'ENOMEM'> | undefined {
    if (this.#translation.value !== undefined) return undefined;
    const { vmx, ioasids, mm } = this.#options;
    if (this.#isGone.value) return refuse('ENODEV', `${this.name} is gone`);
    if (!vmx.hasPasidTranslation) return refuse('ENODEV', 'the CPUs do not translate PASIDs');
    const translation = PasidTranslation.create(this.#context, ioasids, {
      name: this.name,
      token: mm,
      isBusy: () => this.#vcpus.items.some(({ port }) => port.isInInstruction),
      past: () => past(this.#vcpus),
      translated: (guest) => {
        for (const { retries } of this.#vcpus.items) retries.translated(guest);
      },
    });
    if (isRefusal(translation)) return translation;
    for (const { port } of this.#vcpus.items) port.setPasidTranslation(translation.table);
    this.#translation.value = translation;
    const refusal = translation.register();
    if (refusal !== undefined) this.#translationOff(translation);
    return refusal;
  }

  /** What the CPUs translate now, as it stands in memory: for those who judge. */
  get translated(): readonly PasidPair[] {
    return this.#translation.value?.table.pairs ?? [];
  }

  /** Takes everything apart, in the order in which it is safe: portals, translation, CPUs, memory. */
  *destroy(): Task {
    if (this.#isGone.value) return;
    this.#isGone.value = true;
    const { mm } = this.#options;
    yield* this.#memory.removeDevices();
    const translation = this.#translation.value;
    if (translation !== undefined) {
      yield* translation.end();
      this.#translationOff(translation);
    }
    yield* this.#memory.clear();
    mm.removeNotifier(this.#memory);
    for (let vcpu = this.#vcpus.shift(); vcpu !== undefined; vcpu = this.#vcpus.shift()) vcpu.port.release();
    this.#memory.free();
    tell(this.#context, 'kvm:destroyed', { vm: this.name });
    mm.unpin();
  }

  #translationOff(translation: PasidTranslation): void {
    for (const { port } of this.#vcpus.items) port.setPasidTranslation(undefined);
    this.#translation.value = undefined;
    translation.free();
  }

  #exit({ port, retries }: Vcpu, exit: VmExit): ExitAction {
    if ('gfn' in exit) return this.#memory.fault(exit.gfn, exit.write);
    const guest = GuestPasid.of(exit.pasid);
    if (this.#translation.value?.fill(guest) === true) return 'retry';
    const action = retries.exit(guest);
    const { reason, pasid } = exit;
    tell(this.#context, 'kvm:exit', { vm: this.name, cpu: port.cpu.index, reason, pasid, action });
    if (action === 'retry') this.onUnknownPasid(guest);
    return action;
  }
}

/** Has all CPUs drop what they cache of the EPT; returns when each is past the instruction that may have used it. */
function* flush(vcpus: KeptList<Vcpu>): Task {
  // What a CPU begins from here on walks anew.
  for (const { port } of vcpus.items) port.flushEpt();
  yield* past(vcpus);
}

/** A queue is woken at the end of an instruction and then only: to have slept on it once is enough. */
function* past(vcpus: KeptList<Vcpu>): Task {
  for (const { port } of [...vcpus.items]) if (port.isInInstruction) yield port.boundary;
}
