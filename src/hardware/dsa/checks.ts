/**
 * What an Intel DSA device checks when it, or a work queue, is enabled (Intel DSA Architecture Specification,
 * 341204, revision 3.0, 5.1, 5.2 and table 5-8). The specification leaves the order open; it is that of the codes.
 */
import {
  DSA_DEVICE_STATE,
  DSA_EVLCFG_REG,
  DSA_GENCAP_REG,
  DSA_GENCFG_REG,
  DSA_GRPCFG,
  DSA_WQ_MODE,
  DSA_WQ_STATE,
  DSA_WQCAP_REG,
  DSA_WQCFG,
  DSA_COMMAND_ERROR as ERROR,
  hasReservedBits,
  type Register,
} from '../../spec/index.js';
import type { DsaCore } from './core.js';
import { MIN_LOG_ENTRIES } from './event-log.js';

/** The error of enabling the device, or SUCCESS. */
export function deviceError(core: DsaCore): number {
  const { registers, table } = core;
  if (core.deviceState !== DSA_DEVICE_STATE.DISABLED) return ERROR.DEVICE_NOT_DISABLED;
  if (registers.get(table.GENCFG, DSA_GENCFG_REG.EVL_EN) === 1 && !hasLog(core)) return ERROR.CONFIGURATION;
  if (!core.parts.config.isBusMaster) return ERROR.BUS_MASTER;
  const sizes = table.WQCFG.map((config) => registers.get(config, DSA_WQCFG.SIZE));
  const sum = sizes.reduce((all, size) => all + size, 0);
  if (sum > registers.get(table.WQCAP, DSA_WQCAP_REG.TOTAL_SIZE)) return ERROR.WQ_SIZE_SUM;
  return groupError(core, sizes);
}

/** Whether there is an event log, and it is configured. */
function hasLog({ registers, table, parts }: DsaCore): boolean {
  const isLarge = registers.get(table.EVLCFG, DSA_EVLCFG_REG.SIZE) >= MIN_LOG_ENTRIES;
  const usesPasid = registers.get(table.EVLCFG, DSA_EVLCFG_REG.PASID_EN) === 1;
  const isSupported = registers.get(table.GENCAP, DSA_GENCAP_REG.EVL_SUPPORT) !== 0;
  return isSupported && isLarge && (!usesPasid || parts.config.isPasidEnabled);
}

function groupError(core: DsaCore, sizes: readonly number[]): number {
  let wqsSeen = 0n;
  let enginesSeen = 0n;
  for (const group of core.table.GRPCFG) {
    const wqs = wqsOf(core, group);
    const engines = enginesOf(core, group);
    if ((wqs === 0n) !== (engines === 0n)) return ERROR.GROUP_WQS_OR_ENGINES;
    if ((wqs & wqsSeen) !== 0n || wqs >> BigInt(sizes.length) !== 0n) return ERROR.GROUP_WQS;
    if ((engines & enginesSeen) !== 0n || engines >> BigInt(core.engines.length) !== 0n)
      return ERROR.GROUP_ENGINES;
    if (hasReservedBits(DSA_GRPCFG, core.registers.words, group.at)) return ERROR.CONFIGURATION;
    wqsSeen |= wqs;
    enginesSeen |= engines;
  }
  const active = sizes.reduce((bits, size, i) => (size === 0 ? bits : bits | (1n << BigInt(i))), 0n);
  return wqsSeen === active ? ERROR.SUCCESS : ERROR.GROUP_WQS;
}

/** The work queues of a group, a bit each. */
export function wqsOf(core: DsaCore, group: Register): bigint {
  const { words } = core.registers;
  const { WQS0, WQS1, WQS2, WQS3 } = DSA_GRPCFG;
  return [WQS3, WQS2, WQS1, WQS0].reduce((bits, field) => (bits << 64n) | field.getBig(words, group.at), 0n);
}

/** The engines of a group, a bit each. */
export const enginesOf = (core: DsaCore, group: Register): bigint =>
  DSA_GRPCFG.ENGINES.getBig(core.registers.words, group.at);

/** The error of enabling a work queue, or SUCCESS. */
export function wqError(core: DsaCore, index: number): number {
  const queue = core.queues[index];
  const config = core.table.WQCFG[index];
  if (queue === undefined || config === undefined) return ERROR.INVALID_WQ_INDEX;
  if (core.deviceState !== DSA_DEVICE_STATE.ENABLED) return ERROR.DEVICE_NOT_ENABLED;
  if (queue.state !== DSA_WQ_STATE.DISABLED) return ERROR.WQ_NOT_DISABLED;
  if (queue.size === 0) return ERROR.WQ_SIZE;
  const { registers, table } = core;
  const get = (field: (typeof DSA_WQCFG)['MODE']): number => registers.get(config, field);
  if (get(DSA_WQCFG.PRIORITY) === 0) return ERROR.WQ_PRIORITY;
  const pci = core.parts.config;
  const asksForPages = pci.isPriEnabled && get(DSA_WQCFG.PRS_DISABLE) === 0;
  if (get(DSA_WQCFG.BOF) === 1 && !asksForPages) return ERROR.WQ_BLOCK_ON_FAULT;
  const isShared = get(DSA_WQCFG.MODE) === DSA_WQ_MODE.SHARED;
  const usesPasid = get(DSA_WQCFG.PASID_EN) === 1;
  if ((isShared && !usesPasid) || (usesPasid && !pci.isPasidEnabled)) return ERROR.WQ_PASID_ENABLE;
  const largest = registers.get(table.GENCAP, DSA_GENCAP_REG.MAX_XFER_SHIFT);
  if (get(DSA_WQCFG.MAX_XFER_SHIFT) > largest) return ERROR.WQ_TRANSFER_SIZE;
  const batch = registers.get(table.GENCAP, DSA_GENCAP_REG.MAX_BATCH_SHIFT);
  if (get(DSA_WQCFG.MAX_BATCH_SHIFT) > batch) return ERROR.WQ_BATCH_SIZE;
  const isPrivileged = !isShared && usesPasid && get(DSA_WQCFG.PRIV) === 1;
  if (isPrivileged && !pci.isPrivilegedEnabled) return ERROR.WQ_PRIVILEGE;
  if (hasOtherOperations(core, config)) return ERROR.WQ_OPERATIONS;
  // Without page requests, what finds no page for its record needs the log.
  const isMute = get(DSA_WQCFG.PRS_DISABLE) === 1 && registers.get(table.GENCFG, DSA_GENCFG_REG.EVL_EN) === 0;
  return isMute ? ERROR.WQ_PRS_DISABLE : ERROR.SUCCESS;
}

/** Whether a queue is to allow operations that the device does not have. */
function hasOtherOperations({ registers, table }: DsaCore, config: Register): boolean {
  const { words } = registers;
  const first = config.at + DSA_WQCFG.OPS0.low / 32;
  for (let i = 0; i < 8; i++) {
    if (((words[first + i] ?? 0) & ~(words[table.OPCAP.at + i] ?? 0)) !== 0) return true;
  }
  return false;
}
