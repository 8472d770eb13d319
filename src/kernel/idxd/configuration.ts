/**
 * What an administrator may ask of an accelerator: groups of queues and engines (Intel DSA 3.0, 5.1 and 9.2.23),
 * against what the device has, and what the machine lets it do.
 */
import { isRefusal, type Refusal } from '../../base/index.js';
import {
  DSA_ENGCAP_REG,
  DSA_GENCAP_REG,
  DSA_GRPCAP_REG,
  DSA_GRPCFG,
  DSA_WQCAP_REG,
  encode,
} from '../../spec/index.js';
import type { KernelContext } from '../context.js';
import type { IommuDevice } from '../iommu/device.js';
import { whyNoSva } from '../iommu/sva.js';
import { type DsaRegisters, REGISTER } from './registers.js';
import type { WqConfig } from './work-queue.js';

/** A group: its queues are served by its engines. */
export interface GroupConfig {
  readonly wqs: readonly WqConfig[];
  readonly engines: number;
}

/** The device behind its IOMMU, or why it is behind none. */
type Behind = IommuDevice | Refusal<'ENODEV' | 'ENOMEM' | 'EIO'>;

/** Why queues like these cannot be on a device; undefined if they can. */
export function unsupported(
  context: KernelContext,
  { name, iommu }: { readonly name: string; readonly iommu: Behind },
  wqs: readonly WqConfig[],
): string | undefined {
  const why = isRefusal(iommu) ? iommu.why : whyNoSva(iommu, context);
  if (why !== undefined && wqs.some(({ mode }) => mode === 'shared')) {
    return `no shared queues on ${name}, which need SVA: ${why}`;
  }
  const hasPri = !isRefusal(iommu) && iommu.pri;
  if (hasPri || !wqs.some(({ blockOnFault }) => blockOnFault === true)) return undefined;
  return `no queues that block on faults on ${name}: it cannot ask for pages`;
}

/** What a device has not enough of; undefined if it can be configured so. */
export function lacking(
  registers: DsaRegisters,
  iommu: Behind,
  groups: readonly GroupConfig[],
): string | undefined {
  const wqs = groups.flatMap((group) => group.wqs);
  const wqcap = registers.read(REGISTER.WQCAP);
  const [queues, entries] = [DSA_WQCAP_REG.WQS.get(wqcap, 0), DSA_WQCAP_REG.TOTAL_SIZE.get(wqcap, 0)];
  const engines = DSA_ENGCAP_REG.ENGINES.get(registers.read(REGISTER.ENGCAP), 0);
  const groupCount = DSA_GRPCAP_REG.GROUPS.get(registers.read(REGISTER.GRPCAP), 0);
  if (groups.length > groupCount) return `${groupCount} groups`;
  if (groups.reduce((sum, group) => sum + group.engines, 0) > engines) return `${engines} engines`;
  if (wqs.length > queues) return `${queues} work queues`;
  if (wqs.reduce((sum, { size }) => sum + size, 0) > entries) return `${entries} entries`;
  const can = (field: typeof DSA_WQCAP_REG.SHARED): boolean => field.get(wqcap, 0) === 1;
  if (needsLog(groups) && !(can(DSA_WQCAP_REG.PRS) && mayLog(registers, iommu))) return 'no event log';
  if (wqs.some(({ mode }) => mode === 'shared') && !can(DSA_WQCAP_REG.SHARED)) return 'no shared queues';
  if (wqs.some(({ mode }) => mode === 'dedicated') && !can(DSA_WQCAP_REG.DEDICATED)) {
    return 'no dedicated queues';
  }
  return undefined;
}

/** Whether a device has an event log, and reaches memory without a PASID, which is how it writes to it. */
export function mayLog(registers: DsaRegisters, iommu: Behind): boolean {
  const support = DSA_GENCAP_REG.EVL_SUPPORT.get(registers.read(REGISTER.GENCAP), 0);
  return support !== 0 && !isRefusal(iommu) && iommu.dma.value !== undefined;
}

/** Whether there are queues that ask for no pages: records of theirs that fault go to the event log. */
export const needsLog = (groups: readonly GroupConfig[]): boolean =>
  groups.some(({ wqs }) => wqs.some(({ pageRequests }) => pageRequests === false));

/** Writes the groups: one after the other has the next queues and engines. */
export function writeGroups(registers: DsaRegisters, groups: readonly GroupConfig[]): void {
  let [engine, wq] = [0, 0];
  const bits = (from: number, count: number): bigint => ((1n << BigInt(count)) - 1n) << BigInt(from);
  for (const [index, { wqs, engines }] of groups.entries()) {
    const words = encode(DSA_GRPCFG, { WQS0: bits(wq, wqs.length), ENGINES: bits(engine, engines) });
    registers.writeAt(registers.grpcfgAt(index), words.subarray(0, 12));
    wq += wqs.length;
    engine += engines;
  }
}
