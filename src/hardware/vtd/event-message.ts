/**
 * One of the unit's interrupts (faults, invalidation completions, page requests): its control, data and address
 * registers, after VT-d 4.1, 7.3 and 11.4.7. A masked one stays pending until it is unmasked, or until software
 * has served what it was for.
 */
import {
  EVENT_ADDRESS_REG,
  EVENT_CONTROL_REG,
  EVENT_DATA_REG,
  EVENT_UPPER_ADDRESS_REG,
  type Register,
  type RegisterFile,
} from '../../spec/index.js';

/** The registers of an interrupt. */
export interface EventRegisters {
  readonly control: Register;
  readonly data: Register;
  readonly address: Register;
  readonly upper: Register;
}

export class EventMessage {
  readonly control: Register;
  readonly #registers: EventRegisters;
  readonly #file: RegisterFile;
  readonly #send: (address: number, data: number) => void;

  constructor(registers: EventRegisters, file: RegisterFile, send: (address: number, data: number) => void) {
    this.control = registers.control;
    this.#registers = registers;
    this.#file = file;
    this.#send = send;
  }

  /** The condition has come true. */
  raise(): void {
    if (this.#file.get(this.control, EVENT_CONTROL_REG.IM) === 1) this.#setPending(1);
    else this.#message();
  }

  /** The condition is over: nothing is pending. */
  served(): void {
    this.#setPending(0);
  }

  /** Software has written the control register. */
  controlWritten(): void {
    const { IM, IP } = EVENT_CONTROL_REG;
    if (this.#file.get(this.control, IM) === 1 || this.#file.get(this.control, IP) === 0) return;
    this.#setPending(0);
    this.#message();
  }

  #setPending(pending: 0 | 1): void {
    this.#file.set(this.control, EVENT_CONTROL_REG.IP, pending);
  }

  #message(): void {
    const file = this.#file;
    const { data, address, upper } = this.#registers;
    // Whatever software has written: where there is no bus for all bits, it is lost by others.
    const to =
      file.get(upper, EVENT_UPPER_ADDRESS_REG.MUA) * 2 ** 32 + file.get(address, EVENT_ADDRESS_REG.MA) * 4;
    this.#send(to, file.get(data, EVENT_DATA_REG.IMD));
  }
}
