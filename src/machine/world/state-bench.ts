/**
 * The rules' look into hardware and tables: what still holds a PASID. Tables are walked as the hardware walks
 * them, with its own walker.
 */
import { hex } from '../../base/index.js';
import { DeviceTables, IMS_TABLE, type PasidTranslationEntry, TAG } from '../../hardware/index.js';
import type { Mapping, StateBench } from '../../rules/index.js';
import { RTADDR_REG, VTD_REGISTER } from '../../spec/index.js';
import { type Accelerator, type Hardware, ridOf } from './hardware.js';
import { EntryFinder, type TableEntry } from './table-entry.js';
import type { Taps } from './taps/taps.js';
import type { VirtualMachine } from './virtual-machine.js';

const PASID_ENTRY_WORDS = 16;
const PAGE = 4096;
/** How a kernel names what the frames of an address space's page table are used for. */
const TABLE_OF = 'page table of ';
const NO_MAPPING: Mapping = { core: undefined, cpu: undefined };

export class HostBench implements StateBench {
  readonly #hardware: Hardware;
  readonly #taps: Taps;
  readonly #tables: DeviceTables;
  readonly #entries: EntryFinder;
  readonly #vms: ReadonlyMap<string, VirtualMachine>;
  readonly #register = new Int32Array(2);

  /** @param vms by name; those that the machine will have had in the end */
  constructor(hardware: Hardware, taps: Taps, vms: ReadonlyMap<string, VirtualMachine>) {
    this.#vms = vms;
    this.#hardware = hardware;
    this.#taps = taps;
    this.#tables = new DeviceTables(hardware.unit.format, true);
    this.#entries = new EntryFinder(hardware.memory, this.#tables);
  }

  remainsOf(name: string, pasid: number): readonly string[] {
    const accelerator = this.#hardware.accelerators.find((each) => each.name === name);
    const found: string[] = [];
    if (accelerator !== undefined) this.#findInDevice(accelerator, pasid, found);
    return found;
  }

