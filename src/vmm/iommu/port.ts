/**
 * The virtual IOMMU as the rest of a VMM knows it: what it is made of, and what it is told of the host.
 */
import type { Event, Refusal, Restorable, Task, TaskSet } from '../../base/index.js';
import type { FrameMemory, MmioRegion, PageRequest } from '../../hardware/index.js';
import type { GuestPasidPolicy } from './guest-pasids.js';
import type { GuestBinding, HostSide } from './host-side.js';
import type { VirtualIommuState } from './state.js';

/** What a virtual unit is, and what it is connected to. */
export interface VirtualIommuOptions {
  /** Names it and its task in the trace: `vm1 dmar0`. */
  readonly name: string;
  /** As `virtualCapabilities` makes them; what the virtual unit does not have is not offered. */
  readonly cap: bigint;
  readonly ecap: bigint;
  /** Bits of the addresses in the guest's tables, as the guest is told by firmware; CAP.MGAW + 1 if left out. */
  readonly hostAddressWidth?: number;
  /** The virtual command registers are those of before revision 3.3. */
  readonly oldVirtualCommands?: boolean;
  /** The guest's memory, by guest frames. */
  readonly memory: FrameMemory;
  readonly host: HostSide;
  /** The guest PASIDs that it gives out, and the host PASIDs that it asks for. */
  readonly pasids: GuestPasidPolicy;
  /** The set in which it spawns its task, when there is work. */
  readonly tasks: TaskSet;
  /** Called when what the guest's driver polls for may have come: it may sleep instead of a spin. */
  readonly onProgress?: (() => void) | undefined;
  /** Sends an interrupt message to the guest. */
  readonly interrupt: (address: number, data: number) => void;
  readonly emit?: ((event: Omit<Event, 'step' | 'actor' | 'layer'>) => void) | undefined;
}

/** A request of a device that the host's hardware could not translate: what it is told to the guest as. */
export interface GuestFault {
  /** Virtual RID. */
  readonly rid: number;
  /** The guest's, or `NO_PASID`. */
  readonly pasid: number;
  readonly page: number;
  /** A set of RIGHT. */
  readonly rights: number;
  /** One of FAULT. */
  readonly reason: number;
}

export interface VirtualUnit extends MmioRegion, Restorable {
  /** A virtual device is behind the unit from now on. */
  addDevice(rid: number): void;
  /** It is gone: what is bound through it is unbound. */
  removeDevice(rid: number): void;
  /** A page request from the host, with virtual RID and guest PASID; the answer goes to `HostSide.respond`. */
  pageRequest(request: PageRequest): void;
  /** A fault from the host that nobody can resolve: goes to the guest's fault records. */
  fault(fault: GuestFault): void;
  /** KVM's exit: a vCPU has submitted with a guest PASID that nobody told of. */
  unknownPasid(guestPasid: number): void;
  /** The VM is reset: registers are as after power-on, and everything is unbound and given back. */
  reset(): void;
  /** What it is, while it has nothing to do and nobody writes to it. */
  save(): VirtualIommuState;
  /**
   * Takes over what another was, after a reset, with the guest's memory and devices there: backs each guest PASID by a
   * host PASID of its own, and binds anew what the guest's tables say.
   *
   * On failure: `EINVAL` if it does not offer the same; what the host refuses with; `EIO` if something could not be
   * bound that was. It is to be reset.
   */
  load(state: VirtualIommuState): Task<Refusal | undefined>;
  /** Tells which host PASIDs back the guest's. */
  tellPasids(): void;
  /** The host PASID behind a guest PASID that was given out; undefined if it was not. */
  hostPasidOf(guestPasid: number): number | undefined;
  /** What is bound through a device, for guest PASID 0 for requests without one; undefined if nothing is. */
  bindingOf(rid: number, guestPasid: number): GuestBinding | undefined;
  /** Whether its task has work. */
  readonly isBusy: boolean;
}
