/**
 * The table of registers of one Intel DSA device, from its capabilities, and where its portals lie (Intel DSA
 * Architecture Specification, 341204, revision 3.0, 9.2 and 9.3). Registers that are writable only in some
 * state of the device or of a WQ are writable here: the model knows the state.
 */
import { MSI_X_TABLE_ENTRY } from '../pci/configuration.js';
import { type Register, register } from '../registers.js';
import { DSA_GRPCFG, DSA_MSIXPERM, DSA_WQCFG } from './configuration.js';
import * as L from './register-layouts.js';

/** What a device is. */
export interface DsaRegisterOptions {
  readonly version: bigint;
  readonly gencap: bigint;
  readonly wqcap: bigint;
  readonly grpcap: bigint;
  readonly engcap: bigint;
  /** A bit for each operation type. */
  readonly opcap: bigint;
  readonly cmdcap: bigint;
  readonly wqs: number;
  readonly groups: number;
  /** Entries of the MSI-X table. */
  readonly vectors: number;
}

/** A device's registers. */
export interface DsaRegisterTable extends ReturnType<typeof fixedRegisters> {
  readonly all: readonly Register[];
  readonly GRPCFG: readonly Register[];
  readonly WQCFG: readonly Register[];
  readonly MSIXPERM: readonly Register[];
  readonly MSIX: readonly Register[];
}

/** Bytes of BAR0. */
export const DSA_BAR0_BYTES = 0x10000;
/** Where the tables lie in BAR0; the MSI-X table and its pending bits where the MSI-X capability says so. */
export const DSA_TABLE = {
  GRPCFG: 0x400,
  WQCFG: 0x1000,
  MSIXPERM: 0x800,
  IMS: 0x2000,
  MSIX: 0x4000,
  MSIX_PBA: 0x5000,
} as const;
/** Bytes between two entries. */
export const DSA_STRIDE = { GRPCFG: 64, WQCFG: 64, MSIXPERM: 8, IMS: 16, MSIX: 16 } as const;

/** Bytes of BAR2 for each WQ: four pages. */
export const DSA_WQ_PORTAL_BYTES = 0x4000;
/** Offsets of the portals of one WQ (9.3). */
export const DSA_PORTAL = {
  UNLIMITED: 0x0000,
  LIMITED: 0x1000,
  IMS_UNLIMITED: 0x2000,
  IMS_LIMITED: 0x3000,
} as const;

/** The registers of a device with these capabilities. */
export function dsaRegisters(options: DsaRegisterOptions): DsaRegisterTable {
  const fixed = fixedRegisters(options);
  const table = (count: number, make: (index: number) => Register): Register[] =>
    Array.from({ length: count }, (_, index) => make(index));
  const GRPCFG = table(options.groups, (i) =>
    register(`GRPCFG${i}`, { offset: DSA_TABLE.GRPCFG + i * DSA_STRIDE.GRPCFG, layout: DSA_GRPCFG }),
  );
  const WQCFG = table(options.wqs, (i) =>
    register(`WQCFG${i}`, {
      offset: DSA_TABLE.WQCFG + i * DSA_STRIDE.WQCFG,
      layout: DSA_WQCFG,
      reset: options.opcap << 256n,
      readOnly: [DSA_WQCFG.OCCUPANCY, DSA_WQCFG.MODE_SUPPORT, DSA_WQCFG.STATE],
      writeOneToClear: [DSA_WQCFG.OCC_INT],
    }),
  );
  const MSIXPERM = table(options.vectors, (i) =>
    register(`MSIXPERM${i}`, { offset: DSA_TABLE.MSIXPERM + i * DSA_STRIDE.MSIXPERM, layout: DSA_MSIXPERM }),
  );
  const MSIX = table(options.vectors, (i) =>
    register(`MSIX${i}`, {
      offset: DSA_TABLE.MSIX + i * DSA_STRIDE.MSIX,
      layout: MSI_X_TABLE_ENTRY,
      reset: 1n << 96n,
    }),
  );
  const all = [...Object.values(fixed), ...GRPCFG, ...WQCFG, ...MSIXPERM, ...MSIX];
  return { ...fixed, all, GRPCFG, WQCFG, MSIXPERM, MSIX };
}