  remains(pasid: number): readonly string[] {
    const found: string[] = [];
    for (const each of this.#hardware.accelerators) this.#findInDevice(each, pasid, found);
    this.#findInIotlb(pasid, found);
    this.#findInCpus(pasid, found);
    return found;
  }

  isBound(name: string, pasid: number): boolean {
    const accelerator = this.#hardware.accelerators.find((each) => each.name === name);
    return accelerator !== undefined && this.entriesOf(accelerator, pasid).length > 0;
  }

  cachesOf(pasid: number, page: number): readonly string[] {
    const found: string[] = [];
    const { numbering } = this.#taps.ledger;
    this.#hardware.unit.translator.caches.iotlb.visit(({ tag: number, page: at, space: domain }) => {
      if (number !== undefined && at === page && numbering.isTagOf(pasid, { domain, number }))
        found.push(`the IOTLB, domain ${domain}`);
    });
    for (const { name, device } of this.#hardware.accelerators) {
      const numbers = numbering.numbersOf(name, pasid);
      device.parts.tlb.visit((entry) => {
        if (entry.page === page && entry.pasid !== undefined && numbers.includes(entry.pasid))
          found.push(`${name}'s device TLB`);
      });
    }
    return found;
  }

  holdersOf(frame: number, isInGuest: boolean): readonly string[] {
    // Asked for each frame that is freed: names are made only where there is something to name.
    const owner = this.#taps.ledger.ownerOf(frame);
    const cached = this.#isCached(frame) ? this.#cachesTo(frame, isInGuest) : NOBODY;
    // Of a machine with so many frames, only tables are worth the look.
    if (owner?.kind !== 'kernel') return cached;
    const tables = this.#tablesTo(frame);
    const walked = owner.use.startsWith(TABLE_OF) ? this.#tablesWith(owner.use) : NOBODY;
    return tables.length + walked.length === 0 ? cached : [...cached, ...tables, ...walked];
  }

  /** The caches that hold a translation to a frame. */
  #cachesTo(frame: number, isInGuest: boolean): string[] {
    const found: string[] = [];
    const leadsThere = (entry: { frame: number; pages: number }): boolean =>
      frame >= entry.frame && frame < entry.frame + entry.pages;
    this.#hardware.unit.translator.caches.iotlb.visit((entry) => {
      if (leadsThere(entry) && !(isInGuest && entry.tag === TAG.SECOND))
        found.push(`the IOTLB, domain ${entry.space}, page ${hex(entry.page * PAGE)}`);
    });
    for (const { name, rid, device } of this.#hardware.accelerators) {
      device.parts.tlb.visit((entry) => {
        if (leadsThere(entry) && !(isInGuest && this.#reachesAll(rid, entry.pasid)))
          found.push(`${name}'s device TLB, page ${hex(entry.page * PAGE)}`);
      });
    }
    return found;
  }

  /** The paging-structure caches that hold the way to a table. */
  #tablesTo(frame: number): readonly string[] {
    let found = NOBODY;
    const { firstTables, secondTables } = this.#hardware.unit.translator.caches;
    const visit = (entry: { readonly frame: number; readonly domain: number }): void => {
      if (entry.frame === frame) found = [...found, `the paging-structure caches, domain ${entry.domain}`];
    };
    firstTables?.visit(visit);
    secondTables?.visit(visit);
    return found;
  }

  /** Whether a cache holds a translation to a frame. */
  #isCached(frame: number): boolean {
    if (this.#hardware.unit.translator.caches.iotlb.leadsTo(frame)) return true;
    for (const { device } of this.#hardware.accelerators) if (device.parts.tlb.leadsTo(frame)) return true;
    return false;
  }

  /** Whether requests of (RID, PASID) reach all memory of a virtual machine, whichever frames it uses. */
  #reachesAll(rid: number, pasid: number | undefined): boolean {
    const entry = pasid === undefined ? undefined : this.#entry(rid, pasid);
    return entry?.isPresent === true && entry.second !== undefined && entry.root === undefined;
  }

  /** PASID table entries that let hardware walk the page table of this use. */
  #tablesWith(use: string): readonly string[] {
    const { ledger } = this.#taps;
    const mm = use.slice(TABLE_OF.length);
    const pasid = ledger.pasids.of(mm);
    if (pasid === undefined) return NOBODY;
    const found: string[] = [];
    for (const accelerator of this.#hardware.accelerators) {
      for (const [number, { root }] of this.entriesOf(accelerator, pasid)) {
        const other = root === undefined ? undefined : ledger.framesOf(mm).tenure(root)?.owner;
        if (other?.kind === 'kernel' && other.use === use) {
          found.push(`${accelerator.name}'s PASID table entry of PASID ${number}, which is present`);
        }
      }
    }
    return found;
  }

  /** Whether a virtual machine has a device whole. */
  isWhole(device: string): boolean {
    return this.#taps.ledger.numbering.ownerOf(device) !== undefined;
  }

  /** Where a device's requests for one of the host's PASIDs are walked from, by the numbers that they carry. */
  entriesOf(
    { name, rid }: Pick<Accelerator, 'name' | 'rid'>,
    pasid: number,
  ): readonly (readonly [number: number, entry: TableEntry])[] {
    const entries: [number, TableEntry][] = [];
    for (const number of this.#taps.ledger.numbering.numbersOf(name, pasid)) {
      const entry = this.#entry(rid, number);
      if (entry?.isPresent === true) entries.push([number, entry]);
    }
    return entries;
  }

  /** The same of a guest's number and its device, by the tables that the guest has written. */
  guestEntryOf(vm: string, rid: number, guestPasid: number): TableEntry | undefined {
    const entry = this.#vms.get(vm)?.vm.entry(this.#tables, rid, guestPasid);
    return entry?.isPresent === true ? entry : undefined;
  }

  /** A virtual machine's devices, each with the place where its guest finds it. */
  devicesOf(vm: string): readonly (readonly [string, number])[] {
    const devices = this.#vms.get(vm)?.member.spec.devices ?? {};
    return Object.entries(devices).map(([name, { at }]) => [name, ridOf(at)]);
  }

  /** What KVM's table in memory says of a guest's number. */
  kvmEntryOf(vm: string, guestPasid: number): PasidTranslationEntry | undefined {
    return this.#vms.get(vm)?.vm.kvmEntry(guestPasid);
  }

  mapping(vm: string, guest: number): Mapping {
    return this.#vms.get(vm)?.vm.mapping(guest) ?? NO_MAPPING;
  }

  unanswered(): readonly string[] {
    return [...this.#taps.outstanding()].map(
      ({ device, pasid, group, page, step }) =>
        `page group ${group} of ${device} for PASID ${pasid}, page ${hex(page * PAGE)}, asked for at step ${step}`,
    );
  }

  #findInDevice(accelerator: Accelerator, pasid: number, found: string[]): void {
    for (const number of this.#taps.ledger.numbering.numbersOf(accelerator.name, pasid)) {
      this.#findOfNumber(accelerator, number, found);
    }
    const { name } = accelerator;
    for (const request of this.#taps.outstanding()) {
      if (request.device === name && request.pasid === pasid) {
        found.push(`page group ${request.group} of ${name}, not answered since step ${request.step}`);
      }
    }
  }

  /** @param pasid as the device's requests carry it */
  #findOfNumber({ name, rid, device }: Accelerator, pasid: number, found: string[]): void {
    const entry = this.#entry(rid, pasid);
    if (entry?.isPresent === true) found.push(`${name}'s PASID table entry, which is present`);
    else if (entry?.isEmpty === false) found.push(`${name}'s PASID table entry, which is not empty`);
    this.#hardware.unit.translator.caches.pasids.visit((ofRid, ofPasid) => {
      if (ofRid === rid && ofPasid === pasid) found.push(`the PASID cache, for ${name}`);
    });
    device.parts.tlb.visit(({ pasid: ofPasid, page }) => {
      if (ofPasid === pasid) found.push(`${name}'s device TLB, page ${hex(page * PAGE)}`);
    });
    for (const queue of device.queues) {
      const { index } = queue;
      if (queue.isDedicated && queue.usesPasid && queue.pasidOf(NO_WORDS, 0) === pasid) {
        found.push(`${name}'s work queue ${index}, whose configuration has it`);
      }
      if (queue.holds(pasid, Number.MAX_SAFE_INTEGER)) {
        found.push(`${name}'s work queue ${index}, which has descriptors of it`);
      }
      for (const engine of device.engines) {
        if (engine.isAt(index, pasid, Number.MAX_SAFE_INTEGER)) found.push(`${engine.name}, at work for it`);
      }
    }
    for (const entry of device.interrupts.entriesOf(pasid)) {
      const table = (entry & IMS_TABLE) === 0 ? 'MSI-X' : 'message storage';
      found.push(`${name}'s ${table} entry ${entry & ~IMS_TABLE}, whose interrupts it may ask for`);
    }
  }

  #findInIotlb(pasid: number, found: string[]): void {
    const { numbering } = this.#taps.ledger;
    this.#hardware.unit.translator.caches.iotlb.visit(({ tag, page, space }) => {
      if (tag !== TAG.SECOND && numbering.isTagOf(pasid, { domain: space, number: tag })) {
        found.push(`the IOTLB, page ${hex(page * PAGE)} of domain ${space}`);
      }
    });
  }

  #findInCpus(pasid: number, found: string[]): void {
    for (const cpu of this.#hardware.cpus) {
      if (cpu.hasValidPasid && cpu.pasid === pasid) found.push(`${cpu.name}'s IA32_PASID`);
    }
    const { mm = '', guest } = this.#taps.ledger.pasids.tenure(pasid) ?? {};
    const vm = this.#taps.ledger.guestOf(mm)?.name;
    if (vm === undefined || guest === undefined || this.mapping(vm, guest).cpu !== pasid) return;
    found.push(`KVM's table of ${vm}, guest PASID ${guest}`);
  }

  /** The PASID table entry in memory, by way of the tables that the unit walks. */
  #entry(rid: number, pasid: number): TableEntry | undefined {
    const { unit } = this.#hardware;
    unit.read64(VTD_REGISTER.RTADDR.offset, this.#register);
    const root = RTADDR_REG.RTA.get(this.#register, 0);
    return this.#entries.find(root, rid, pasid);
  }
}

const NOBODY: readonly string[] = [];
const NO_WORDS = new Int32Array(PASID_ENTRY_WORDS);
