/**
 * KVM on a bench: real CPUs in guest mode, a portal that writes down what arrives, one VM with its set of PASIDs, and
 * a guest without a kernel, whose page tables are built by hand.
 */
import { type Chooser, isRefusal, type Refusal, type Task, type TaskSet } from '../../src/base/index.js';
import {
  Bus,
  type Cpu,
  type CpuFault,
  type EnqcmdResult,
  enqcmd,
  enqcmds,
  type MmioRegion,
} from '../../src/hardware/index.js';
import {
  type IoasidCore,
  type IoasidOptions,
  type IoasidSet,
  ioasidAlloc,
  ioasidAttachSpid,
  ioasidCreate,
  ioasidInspect,
  ioasidSetAlloc,
} from '../../src/ioasid/index.js';
import {
  AddressSpace,
  type KernelContext,
  Kvm,
  type KvmOptions,
  type KvmVm,
  type VcpuPort,
  type Vmx,
} from '../../src/kernel/index.js';
import { CpuPool } from '../../src/machine/world/cpu-pool.js';
import { vmxOf } from '../../src/machine/world/cpu-port.js';
import { IA32_PASID } from '../../src/spec/index.js';
import { type PhysicalBytes, ProcessTables } from '../dsa/tables.js';
import { FakePlatform, fakeContext, finish } from '../kernel/fake-platform.js';

export const PORTAL_FRAME = 0xf_e000;
/** Where the guest has things: physical frames, and pages of its process. */
export const GUEST = {
  firstFrame: 0x100,
  frames: 32,
  portalFrame: 0xe_0000,
  tables: 0x104,
  source: { page: 0x400, frame: 0x101 },
  portal: { page: 0x500 },
} as const;
const PAGE = 4096;

/** A shared queue's portal, which accepts all. */
export class Portal implements MmioRegion {
  readonly name = 'portal';
  readonly bytes = PAGE;
  /** The first doubleword of each command. */
  readonly heads: number[] = [];
  read32(): number {
    return -1;
  }
  write32(): void {}
  read64(): void {}
  write64(): void {}
  write512(): void {}
  enqueue(_offset: number, data: Int32Array): boolean {
    this.heads.push((data[0] ?? 0) >>> 0);
    return true;
  }
}

/** A fake machine with real CPUs for guests. */
export class KvmPlatform extends FakePlatform {
  readonly pool: CpuPool;
  readonly vmx: Vmx;
  readonly portal = new Portal();

  constructor(options: { readonly chooser?: Chooser; readonly frames?: number } = {}) {
    super(options);
    const bus = new Bus(this.ram, { mapped: [] });
    bus.map(this.portal, PORTAL_FRAME * PAGE);
    this.pool = new CpuPool({ memory: this.ram, bus }, []);
    this.vmx = vmxOf(this.pool);
    this.keep(this.pool);
  }
}

/** The value, or a failure of the test. */
export function good<T>(value: T | Refusal): Exclude<T, Refusal> {
  if (isRefusal(value)) throw new Error(value.toString());
  return value as Exclude<T, Refusal>;
}

export interface KvmBenchOptions extends KvmOptions {
  readonly chooser?: Chooser;
  readonly ioasid?: IoasidOptions;
}

export class KvmBench {
  readonly platform: KvmPlatform;
  readonly context: KernelContext & { readonly tasks: TaskSet };
  readonly ioasids: IoasidCore;
  readonly mm: AddressSpace;
  readonly vm: KvmVm;
  /** Frames in use before there was a VM. */
  readonly framesBefore: number;
  /** The first page of the guest's memory in the VMM. */
  memoryPage = 0;

  constructor({ chooser, ioasid, ...options }: KvmBenchOptions = {}) {
    this.platform = new KvmPlatform(chooser === undefined ? {} : { chooser });
    this.context = fakeContext(this.platform);
    this.ioasids = good(ioasidCreate({ capacity: 1024, ...ioasid }));
    this.platform.keep(this.ioasids);
    this.mm = good(AddressSpace.create(this.context, 'vm1'));
    this.framesBefore = this.context.frames.inUse;
    this.vm = good(new Kvm(this.context, this.ioasids).createVm(this.mm, 'vm1', options));
  }

  run<T>(task: Task<T>): T {
    return finish(this.context.tasks, task);
  }

  /** The VM's set. */
  addSet(): IoasidSet {
    return good(ioasidSetAlloc(this.ioasids, { type: 'mm', token: this.mm, quota: 256 }));
  }

