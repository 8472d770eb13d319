/**
 * What one Intel DSA device is, and how it says so: the capability registers that follow from its options
 * (Intel DSA Architecture Specification, 341204, revision 3.0, 9.2). The model has neither
 * performance counters, read buffers, destination readback nor occupancy interrupts,
 * and says so too.
 */
import { u64 } from '../../base/index.js';
import {
  DSA_COMMAND,
  DSA_ENGCAP_REG,
  DSA_GENCAP_REG,
  DSA_GRPCAP_REG,
  DSA_WQCAP_REG,
  type DsaRegisterOptions,
  encode,
  type Layout,
} from '../../spec/index.js';
import { DSA_OPERATIONS } from './operation.js';

export interface DsaOptions {
  /** Names it in choices and events: `dsa0`. */
  readonly name: string;
  /** How many; at most 16 (one group of commands). */
  readonly wqs: number;
  readonly groups: number;
  readonly engines: number;
  /** Entries for all work queues together. */
  readonly entries: number;
  /** MSI-X vectors. */
  readonly vectors: number;
  /** Whether there is an event log. */
  readonly eventLog: boolean;
  /** Entries of interrupt message storage, a multiple of 256; at most 256. */
  readonly imsEntries: number;
  /** Interrupt handles that can be requested; with 0 there is no such command, and a handle is an entry's index. */
  readonly interruptHandles: number;
  /** Whether memory moves may overlap. */
  readonly overlappingCopy: boolean;
  /** Largest transfer: 2^N bytes. */
  readonly maxTransferShift: number;
  /** Largest batch: 2^N descriptors. */
  readonly maxBatchShift: number;
  /** Translations that the device TLB holds. */
  readonly tlbEntries: number;
  /** Page requests that can be outstanding. */
  readonly pageRequests: number;
  /** How often a page is asked for again though it was answered with success. */
  readonly pageRequestRetries: number;
}

/** A small device. */
export const DSA_DEFAULTS: DsaOptions = {
  name: 'dsa0',
  wqs: 8,
  groups: 4,
  engines: 4,
  entries: 128,
  vectors: 9,
  eventLog: true,
  imsEntries: 256,
  interruptHandles: 0,
  overlappingCopy: true,
  maxTransferShift: 21,
  maxBatchShift: 10,
  tlbEntries: 16,
  pageRequests: 32,
  pageRequestRetries: 3,
};

const COMMANDS = (1 << (DSA_COMMAND.ABORT_PASID + 1)) - (1 << DSA_COMMAND.ENABLE_DEVICE);

const HANDLE_COMMANDS = (1 << DSA_COMMAND.REQUEST_INT_HANDLE) | (1 << DSA_COMMAND.RELEASE_INT_HANDLE);
const IMS_UNIT = 256;

/** The capability registers of a device. */
export function capabilities(options: DsaOptions): DsaRegisterOptions {
  return {
    version: 0x200n,
    gencap: quad(DSA_GENCAP_REG, {
      BLOCK_ON_FAULT: 1,
      OVERLAP_COPY: options.overlappingCopy ? 1 : 0,
      CACHE_CONTROL: 1,
      CMD_CAP: 1,
      FAULT_INFO: 1,
      EVL_SUPPORT: options.eventLog ? 1 : 0,
      MAX_XFER_SHIFT: options.maxTransferShift,
      MAX_BATCH_SHIFT: options.maxBatchShift,
      IMS_SIZE: options.imsEntries / IMS_UNIT,
      CONFIG: 1,
    }),
    wqcap: quad(DSA_WQCAP_REG, {
      TOTAL_SIZE: options.entries,
      WQS: options.wqs,
      WQCFG_SIZE: 1,
      ...{ SHARED: 1, DEDICATED: 1, ATS: 1, PRIORITY: 1, OCCUPANCY: 1, OP_CONFIG: 1 },
      PRS: options.eventLog ? 1 : 0,
    }),
    grpcap: quad(DSA_GRPCAP_REG, { GROUPS: options.groups }),
    engcap: quad(DSA_ENGCAP_REG, { ENGINES: options.engines }),
    opcap: DSA_OPERATIONS,
    cmdcap: BigInt(options.interruptHandles === 0 ? COMMANDS : COMMANDS | HANDLE_COMMANDS),
    wqs: options.wqs,
    groups: options.groups,
    vectors: options.vectors,
  };
}

/** A register of 8 bytes from its fields. */
function quad<N extends string>(of: Layout<N>, fields: Partial<Readonly<Record<N, number>>>): bigint {
  const words = encode(of, fields);
  return u64(words[0] ?? 0, words[1] ?? 0);
}
