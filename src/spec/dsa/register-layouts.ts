/**
 * The fields of Intel DSA's registers in BAR0 (Intel DSA Architecture Specification, 341204, revision 3.0,
 * 9.2.1 to 9.2.17). Which of them software may write, their offsets and reset values stand in `registers.ts`.
 */
import { address, layout } from '../layout.js';
import { DSA_COMMAND_NAMES, DSA_ERROR_NAMES, DSA_OPCODE_NAMES } from './codes.js';

const SOURCE = 'Intel DSA 3.0, 9.2';

export const DSA_VERSION_REG = layout('DSA version register', 4, SOURCE, {
  MINOR: [7, 0, 'minor version'],
  MAJOR: [15, 8, 'major version'],
});

export const DSA_GENCAP_REG = layout('DSA general capabilities register', 8, SOURCE, {
  BLOCK_ON_FAULT: [0, 'block on fault'],
  OVERLAP_COPY: [1, 'memory moves may overlap'],
  CACHE_CONTROL: [2, 'writes to the cache hierarchy'],
  CACHE_CONTROL_FLUSH: [3, 'cache flush; not used since revision 2.0'],
  CMD_CAP: [4, 'there is a CMDCAP'],
  DURABLE_WRITE: [5, 'durable writes'],
  INTER_DOMAIN: [6, 'inter-domain operations'],
  FETCH_STRIDE: [7, 'translation fetch by stride'],
  DEST_READBACK: [8, 'destination readback'],
  DRAIN_READBACK: [9, 'readback addresses in drain descriptors'],
  FILL16: [10, 'fill with patterns of 16 bytes'],
  CRC64: [11, 'CRC of 64 bits'],
  FAULT_INFO: [12, 'completion records say which operand faulted'],
  EVL_SUPPORT: [14, 13, 'event log', { 0: 'none', 1: '64 bytes', 2: '128 bytes', 3: '256 bytes' }],
  BATCH_CONTINUATION: [15, 'batch continuation'],
  MAX_XFER_SHIFT: [20, 16, 'largest transfer is 2^N bytes'],
  MAX_BATCH_SHIFT: [24, 21, 'largest batch is 2^N descriptors'],
  IMS_SIZE: [30, 25, 'interrupt message storage in units of 256 entries'],
  CONFIG: [31, 'the configuration can be written'],
  EVL_OVERFLOW: [32, 'the event log drops events when it is full'],
  BATCH1: [52, 'batches of one descriptor'],
  STORD_MEMORY: [53, 'no strict ordering to memory'],
  STORD_PEER: [54, 'no strict ordering to peers'],
});

export const DSA_WQCAP_REG = layout('DSA WQ capabilities register', 8, SOURCE, {
  TOTAL_SIZE: [15, 0, 'entries for all WQs together'],
  WQS: [23, 16, 'work queues'],
  WQCFG_SIZE: [27, 24, 'WQCFG has 2^(N + 5) bytes'],
  SHARED: [48, 'shared mode'],
  DEDICATED: [49, 'dedicated mode'],
  ATS: [50, 'ATS can be disabled for a WQ'],
  PRIORITY: [51, 'priorities'],
  OCCUPANCY: [52, 'occupancy can be read'],
  OCCUPANCY_INT: [53, 'occupancy interrupts'],
  OP_CONFIG: [54, 'operations can be restricted for a WQ'],
  PRS: [55, 'page requests can be disabled for a WQ'],
});

export const DSA_GRPCAP_REG = layout('DSA group capabilities register', 8, SOURCE, {
  GROUPS: [7, 0, 'groups'],
  READ_BUFFERS: [15, 8, 'read buffers'],
  RDBUF_CTRL: [16, 'read buffer controls'],
  RDBUF_LIMIT: [17, 'global read buffer limit'],
  PROGRESS_LIMIT: [18, 'limits of descriptors in progress'],
  BANDWIDTH_LIMIT: [19, 'bandwidth limits'],
});

export const DSA_ENGCAP_REG = layout('DSA engine capabilities register', 8, SOURCE, {
  ENGINES: [7, 0, 'engines'],
});

export const DSA_OPCAP_REG = layout('DSA operations capabilities register', 32, SOURCE, {
  OPS0: [63, 0, 'a bit for each operation type'],
  OPS1: [127, 64, 'operation types 64 to 127'],
  OPS2: [191, 128, 'operation types 128 to 191'],
  OPS3: [255, 192, 'operation types 192 to 255'],
});

export const DSA_OFFSETS_REG = layout('DSA table offsets register', 16, SOURCE, {
  GRPCFG: [15, 0, 'group configuration table, in units of 256 bytes'],
  WQCFG: [31, 16, 'WQ configuration table'],
  MSIX_PERM: [47, 32, 'MSI-X permissions table'],
  IMS: [63, 48, 'interrupt message storage'],
  PERFMON: [79, 64, 'performance monitoring'],
});

export const DSA_GENCFG_REG = layout('DSA general configuration register', 4, SOURCE, {
  RDBUF_LIMIT: [7, 0, 'global read buffer limit'],
  USER_INT: [12, 'user-mode descriptors may ask for interrupts'],
  EVL_EN: [13, 'event log enable'],
});