  /** Gives the guest memory, scattered, and a page table of its process with a source page in it. */
  addMemory(): ProcessTables {
    this.memoryPage = good(this.run(this.mm.mmap(GUEST.frames, { scattered: true })));
    const slot = { gfn: GUEST.firstFrame, pages: GUEST.frames, page: this.memoryPage };
    good(this.run(this.vm.setMemory(slot)));
    const tables = new ProcessTables(this.#guestBytes(), GUEST.tables);
    tables.map(GUEST.source.page, GUEST.source.frame);
    return tables;
  }

  /** The portal, in the guest's memory and in its process. */
  addPortal(tables: ProcessTables): void {
    good(this.run(this.vm.mapDevicePage(GUEST.portalFrame, PORTAL_FRAME)));
    tables.map(GUEST.portal.page, GUEST.portalFrame);
  }

  /** One vCPU that runs the guest's process. */
  addVcpu(tables: ProcessTables): Guest {
    const port = good(this.vm.createVcpu());
    return new Guest(port, this.platform.pool.every[port.cpu.index], tables);
  }

  /** A VM that is complete. */
  complete(): { readonly set: IoasidSet; readonly guest: Guest; readonly tables: ProcessTables } {
    const set = this.addSet();
    good(this.vm.enablePasidTranslation());
    const tables = this.addMemory();
    this.addPortal(tables);
    return { set, guest: this.addVcpu(tables), tables };
  }

  /** A host's PASID, bound as a guest's. */
  bind(set: IoasidSet, guest: number): number {
    const host = good(ioasidAlloc(set, 200, 400));
    good(ioasidAttachSpid(set, host, guest));
    return host;
  }

  hostFrame(gfn: number): number {
    const leaf = this.mm.table.leaf(this.memoryPage + gfn - GUEST.firstFrame);
    if (leaf === undefined) throw new Error(`no page at guest frame ${gfn}`);
    return leaf.frame;
  }

  /** Who holds a PASID; undefined if it is free. */
  holders(host: number): readonly string[] | undefined {
    const report = ioasidInspect(this.ioasids, host);
    return isRefusal(report) ? undefined : report.holders.map(({ holder }) => holder);
  }

  /** What KVM has told of exits. */
  get exits(): readonly Readonly<Record<string, unknown>>[] {
    return this.platform.events.filter(({ kind }) => kind === 'kvm:exit').map(({ fields }) => fields);
  }

  #guestBytes(): PhysicalBytes {
    const { ram } = this.platform;
    const at = (address: number): number =>
      this.hostFrame(Math.floor(address / PAGE)) * PAGE + (address % PAGE);
    return {
      read: (address, into) => ram.read(at(address), into),
      write: (address, from) => ram.write(at(address), from),
    };
  }
}

/** A vCPU with a user's program on it. */
export class Guest {
  readonly port: VcpuPort;
  readonly cpu: Cpu;

  constructor(port: VcpuPort, cpu: Cpu | undefined, tables: ProcessTables) {
    if (cpu === undefined) throw new Error('no such CPU');
    this.port = port;
    this.cpu = cpu;
    port.cpu.setPageTable(tables.root);
    cpu.cpl = 3;
  }

  /** Loads IA32_PASID. */
  usePasid(pasid: number): void {
    const words = new Int32Array(2);
    IA32_PASID.PASID.set(words, 0, pasid);
    IA32_PASID.VALID.set(words, 0, 1);
    this.port.cpu.writePasidMsr(words[0] ?? 0);
  }

  /** ENQCMD from the source page to the portal, a step at a time. */
  begin(): Task<EnqcmdResult> {
    return enqcmd(this.cpu, {
      source: GUEST.source.page * PAGE,
      destination: GUEST.portal.page * PAGE,
    });
  }

  /** ENQCMD, from its beginning to its end. */
  enqcmd(): EnqcmdResult {
    return toEnd(this.begin());
  }

  /** ENQCMDS with a PASID, at CPL 0. */
  enqcmds(pasid: number): EnqcmdResult {
    this.cpu.cpl = 0;
    this.store(0, Int32Array.of(pasid));
    const submission = { source: GUEST.source.page * PAGE, destination: GUEST.portal.page * PAGE };
    const result = toEnd(enqcmds(this.cpu, submission));
    this.store(0, Int32Array.of(0));
    this.cpu.cpl = 3;
    return result;
  }

  /** Stores to the source page; the fault, if there is one. */
  store(offset: number, words: Int32Array): CpuFault | undefined {
    return this.cpu.store(GUEST.source.page * PAGE + offset, new Uint8Array(words.buffer));
  }
}

/** Runs an instruction to its end. */
export function toEnd<T>(task: Task<T>): T {
  for (;;) {
    const { done, value } = task.next();
    if (done === true) return value;
  }
}
