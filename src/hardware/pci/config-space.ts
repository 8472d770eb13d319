/**
 * The configuration space of one function: a header of type 0 with 64-bit memory BARs, the capabilities MSI-X and
 * PCI Express (of which: the function-level reset), and the extended capabilities PASID, ATS and PRI, as far as the
 * function has them. After PCIe 6.0, 6.6.2, 7.5.1, 7.5.3, 7.7.2, 7.8.8 and 10.5. What a bit sets off is the
 * function's part, which is told of writes to its capabilities.
 *
 * Where PCIe leaves the effect open, a write is ignored: PASID enables and the smallest translation unit do not
 * change while ATS is enabled.
 */
import { assert, type Restorable, Words } from '../../base/index.js';
import {
  ATS_CAPABILITY,
  BASE_ADDRESS_REG,
  CAPABILITY,
  CONFIGURATION_BYTES,
  EXPRESS_CAPABILITY,
  EXTENDED_CAPABILITIES,
  EXTENDED_CAPABILITY,
  type Field,
  type LayoutInfo,
  MSI_X_CAPABILITY,
  maskOf,
  PASID_CAPABILITY,
  PRI_CAPABILITY,
  TYPE_0_HEADER,
} from '../../spec/index.js';

const header = TYPE_0_HEADER;
const msix = MSI_X_CAPABILITY;
const express = EXPRESS_CAPABILITY;
const ats = ATS_CAPABILITY;
const pri = PRI_CAPABILITY;
const pasid = PASID_CAPABILITY;

/** What a write may have changed; with `reset`, the function is to be as after a function-level reset. */
export type ConfigPart = 'header' | 'msix' | 'pasid' | 'ats' | 'pri' | 'reset';

/** What a function is. */
export interface ConfigOptions {
  readonly vendor: number;
  readonly device: number;
  /** Base class, subclass, programming interface: 24 bits. */
  readonly classCode: number;
  readonly revision?: number;
  /** Bytes of each 64-bit memory BAR, a power of two: the first is BAR0, the second BAR2, the third BAR4. */
  readonly bars?: readonly number[];
  /** Its vectors, and where in BAR0 their table and pending bits lie. */
  readonly msix?: { readonly vectors: number; readonly table: number; readonly pending: number };
  /** It can be reset by itself (FLR). */
  readonly functionReset?: boolean;
  readonly pasid?: { readonly width: number; readonly execute?: boolean; readonly privileged?: boolean };
  /** How many invalidations it takes at once, 1 to 32. */
  readonly ats?: { readonly queueDepth: number };
  /** How many page requests can be outstanding. */
  readonly pri?: { readonly capacity: number };
  /** Is told of each write to a part that is there, after it has taken effect. */
  readonly changed?: (part: ConfigPart) => void;
}

const MSIX_AT = 0x40 / 4;
const EXPRESS_AT = 0x50 / 4;
/** A root complex integrated endpoint. */
const ENDPOINT_TYPE = 9;
const EXPRESS_VERSION = 2;
const EXTENDED_AT = EXTENDED_CAPABILITIES / 4;
const BAR_AT = 4;
const ABSENT = -1;

export class ConfigSpace implements Restorable {
  readonly options: ConfigOptions;
  readonly #state = new Words(CONFIGURATION_BYTES / 4, 16);
  /** These, and what it is after a reset, have no words behind the last that is of use: most of it is empty. */
  #writable = new Int32Array(CONFIGURATION_BYTES / 4);
  #clearable = new Int32Array(CONFIGURATION_BYTES / 4);
  /** Where each capability begins, in words. */
  readonly #pasid: number = ABSENT;
  readonly #ats: number = ABSENT;
  readonly #pri: number = ABSENT;
  /** All of it after a reset. */
  readonly #initial: Int32Array;
  #extended = EXTENDED_AT;
  #last = ABSENT;

