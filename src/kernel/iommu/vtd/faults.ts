/**
 * Fault interrupts (VT-d 4.1, 7.3 and 11.4.9): reads the fault records, tells of each with its device and PASID,
 * and clears it, so that the register can take the next one.
 */
import { FAULT_REASONS, FAULT_RECORD, FAULT_TYPE, FSTS_REG, VTD_REGISTER } from '../../../spec/index.js';
import { type KernelContext, newInterrupt, tell } from '../../context.js';
import { pageName, ridName } from '../../ids.js';
import type { IommuClient } from '../driver.js';
import { routeEvent } from './events.js';
import type { UnitRegisters } from './registers.js';

const RECORD_BYTES = 16;
/** F is bit 31 of a record's last word; the other bits of that word cannot be written. */
const CLEAR_F = 1 << 31;
const r = FAULT_RECORD;

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [FAULT_TYPE.WRITE]: 'write',
  [FAULT_TYPE.PAGE_REQUEST]: 'page request',
  [FAULT_TYPE.READ]: 'read',
  [FAULT_TYPE.ATOMIC]: 'atomic',
};

/** Where a unit's fault records are, and whose they are. */
export interface FaultSource {
  readonly name: string;
  readonly client: IommuClient;
  readonly offset: number;
  readonly count: number;
}

export function startFaultReports(
  context: KernelContext,
  registers: UnitRegisters,
  source: FaultSource,
): void {
  const message = newInterrupt(context, () => reportFaults(context, registers, source));
  const { FECTL, FEDATA, FEADDR, FEUADDR } = VTD_REGISTER;
  routeEvent(registers, message, { control: FECTL, data: FEDATA, low: FEADDR, high: FEUADDR });
}

/** In an interrupt's context: a fault may come, and interrupt, between any two accesses. */
function reportFaults(context: KernelContext, registers: UnitRegisters, source: FaultSource): void {
  const { name, offset, count, client } = source;
  const first = FSTS_REG.FRI.get(registers.read32(VTD_REGISTER.FSTS), 0);
  for (let i = 0; i < count; i++) {
    const at = offset + ((first + i) % count) * RECORD_BYTES;
    const words = new Int32Array(4);
    words.set(registers.read64At(at + 8), 2);
    if (r.F.get(words, 0) === 0) continue;
    words.set(registers.read64At(at), 0);
    registers.write32At(at + 12, CLEAR_F);
    tellFault(context, { name, client }, words);
  }
  if (FSTS_REG.PFO.get(registers.read32(VTD_REGISTER.FSTS), 0) === 0) return;
  tell(context, 'iommu:fault-overflow', { unit: name });
  registers.write32(VTD_REGISTER.FSTS, { PFO: 1 });
}

function tellFault(
  context: KernelContext,
  { name, client }: Pick<FaultSource, 'name' | 'client'>,
  words: Int32Array,
): void {
  const pasid = r.PP.get(words, 0) === 1 ? r.PASID.get(words, 0) : null;
  const reason = FAULT_REASONS[r.FR.get(words, 0)];
  const type = r.T1.get(words, 0) * 2 + r.T2.get(words, 0);
  tell(context, 'iommu:fault', {
    unit: name,
    rid: ridName(r.SID.get(words, 0)),
    pasid,
    process: (pasid === null ? undefined : client.ownerOf(r.SID.get(words, 0), pasid)) ?? null,
    page: pageName(r.FI.get(words, 0)),
    access: TYPE_NAMES[type] ?? null,
    code: r.FR.get(words, 0),
    reason: reason === undefined ? null : `${reason.name}: ${reason.text}`,
  });
}