export const DSA_GENCTRL_REG = layout('DSA general control register', 4, SOURCE, {
  SWERR_INT: [0, 'interrupt on software errors'],
  HALT_INT: [1, 'interrupt on halt'],
  EVL_INT: [2, 'interrupt on events in the log'],
});

/** STATE of {@link DSA_GENSTS_REG}. */
export const DSA_DEVICE_STATE = { DISABLED: 0, ENABLED: 1, DRAINING: 2, HALTED: 3 } as const;

export const DSA_GENSTS_REG = layout('DSA general status register', 4, SOURCE, {
  STATE: [1, 0, 'device state', { 0: 'disabled', 1: 'enabled', 2: 'draining', 3: 'halted' }],
  RESET_TYPE: [3, 2, 'reset required', { 0: 'reset device', 1: 'FLR', 2: 'warm reset', 3: 'cold reset' }],
});

export const DSA_INTCAUSE_REG = layout('DSA interrupt cause register', 4, SOURCE, {
  SWERR: [0, 'software error'],
  CMD: [1, 'command completion'],
  OCCUPANCY: [2, 'WQ occupancy below limit'],
  PERFMON: [3, 'performance counter overflow'],
  HALT: [4, 'halt state'],
  EVL: [5, 'event log'],
  REVOKED: [31, 'interrupt handles revoked'],
});

export const DSA_CMD_REG = layout('DSA command register', 4, SOURCE, {
  OPERAND: [19, 0, 'operand'],
  CMD: [24, 20, 'command', DSA_COMMAND_NAMES],
  INT: [31, 'request completion interrupt'],
});

export const DSA_CMDSTS_REG = layout('DSA command status register', 4, SOURCE, {
  ERR: [7, 0, 'error'],
  RESULT: [23, 8, 'result: an interrupt handle'],
  ACTIVE: [31, 'a command is in progress'],
});

export const DSA_CMDCAP_REG = layout('DSA command capabilities register', 8, SOURCE, {
  CMDS: [63, 0, 'a bit for each command'],
});

export const DSA_SWERROR_REG = layout('DSA software error register', 32, SOURCE, {
  VALID: [0, 'an error is recorded'],
  OVERFLOW: [1, 'more errors came after it'],
  DESC_VALID: [2, 'the descriptor is known'],
  WQ_VALID: [3, 'the WQ is known'],
  BATCH: [4, 'the descriptor was one of a batch'],
  RW: [5, 'the access that faulted was a write'],
  PRIV: [6, 'privilege of the descriptor'],
  INFO_VALID: [7, 'INFO is valid beyond invalid flags'],
  ERROR: [15, 8, 'error', DSA_ERROR_NAMES],
  WQ: [23, 16, 'WQ index'],
  OPERATION: [39, 32, 'operation', DSA_OPCODE_NAMES],
  PASID: [59, 40, 'PASID of the descriptor'],
  BATCH_INDEX: [79, 64, 'index in the batch'],
  INFO: [127, 96, 'invalid flags, interrupt handle or operand'],
  ADDR: [191, 128, 'address that faulted'],
});

export const DSA_EVLCFG_REG = layout('DSA event log configuration register', 16, SOURCE, {
  PASID_EN: [0, 'writes carry a PASID'],
  PRIV: [1, 'writes are privileged'],
  BASE: address(63, 12, 'event log'),
  SIZE: [79, 64, 'entries'],
  PASID: [99, 80, 'PASID of the writes'],
});

export const DSA_EVLSTATUS_REG = layout('DSA event log status register', 8, SOURCE, {
  HEAD: [15, 0, 'entry that software reads next'],
  TAIL: [47, 32, 'entry that hardware writes next'],
  INT_PENDING: [62, 'an interrupt was sent'],
});

/** An entry of the event log, of 64 bytes; its second half is the completion record that could not be written. */
export const DSA_EVENT = layout('DSA event log entry', 64, SOURCE, {
  DESC_VALID: [2, 'the descriptor is known'],
  WQ_VALID: [3, 'the WQ is known'],
  BATCH: [4, 'the descriptor was one of a batch'],
  RW: [5, 'the access that faulted was a write'],
  PRIV: [6, 'privilege of the descriptor'],
  INFO_VALID: [7, 'INFO is valid beyond invalid flags'],
  ERROR: [15, 8, 'error', DSA_ERROR_NAMES],
  WQ: [23, 16, 'WQ index'],
  BATCH_ID: [31, 24, 'names the batch'],
  OPERATION: [39, 32, 'operation', DSA_OPCODE_NAMES],
  PASID: [59, 40, 'PASID of the descriptor'],
  BATCH_INDEX: [79, 64, 'index in the batch'],
  INFO: [127, 96, 'invalid flags; or handle, what was requested, whether first of its batch, and operand'],
  ADDR: [191, 128, 'address that faulted'],
  RECORD0: [319, 256, 'completion record, bytes 0 to 7'],
  RECORD1: [383, 320, 'completion record, bytes 8 to 15'],
  RECORD2: [447, 384, 'completion record, bytes 16 to 23'],
  RECORD3: [511, 448, 'completion record, bytes 24 to 31'],
});
