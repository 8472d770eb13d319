/**
 * An attacker in the place of a guest's kernel: it has what a kernel has (memory, registers, configuration space,
 * vCPUs) and keeps no rule. Its own tables stand at fixed frames, so that what it does is often nearly right: code
 * that is handed nonsense gives up early.
 */
import type { Random } from '../../src/base/index.js';
import type { Cpu } from '../../src/hardware/index.js';
import type { Platform } from '../../src/kernel/index.js';
import type { World } from '../../src/machine/index.js';
import {
  DSA_NOOP,
  encode,
  GCMD_REG,
  IQA_REG,
  PASID_TABLE_ENTRY,
  PGTT,
  RTADDR_REG,
  SCALABLE_CONTEXT_ENTRY,
  TTM,
  VTD_REGISTER as VTD,
} from '../../src/spec/index.js';
import { devicesOf, EVIL, type HostileDevice, SHARED, WHOLE_DEVICE } from './scenario.js';

const PAGE = 4096;
export const UNIT = 0xfed9_0000;
/** Its hot-plug controller. */
export const SLOTS = 0xfed8_0000;
/** Of its first device. */
export const { bar0: BAR0, bar2: BAR2 } = SHARED;
const REGION = 0x20_0000;
const QUEUE_SLOTS = 128;

/** The guest frames of its tables. */
export const FRAME = {
  ROOT: 0x110,
  CONTEXT: 0x111,
  DIRECTORY: 0x112,
  PASIDS: 0x113,
  /** Of functions that it has whole. */
  OTHER_DIRECTORY: 0x11c,
  OTHER_PASIDS: 0x11d,
  QUEUE: 0x114,
  REQUESTS: 0x115,
  STATUS: 0x116,
  PML4: 0x118,
  PDPT: 0x119,
  LOW: 0x11a,
  HIGH: 0x11b,
  SOURCE: 0x120,
  DATA: 0x130,
} as const;
const TABLES = [FRAME.PASIDS, FRAME.OTHER_PASIDS];
export const FRAMES: readonly number[] = Object.values(FRAME);

const bits = (of: { readonly low: number }): number => 1 << of.low;

export class HostileGuest {
  readonly random: Random;
  readonly world: World;
  readonly platform: Platform;
  readonly cpu: Cpu;
  readonly devices: readonly HostileDevice[];
  #tail = 0;

  /** @param cpu the vCPU that it does its mischief on */
  constructor(world: World, random: Random, cpu: number) {
    const vm = world.vms.get(EVIL);
    const found = vm?.cpus[cpu];
    if (vm === undefined || found === undefined) throw new Error(`no vCPU ${cpu} of ${EVIL}`);
    this.world = world;
    this.random = random;
    this.platform = vm.kernel.context.platform;
    this.cpu = found;
    this.devices = devicesOf(vm.member.spec.devices);
  }

  /** The kernel that booted the machine hears nothing any more. */
  takeOver(): void {
    for (let vector = 0; vector < 256; vector++) this.platform.onInterrupt(vector, () => {});
  }

  below(n: number): number {
    return this.random.below(n);
  }

  pick<T>(of: readonly T[]): T {
    const found = of[this.below(of.length)];
    if (found === undefined) throw new Error('nothing to pick from');
    return found;
  }

  /** 32 bits: few, one, all, or any. */
  word(): number {
    switch (this.below(5)) {
      case 0:
        return this.below(16);
      case 1:
        return 1 << this.below(32);
      case 2:
        return -1;
      case 3:
        return (this.pick(FRAMES) * PAGE + this.below(16)) | 0;
      default:
        return this.random.next();
    }
  }

  /** A guest PASID: mostly one that may be bound. */
  pasid(): number {
    const luck = this.below(16);
    return luck === 0 ? this.below(2 ** 20) : luck < 5 ? this.below(12) : 1 + this.below(3);
  }

  device(): HostileDevice {
    return this.pick(this.devices);
  }

  put(frame: number, word: number, values: Iterable<number>): void {
    const { memory } = this.platform;
    let at = frame * PAGE + word * 4;
    for (const value of values) {
      memory.store32(at, value);
      at += 4;
    }
  }

  write(register: { readonly offset: number }, value: number): void {
    this.platform.mmio.write32(UNIT + register.offset, value);
  }

  write64(register: { readonly offset: number }, low: number, high = 0): void {
    this.platform.mmio.write64(UNIT + register.offset, low, high);
  }

  read(register: { readonly offset: number }): number {
    return this.platform.mmio.read32(UNIT + register.offset);
  }

