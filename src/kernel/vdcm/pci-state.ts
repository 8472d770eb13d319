/**
 * What of its configuration space an accelerator goes by. That is a VMM's, which says so when it is written; what the
 * accelerator makes of it is VDCM's: it is enabled only as a bus master, a queue with PASIDs only where they are
 * enabled, one that blocks on faults only where pages can be asked for (Intel DSA 3.0, 5.1 and 5.2), and a change while
 * it is enabled halts it (5.7).
 */
import { DSA_COMMAND_ERROR as ERROR } from '../../spec/index.js';

export interface PciState {
  /** It may send requests. */
  readonly isBusMaster: boolean;
  readonly isPasidEnabled: boolean;
  readonly isPrivilegedEnabled: boolean;
  readonly isAtsEnabled: boolean;
  readonly isPriEnabled: boolean;
}

/** After a reset: nothing is enabled. */
export const PCI_RESET: PciState = {
  isBusMaster: false,
  isPasidEnabled: false,
  isPrivilegedEnabled: false,
  isAtsEnabled: false,
  isPriEnabled: false,
};

/** What it says now, to be kept. */
export const pciStateOf = (pci: PciState): PciState => ({
  isBusMaster: pci.isBusMaster,
  isPasidEnabled: pci.isPasidEnabled,
  isPrivilegedEnabled: pci.isPrivilegedEnabled,
  isAtsEnabled: pci.isAtsEnabled,
  isPriEnabled: pci.isPriEnabled,
});

export const isSamePciState = (one: PciState, other: PciState): boolean =>
  one.isBusMaster === other.isBusMaster &&
  one.isPasidEnabled === other.isPasidEnabled &&
  one.isPrivilegedEnabled === other.isPrivilegedEnabled &&
  one.isAtsEnabled === other.isAtsEnabled &&
  one.isPriEnabled === other.isPriEnabled;

/** What it has against enabling the device, or SUCCESS. */
export const pciDeviceError = (pci: PciState): number => (pci.isBusMaster ? ERROR.SUCCESS : ERROR.BUS_MASTER);

/** What it has against enabling a queue that is configured so, or SUCCESS. */
export function pciQueueError(
  pci: PciState,
  { usesPasids, blocksOnFault }: { readonly usesPasids: boolean; readonly blocksOnFault: boolean },
): number {
  if (blocksOnFault && !pci.isPriEnabled) return ERROR.WQ_BLOCK_ON_FAULT;
  return usesPasids && !pci.isPasidEnabled ? ERROR.WQ_PASID_ENABLE : ERROR.SUCCESS;
}
