/**
 * PCI functions, by configuration space: which there are, where their registers lie, and the capabilities that
 * address spaces need (PCIe 6.0, 6.6.2, 7.5.1, 7.5.3, 7.7.2, 7.8.8, 10.5). Firmware has assigned the BARs. Left out:
 * bridges, assigning of resources, power, error reporting.
 */
import {
  ATS_CAPABILITY,
  BASE_ADDRESS_REG,
  CAPABILITY,
  EXPRESS_CAPABILITY,
  EXTENDED_CAPABILITIES,
  EXTENDED_CAPABILITY,
  EXTENDED_CAPABILITY_HEADER,
  type Field,
  MSI_X_CAPABILITY,
  PASID_CAPABILITY,
  PRI_CAPABILITY,
  TYPE_0_HEADER,
} from '../spec/index.js';
import type { KernelContext } from './context.js';
import { ridName } from './ids.js';
import type { PciConfig } from './platform.js';

const header = TYPE_0_HEADER;
const ABSENT = 0;
const BAR_AT = 0x10;
const COMMAND = 4;
const CLASS = 8;
const ALL_ONES = 0xffff_ffff;
const NOBODY = 0xffff;
const BUSES = 256;
const DEVICES = 32;
const FUNCTIONS = 8;

/** How many MSI-X vectors a function has, and where in BAR0 their table and pending bits lie. */
export interface MsixPlace {
  readonly vectors: number;
  readonly table: number;
  readonly pending: number;
}

export class PciDevice {
  readonly rid: number;
  readonly name: string;
  readonly #config: PciConfig;
  readonly #words = new Int32Array(16);

  constructor({ platform }: KernelContext, rid: number) {
    this.rid = rid;
    this.name = ridName(rid);
    this.#config = platform.pci;
  }

  get vendor(): number {
    return this.#config.read(this.rid, 0, 2);
  }

  get device(): number {
    return this.#config.read(this.rid, 2, 2);
  }

  /** Base class, subclass, programming interface: 24 bits. */
  get classCode(): number {
    return this.#config.read(this.rid, CLASS, 4) >>> 8;
  }

  get isThere(): boolean {
    return this.vendor !== NOBODY;
  }

