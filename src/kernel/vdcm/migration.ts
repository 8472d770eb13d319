/**
 * What a virtual device is while it stands still: what it gives in VFIO's state STOP_COPY, and another takes over in
 * RESUMING (Linux's `enum vfio_device_mig_state`). What it has queued is done by then (`Mdev.suspend`), so there is no
 * work among it. Nor is any number of the host's: a queue is configured with the guest's PASID, and what backs that is
 * found anew by who takes over.
 *
 * Capabilities do not change under a guest that has read them: who cannot be what the guest was shown, refuses. Left out:
 * interrupt handles, which are numbers of the parent's that the guest's descriptors have.
 */
import { DSA_WQCFG } from '../../spec/index.js';
import type { WaitingCommands } from './command-unit.js';
import type { PciState } from './pci-state.js';
import type { VirtualRegisters } from './registers.js';

/** Of the layout of what is saved. */
export const MDEV_STATE_VERSION = 1;

export interface MdevState {
  readonly version: number;
  /** BAR0 but for MSI-X, word by word. */
  readonly registers: Int32Array;
  readonly pci: PciState;
  /** Commands that the guest has given, and that have not begun. */
  readonly commands: WaitingCommands;
}

/** What is the same on both, or the guest would notice. */
const SAME = ['VERSION', 'GENCAP', 'GRPCAP', 'ENGCAP', 'OPCAP', 'CMDCAP', 'GENCFG'] as const;
const SAME_OF_QUEUE = ['MODE', 'BOF', 'ATS_DISABLE', 'PRS_DISABLE', 'OPS0', 'OPS1', 'OPS2', 'OPS3'] as const;
/** What may be more than the guest knows of. */
const ENOUGH_OF_QUEUE = ['SIZE', 'THRESHOLD', 'MAX_XFER_SHIFT', 'MAX_BATCH_SHIFT', 'MAX_SGL_SHIFT'] as const;

/** Why a device cannot be what another was; undefined if it can. */
export function mismatch(own: VirtualRegisters, { version, registers }: MdevState): string | undefined {
  if (version !== MDEV_STATE_VERSION) return `its state is of version ${version}, not ${MDEV_STATE_VERSION}`;
  const { table } = own;
  for (const name of SAME) {
    for (const field of table[name].layout.fields) {
      const [is, was] = own.compare(table[name], field, registers);
      if (is !== was) return `${name}.${field.name} is ${is}, and was ${was}`;
    }
  }
  for (const wqcfg of table.WQCFG) {
    for (const name of SAME_OF_QUEUE) {
      const [is, was] = own.compare(wqcfg, DSA_WQCFG[name], registers);
      if (is !== was) return `its queue's ${name} is ${is}, and was ${was}`;
    }
    for (const name of ENOUGH_OF_QUEUE) {
      const [is, was] = own.compare(wqcfg, DSA_WQCFG[name], registers);
      if (is < was) return `its queue's ${name} is ${is}, and was ${was}`;
    }
  }
  return undefined;
}