  /** Tables, queues and commands as a kernel would have them. */
  enable(): void {
    this.buildPageTable();
    this.put(FRAME.ROOT, 0, [FRAME.CONTEXT * PAGE + 1, 0, 0, 0]);
    for (const { rid, device } of this.devices) {
      const PASIDDIRPTR = device === WHOLE_DEVICE ? FRAME.OTHER_DIRECTORY : FRAME.DIRECTORY;
      const context = { P: 1, DTE: 1, PASIDE: 1, PRE: 1, PASIDDIRPTR };
      this.put(FRAME.CONTEXT, rid * 8, encode(SCALABLE_CONTEXT_ENTRY, context));
    }
    this.put(FRAME.DIRECTORY, 0, [FRAME.PASIDS * PAGE + 1, 0]);
    this.put(FRAME.OTHER_DIRECTORY, 0, [FRAME.OTHER_PASIDS * PAGE + 1, 0]);
    for (let pasid = 0; pasid < 12; pasid++) {
      for (const table of TABLES) this.setEntry(pasid, { root: FRAME.PML4, table });
    }
    this.write(VTD.GCMD, 0);
    this.latch();
    this.#tail = 0;
    this.write64(VTD.IQT, 0);
    this.write64(VTD.IQA, FRAME.QUEUE * PAGE + bits(IQA_REG.DW));
    this.write64(VTD.PQA, FRAME.REQUESTS * PAGE);
    this.write(VTD.GCMD, bits(GCMD_REG.QIE));
    this.write(VTD.GCMD, bits(GCMD_REG.QIE) | bits(GCMD_REG.TE));
    this.write(VTD.FSTS, -1);
    this.write(VTD.PRS, -1);
  }

  latch(): void {
    const [low = 0] = encode(RTADDR_REG, { RTA: FRAME.ROOT, TTM: TTM.SCALABLE });
    this.write64(VTD.RTADDR, low);
    this.write(VTD.GCMD, bits(GCMD_REG.SRTP) | (this.read(VTD.GSTS) & ~bits(GCMD_REG.SRTP)));
  }

  /** Its RAM and its devices, at their own addresses: for its CPUs, and as a first stage. */
  buildPageTable(): void {
    const table = 0x07;
    const large = 0x87;
    this.put(FRAME.PML4, 0, [FRAME.PDPT * PAGE + table, 0]);
    this.put(FRAME.PDPT, 0, [FRAME.LOW * PAGE + table, 0]);
    this.put(FRAME.PDPT, 6, [FRAME.HIGH * PAGE + table, 0]);
    for (let i = 0; i < 2; i++) this.put(FRAME.LOW, i * 2, [i * REGION + large, 0]);
    this.put(FRAME.HIGH, 512, [(BAR0 + large) | 0, 0]);
    this.cpu.setPageTable(FRAME.PML4);
  }

  /** @param of `root`: of a first stage; `table`: of one kind of device, any by default */
  setEntry(pasid: number, of: { readonly root: number | undefined; readonly table?: number }): void {
    const { root, table = this.pick(TABLES) } = of;
    const DID = this.below(4);
    const entry =
      root === undefined
        ? new Int32Array(16)
        : encode(PASID_TABLE_ENTRY, { P: 1, PGTT: PGTT.FIRST_STAGE, DID, PWSNP: 1, FSPTPTR: root });
    this.put(table, (pasid % 64) * 16, entry);
  }

  /** Puts a descriptor at the tail of its invalidation queue. */
  submit(descriptor: Iterable<number>): void {
    const slot = new Int32Array(8);
    slot.set([...descriptor].slice(0, 8));
    this.put(FRAME.QUEUE, this.#tail * 8, slot);
    this.#tail = (this.#tail + 1) % QUEUE_SLOTS;
    this.write64(VTD.IQT, this.#tail * 32);
  }

  /** Tells the ledger whose the descriptor is that lies at an address of the CPU's now. */
  tellSubmission(source: number, { device, queue }: HostileDevice): void {
    const words = new Int32Array(16);
    if (this.cpu.load(source, new Uint8Array(words.buffer)) !== undefined) return;
    const { taps } = this.world;
    const record = Number(DSA_NOOP.RECORD.getBig(words, 0));
    taps.submits(record, {
      ...{ name: 'mischief', process: `${EVIL}/guest`, mm: `${EVIL}/guest`, device, queue },
      ...{ step: taps.ledger.step, names: [] },
    });
  }
}
