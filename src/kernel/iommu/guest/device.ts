/**
 * A device that a virtual machine has, as the IOMMU layer knows it: which function its DMA comes from, in whose name
 * it holds PASIDs, and who is told of its faults.
 */
import { KeptMap, KeptValue, type Refusal, type Task, WaitQueue } from '../../../base/index.js';
import type { Ioasid, IoasidHolder } from '../../../ioasid/index.js';
import type { KernelContext } from '../../context.js';
import type { GuestPasid, Pasid } from '../../ids.js';
import type { IommuDevice } from '../device.js';
import type { DmaFault, PageRequest } from '../driver.js';
import type { GuestEntry, GuestFunction } from './entry.js';

/** What a device needs to have for a guest's PASIDs. */
export interface GuestEndpoint {
  readonly name: string;
  /** The function whose RID its DMA carries. */
  readonly iommu: IommuDevice;
  /** Its requests carry the host's PASIDs; those of a whole function carry what the guest has put into it. */
  readonly usesParentPasids: boolean;
  /** Whether the guest sees a device TLB; if not, the host flushes it for the guest. */
  readonly showsAts?: boolean;
  /** Returns when it has nothing of a PASID under way, as its requests carry it. */
  drain(pasid: Pasid): Task<Refusal<'EIO'> | undefined>;
}

/** What a guest is told, by its own PASIDs. */
export type GuestFault =
  | { readonly kind: 'page request'; readonly guestPasid: GuestPasid; readonly request: PageRequest }
  | {
      readonly kind: 'unrecoverable';
      readonly guestPasid: GuestPasid | undefined;
      readonly fault: DmaFault;
    };

export class GuestDevice {
  readonly endpoint: GuestEndpoint;
  readonly holder: IoasidHolder;
  /** Its VM's share of the function. */
  readonly part: GuestFunction;
  /** It may be called in an interrupt's context. */
  readonly listener: KeptValue<((fault: GuestFault) => void) | undefined>;
  /** By the host's id. */
  readonly bindings: KeptMap<number, GuestBinding>;

  constructor(
    { log }: KernelContext,
    endpoint: GuestEndpoint,
    of: { readonly holder: IoasidHolder; readonly part: GuestFunction },
  ) {
    this.endpoint = endpoint;
    this.holder = of.holder;
    this.part = of.part;
    this.listener = new KeptValue<((fault: GuestFault) => void) | undefined>(log, undefined);
    this.bindings = new KeptMap(log);
  }

  get name(): string {
    return this.endpoint.name;
  }

  get iommu(): IommuDevice {
    return this.endpoint.iommu;
  }
}

/** How far a binding has come; `held` if hardware did not confirm its end, and the id stays in use. */
export type BindingState = 'binding' | 'bound' | 'leaving' | 'held' | 'gone';

/** One device bound to one PASID. */
export class GuestBinding {
  readonly device: GuestDevice;
  readonly id: Ioasid;
  readonly guestPasid: GuestPasid;
  readonly state: KeptValue<BindingState>;
  readonly entry: KeptValue<GuestEntry | undefined>;
  /** Whether the device did not say that it has nothing of the PASID any more. */
  readonly isUndrained: KeptValue<boolean>;
  /** Woken on each change of the state. */
  readonly changed: WaitQueue;

  constructor(
    { log }: KernelContext,
    device: GuestDevice,
    of: { readonly id: Ioasid; readonly guestPasid: GuestPasid },
  ) {
    this.device = device;
    this.id = of.id;
    this.guestPasid = of.guestPasid;
    this.state = new KeptValue<BindingState>(log, 'binding');
    this.entry = new KeptValue<GuestEntry | undefined>(log, undefined);
    this.isUndrained = new KeptValue(log, false);
    this.changed = new WaitQueue(`guest PASID ${of.guestPasid} on ${device.name}`);
  }

  become(state: BindingState): void {
    this.state.value = state;
    this.changed.wakeAll();
  }
}
