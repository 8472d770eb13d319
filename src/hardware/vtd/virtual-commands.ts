/**
 * The virtual command registers, after VT-d 4.1, 11.4.45 to 11.4.48: a guest's driver asks its VMM for a PASID,
 * or gives one back. Whoever stands at the other end answers when it likes; IP is set until then. They are there
 * only if somebody does (ECAP.VCS).
 *
 * A command that comes while another is in progress is lost: the specification forbids it. CMD reads zero once
 * the command is taken, so that a write of the operand's upper half alone submits nothing.
 */
import { type RegisterFile, VCCAP_REG, VCMD_REG, VCRSP_REG, VTD_REGISTER } from '../../spec/index.js';

const { VCMD, VCRSP, VCCAP } = VTD_REGISTER;

/** What software has asked for. */
export interface VirtualCommand {
  /** 1 allocates a PASID, 2 frees one. */
  readonly code: number;
  /** 48 bits: the PASID to be freed. */
  readonly operand: number;
}

/** What it is answered. */
export interface VirtualResponse {
  /** VCRSP.SC: 0 for success. */
  readonly status: number;
  /** 48 bits: the PASID allocated. */
  readonly result: number;
}

/** The other end of the virtual command registers: a VMM. */
export interface VirtualCommandPort {
  /** VCCAP.PAS. */
  readonly allocatesPasids: boolean;
  /** Takes a command; `respond` is called once, now or later. */
  submit(command: VirtualCommand, respond: (response: VirtualResponse) => void): void;
}

export class VirtualCommands {
  readonly #file: RegisterFile;
  readonly #port: VirtualCommandPort;

  constructor(file: RegisterFile, port: VirtualCommandPort) {
    this.#file = file;
    this.#port = port;
    file.set(VCCAP, VCCAP_REG.PAS, port.allocatesPasids ? 1 : 0);
  }

  /** Software has written VCMD. */
  written(): void {
    const file = this.#file;
    const code = file.get(VCMD, VCMD_REG.CMD);
    if (code === 0) return;
    const operand = file.get(VCMD, VCMD_REG.OP);
    file.set(VCMD, VCMD_REG.CMD, 0);
    if (file.get(VCRSP, VCRSP_REG.IP) === 1) return;
    file.set(VCRSP, VCRSP_REG.IP, 1);
    this.#port.submit({ code, operand }, (response) => this.#respond(response));
  }

  #respond({ status, result }: VirtualResponse): void {
    const file = this.#file;
    if (file.get(VCRSP, VCRSP_REG.IP) === 0) return;
    file.set(VCRSP, VCRSP_REG.SC, status);
    file.set(VCRSP, VCRSP_REG.RSLT, result);
    file.set(VCRSP, VCRSP_REG.IP, 0);
  }
}
