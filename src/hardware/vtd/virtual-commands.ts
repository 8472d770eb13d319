/**
 * The virtual command registers, after VT-d 4.1, 11.4.45 to 11.4.48: a guest's driver asks its VMM for a PASID,
 * or gives one back. Whoever stands at the other end answers when it likes; IP is set until then. They are there
 * only if somebody does (ECAP.VCS), in the place and with the layout of today's revision or of those before 3.3.
 *
 * A command that comes while another is in progress is lost: the specification forbids it. CMD reads zero once
 * the command is taken, so that a write of the operand's upper half alone submits nothing.
 */
import {
  getNumber,
  type Register,
  type RegisterFile,
  VCCAP_REG,
  VCMD_REG,
  VCMD_REG_3_2,
  VCRSP_REG,
  VCRSP_REG_3_2,
  VIRTUAL_COMMAND_REGISTER_3_2,
  VTD_REGISTER,
} from '../../spec/index.js';

const { VCMD, VCRSP, VCCAP } = VTD_REGISTER;

/** The registers of today, and those before revision 3.3, with the layouts that they have. */
const LAYOUT = { VCMD, VCRSP, VCCAP, command: VCMD_REG, response: VCRSP_REG };
const LAYOUT_3_2 = {
  ...VIRTUAL_COMMAND_REGISTER_3_2,
  command: VCMD_REG_3_2,
  response: VCRSP_REG_3_2,
};

/** What software has asked for. */
export interface VirtualCommand {
  /** 1 allocates a PASID, 2 frees one. */
  readonly code: number;
  /** The PASID to be freed: 48 bits, or 56 before revision 3.3. */
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
  /** The register that takes commands. */
  readonly command: Register;
  readonly #file: RegisterFile;
  readonly #port: VirtualCommandPort;
  readonly #layout: typeof LAYOUT | typeof LAYOUT_3_2;

  /** @param isOld whether the registers are those of before revision 3.3 */
  constructor(file: RegisterFile, port: VirtualCommandPort, isOld = false) {
    this.#file = file;
    this.#port = port;
    this.#layout = isOld ? LAYOUT_3_2 : LAYOUT;
    this.command = this.#layout.VCMD;
    this.reset();
  }

  /** As after power-on. */
  reset(): void {
    this.#file.set(this.#layout.VCCAP, VCCAP_REG.PAS, this.#port.allocatesPasids ? 1 : 0);
  }

  /** Software has written VCMD. */
  written(): void {
    const file = this.#file;
    const { VCMD, VCRSP, command, response } = this.#layout;
    const code = file.get(VCMD, command.CMD);
    if (code === 0) return;
    const operand = getNumber(command.OP, file.words, VCMD.at);
    file.set(VCMD, command.CMD, 0);
    if (file.get(VCRSP, response.IP) === 1) return;
    file.set(VCRSP, response.IP, 1);
    this.#port.submit({ code, operand }, (answer) => this.#respond(answer));
  }

  #respond({ status, result }: VirtualResponse): void {
    const file = this.#file;
    const { VCRSP, response } = this.#layout;
    if (file.get(VCRSP, response.IP) === 0) return;
    file.set(VCRSP, response.SC, status);
    file.setNumber(VCRSP, response.RSLT, result);
    file.set(VCRSP, response.IP, 0);
  }
}