function fixedRegisters(options: DsaRegisterOptions) {
  const capability = (name: string, offset: number, layout: Register['layout'], reset: bigint): Register =>
    register(name, { offset, layout, reset, readOnly: 'all' });
  const { INTCAUSE, ...rest } = statusRegisters();
  return {
    VERSION: capability('VERSION', 0x00, L.DSA_VERSION_REG, options.version),
    GENCAP: capability('GENCAP', 0x10, L.DSA_GENCAP_REG, options.gencap),
    WQCAP: capability('WQCAP', 0x20, L.DSA_WQCAP_REG, options.wqcap),
    GRPCAP: capability('GRPCAP', 0x30, L.DSA_GRPCAP_REG, options.grpcap),
    ENGCAP: capability('ENGCAP', 0x38, L.DSA_ENGCAP_REG, options.engcap),
    OPCAP: capability('OPCAP', 0x40, L.DSA_OPCAP_REG, options.opcap),
    OFFSETS: capability('OFFSETS', 0x60, L.DSA_OFFSETS_REG, TABLE_OFFSETS),
    INTCAUSE,
    ...rest,
    CMDCAP: capability('CMDCAP', 0xb0, L.DSA_CMDCAP_REG, options.cmdcap),
  };
}

const TABLE_OFFSETS =
  BigInt(DSA_TABLE.GRPCFG / 0x100) |
  (BigInt(DSA_TABLE.WQCFG / 0x100) << 16n) |
  (BigInt(DSA_TABLE.MSIXPERM / 0x100) << 32n) |
  (BigInt(DSA_TABLE.IMS / 0x100) << 48n);

function statusRegisters() {
  const { SWERR, CMD, OCCUPANCY, PERFMON, HALT, EVL, REVOKED } = L.DSA_INTCAUSE_REG;
  const { VALID, OVERFLOW } = L.DSA_SWERROR_REG;
  return {
    GENCFG: register('GENCFG', { offset: 0x80, layout: L.DSA_GENCFG_REG }),
    GENCTRL: register('GENCTRL', { offset: 0x88, layout: L.DSA_GENCTRL_REG }),
    GENSTS: register('GENSTS', { offset: 0x90, layout: L.DSA_GENSTS_REG, readOnly: 'all' }),
    INTCAUSE: register('INTCAUSE', {
      offset: 0x98,
      layout: L.DSA_INTCAUSE_REG,
      writeOneToClear: [SWERR, CMD, OCCUPANCY, PERFMON, HALT, EVL, REVOKED],
    }),
    CMD: register('CMD', { offset: 0xa0, layout: L.DSA_CMD_REG, writeOnly: 'all' }),
    CMDSTS: register('CMDSTS', { offset: 0xa8, layout: L.DSA_CMDSTS_REG, readOnly: 'all' }),
    SWERROR: register('SWERROR', {
      offset: 0xc0,
      layout: L.DSA_SWERROR_REG,
      readOnly: L.DSA_SWERROR_REG.fields.filter((field) => field !== VALID && field !== OVERFLOW),
      writeOneToClear: [VALID, OVERFLOW],
    }),
    EVLCFG: register('EVLCFG', { offset: 0xe0, layout: L.DSA_EVLCFG_REG }),
    EVLSTATUS: register('EVLSTATUS', {
      offset: 0xf0,
      layout: L.DSA_EVLSTATUS_REG,
      readOnly: [L.DSA_EVLSTATUS_REG.TAIL],
      writeOneToClear: [L.DSA_EVLSTATUS_REG.INT_PENDING],
    }),
  };
}
