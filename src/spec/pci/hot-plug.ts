/**
 * The registers of the hot-plug controller of a virtual machine: one for PCI bus 0, as QEMU shows it to ACPI
 * (docs/specs/acpi_pci_hotplug.rst), in memory, as on machines without I/O ports. Each has a bit a slot, the device
 * number.
 */
export const HOT_PLUG = {
  /** Read: devices that have come, and nobody has been told of. The read clears it. */
  UP: 0x0,
  /** Read: devices that are to go, or have gone. */
  DOWN: 0x4,
  /** Write: the guest has let go of them. */
  EJECT: 0x8,
  /** Read: the slots whose devices can be taken out. */
  REMOVABLE: 0xc,
} as const;

export const HOT_PLUG_BYTES = 0x10;
