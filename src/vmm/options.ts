/** What a virtual machine is made of, and what it is connected to. */
import type { Chooser, TaskSet } from '../base/index.js';
import type { Cpu, Memory } from '../hardware/index.js';
import type { IoasidOptions } from '../ioasid/index.js';
import type { FrameLedger, GroupConfig, Mdev, Platform, RidDomain, VfioPci } from '../kernel/index.js';
import type { SharedQueues } from './assigned.js';
import type { VmHost } from './host.js';
import type { GuestPasidPolicy } from './iommu/guest-pasids.js';

interface Placed {
  readonly name: string;
  /** The RID that the guest finds it at. */
  readonly at: number;
}

/** A virtual function that is a part of one of the host's. */
export interface MediatedDevice extends Placed {
  readonly mdev: Mdev;
}

/** A virtual function that is a whole one of the host's. */
export interface AssignedDevice extends Placed {
  readonly whole: VfioPci;
  /** What the guest's administrator makes of it. */
  readonly groups: readonly GroupConfig[];
  readonly sharedQueues: SharedQueues;
}

/** A virtual function of a VM. */
export type VmDevice = MediatedDevice | AssignedDevice;

/** The hardware under a VMM: what its vCPUs and its memory really are. */
export interface VmMachine {
  readonly memory: Memory;
  /** All CPUs, by their index. */
  readonly cpus: readonly Cpu[];
}

/** The virtual IOMMU. */
export interface VmIommu {
  /** Whether entries that become present are told too. */
  readonly cachingMode: boolean;
  /** Bits of a guest PASID; 20, if not given. */
  readonly pasidBits?: number;
  /** Whether virtual functions have ATS and PRI; true, if not given. A driver that shares memory asks for both. */
  readonly deviceTlbs?: boolean;
  readonly pageRequests?: boolean;
  /** The virtual command registers are those of before revision 3.3. */
  readonly oldVirtualCommands?: boolean;
  /** The guest PASIDs that it gives out, and the host PASIDs that it asks for. */
  readonly pasids: GuestPasidPolicy;
}

export interface VmOptions {
  /** `vm1`. */
  readonly name: string;
  readonly host: VmHost;
  readonly machine: VmMachine;
  /** The host's: the guest's tasks are some of them. */
  readonly tasks: TaskSet;
  readonly chooser: Chooser;
  /** Lets hardware step in between two accesses of the guest's kernel, or not: `what` names the point. */
  readonly stepIn: (what: string) => void;
  /** Bytes of RAM. */
  readonly memory: number;
  /** vCPUs. */
  readonly cpus: number;
  readonly devices: readonly VmDevice[];
  /** The virtual IOMMU; the VM has none, if it is not given. */
  readonly iommu?: VmIommu;
  /** What its kernel has requests without a PASID meet; `blocked`, if it is not given. */
  readonly ridDomain?: RidDomain;
  /** How many of the host's PASIDs the VM may have at a time; the host's default, if it is not given. */
  readonly quota?: number;
  /** How many PASIDs the guest's own core has room for; 2^20, if it is not given. */
  readonly pasids?: number;
  /**
   * PASID translation, and the portals that need it, come when `Vm.translatePasids` is called, and not at the
   * boot.
   */
  readonly lateTranslation?: boolean;
  /** Takes what the guest's IOASID core tells. */
  readonly ioasidTrace?: Pick<IoasidOptions, 'trace' | 'traces'>;
  /** Takes what the guest's kernel tells. */
  readonly emit?: Platform['emit'];
  /** Told of each store of 8 bytes of the guest's kernel: the host's address. */
  readonly stored?: (address: number) => void;
  /** Told who owns which of the guest's frames, by the guest's numbers. */
  readonly ledger?: FrameLedger;
}
