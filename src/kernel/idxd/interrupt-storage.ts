/**
 * The interrupt message storage of an accelerator as an interrupt controller (Intel DSA 3.0, 3.7 and 9.2.25; Linux's
 * irq chip for IMS): whose an entry is, where its message goes, whether it is masked, and which PASID's descriptors may
 * name it. Mask and PASID are fields of one word: whoever writes it has to know of the other. So all changes come
 * through here, and the word is composed of what is remembered here (bug B7). Nothing here sleeps between a look and a
 * store, as under the chip's lock.
 *
 * An entry that has sent its message is masked until who listens was told: however often a guest asks for interrupts,
 * the host has one at a time of each entry to serve. What comes meanwhile is pending in the device.
 */
import { isRefusal, KeptList, KeptValue, type Refusal, refuse, type Task } from '../../base/index.js';
import { DSA_GENCAP_REG, DSA_IMS, encode } from '../../spec/index.js';
import { hasVectors, type KernelContext, newInterrupt, tell } from '../context.js';
import type { Pasid } from '../ids.js';
import { type DsaRegisters, IMS_OPERAND, REGISTER } from './registers.js';

const IMS_UNIT = 256;
const CONTROL_WORD = DSA_IMS.MASK.low / 32;

/** What the control word of an entry says. */
interface Control {
  readonly isMasked: boolean;
  /** Whose descriptors may name it; nobody's, if undefined. */
  readonly pasid: Pasid | undefined;
}

const FREE: Control = { isMasked: true, pasid: undefined };

/** An entry, which stays where it is whoever has it. */
export class ImsEntry {
  readonly index: number;
  readonly #context: KernelContext;
  readonly #registers: DsaRegisters;
  readonly #device: string;
  readonly #handle: KeptValue<number>;
  /** Told of interrupts; undefined while it is nobody's. */
  readonly #listener: KeptValue<(() => void) | undefined>;
  /** The device has not confirmed its end. */
  readonly #isLeaving: KeptValue<boolean>;
  readonly #control: KeptValue<Control>;

  /** @internal */
  constructor(
    context: KernelContext,
    registers: DsaRegisters,
    of: { readonly device: string; readonly index: number },
  ) {
    this.#context = context;
    this.#registers = registers;
    this.index = of.index;
    this.#device = of.device;
    this.#handle = new KeptValue(context.log, of.index);
    this.#listener = new KeptValue<(() => void) | undefined>(context.log, undefined);
    this.#isLeaving = new KeptValue(context.log, false);
    this.#control = new KeptValue<Control>(context.log, FREE);
    const { address, data } = newInterrupt(context, () => this.#came());
    const ADDRESS = Math.floor((address % 2 ** 32) / 4);
    const words = encode(DSA_IMS, { ADDRESS, UPPER: Math.floor(address / 2 ** 32), DATA: data });
    registers.writeAt(registers.imsAt(of.index), words.subarray(0, CONTROL_WORD));
  }

  /** What descriptors name it by, through a portal for interrupt message storage. */
  get handle(): number {
    return this.#handle.value;
  }

  get isFree(): boolean {
    return this.#listener.value === undefined && !this.#isLeaving.value;
  }

  /** Whose descriptors may name it. */
  get pasid(): Pasid | undefined {
    return this.#control.value.pasid;
  }

  /** Lets descriptors of one PASID name it, or none. */
  permit(pasid: Pasid | undefined): void {
    if (this.#control.value.pasid === pasid) return;
    this.#write({ ...this.#control.value, pasid });
    tell(this.#context, 'idxd:ims', { device: this.#device, entry: this.index, pasid: pasid ?? null });
  }

  /** @internal */
  *take(listener: () => void): Task<Refusal<'ENOSPC' | 'EIO'> | undefined> {
    this.#listener.value = listener;
    const handle = yield* this.#registers.requestHandle(this.index | IMS_OPERAND);
    if (isRefusal(handle)) {
      this.#listener.value = undefined;
      return handle;
    }
    this.#handle.value = handle;
    this.#write({ ...this.#control.value, isMasked: false });
    return undefined;
  }

  /**
   * Gives it up: nobody's descriptors may name it any more.
   *
   * On failure: `EIO` if the device did not take the handle back; the entry stays taken, and silent.
   */
  *free(): Task<Refusal<'EIO'> | undefined> {
    this.#write(FREE);
    this.#listener.value = undefined;
    this.#isLeaving.value = true;
    const refusal = yield* this.#registers.releaseHandle(this.#handle.value | IMS_OPERAND);
    if (refusal === undefined) this.#isLeaving.value = false;
    return refusal;
  }

  /** In an interrupt's context. */
  #came(): void {
    const listener = this.#listener.value;
    if (listener === undefined || this.#control.value.isMasked) return;
    this.#write({ ...this.#control.value, isMasked: true });
    this.#context.tasks.spawn(`${this.#device} interrupt ${this.index}`, this.#serve(listener));
  }

  /** Its thread. */
  *#serve(listener: () => void): Task {
    yield 'an interrupt';
    // It may be nobody's by now, or another's, who has unmasked it himself.
    if (this.#listener.value !== listener) return;
    listener();
    this.#write({ ...this.#control.value, isMasked: false });
  }

  #write(control: Control): void {
    this.#control.value = control;
    const { isMasked, pasid } = control;
    const words = encode(DSA_IMS, {
      MASK: isMasked ? 1 : 0,
      // Without a PASID it is for those who send none: they are not let in either.
      ...(pasid === undefined ? { IGNORE: 1 } : { PASID_EN: 1, PASID: pasid }),
    });
    const at = this.#registers.imsAt(this.index) + CONTROL_WORD * 4;
    this.#registers.writeAt(at, words.subarray(CONTROL_WORD));
  }
}

export class InterruptStorage {
  readonly #context: KernelContext;
  readonly #registers: DsaRegisters;
  readonly #name: string;
  readonly #capacity: number;
  readonly #entries: KeptList<ImsEntry>;

  /** @param name the device's */
  constructor(context: KernelContext, registers: DsaRegisters, name: string) {
    this.#context = context;
    this.#registers = registers;
    this.#name = name;
    this.#capacity = DSA_GENCAP_REG.IMS_SIZE.get(registers.read(REGISTER.GENCAP), 0) * IMS_UNIT;
    this.#entries = new KeptList(context.log);
  }

  /** Whether the device has any. */
  get isThere(): boolean {
    return this.#capacity > 0;
  }

  /**
   * An entry that nobody has, for no PASID yet.
   *
   * @param listener told of its interrupts, from a task; seldom once more than they came
   *
   * On failure: `ENOSPC` if there is none, or no vector of the CPU's, or no handle of the device's; `EIO`.
   */
  *alloc(listener: () => void): Task<ImsEntry | Refusal<'ENOSPC' | 'EIO'>> {
    const entry = this.#entries.items.find(({ isFree }) => isFree) ?? this.#newEntry();
    if (isRefusal(entry)) return entry;
    const refusal = yield* entry.take(listener);
    return refusal ?? entry;
  }

  #newEntry(): ImsEntry | Refusal<'ENOSPC'> {
    const index = this.#entries.length;
    if (index >= this.#capacity || !hasVectors(this.#context)) {
      return refuse('ENOSPC', `${this.#name} has no interrupt message entry left`);
    }
    const entry = new ImsEntry(this.#context, this.#registers, { device: this.#name, index });
    this.#entries.push(entry);
    return entry;
  }
}
