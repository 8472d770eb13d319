/**
 * CPUs of the hardware, as kernels are given them: the host's for its own threads, one in guest mode for a guest's.
 */
import { assert, hex, type WaitQueue } from '../../base/index.js';
import { type Cpu, type CpuExit, type CpuExitAction, FRAME_BYTES, Vmcs } from '../../hardware/index.js';
import type { CpuPort, ExitAction, VcpuPort, VcpuState, VmExit, Vmx } from '../../kernel/index.js';
import {
  EPT_MEMORY_TYPE,
  EPT_POINTER,
  EXIT_REASON,
  encode,
  SECONDARY_CONTROL,
  VMCS_FIELD,
} from '../../spec/index.js';
import type { CpuPool } from './cpu-pool.js';

const EPT_LEVELS = 4;
const TWO_32 = 2 ** 32;

/** A CPU, for the kernel whose threads it runs. */
export const cpuPort = (cpu: Cpu): CpuPort => ({
  index: cpu.index,
  setPageTable: (frame) => cpu.setPageTable(frame),
  flushTlb: () => cpu.flushTlb(),
  fence: () => cpu.fence(),
  readPasidMsr: () => cpu.readPasidMsr(),
  writePasidMsr: (value) => {
    const fault = cpu.writePasidMsr(value);
    assert(fault === undefined, `#GP: a kernel writes ${hex(value >>> 0)} to IA32_PASID`);
  },
});

/** The CPUs of a pool, as the host's kernel takes them for virtual machines. */
export const vmxOf = (pool: CpuPool): Vmx => ({
  hasPasidTranslation: true,
  createVcpu: (name) => new HardwareVcpu(pool, name),
});

class HardwareVcpu implements VcpuPort {
  readonly cpu: CpuPort;
  readonly #cpu: Cpu;
  readonly #pool: CpuPool;
  readonly #vmcs = new Vmcs();

  constructor(pool: CpuPool, name: string) {
    this.#pool = pool;
    this.#cpu = pool.take(name);
    this.cpu = this.#guestPort(cpuPort(this.#cpu));
    this.#cpu.vmcs = this.#vmcs;
  }

  get boundary(): WaitQueue {
    return this.#cpu.boundary;
  }

  get isInInstruction(): boolean {
    return this.#isMine && this.#cpu.isInInstruction;
  }

  save(): VcpuState {
    return { pageTable: this.#cpu.pageTable, pasidMsr: this.#cpu.readPasidMsr() };
  }

  load({ pageTable, pasidMsr }: VcpuState): void {
    this.cpu.setPageTable(pageTable);
    this.cpu.writePasidMsr(pasidMsr);
  }

  setEpt(root: number): void {
    const pointer = encode(EPT_POINTER, { MT: EPT_MEMORY_TYPE.WB, LEVELS: EPT_LEVELS - 1, ADDR: root });
    this.#vmcs.write(VMCS_FIELD.EPT_POINTER, pointer[0] ?? 0, pointer[1] ?? 0);
    this.#control(SECONDARY_CONTROL.ENABLE_EPT, true);
  }

  setPasidTranslation(directories: { readonly low: number; readonly high: number } | undefined): void {
    if (directories !== undefined) {
      this.#writeAddress(VMCS_FIELD.LOW_PASID_DIRECTORY, directories.low);
      this.#writeAddress(VMCS_FIELD.HIGH_PASID_DIRECTORY, directories.high);
    }
    this.#control(SECONDARY_CONTROL.PASID_TRANSLATION, directories !== undefined);
  }

  flushEpt(): void {
    if (this.#isMine) this.#cpu.invept();
  }

  write512(address: number, words: Int32Array): boolean {
    return this.#isMine && this.#cpu.postGuest(address, words);
  }

  onExit(handler: (exit: VmExit) => ExitAction): void {
    this.#vmcs.onExit = (exit) => ACTIONS[handler(exitOf(exit))];
  }

  release(): void {
    if (this.#isMine) this.#pool.give(this.#cpu);
  }

  /** Whether it has the CPU still: once it is given back, it is somebody else's. */
  get #isMine(): boolean {
    return this.#cpu.vmcs === this.#vmcs;
  }

  /** For a guest's kernel, which may not have noticed its end. */
  #guestPort(port: CpuPort): CpuPort {
    const whileMine = (act: () => void): void => {
      if (this.#isMine) act();
    };
    return {
      index: port.index,
      setPageTable: (frame) => whileMine(() => port.setPageTable(frame)),
      flushTlb: () => whileMine(() => port.flushTlb()),
      fence: () => whileMine(() => port.fence()),
      readPasidMsr: () => (this.#isMine ? port.readPasidMsr() : 0),
      writePasidMsr: (value) => whileMine(() => port.writePasidMsr(value)),
    };
  }

  #writeAddress(field: number, frame: number): void {
    const address = frame * FRAME_BYTES;
    this.#vmcs.write(field, address | 0, (address / TWO_32) | 0);
  }

  #control(bit: number, isSet: boolean): void {
    const { controls } = this.#vmcs;
    this.#vmcs.write(VMCS_FIELD.SECONDARY_CONTROLS, isSet ? controls | bit : controls & ~bit, 0);
  }
}

const ACTIONS = {
  retry: 'skip',
  resume: 'resume',
  later: 'later',
  nobody: 'nobody',
  'general-protection': 'general-protection',
} as const satisfies Record<ExitAction, CpuExitAction>;

function exitOf({ reason, pasid, gfn, write }: CpuExit): VmExit {
  if (reason === EXIT_REASON.ENQCMD) return { reason: 'enqcmd', pasid };
  if (reason === EXIT_REASON.ENQCMDS) return { reason: 'enqcmds', pasid };
  return {
    reason: reason === EXIT_REASON.EPT_VIOLATION ? 'ept-violation' : 'ept-misconfiguration',
    gfn,
    write,
  };
}
