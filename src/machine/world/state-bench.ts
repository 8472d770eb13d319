/**
 * The rules' look into hardware and tables: what still holds a PASID. Tables are walked as the hardware walks
 * them, with its own walker.
 */
import { hex } from '../../base/index.js';
import { ABSENT, DeviceTables, RIGHT, TAG, Walk } from '../../hardware/index.js';
import type { Mapping, StateBench } from '../../rules/index.js';
import { PASID_TABLE_ENTRY, RTADDR_REG, VTD_REGISTER } from '../../spec/index.js';
import type { Accelerator, Hardware } from './hardware.js';
import type { Taps } from './taps/taps.js';
import type { VirtualMachine } from './virtual-machine.js';

const PASID_ENTRY_WORDS = 16;
const PAGE = 4096;
/** How a kernel names what the frames of an address space's page table are used for. */
const TABLE_OF = 'page table of ';
const NO_MAPPING: Mapping = { core: undefined, cpu: undefined };

interface Entry {
  readonly isPresent: boolean;
  readonly isEmpty: boolean;
  /** The frame of the root of its first stage; a guest's frame, where there is a second. */
  readonly root: number;
  /** The frame of the root of its second stage. */
  readonly second: number | undefined;
}

const NO_ENTRY: Entry = { isPresent: false, isEmpty: true, root: 0, second: undefined };
const NESTED = 3;

export class HostBench implements StateBench {
  readonly #hardware: Hardware;
  readonly #taps: Taps;
  readonly #tables: DeviceTables;
  readonly #vms: ReadonlyMap<string, VirtualMachine>;
  readonly #register = new Int32Array(2);

  /** @param vms by name; those that the machine will have had in the end */
  constructor(hardware: Hardware, taps: Taps, vms: ReadonlyMap<string, VirtualMachine>) {
    this.#vms = vms;
    this.#hardware = hardware;
    this.#taps = taps;
    this.#tables = new DeviceTables(hardware.unit.format, true);
  }

  remainsOf(name: string, pasid: number): readonly string[] {
    const accelerator = this.#hardware.accelerators.find((each) => each.name === name);
    return accelerator === undefined ? [] : [...this.#inDevice(accelerator, pasid)];
  }

  remains(pasid: number): readonly string[] {
    const { accelerators } = this.#hardware;
    const inDevices = accelerators.flatMap((each) => [...this.#inDevice(each, pasid)]);
    return [...inDevices, ...this.#inIotlb(pasid), ...this.#inCpus(pasid)];
  }

  isBound(name: string, pasid: number): boolean {
    const accelerator = this.#hardware.accelerators.find((each) => each.name === name);
    return accelerator !== undefined && this.#entry(accelerator.rid, pasid).isPresent;
  }

  cachesOf(pasid: number, page: number): readonly string[] {
    const found: string[] = [];
    this.#hardware.unit.translator.caches.iotlb.visit((entry) => {
      if (entry.tag === pasid && entry.page === page) found.push(`the IOTLB, domain ${entry.space}`);
    });
    for (const { name, device } of this.#hardware.accelerators) {
      device.parts.tlb.visit((entry) => {
        if (entry.pasid === pasid && entry.page === page) found.push(`${name}'s device TLB`);
      });
    }
    return found;
  }

  holdersOf(frame: number): readonly string[] {
    const found: string[] = [];
    const leadsThere = (entry: { frame: number; pages: number }): boolean =>
      frame >= entry.frame && frame < entry.frame + entry.pages;
    // What a guest frees stays the guest's: its second stage leads there still.
    const isGuests = this.#taps.ledger.tenure(frame)?.vm !== undefined;
    this.#hardware.unit.translator.caches.iotlb.visit((entry) => {
      if (leadsThere(entry) && !(isGuests && entry.tag === TAG.SECOND))
        found.push(`the IOTLB, domain ${entry.space}, page ${hex(entry.page * PAGE)}`);
    });
    for (const { name, device } of this.#hardware.accelerators) {
      device.parts.tlb.visit((entry) => {
        if (leadsThere(entry)) found.push(`${name}'s device TLB, page ${hex(entry.page * PAGE)}`);
      });
    }
    return [...found, ...this.#tablesWith(frame)];
  }

  /** PASID table entries that let hardware walk the page table that a frame is a part of. */
  *#tablesWith(frame: number): Generator<string> {
    const { ledger } = this.#taps;
    const owner = ledger.tenure(frame)?.owner;
    if (owner?.kind !== 'kernel' || !owner.use.startsWith(TABLE_OF)) return;
    const mm = owner.use.slice(TABLE_OF.length);
    const pasid = ledger.pasids.of(mm);
    if (pasid === undefined) return;
    for (const { name, rid } of this.#hardware.accelerators) {
      const root = this.entryOf(rid, pasid)?.root;
      const other = root === undefined ? undefined : ledger.framesOf(mm).tenure(root)?.owner;
      if (other?.kind === 'kernel' && other.use === owner.use) {
        yield `${name}'s PASID table entry of PASID ${pasid}, which is present`;
      }
    }
  }

