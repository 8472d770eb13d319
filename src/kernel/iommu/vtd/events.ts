/**
 * A unit's own interrupts: control, data, address and upper address of an event (VT-d 4.1, 11.4.9).
 */
import type { Register } from '../../../spec/index.js';
import type { UnitRegisters } from './registers.js';

export interface EventRegisters {
  readonly control: Register;
  readonly data: Register;
  readonly low: Register;
  readonly high: Register;
}

/** Has an event send a message, and unmasks it. */
export function routeEvent(
  registers: UnitRegisters,
  message: { readonly address: number; readonly data: number },
  { control, data, low, high }: EventRegisters,
): void {
  registers.write32(data, { IMD: message.data });
  registers.write32(low, { MA: Math.floor((message.address % 2 ** 32) / 4) });
  registers.write32(high, { MUA: Math.floor(message.address / 2 ** 32) });
  registers.write32(control, { IM: 0 });
}
