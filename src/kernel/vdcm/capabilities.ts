/**
 * What a virtual accelerator says that it is: one work queue and one group with one engine, of what its parent is,
 * and all of it fixed: GENCAP says that the configuration cannot be written (Intel DSA 3.0, 9.2.2). What may be
 * written all the same is the PASID of a dedicated queue that is disabled.
 */
import { KeptMap, type UndoLog } from '../../base/index.js';
import {
  DSA_COMMAND,
  DSA_ENGCAP_REG,
  DSA_GENCAP_REG,
  DSA_GENCFG_REG,
  DSA_GRPCAP_REG,
  DSA_GRPCFG,
  DSA_STRIDE,
  DSA_TABLE,
  DSA_WQCAP_REG,
  DSA_WQCFG,
  type DsaRegisterTable,
  dsaRegisters,
  encode,
  type Layout,
  RegisterFile,
  RegisterMap,
} from '../../spec/index.js';
import { type DsaRegisters, REGISTER } from '../idxd/registers.js';
import type { WorkQueue } from '../idxd/work-queue.js';

/** The commands that it has: all, where its parent has interrupt message storage, or else no interrupt handles. */
const commandsUpTo = (last: number): number => (1 << (last + 1)) - (1 << DSA_COMMAND.ENABLE_DEVICE);
/** WQCFG of 64 bytes. */
const WQCFG_SIZE = 1;
/** The configuration of a queue, without its occupancy and state. */
const WQCFG_BYTES = 16;
/** What a dedicated queue works with. */
const DEDICATED_FIELDS = [DSA_WQCFG.PASID, DSA_WQCFG.PASID_EN, DSA_WQCFG.PRIV] as const;
/** The registers end before the MSI-X table. */
export const REGISTER_BYTES = DSA_TABLE.WQCFG + DSA_STRIDE.WQCFG;

/** Errors and commands have the first vector; the others are for completion interrupts. */
export const MDEV_VECTORS = 5;

/** What the virtual devices on one queue have in common. */
export interface VirtualShape {
  readonly table: DsaRegisterTable;
  /** Without MSI-X, which is the VMM's; what a reset leaves is the queue as the parent's is configured. */
  readonly map: RegisterMap;
}

/** The shapes of virtual devices on one parent: its configuration does not change once it has queues. */
export class VirtualShapes {
  /** Put back with the machine: to find one out is to read registers. */
  readonly #known: KeptMap<WorkQueue, VirtualShape>;

  constructor(log: UndoLog) {
    this.#known = new KeptMap(log);
  }

  of(parent: DsaRegisters, wq: WorkQueue): VirtualShape {
    const known = this.#known.get(wq);
    if (known !== undefined) return known;
    const table = virtualRegisters(parent, wq);
    const emulated = table.all.filter((each) => !table.MSIX.includes(each));
    const file = new RegisterFile(new RegisterMap(emulated, REGISTER_BYTES), () => {});
    fillConfiguration(file, table, { parent, wq });
    const shape = { table, map: new RegisterMap(emulated, REGISTER_BYTES, file.words) };
    this.#known.set(wq, shape);
    return shape;
  }
}

/** The registers of a virtual device with one queue of its parent's. */
function virtualRegisters(parent: DsaRegisters, { isDedicated, config }: WorkQueue): DsaRegisterTable {
  const mode = isDedicated ? { DEDICATED: 1 } : { SHARED: 1 };
  const parentGencap = parent.read(REGISTER.GENCAP);
  const gencap = parentGencap.slice();
  const { CONFIG, EVL_SUPPORT, IMS_SIZE } = DSA_GENCAP_REG;
  for (const field of [CONFIG, EVL_SUPPORT, IMS_SIZE]) field.set(gencap, 0, 0);
  return dsaRegisters({
    version: bigOf(parent.read(REGISTER.VERSION)),
    gencap: bigOf(gencap),
    wqcap: quad(DSA_WQCAP_REG, { TOTAL_SIZE: config.size, WQS: 1, WQCFG_SIZE, ...mode }),
    grpcap: quad(DSA_GRPCAP_REG, { GROUPS: 1 }),
    engcap: quad(DSA_ENGCAP_REG, { ENGINES: 1 }),
    opcap: bigOf(parent.read(REGISTER.OPCAP)),
    cmdcap: BigInt(
      commandsUpTo(
        IMS_SIZE.get(parentGencap, 0) === 0 ? DSA_COMMAND.ABORT_PASID : DSA_COMMAND.RELEASE_INT_HANDLE,
      ),
    ),
    wqs: 1,
    groups: 1,
    vectors: MDEV_VECTORS,
  });
}

/** Fills in the queue, as the parent's is configured, and its group. */
function fillConfiguration(
  file: RegisterFile,
  table: DsaRegisterTable,
  { parent, wq }: { readonly parent: DsaRegisters; readonly wq: WorkQueue },
): void {
  const words = new Int32Array(DSA_WQCFG.bytes / 4);
  words.set(parent.readAt(parent.wqcfgAt(wq.index), WQCFG_BYTES));
  for (const wqcfg of table.WQCFG) {
    for (const field of DSA_WQCFG.fields) {
      if (field.high < WQCFG_BYTES * 8) file.set(wqcfg, field, field.get(words, 0));
    }
    // The host's number is the host's business.
    if (wq.isDedicated) for (const field of DEDICATED_FIELDS) file.set(wqcfg, field, 0);
  }
  const general = parent.read(REGISTER.GENCFG);
  file.set(table.GENCFG, DSA_GENCFG_REG.USER_INT, DSA_GENCFG_REG.USER_INT.get(general, 0));
  for (const grpcfg of table.GRPCFG) {
    file.setBig(grpcfg, DSA_GRPCFG.ENGINES, 1n);
    file.setBig(grpcfg, DSA_GRPCFG.WQS0, 1n);
  }
}

const bigOf = (words: Int32Array): bigint =>
  words.reduceRight((value, word) => (value << 32n) | BigInt(word >>> 0), 0n);

const quad = <N extends string>(of: Layout<N>, fields: Partial<Readonly<Record<N, number>>>): bigint =>
  bigOf(encode(of, fields));