  /** The address of a 64-bit memory BAR, by its number. */
  bar(number: number): number {
    const low = this.#config.read(this.rid, BAR_AT + number * 4, 4);
    const high = this.#config.read(this.rid, BAR_AT + number * 4 + 4, 4);
    this.#words[0] = low;
    return high * 2 ** 32 + BASE_ADDRESS_REG.BASE.get(this.#words, 0) * 16;
  }

  /** Bytes of a 64-bit memory BAR: what stays 0 of ones that are written. It answers nowhere meanwhile. */
  barBytes(number: number): number {
    const [base, at] = [this.bar(number), BAR_AT + number * 4];
    const command = this.#config.read(this.rid, COMMAND, 2);
    this.decode(false);
    this.#config.write(this.rid, at, 4, ALL_ONES);
    this.#words[0] = this.#config.read(this.rid, at, 4);
    const bytes = (2 ** 28 - BASE_ADDRESS_REG.BASE.get(this.#words, 0)) * 16;
    this.placeBar(number, base);
    this.#config.write(this.rid, COMMAND, 2, command);
    return bytes;
  }

  placeBar(number: number, base: number): void {
    const at = BAR_AT + number * 4;
    this.#config.write(this.rid, at, 4, base % 2 ** 32);
    this.#config.write(this.rid, at + 4, 4, Math.floor(base / 2 ** 32));
  }

  /** Whether its registers answer. */
  decode(is: boolean): void {
    this.#change(0, header.MEMORY, is ? 1 : 0);
  }

  /** Whether it may send requests. */
  master(is: boolean): void {
    this.#change(0, header.BUS_MASTER, is ? 1 : 0);
  }

  /** Whether it may send requests now. */
  get isMaster(): boolean {
    return this.#field(0, header.BUS_MASTER) === 1;
  }

  /** Whether it can be reset by itself. */
  get hasFunctionReset(): boolean {
    const at = this.#capability(CAPABILITY.EXPRESS);
    return at !== ABSENT && this.#field(at, EXPRESS_CAPABILITY.FLR) === 1;
  }

  /** Resets it by itself (FLR): nothing in it is as it was, its configuration neither. */
  resetFunction(): void {
    this.#change(this.#capability(CAPABILITY.EXPRESS), EXPRESS_CAPABILITY.INITIATE_FLR, 1);
  }

  /** Its registers answer, and it may send requests. */
  enable(): void {
    this.decode(true);
    this.master(true);
  }

  /** Neither. */
  disable(): void {
    this.#change(0, header.BUS_MASTER, 0);
    this.#change(0, header.MEMORY, 0);
  }

  /** It sends no requests any more. */
  stopMastering(): void {
    this.master(false);
  }

  /** Bits of its PASIDs; 0 if it has none. */
  get pasidBits(): number {
    const at = this.#extended(EXTENDED_CAPABILITY.PASID);
    return at === ABSENT ? 0 : this.#field(at, PASID_CAPABILITY.WIDTH);
  }

  get hasAts(): boolean {
    return this.#extended(EXTENDED_CAPABILITY.ATS) !== ABSENT;
  }

  get hasPri(): boolean {
    return this.#extended(EXTENDED_CAPABILITY.PRI) !== ABSENT;
  }

  /** The invalidations that its device TLB takes at once, as its capability codes them: 0 is 32. */
  get invalidationDepth(): number {
    return this.#field(this.#extended(EXTENDED_CAPABILITY.ATS), ATS_CAPABILITY.QUEUE_DEPTH);
  }

  /** PASIDs cannot be switched while ATS is on: they come first. */
  enablePasid(): void {
    this.#change(this.#extended(EXTENDED_CAPABILITY.PASID), PASID_CAPABILITY.ENABLE, 1);
  }

  /** Lets it have as many page requests outstanding as it can. */
  enablePri(): void {
    const at = this.#extended(EXTENDED_CAPABILITY.PRI);
    this.#change(at, PRI_CAPABILITY.ALLOCATION, this.#field(at, PRI_CAPABILITY.CAPACITY));
    this.#change(at, PRI_CAPABILITY.ENABLE, 1);
  }

  enableAts(): void {
    const at = this.#extended(EXTENDED_CAPABILITY.ATS);
    this.#change(at, ATS_CAPABILITY.STU, 0);
    this.#change(at, ATS_CAPABILITY.ENABLE, 1);
  }

  disablePasid(): void {
    this.#change(this.#extended(EXTENDED_CAPABILITY.PASID), PASID_CAPABILITY.ENABLE, 0);
  }

  /** It asks for no more pages. */
  disablePri(): void {
    this.#change(this.#extended(EXTENDED_CAPABILITY.PRI), PRI_CAPABILITY.ENABLE, 0);
  }

  /** It asks for no more translations, and forgets those that it has. */
  disableAts(): void {
    this.#change(this.#extended(EXTENDED_CAPABILITY.ATS), ATS_CAPABILITY.ENABLE, 0);
  }

  /** Its MSI-X vectors, if it has any. */
  get msix(): MsixPlace {
    const at = this.#capability(CAPABILITY.MSI_X);
    if (at === ABSENT) return { vectors: 0, table: 0, pending: 0 };
    return {
      vectors: this.#field(at, MSI_X_CAPABILITY.TABLE_SIZE) + 1,
      table: this.#field(at, MSI_X_CAPABILITY.TABLE) * 8,
      pending: this.#field(at, MSI_X_CAPABILITY.PBA) * 8,
    };
  }

  /** Where its MSI-X table lies in memory, after MSI-X was enabled; undefined if it has none. */
  enableMsix(): number | undefined {
    const at = this.#capability(CAPABILITY.MSI_X);
    if (at === ABSENT) return undefined;
    this.#change(at, MSI_X_CAPABILITY.ENABLE, 1);
    const bar = this.bar(this.#field(at, MSI_X_CAPABILITY.TABLE_BIR));
    return bar + this.#field(at, MSI_X_CAPABILITY.TABLE) * 8;
  }

  #capability(id: number): number {
    if (!this.isThere) return ABSENT;
    let at = this.#field(0, header.CAP_LIST) === 1 ? this.#field(0, header.CAP_PTR) : ABSENT;
    while (at !== ABSENT && this.#field(at, MSI_X_CAPABILITY.ID) !== id) {
      at = this.#field(at, MSI_X_CAPABILITY.NEXT);
    }
    return at;
  }

  #extended(id: number): number {
    if (!this.isThere) return ABSENT;
    let at: number = EXTENDED_CAPABILITIES;
    while (at !== ABSENT && this.#field(at, EXTENDED_CAPABILITY_HEADER.ID) !== id) {
      at = this.#field(at, EXTENDED_CAPABILITY_HEADER.NEXT);
    }
    return at;
  }

  #field(at: number, field: Field): number {
    const word = field.low >> 5;
    this.#words[word] = this.#config.read(this.rid, at + word * 4, 4);
    return field.get(this.#words, 0);
  }

  /** Changes a field by an access of 16 bits where it fits one: its neighbour may be a status that a write clears. */
  #change(at: number, field: Field, value: number): void {
    const word = field.low >> 5;
    const whole = field.width > 16;
    const offset = at + word * 4 + (whole || field.low % 32 < 16 ? 0 : 2);
    const bytes = whole ? 4 : 2;
    const shift = whole ? 0 : field.low % 16;
    const mask = whole ? -1 : ((1 << field.width) - 1) << shift;
    const old = this.#config.read(this.rid, offset, bytes);
    this.#config.write(this.rid, offset, bytes, ((old & ~mask) | (value << shift)) >>> 0);
  }
}

/** The functions there are, in the order of their RIDs. */
export function enumeratePci(context: KernelContext): PciDevice[] {
  const found: PciDevice[] = [];
  const { pci } = context.platform;
  for (let device = 0; device < BUSES * DEVICES; device++) {
    // A device has a function 0, or none.
    for (let fn = 0; fn < FUNCTIONS; fn++) {
      const rid = device * FUNCTIONS + fn;
      if (pci.read(rid, 0, 2) !== NOBODY) found.push(new PciDevice(context, rid));
      else if (fn === 0) break;
    }
  }
  return found;
}
