/** What a VMM asks of the host's kernel: the parts of KVM and VFIO that it uses, in their own shapes. */
import type { Refusal, Task, WaitQueue } from '../base/index.js';
import type { IoasidSet } from '../ioasid/index.js';
import type { AddressSpace, CpuPort, Kernel, Mdev, Process } from '../kernel/index.js';
import type { MemorySlot } from './memory.js';

export interface VcpuPort {
  readonly cpu: CpuPort;
  readonly isInInstruction: boolean;
  readonly boundary: WaitQueue;
}

export interface KvmVm {
  setMemory(slot: MemorySlot): Task<Refusal | undefined>;
  mapDevicePage(gfn: number, frame: number): Task<Refusal | undefined>;
  unmapDevicePage(gfn: number): Task;
  createVcpu(): VcpuPort | Refusal;
  enablePasidTranslation(): Refusal | undefined;
  onUnknownPasid: (guestPasid: number) => void;
  destroy(): Task;
}

export interface VfioContainer {
  readonly set: IoasidSet;
  addDevice(device: Mdev): Task<Refusal | undefined>;
  info(): Uint8Array;
  mapDma(argument: Uint8Array): Task<Refusal | undefined>;
  close(): Task;
}

/** The host's kernel, with what virtual machines need. */
export type VmHost = Kernel & {
  readonly kvm: { createVm(mm: AddressSpace, name: string): KvmVm | Refusal };
  readonly vfio: { open(process: Process): VfioContainer | Refusal };
};