  constructor(options: ConfigOptions) {
    this.options = options;
    this.#header();
    if (options.msix !== undefined) this.#msix(options.msix);
    if (options.functionReset === true) this.#express();
    if (options.pasid !== undefined) this.#pasid = this.#addPasid(options.pasid);
    if (options.ats !== undefined) this.#ats = this.#addAts(options.ats.queueDepth);
    if (options.pri !== undefined) this.#pri = this.#addPri(options.pri.capacity);
    const { words } = this.#state;
    const end = Math.max(...[words, this.#writable, this.#clearable].map(endOf));
    this.#initial = words.slice(0, end);
    this.#writable = this.#writable.slice(0, end);
    this.#clearable = this.#clearable.slice(0, end);
  }

  /** Reads 1, 2 or 4 bytes; an unsigned number. */
  read(offset: number, bytes: number): number {
    checkAccess(offset, bytes);
    const word = this.#state.words[offset >> 2] ?? 0;
    return ((word >>> ((offset & 3) * 8)) & bytesMask(bytes)) >>> 0;
  }

  write(offset: number, bytes: number, value: number): void {
    checkAccess(offset, bytes);
    const at = offset >> 2;
    const shift = (offset & 3) * 8;
    const enabled = bytesMask(bytes) << shift;
    const given = value << shift;
    const old = this.#state.words[at] ?? 0;
    const writable = (this.#writable[at] ?? 0) & enabled & ~this.#locked(at);
    const cleared = given & (this.#clearable[at] ?? 0) & enabled;
    this.#state.set(at, ((old & ~writable) | (given & writable)) & ~cleared);
    if (
      this.options.functionReset === true &&
      express.INITIATE_FLR.get(this.#state.words, EXPRESS_AT) === 1
    ) {
      this.#reset();
      return;
    }
    const part = this.#partOf(at);
    if (part !== undefined) this.options.changed?.(part);
  }

  /** The function may send requests. */
  get isBusMaster(): boolean {
    return header.BUS_MASTER.get(this.#state.words, 0) === 1;
  }

  /** Its BARs answer. */
  get isMemoryEnabled(): boolean {
    return header.MEMORY.get(this.#state.words, 0) === 1;
  }

  get isMsixEnabled(): boolean {
    return this.options.msix !== undefined && msix.ENABLE.get(this.#state.words, MSIX_AT) === 1;
  }

  get isMsixMasked(): boolean {
    return msix.MASK_ALL.get(this.#state.words, MSIX_AT) === 1;
  }

  /** Requests may carry a PASID. */
  get isPasidEnabled(): boolean {
    return this.#pasid !== ABSENT && pasid.ENABLE.get(this.#state.words, this.#pasid) === 1;
  }

  get isExecuteEnabled(): boolean {
    return this.isPasidEnabled && pasid.EXECUTE_ENABLE.get(this.#state.words, this.#pasid) === 1;
  }

  get isPrivilegedEnabled(): boolean {
    return this.isPasidEnabled && pasid.PRIVILEGED_ENABLE.get(this.#state.words, this.#pasid) === 1;
  }

  /** Translations may be asked for and cached. */
  get isAtsEnabled(): boolean {
    return this.#ats !== ABSENT && ats.ENABLE.get(this.#state.words, this.#ats) === 1;
  }

  /** 4 KiB pages of the smallest translation that is asked for. */
  get smallestTranslation(): number {
    return this.#ats === ABSENT ? 1 : 2 ** ats.STU.get(this.#state.words, this.#ats);
  }

  /** A field of the PRI capability; there has to be one. */
  getPri(field: Field): number {
    return field.get(this.#state.words, this.#pri);
  }

  /** Stores a field of the PRI capability: the function's own status. */
  setPri(field: Field, value: number): void {
    for (let word = 0; word < pri.bytes / 4; word++) this.#state.touch(this.#pri + word);
    field.set(this.#state.words, this.#pri, value);
  }

  get isPriEnabled(): boolean {
    return this.#pri !== ABSENT && this.getPri(pri.ENABLE) === 1;
  }

  /** All of it, as a function of the same kind can take it over. */
  save(): Int32Array {
    return this.#state.words.slice(0, this.#initial.length);
  }

  /** What {@link ConfigSpace.save} gave. Nobody is told. */
  load(words: Int32Array): void {
    words.forEach((word, at) => {
      if (this.#state.words[at] !== word) this.#state.set(at, word);
    });
  }

  mark(): void {
    this.#state.mark();
  }

  restore(): void {
    this.#state.restore();
  }

  #header(): void {
    const { vendor, device, classCode, revision = 0, bars = [], msix: vectors } = this.options;
    assert(bars.length <= 3, `${bars.length} BARs of 64 bits`);
    this.#declare(0, header, [
      header.MEMORY,
      header.BUS_MASTER,
      header.PARITY,
      header.SERR,
      header.INTX_DISABLE,
      header.CACHE_LINE,
      header.INT_LINE,
    ]);
    const { words } = this.#state;
    header.VENDOR.set(words, 0, vendor);
    header.DEVICE.set(words, 0, device);
    header.CLASS.set(words, 0, classCode);
    header.REVISION.set(words, 0, revision);
    if (vectors !== undefined) {
      header.CAP_LIST.set(words, 0, 1);
      header.CAP_PTR.set(words, 0, MSIX_AT * 4);
    }
    bars.forEach((bytes, i) => {
      assert(bytes >= 16 && bytes <= 2 ** 31 && Math.log2(bytes) % 1 === 0, `a BAR of ${bytes} bytes`);
      const at = BAR_AT + i * 2;
      BASE_ADDRESS_REG.TYPE.set(words, at, 2);
      BASE_ADDRESS_REG.PREFETCHABLE.set(words, at, 1);
      this.#writable[at] = -bytes;
      this.#writable[at + 1] = -1;
    });
  }

  /** Everything as it began (PCIe 6.0, 6.6.2): whoever wants more has to save and restore it. */
  #reset(): void {
    this.#initial.forEach((word, at) => {
      if (this.#state.words[at] !== word) this.#state.set(at, word);
    });
    this.options.changed?.('reset');
  }

  #express(): void {
    this.#declare(EXPRESS_AT, express, [express.INITIATE_FLR]);
    const { words } = this.#state;
    express.ID.set(words, EXPRESS_AT, CAPABILITY.EXPRESS);
    express.VERSION.set(words, EXPRESS_AT, EXPRESS_VERSION);
    express.TYPE.set(words, EXPRESS_AT, ENDPOINT_TYPE);
    express.FLR.set(words, EXPRESS_AT, 1);
    header.CAP_LIST.set(words, 0, 1);
    if (this.options.msix === undefined) header.CAP_PTR.set(words, 0, EXPRESS_AT * 4);
    else msix.NEXT.set(words, MSIX_AT, EXPRESS_AT * 4);
  }

  #msix({ vectors, table, pending }: { vectors: number; table: number; pending: number }): void {
    this.#declare(MSIX_AT, msix, [msix.MASK_ALL, msix.ENABLE]);
    const { words } = this.#state;
    msix.ID.set(words, MSIX_AT, CAPABILITY.MSI_X);
    msix.TABLE_SIZE.set(words, MSIX_AT, vectors - 1);
    msix.TABLE.set(words, MSIX_AT, table / 8);
    msix.PBA.set(words, MSIX_AT, pending / 8);
  }

  #addPasid({ width, execute = false, privileged = false }: NonNullable<ConfigOptions['pasid']>): number {
    const at = this.#extend(EXTENDED_CAPABILITY.PASID, pasid, [
      ...(width > 0 ? [pasid.ENABLE] : []),
      ...(execute ? [pasid.EXECUTE_ENABLE] : []),
      ...(privileged ? [pasid.PRIVILEGED_ENABLE] : []),
    ]);
    pasid.WIDTH.set(this.#state.words, at, width);
    pasid.EXECUTE_SUPPORTED.set(this.#state.words, at, execute ? 1 : 0);
    pasid.PRIVILEGED_SUPPORTED.set(this.#state.words, at, privileged ? 1 : 0);
    return at;
  }

  #addAts(queueDepth: number): number {
    const at = this.#extend(EXTENDED_CAPABILITY.ATS, ats, [ats.STU, ats.ENABLE]);
    ats.QUEUE_DEPTH.set(this.#state.words, at, queueDepth % 32);
    ats.PAGE_ALIGNED.set(this.#state.words, at, 1);
    ats.GLOBAL_INVALIDATE.set(this.#state.words, at, 1);
    return at;
  }

  #addPri(capacity: number): number {
    const at = this.#extend(EXTENDED_CAPABILITY.PRI, pri, [pri.ENABLE, pri.RESET, pri.ALLOCATION]);
    const status = maskOf(pri, pri.RESPONSE_FAILURE, pri.UNEXPECTED_GROUP);
    status.forEach((bits, i) => {
      this.#clearable[at + i] = bits;
    });
    pri.CAPACITY.set(this.#state.words, at, capacity);
    pri.STOPPED.set(this.#state.words, at, 1);
    pri.PASID_REQUIRED.set(this.#state.words, at, this.options.pasid === undefined ? 0 : 1);
    return at;
  }

  /** Puts an extended capability behind those that are there. */
  #extend(id: number, layout: LayoutInfo, writable: readonly Field[]): number {
    const at = this.#extended;
    const { words } = this.#state;
    this.#declare(at, layout, writable);
    pasid.ID.set(words, at, id);
    pasid.VERSION.set(words, at, 1);
    if (this.#last !== ABSENT) pasid.NEXT.set(words, this.#last, at * 4);
    this.#last = at;
    this.#extended += 4;
    return at;
  }

  #declare(at: number, layout: LayoutInfo, writable: readonly Field[]): void {
    maskOf(layout, ...writable).forEach((bits, i) => {
      this.#writable[at + i] = bits;
    });
  }

  /** The bits of a word that can't be written now. */
  #locked(at: number): number {
    if (!this.isAtsEnabled) return 0;
    if (at === this.#pasid + 1) return -1;
    return at === this.#ats + 1 ? (maskOf(ats, ats.STU)[1] ?? 0) : 0;
  }

  #partOf(at: number): ConfigPart | undefined {
    if (at < MSIX_AT) return 'header';
    if (this.options.msix !== undefined && at === MSIX_AT) return 'msix';
    if (this.#pasid !== ABSENT && at === this.#pasid + 1) return 'pasid';
    if (this.#ats !== ABSENT && at === this.#ats + 1) return 'ats';
    return this.#pri !== ABSENT && at >= this.#pri && at < this.#pri + 4 ? 'pri' : undefined;
  }
}

function checkAccess(offset: number, bytes: number): void {
  const isSized = bytes === 1 || bytes === 2 || bytes === 4;
  assert(isSized && offset % bytes === 0, 'configuration accesses are of 1, 2 or 4 bytes, naturally aligned');
  assert(offset >= 0 && offset < CONFIGURATION_BYTES, 'configuration space has 4096 bytes');
}

const bytesMask = (bytes: number): number => (bytes === 4 ? -1 : (1 << (bytes * 8)) - 1);

/** One past the last word that is not zero. */
const endOf = (words: Int32Array): number => words.findLastIndex((word) => word !== 0) + 1;
