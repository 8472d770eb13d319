/**
 * One CPU, as far as the path of a PASID needs it: which page tables user accesses go through, its privilege
 * level, IA32_PASID with its part in XSAVE's supervisor state, and the posted writes that it has on their way
 * (Intel SDM volume 1, 13.5 and 13.6; volume 4, 2.1). Instructions are methods here, or tasks in `enqcmd.ts`.
 *
 * With a VMCS it is in guest mode (volume 3, chapters 25 to 29): what a kernel sets is a guest's, its tables lie in a
 * guest's memory, and its PASIDs are translated. An exit is a call of the host's code, which says how to go on.
 */
import { Bug, type Restorable, WaitQueue } from '../../base/index.js';
import { IA32_PASID, XSTATE_PASID } from '../../spec/index.js';
import type { Bus } from '../bus.js';
import { ABSENT, BLOCK_BYTES, type Memory } from '../memory.js';
import { RIGHT } from '../paging/step.js';
import { type CpuFault, GP_FAULT, LATER_FAULT, Mmu } from './mmu.js';
import { translatePasid } from './pasid-translation.js';
import { PostedWrites } from './posted-writes.js';
import type { CpuExitAction, Vmcs } from './vmcs.js';

/** What a CPU is connected to. */
export interface CpuOptions {
  readonly index: number;
  readonly memory: Memory;
  readonly bus: Bus;
  /** Levels of its page tables: 5 with CR4.LA57; 4, if left out. */
  readonly levels?: 4 | 5;
  /** Told when posted writes begin to be on their way, and when none is any more. */
  readonly onPosted?: (writes: PostedWrites) => void;
}

/** What is put back with a CPU. */
interface CpuState {
  root: number;
  cpl: number;
  pasid: number;
  /** How many instructions of several steps are under way. */
  instructions: number;
  vmcs: Vmcs | undefined;
}

/** An XSAVE area, of which one component matters here. */
export interface XsaveArea {
  /** XSTATE_BV: the components that are not in their initial state, a bit each. */
  components: number;
  /** The 8 bytes of component 10: IA32_PASID's low word; the high one is reserved. */
  pasid: number;
}

/** An area with every component in its initial state. */
export const emptyXsaveArea = (): XsaveArea => ({ components: 0, pasid: 0 });

/** The bit of component 10 in XSTATE_BV and in the masks of XSAVES and XRSTORS. */
export const PASID_COMPONENT = 1 << XSTATE_PASID;

const RESERVED = IA32_PASID.reserved[0] ?? 0;
const VALID = 1 << IA32_PASID.VALID.low;
const PASID_MASK = 2 ** IA32_PASID.PASID.width - 1;
const PAGE = 4096;
const LINE = 64;
/** More than an access can need: one for each table of the guest's, to read it and to write it, and for its page. */
const RESUMES = 16;
/** A frame where nothing can be: the last of all. */
const NOWHERE = 2 ** 40 - 1;

const bytesOf = (words: Int32Array): Uint8Array => new Uint8Array(words.buffer, words.byteOffset, LINE);

export class Cpu implements Restorable {
  readonly index: number;
  readonly name: string;
  readonly bus: Bus;
  readonly posted: PostedWrites;
  /** Woken at the end of each instruction of several steps, and then only. */
  readonly boundary: WaitQueue;
  readonly #memory: Memory;
  readonly #mmu: Mmu;
  readonly #lines: Int32Array[] = [];
  readonly #word = new Int32Array(1);
  readonly #wordBytes = new Uint8Array(this.#word.buffer);
  readonly #now: CpuState = { root: 0, cpl: 0, pasid: 0, instructions: 0, vmcs: undefined };
  readonly #marked: CpuState = { ...this.#now };

  constructor({ index, memory, bus, levels = 4, onPosted }: CpuOptions) {
    this.index = index;
    this.name = `cpu${index}`;
    this.bus = bus;
    this.#memory = memory;
    this.posted = new PostedWrites(`${this.name} posted write`, bus, onPosted);
    this.boundary = new WaitQueue(`end of an instruction of ${this.name}`);
    this.#mmu = new Mmu(memory, { levels });
  }

  /** CR3: the frame of the highest page table. */
  get pageTable(): number {
    return this.#now.root;
  }
  setPageTable(frame: number): void {
    this.#now.root = frame;
  }

  /** Invalidates what is cached of linear addresses: this CPU caches none. */
  flushTlb(): void {}

