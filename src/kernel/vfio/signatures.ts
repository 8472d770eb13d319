/** The shape of VFIO, for those who use it. */
import type { Refusal, Task } from '../../base/index.js';
import type { IoasidSet } from '../../ioasid/index.js';
import type { Process } from '../process.js';
import type { FaultListener, VfioDevice } from './device.js';

export interface Vfio {
  open(process: Process, options?: { readonly quota?: number }): VfioContainer | Refusal;
}

export interface VfioContainer {
  readonly set: IoasidSet;
  addDevice(device: VfioDevice): Task<Refusal | undefined>;
  info(): Uint8Array;
  mapDma(argument: Uint8Array): Task<Refusal | undefined>;
  unmapDma(argument: Uint8Array): Task<Refusal | undefined>;
  pasidRequest(argument: Uint8Array): number | Refusal;
  bindGpasid(device: VfioDevice, argument: Uint8Array): Task<Refusal | undefined>;
  unbindGpasid(device: VfioDevice, argument: Uint8Array): Task<Refusal | undefined>;
  invalidate(device: VfioDevice, argument: Uint8Array): Task<Refusal | undefined>;
  pageResponse(device: VfioDevice, argument: Uint8Array): Task<Refusal | undefined>;
  onFault(device: VfioDevice, listener: FaultListener): void;
  close(): Task;
}
