/**
 * The command register of a whole accelerator whose address spaces have two numbers each (`both-numbers`). A guest that
 * drains or aborts a PASID names its own number, and what it means is all that the address space has in the function:
 * descriptors of dedicated queues carry that number, those of shared ones the host's. So the VMM has the function do it
 * for the host's number first, then for the guest's; in between, the status says that the command is active.
 *
 * It goes on when the guest looks at the status. Who asked for an interrupt gets one at the end of each, and finds the
 * command active after the first.
 */
import { KeptMap, KeptValue, type UndoLog } from '../base/index.js';
import { DSA_COMMAND as CMD, DSA_CMD_REG, DSA_CMDSTS_REG } from '../spec/index.js';
import type { Words } from './shown-registers.js';

const [COMMAND, STATUS] = [0xa0, 0xa8];
const { ACTIVE, ERR } = DSA_CMDSTS_REG;

export class BothNumbers {
  readonly name: string;
  readonly bytes: number;
  readonly #registers: Words;
  /** The host's numbers, by the guest's. */
  readonly #hosts: KeptMap<number, number>;
  /** The same command by the guest's number: what is done when the one by the host's is over. */
  readonly #next: KeptValue<number | undefined>;

  /** @param registers the function's, as they are */
  constructor(log: UndoLog, registers: Words) {
    this.name = registers.name;
    this.bytes = registers.bytes;
    this.#registers = registers;
    this.#hosts = new KeptMap(log);
    this.#next = new KeptValue<number | undefined>(log, undefined);
  }

  bound({ guest, host }: { readonly guest: number; readonly host: number }): void {
    this.#hosts.set(guest, host);
  }

  unbound(host: number): void {
    for (const guest of this.#hosts.keys()) if (this.#hosts.get(guest) === host) this.#hosts.delete(guest);
  }

  /** The function was. */
  reset(): void {
    this.#next.value = undefined;
  }

  readonly read32 = (offset: number): number => {
    const status = this.#registers.read32(offset);
    return offset === STATUS ? this.#advance(status) : status;
  };

  readonly write32 = (offset: number, value: number): void => {
    if (offset !== COMMAND) {
      this.#registers.write32(offset, value);
      return;
    }
    // A command while one is active is for the function to refuse.
    this.#advance(this.#registers.read32(STATUS));
    const words = Int32Array.of(value);
    const command = DSA_CMD_REG.CMD.get(words, 0);
    const isOfPasid = command === CMD.DRAIN_PASID || command === CMD.ABORT_PASID;
    const guest = DSA_CMD_REG.OPERAND.get(words, 0);
    const host = isOfPasid ? this.#hosts.get(guest) : undefined;
    const isIdle = ACTIVE.get(Int32Array.of(this.#registers.read32(STATUS)), 0) === 0;
    if (host !== undefined && host !== guest && isIdle) {
      this.#next.value = value;
      DSA_CMD_REG.OPERAND.set(words, 0, host);
    }
    this.#registers.write32(COMMAND, words[0] ?? 0);
  };

  /** Begins the second command when the first is over; the status as the guest is to see it. */
  #advance(status: number): number {
    const next = this.#next.value;
    const words = Int32Array.of(status);
    if (next === undefined || ACTIVE.get(words, 0) === 1) return status;
    this.#next.value = undefined;
    if (ERR.get(words, 0) !== 0) return status;
    this.#registers.write32(COMMAND, next);
    return this.#registers.read32(STATUS);
  }
}