  /** The VMCS by which it is in guest mode; undefined outside of it. Nothing is cached of the one before. */
  get vmcs(): Vmcs | undefined {
    return this.#now.vmcs;
  }
  set vmcs(vmcs: Vmcs | undefined) {
    this.#now.vmcs = vmcs;
    this.invept();
  }

  /** INVEPT, a serializing instruction: what is cached of the EPT is dropped, and posted writes have landed. */
  invept(): void {
    this.#mmu.guest.flush();
    this.fence();
  }

  /** Whether it is in the middle of an instruction of several steps. */
  get isInInstruction(): boolean {
    return this.#now.instructions > 0;
  }

  /** Around the steps of such an instruction. */
  beginInstruction(): void {
    this.#now.instructions++;
  }
  endInstruction(): void {
    this.#now.instructions--;
    this.boundary.wakeAll();
  }

  /** The PASID that the device is sent for this one; -1 if there is none: an exit, in guest mode. */
  devicePasid(pasid: number): number {
    const { vmcs } = this.#now;
    return vmcs?.translatesPasids === true ? translatePasid(this.#memory, vmcs, pasid) : pasid;
  }

  /** Leaves guest mode for the host's code. A `Bug` outside of it. */
  exit(
    reason: number,
    of: { readonly pasid?: number; readonly gfn?: number; readonly write?: boolean },
  ): CpuExitAction {
    const { vmcs } = this.#now;
    if (vmcs === undefined) throw new Bug(`${this.name} exits (${reason}) and is not in guest mode`);
    const { pasid = 0, gfn = 0, write = false } = of;
    return vmcs.onExit({ reason, pasid, gfn, write });
  }

  /** The privilege level: 0 or 3. */
  get cpl(): number {
    return this.#now.cpl;
  }
  set cpl(level: number) {
    if (level !== 0 && level !== 3) throw new Bug(`CPL ${level}`);
    this.#now.cpl = level;
  }

  /** RDMSR: the low word; the high one is zero. */
  readPasidMsr(): number {
    return this.#now.pasid;
  }

  /** WRMSR, at CPL 0; the fault, if a reserved bit is set: nothing is written then. */
  writePasidMsr(value: number): CpuFault | undefined {
    if ((value & RESERVED) !== 0) return GP_FAULT;
    this.#now.pasid = value | 0;
    return undefined;
  }

  /** Whether ENQCMD may be used, and with which PASID. */
  get hasValidPasid(): boolean {
    return (this.#now.pasid & VALID) !== 0;
  }
  get pasid(): number {
    return this.#now.pasid & PASID_MASK;
  }

  /** XSAVES of the components in `mask`: one in its initial state (the MSR is 0) is not written, only noted. */
  xsaves(area: XsaveArea, mask: number): void {
    if ((mask & PASID_COMPONENT) === 0) return;
    if (this.#now.pasid === 0) {
      area.components &= ~PASID_COMPONENT;
    } else {
      area.components |= PASID_COMPONENT;
      area.pasid = this.#now.pasid;
    }
  }

  /** XRSTORS of the components in `mask`: one that the area notes as initial becomes so. It faults as WRMSR does. */
  xrstors(area: XsaveArea, mask: number): CpuFault | undefined {
    if ((mask & PASID_COMPONENT) === 0) return undefined;
    return this.writePasidMsr((area.components & PASID_COMPONENT) === 0 ? 0 : area.pasid);
  }

  /**
   * Loads bytes through the page tables, with the privilege of the CPL. Of registers, only whole aligned
   * doublewords are loaded; other bytes of theirs give ones.
   *
   * @returns the fault, if there is one; `into` has been filled as far as the page before it
   */
  load(address: number, into: Uint8Array): CpuFault | undefined {
    for (let done = 0; done < into.length; ) {
      const physical = this.physical(address + done, RIGHT.READ);
      if (physical < 0) return this.#mmu.fault;
      const end = Math.min(into.length, done + PAGE - (physical % PAGE));
      const piece = into.subarray(done, end);
      if (this.#isMemory(physical)) this.#memory.read(physical, piece);
      else this.#loadRegisters(physical, piece);
      done = end;
    }
    return undefined;
  }

  /** Loads 64 bytes, as 16 words: the source of a 64-byte store. */
  loadLine(address: number, into: Int32Array): CpuFault | undefined {
    if (address % 4 !== 0 || address % BLOCK_BYTES > BLOCK_BYTES - LINE)
      return this.load(address, bytesOf(into));
    const physical = this.physical(address, RIGHT.READ);
    if (physical < 0) return this.#mmu.fault;
    const at = this.#memory.at(Math.floor(physical / PAGE), (physical % PAGE) / 4);
    if (at === ABSENT) return this.load(address, bytesOf(into));
    const { words } = this.#memory;
    for (let i = 0; i < LINE / 4; i++) into[i] = words[at + i] ?? 0;
    return undefined;
  }

  /** Stores bytes through the page tables, as far as the page before a fault; registers as {@link Cpu.load}. */
  store(address: number, from: Uint8Array): CpuFault | undefined {
    for (let done = 0; done < from.length; ) {
      const physical = this.physical(address + done, RIGHT.WRITE);
      if (physical < 0) return this.#mmu.fault;
      const end = Math.min(from.length, done + PAGE - (physical % PAGE));
      const piece = from.subarray(done, end);
      if (this.#isMemory(physical)) this.#memory.write(physical, piece);
      else this.#storeRegisters(physical, piece);
      done = end;
    }
    return undefined;
  }

  /**
   * The physical address that an access goes to; -1 for a fault, which is {@link Cpu.fault}. In guest mode there may be
   * exits on the way: the access is executed again, now or later, goes where nobody answers, or the guest gets #GP.
   */
  physical(address: number, right: number): number {
    const { root, cpl, vmcs } = this.#now;
    const rights = cpl === 0 ? right : right | RIGHT.USER;
    const mmu = this.#mmu;
    mmu.eptRoot = vmcs?.hasEpt === true ? vmcs.eptRoot : -1;
    for (let resumes = 0; ; resumes++) {
      if (mmu.translate(root, address, rights)) return mmu.frame * PAGE + (address % PAGE);
      if (mmu.fault !== undefined) return -1;
      const { reason, gfn, write } = mmu.guest.exit;
      const action = resumes < RESUMES ? this.exit(reason, { gfn, write }) : 'general-protection';
      if (action === 'resume') continue;
      if (action === 'nobody' && mmu.isAtLeaf) return NOWHERE * PAGE + (address % PAGE);
      mmu.fault = action === 'later' ? LATER_FAULT : GP_FAULT;
      return -1;
    }
  }

  /** Why {@link Cpu.physical} failed. */
  get fault(): CpuFault | undefined {
    return this.#mmu.fault;
  }

  /** 16 words for an instruction that is under way; what does not come back is garbage. */
  takeLine(): Int32Array {
    return this.#lines.pop() ?? new Int32Array(LINE / 4);
  }
  giveLine(line: Int32Array): void {
    this.#lines.push(line);
  }

  /**
   * MOVDIR64B of a guest's kernel, 16 words, to a physical address of its own, through the EPT: its linear addresses
   * are left out. False where the EPT does not lead to registers: that is an exit, and what follows its host's to say.
   */
  postGuest(address: number, line: Int32Array): boolean {
    const { vmcs } = this.#now;
    if (vmcs?.hasEpt !== true) return false;
    const frame = this.#mmu.guest.frameOf(vmcs.eptRoot, Math.floor(address / PAGE), RIGHT.WRITE);
    if (frame < 0 || this.#memory.has(frame)) return false;
    this.posted.post(frame * PAGE + (address % PAGE), line);
    return true;
  }

  /** SFENCE, MFENCE, a locked or a serializing instruction, an access to a register: posted writes land first. */
  fence(): void {
    this.posted.drain();
  }

  mark(): void {
    Object.assign(this.#marked, this.#now);
    this.#now.vmcs?.mark();
    this.#mmu.guest.flush();
    this.posted.mark();
  }

  restore(): void {
    Object.assign(this.#now, this.#marked);
    this.#now.vmcs?.restore();
    this.#mmu.guest.flush();
    this.posted.restore();
  }

  #isMemory(physical: number): boolean {
    return this.#memory.has(Math.floor(physical / PAGE));
  }

  #loadRegisters(physical: number, into: Uint8Array): void {
    this.fence();
    into.fill(0xff);
    for (let i = -physical & 3; i + 4 <= into.length; i += 4) {
      this.#word[0] = this.bus.read32(physical + i);
      into.set(this.#wordBytes, i);
    }
  }

  #storeRegisters(physical: number, from: Uint8Array): void {
    this.fence();
    for (let i = -physical & 3; i + 4 <= from.length; i += 4) {
      this.#wordBytes.set(from.subarray(i, i + 4));
      this.bus.write32(physical + i, this.#word[0] ?? 0);
    }
  }
}
