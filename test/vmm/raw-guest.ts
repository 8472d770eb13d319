/**
 * A virtual VT-d unit without a driver: tables built in the guest's memory, registers written, descriptors queued.
 * The guest's frames are scattered over the host's memory.
 */
import { type Chooser, firstChooser, TaskSet } from '../../src/base/index.js';
import { ABSENT, type FrameMemory, Memory } from '../../src/hardware/index.js';
import { encode, PASID_TABLE_ENTRY, PGTT, SCALABLE_CONTEXT_ENTRY } from '../../src/spec/index.js';
import {
  type GuestPasidPolicy,
  type VirtualCapabilities,
  VirtualIommu,
  virtualCapabilities,
} from '../../src/vmm/index.js';
import { CheckingHost } from './checking-host.js';

/** Guest frames, all below this. */
export const FRAMES = 64;
export const FRAME = {
  ROOT: 1,
  CONTEXT: 2,
  DIRECTORY: 3,
  TABLE: 4,
  OTHER_ROOT: 5,
  QUEUE: 8,
  STATUS: 9,
  REQUESTS: 10,
};
export const DEVICES = [0x20, 0x28] as const;
const QUEUE_SLOTS = 128;

export interface RawGuestOptions extends Partial<VirtualCapabilities> {
  readonly policy?: GuestPasidPolicy;
  readonly oldVirtualCommands?: boolean;
  /** Decides what the host refuses. */
  readonly chooser?: Chooser;
}

export class RawGuest {
  readonly host: CheckingHost;
  readonly tasks = new TaskSet();
  readonly iommu: VirtualIommu;
  readonly interrupts: number[] = [];
  readonly #memory = new Memory([{ first: 0, last: 4 * FRAMES }]);
  #tail = 0;

  constructor(options: RawGuestOptions = {}) {
    const { policy, oldVirtualCommands, chooser = firstChooser, ...caps } = options;
    this.host = new CheckingHost({ first: 500, last: 530, chooser });
    this.iommu = new VirtualIommu({
      ...{ name: 'vm1 dmar0', memory: this.#scattered(), host: this.host, tasks: this.tasks },
      ...virtualCapabilities({
        ...{ cachingMode: true, deviceTlbs: true, pageRequests: true, pasidBits: 12, ...caps },
      }),
      ...(oldVirtualCommands === undefined ? {} : { oldVirtualCommands }),
      pasids: policy ?? { rest: 'lowest', hostMin: 0, hostMax: 0xfffff },
      interrupt: (_address, data) => this.interrupts.push(data),
    });
    for (const rid of DEVICES) this.iommu.addDevice(rid);
    this.runAll();
  }

  /** Builds empty tables, and switches queue and translation on. */
  enable(): this {
    for (const root of [FRAME.ROOT, FRAME.OTHER_ROOT]) this.put(root, 0, [FRAME.CONTEXT * 4096 + 1, 0, 0, 0]);
    for (const rid of DEVICES) {
      const entry = encode(SCALABLE_CONTEXT_ENTRY, { P: 1, PASIDE: 1, PRE: 1, PASIDDIRPTR: FRAME.DIRECTORY });
      this.put(FRAME.CONTEXT, rid * 8, entry);
    }
    this.put(FRAME.DIRECTORY, 0, [FRAME.TABLE * 4096 + 1, 0]);
    this.command(0);
    this.latch(FRAME.ROOT);
    this.#tail = 0;
    this.iommu.write64(0x88, 0, 0);
    this.iommu.write64(0x90, FRAME.QUEUE * 4096 + 0x800, 0);
    this.iommu.write64(0xd0, FRAME.REQUESTS * 4096, 0);
    this.command(1 << 26);
    this.command((1 << 31) | (1 << 26));
    this.iommu.write32(0x34, -1);
    return this;
  }

  /** Writes RTADDR and SRTP. */
  latch(root: number): void {
    this.iommu.write64(0x20, root * 4096 + 0x400, 0);
    this.command((this.iommu.read32(0x1c) & ~(1 << 30)) | (1 << 30));
  }

  /** GCMD. */
  command(value: number): void {
    this.iommu.write32(0x18, value);
  }

  /** A guest PASID by virtual command, of today's layout. */
  alloc(): number {
    this.iommu.write64(0xe00, 1, 0);
    return this.iommu.read32(0xe10) >>> 16;
  }

  /** Words in the guest's memory. */
  put(frame: number, word: number, values: Iterable<number>): void {
    const bytes = new Uint8Array(Int32Array.from(values).buffer);
    this.#memory.write(hostFrame(frame) * 4096 + word * 4, bytes);
  }

  word(frame: number, word: number): number {
    const at = this.#memory.at(hostFrame(frame), word);
    return this.#memory.words[at] ?? 0;
  }

  /** A first-stage entry of a PASID below 64; none if there is no root. */
  setEntry(
    pasid: number,
    of: {
      readonly root?: number;
      readonly did?: number;
      readonly pgtt?: number;
      /** Without a root: FPD. */
      readonly isSilent?: boolean;
    },
  ): void {
    const { root, did = 5, pgtt = PGTT.FIRST_STAGE, isSilent = false } = of;
    const entry =
      root === undefined
        ? encode(PASID_TABLE_ENTRY, { FPD: isSilent ? 1 : 0 })
        : encode(PASID_TABLE_ENTRY, { P: 1, PGTT: pgtt, DID: did, FSPTPTR: root });
    this.put(FRAME.TABLE, pasid * 16, entry);
  }

  /** Puts a descriptor at the queue's tail. */
  submit(descriptor: Int32Array): void {
    const slot = new Int32Array(8);
    slot.set(descriptor);
    this.put(FRAME.QUEUE, this.#tail * 8, slot);
    this.#tail = (this.#tail + 1) % QUEUE_SLOTS;
    this.iommu.write64(0x88, this.#tail * 32, 0);
  }

  /** Lets the VMM's task do some steps. */
  runSome(steps: number): void {
    for (let i = 0; i < steps; i++) this.tasks.step(firstChooser);
  }

  /** Runs the VMM's tasks until there is none. */
  runAll(limit = 20_000): void {
    for (let i = 0; this.tasks.step(firstChooser); i++) if (i > limit) throw new Error('the task has no end');
  }

  #scattered(): FrameMemory {
    const memory = this.#memory;
    const placed = (frame: number, at: (frame: number) => number): number =>
      frame < FRAMES ? at(hostFrame(frame)) : ABSENT;
    return {
      get words() {
        return memory.words;
      },
      at: (frame, word) => placed(frame, (host) => memory.at(host, word)),
      writable: (frame, word) => placed(frame, (host) => memory.writable(host, word)),
    };
  }
}

/** Where a guest frame lies: nothing that an offset would find. */
const hostFrame = (frame: number): number => ((frame * 37) % FRAMES) * 3 + 2;
