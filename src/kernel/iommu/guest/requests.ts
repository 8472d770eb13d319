/** What a virtual machine asks of the host for its guest's PASIDs. */
import type { GuestPasid } from '../../ids.js';
import type { PageRange } from '../driver.js';
import type { GuestStage } from './function.js';

export interface GuestBindRequest {
  /** The host's PASID: an id of the VM's set. */
  readonly hostPasid: number;
  /** 0 for requests without one: the guest's own number for the host's is not known to anybody then. */
  readonly guestPasid: GuestPasid;
  readonly stage: GuestStage;
}

export interface GuestUnbindRequest extends Pick<GuestBindRequest, 'hostPasid' | 'guestPasid'> {
  /** Of a whole function: faults of what still comes are not recorded. */
  readonly mute: boolean;
}

/** What a guest says that caches may not hold any more. PASID 0 is its requests without one. */
export interface GuestInvalidation {
  /** All of the VM's on that device, if undefined. */
  readonly guestPasid: GuestPasid | undefined;
  /** All pages, if undefined. */
  readonly range: PageRange | undefined;
  readonly iotlb: boolean;
  readonly deviceTlb: boolean;
  readonly pasidCache: boolean;
}