  /** Where requests of (RID, PASID) are walked from; undefined for nowhere. */
  entryOf(rid: number, pasid: number): Pick<Entry, 'root' | 'second'> | undefined {
    const entry = this.#entry(rid, pasid);
    return entry.isPresent ? entry : undefined;
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

  *#inDevice({ name, rid, device }: Accelerator, pasid: number): Generator<string> {
    const entry = this.#entry(rid, pasid);
    if (entry.isPresent) yield `${name}'s PASID table entry, which is present`;
    else if (!entry.isEmpty) yield `${name}'s PASID table entry, which is not empty`;
    const found: string[] = [];
    this.#hardware.unit.translator.caches.pasids.visit((ofRid, ofPasid) => {
      if (ofRid === rid && ofPasid === pasid) found.push(`the PASID cache, for ${name}`);
    });
    device.parts.tlb.visit(({ pasid: ofPasid, page }) => {
      if (ofPasid === pasid) found.push(`${name}'s device TLB, page ${hex(page * PAGE)}`);
    });
    yield* found;
    for (const queue of device.queues) {
      const what = `${name}'s work queue ${queue.index}`;
      if (queue.isDedicated && queue.usesPasid && queue.pasidOf(NO_WORDS, 0) === pasid) {
        yield `${what}, whose configuration has it`;
      }
      if (queue.holds(pasid, Number.MAX_SAFE_INTEGER)) yield `${what}, which has descriptors of it`;
      for (const engine of device.engines) {
        if (engine.isAt(queue.index, pasid, Number.MAX_SAFE_INTEGER)) yield `${engine.name}, at work for it`;
      }
    }
    for (const request of this.#taps.outstanding()) {
      if (request.device === name && request.pasid === pasid) {
        yield `page group ${request.group} of ${name}, not answered since step ${request.step}`;
      }
    }
  }

  #inIotlb(pasid: number): string[] {
    const found: string[] = [];
    this.#hardware.unit.translator.caches.iotlb.visit(({ tag, page, space }) => {
      if (tag !== TAG.SECOND && tag === pasid) {
        found.push(`the IOTLB, page ${hex(page * PAGE)} of domain ${space}`);
      }
    });
    return found;
  }

  #inCpus(pasid: number): string[] {
    const found = this.#hardware.cpus
      .filter((cpu) => cpu.hasValidPasid && cpu.pasid === pasid)
      .map(({ name }) => `${name}'s IA32_PASID`);
    const { mm = '', guest } = this.#taps.ledger.pasids.tenure(pasid) ?? {};
    const vm = this.#taps.ledger.guestOf(mm)?.name;
    if (vm === undefined || guest === undefined || this.mapping(vm, guest).cpu !== pasid) return found;
    return [...found, `KVM's table of ${vm}, guest PASID ${guest}`];
  }

  /** The PASID table entry in memory, by way of the tables that the unit walks. */
  #entry(rid: number, pasid: number): Entry {
    const { memory, unit } = this.#hardware;
    unit.read64(VTD_REGISTER.RTADDR.offset, this.#register);
    const walk = new Walk(memory, RTADDR_REG.RTA.get(this.#register, 0), this.#tables);
    walk.begin({ rid, pasid, page: 0, rights: RIGHT.READ | RIGHT.USER });
    while (walk.stage === 'root' || walk.stage === 'context' || walk.stage === 'pasid-directory') walk.step();
    if (walk.stage !== 'pasid-table') return NO_ENTRY;
    const at = memory.at(walk.frame);
    if (at === ABSENT) return NO_ENTRY;
    const words = memory.words.subarray(at + walk.word, at + walk.word + PASID_ENTRY_WORDS);
    const isEmpty = words.every((word) => word === 0);
    const { P, FSPTPTR, PGTT, SSPTPTR } = PASID_TABLE_ENTRY;
    const second = PGTT.get(words, 0) === NESTED ? SSPTPTR.get(words, 0) : undefined;
    return { isPresent: P.get(words, 0) === 1, isEmpty, root: FSPTPTR.get(words, 0), second };
  }
}

const NO_WORDS = new Int32Array(PASID_ENTRY_WORDS);
