/**
 * Intel DSA's configuration tables in BAR0: work queues, groups, MSI-X permissions (Intel DSA Architecture
 * Specification, 341204, revision 3.0, 9.2.22 to 9.2.24). There is no table of engines: a group names its own.
 */
import { address, layout } from '../layout.js';

const SOURCE = 'Intel DSA 3.0, 9.2';

/** MODE of {@link DSA_WQCFG}. */
export const DSA_WQ_MODE = { SHARED: 0, DEDICATED: 1 } as const;
/** STATE of {@link DSA_WQCFG}. */
export const DSA_WQ_STATE = { DISABLED: 0, ENABLED: 1, DRAINING: 2 } as const;

export const DSA_WQCFG = layout('DSA WQ configuration', 64, SOURCE, {
  SIZE: [15, 0, 'entries'],
  THRESHOLD: [47, 32, 'entries that may be filled by a limited portal'],
  MODE: [64, 'mode', { 0: 'shared', 1: 'dedicated' }],
  BOF: [65, 'descriptors may block on fault'],
  ATS_DISABLE: [66, 'descriptors do not use ATS'],
  PRS_DISABLE: [67, 'descriptors do not use page requests'],
  PRIORITY: [71, 68, 'priority, 1 to 15'],
  PASID: [91, 72, 'PASID of a dedicated WQ'],
  PASID_EN: [92, 'requests carry a PASID'],
  PRIV: [93, 'privilege of a dedicated WQ'],
  MAX_XFER_SHIFT: [100, 96, 'largest transfer is 2^N bytes'],
  MAX_BATCH_SHIFT: [104, 101, 'largest batch is 2^N descriptors'],
  MAX_SGL_SHIFT: [108, 105, 'largest scatter-gather list is 2^N entries'],
  OCC_INT_HANDLE: [143, 128, 'occupancy interrupt handle'],
  OCC_INT_TABLE: [144, 'occupancy interrupt table', { 0: 'MSI-X', 1: 'IMS' }],
  OCC_LIMIT: [175, 160, 'occupancy limit'],
  OCC_INT_EN: [176, 'occupancy interrupt enable'],
  OCCUPANCY: [207, 192, 'entries that are filled'],
  OCC_INT: [208, 'an occupancy interrupt was generated'],
  MODE_SUPPORT: [221, 'some fields can be written though the configuration cannot'],
  STATE: [223, 222, 'state', { 0: 'disabled', 1: 'enabled', 2: 'draining' }],
  OPS0: [319, 256, 'operation types that are allowed'],
  OPS1: [383, 320, 'operation types 64 to 127'],
  OPS2: [447, 384, 'operation types 128 to 191'],
  OPS3: [511, 448, 'operation types 192 to 255'],
});

/** The three registers of one group: WQs, engines, flags. */
export const DSA_GRPCFG = layout('DSA group configuration', 64, SOURCE, {
  WQS0: [63, 0, 'a bit for each WQ of the group'],
  WQS1: [127, 64, 'WQs 64 to 127'],
  WQS2: [191, 128, 'WQs 128 to 191'],
  WQS3: [255, 192, 'WQs 192 to 255'],
  ENGINES: [319, 256, 'a bit for each engine of the group'],
  TC_A: [322, 320, 'traffic class A'],
  TC_B: [325, 323, 'traffic class B'],
  USE_RDBUF_LIMIT: [327, 'the global read buffer limit holds'],
  RDBUFS_RESERVED: [335, 328, 'read buffers reserved'],
  RDBUFS_ALLOWED: [347, 340, 'read buffers allowed'],
  DESC_PROGRESS: [353, 352, 'work descriptors in progress, 1/2^N of the maximum'],
  BATCH_PROGRESS: [357, 356, 'batch descriptors in progress, 1/2^N of the maximum'],
  READ_BANDWIDTH: [363, 360, 'read bandwidth, 1/2^N of the maximum'],
  WRITE_BANDWIDTH: [367, 364, 'write bandwidth, 1/2^N of the maximum'],
});

export const DSA_MSIXPERM = layout('DSA MSI-X permissions', 4, SOURCE, {
  IGNORE: [2, 'no completion interrupts'],
  PASID_EN: [3, 'for WQs with PASID'],
  PASID: [31, 12, 'the PASID whose descriptors may use it'],
});

/** An entry of interrupt message storage; its control word has the permissions too. */
export const DSA_IMS = layout('DSA interrupt message storage entry', 16, SOURCE, {
  ADDRESS: address(31, 2, 'message address'),
  UPPER: [63, 32, 'message upper address'],
  DATA: [95, 64, 'message data'],
  MASK: [96, 'masked: no message is sent'],
  PENDING: [97, 'a message waits for the mask to go'],
  IGNORE: [98, 'no completion interrupts'],
  PASID_EN: [99, 'for WQs with PASID'],
  PASID: [127, 108, 'the PASID whose descriptors may use it'],
});
