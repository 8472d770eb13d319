/**
 * What a unit's fault status says (VT-d 4.1, 7.3 and 11.4.9): reads the fault records, tells of each with its device
 * and PASID, and clears it, so that the register can take the next one; has the invalidation queue recover.
 *
 * Hardware interrupts when the status turns from nothing to something, and not for what comes on top. So whoever clears
 * a part of it goes on until nothing is left, else no fault would be told again.
 */
import {
  FAULT,
  FAULT_REASONS,
  FAULT_RECORD,
  FAULT_TYPE,
  FSTS_REG,
  IQER_REG,
  maskOf,
  VTD_REGISTER,
} from '../../../spec/index.js';
import { type KernelContext, newInterrupt, tell } from '../../context.js';
import { Pasid, pageName, ridName } from '../../ids.js';
import type { DmaFaultReason, IommuClient } from '../driver.js';
import { routeEvent } from './events.js';
import type { UnitRegisters } from './registers.js';

const RECORD_BYTES = 16;
/** F is bit 31 of a record's last word; the other bits of that word cannot be written. */
const CLEAR_F = 1 << 31;
const r = FAULT_RECORD;
const { PFO, PPF, IQE, ICE, ITE, FRI } = FSTS_REG;
const SERVED = [PFO, PPF, IQE, ICE, ITE];
const [SERVED_BITS = 0] = maskOf(FSTS_REG, ...SERVED);

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [FAULT_TYPE.WRITE]: 'write',
  [FAULT_TYPE.PAGE_REQUEST]: 'page request',
  [FAULT_TYPE.READ]: 'read',
  [FAULT_TYPE.ATOMIC]: 'atomic',
};

/** Kinds of reasons, each by its first code; up to the next it is the same (VT-d 4.1, 7.1.3). */
const KINDS: readonly (readonly [first: number, kind: DmaFaultReason])[] = [
  [FAULT.FIRST_STAGE_AD_NO_SNOOP, 'walk'],
  [FAULT.USER_DENIED, 'permission'],
  [FAULT.NOT_CANONICAL, 'address too large'],
  [FAULT.SECOND_STAGE_AD_NO_SNOOP, 'walk'],
  [FAULT.SECOND_STAGE_DENIED, 'permission'],
  [FAULT.SECOND_STAGE_ACCESS, 'walk'],
  [FAULT.NESTED_READ_DENIED, 'walk'],
  [FAULT.NESTED_ADDRESS_BEYOND_WIDTH, 'address too large'],
  [FAULT.FIRST_STAGE_RESERVED, 'walk'],
  [FAULT.FIRST_STAGE_NOT_PRESENT, 'not present'],
  [FAULT.FIRST_STAGE_ACCESS, 'walk'],
  [FAULT.ERE_CLEAR, 'permission'],
  [FAULT.PASID_NOT_PRESENT, 'PASID entry'],
  [FAULT.PASID_DIRECTORY_ACCESS, 'PASID table'],
  [FAULT.PASID_BEYOND_DIRECTORY, 'PASID out of range'],
];
const BEYOND_WIDTH: ReadonlySet<number> = new Set([
  FAULT.SM_ADDRESS_BEYOND_WIDTH,
  FAULT.SECOND_STAGE_ADDRESS_BEYOND_WIDTH,
]);

function kindOf(code: number): DmaFaultReason {
  if (BEYOND_WIDTH.has(code)) return 'address too large';
  return KINDS.find(([first]) => code >= first)?.[1] ?? 'unknown';
}

/** Where a unit's fault records are, and whose they are. */
export interface FaultSource {
  readonly name: string;
  readonly client: IommuClient;
  readonly offset: number;
  readonly count: number;
}

export class FaultStatus {
  readonly #context: KernelContext;
  readonly #registers: UnitRegisters;
  readonly #source: FaultSource;

  constructor(context: KernelContext, registers: UnitRegisters, source: FaultSource) {
    this.#context = context;
    this.#registers = registers;
    this.#source = source;
  }

  /** Has the unit interrupt from now on. */
  start(recover: (status: Int32Array) => void): void {
    const message = newInterrupt(this.#context, () => this.serve(recover));
    const { FECTL, FEDATA, FEADDR, FEUADDR } = VTD_REGISTER;
    routeEvent(this.#registers, message, { control: FECTL, data: FEDATA, low: FEADDR, high: FEUADDR });
  }

  /**
   * Serves all that there is. In an interrupt's context too: a fault may come, and interrupt, between any two accesses.
   *
   * @param recover does what an error of the queue asks for, by the status, and clears it
   */
  serve(recover: (status: Int32Array) => void): void {
    for (;;) {
      const word = this.#registers.word(VTD_REGISTER.FSTS);
      if ((word & SERVED_BITS) === 0) return;
      const status = Int32Array.of(word);
      if (IQE.get(status, 0) === 1 || ITE.get(status, 0) === 1) recover(status);
      if (ICE.get(status, 0) === 1) this.#tellUnexpected();
      if (PPF.get(status, 0) === 1 || PFO.get(status, 0) === 1) this.#report(FRI.get(status, 0));
    }
  }

  /** A device has answered what was not asked, or too late: nobody waits for that. */
  #tellUnexpected(): void {
    const rid = IQER_REG.ICESID.get(this.#registers.read64(VTD_REGISTER.IQER), 0);
    tell(this.#context, 'iommu:unexpected-completion', { unit: this.#source.name, rid });
    this.#registers.write32(VTD_REGISTER.FSTS, { ICE: 1 });
  }

  /** Takes the records from `first` on, each once. */
  #report(first: number): void {
    const registers = this.#registers;
    const { name, offset, count } = this.#source;
    for (let i = 0; i < count; i++) {
      const at = offset + ((first + i) % count) * RECORD_BYTES;
      const words = new Int32Array(4);
      words.set(registers.read64At(at + 8), 2);
      if (r.F.get(words, 0) === 0) continue;
      words.set(registers.read64At(at), 0);
      registers.write32At(at + 12, CLEAR_F);
      tellFault(this.#context, this.#source, words);
    }
    if (PFO.get(registers.read32(VTD_REGISTER.FSTS), 0) === 0) return;
    tell(this.#context, 'iommu:fault-overflow', { unit: name });
    registers.write32(VTD_REGISTER.FSTS, { PFO: 1 });
  }
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
  const isWrite = type !== FAULT_TYPE.READ;
  client.fault({
    rid: r.SID.get(words, 0),
    pasid: pasid === null ? undefined : Pasid.of(pasid),
    page: r.FI.get(words, 0),
    read: !isWrite,
    write: isWrite,
    execute: r.EXE.get(words, 0) === 1,
    privileged: r.PRIV.get(words, 0) === 1,
    reason: kindOf(r.FR.get(words, 0)),
  });
}
