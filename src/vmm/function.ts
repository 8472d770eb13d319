/**
 * What virtual functions of both kinds are: a part of a function of the host's, which VDCM composes (`device.ts`), or
 * a whole one (`assigned.ts`). They share what is the VMM's own of each: configuration space, MSI-X, and where BARs
 * lie.
 */
import type { Refusal, Restorable, Task } from '../base/index.js';
import { type ConfigOptions, ConfigSpace, type MmioRegion } from '../hardware/index.js';
import type { IoasidSet } from '../ioasid/index.js';
import type { MdevState, VfioDevice } from '../kernel/index.js';
import { BASE_ADDRESS_REG, TYPE_0_HEADER } from '../spec/index.js';
import type { GuestFunction } from './bus.js';
import { type MsixState, MsixTable } from './msix.js';

const COMMAND = 4;
const MEMORY = 1 << (TYPE_0_HEADER.MEMORY.low % 32);
const BAR_AT = 0x10;
const PAGE = 4096;
/** Invalidations that it takes at once, and page requests that it may have outstanding. */
const DEPTH = 32;

/** What the virtual IOMMU shows. */
export interface Shown {
  /** 0 for no PASIDs. */
  readonly pasidBits: number;
  readonly deviceTlbs: boolean;
  readonly pageRequests: boolean;
}

/** A virtual function of a VM. */
export interface VmFunction extends GuestFunction, Restorable {
  readonly name: string;
  /** What VFIO is given. */
  readonly vfio: VfioDevice;
  /** The host's frames that its guest's programs reach without a trap, one after the other. */
  readonly portals: readonly number[];
  /** The guest frame that the first of them has now; undefined while its BARs do not answer. */
  readonly portalGfn: number | undefined;
  /** As firmware does: BARs, each at a multiple of its size from `from` on, which answer. The address after them. */
  placeBars(from: number): number;
  /**
   * The VM takes what is behind it.
   *
   * @param set the VM's PASIDs
   * @param wanted called when the host wants it back
   */
  open(set: IoasidSet, wanted: () => void): Refusal | undefined;
  /** What is behind it has nothing left of who had it before. */
  start(): Task;
  /** The VM has stopped, and its PASIDs go: returns when nothing is under way that the host could not drain. */
  quiesce(): Task;
  /** After that: it is as after power-on. */
  reset(): Task;
  /** The VM has lost it: what is in flight is abandoned, and not drained, when its PASIDs are unbound. */
  abandon(): void;
  /** The VM is to stand still: what its guest asks of it from now on waits, but for answers to page requests. */
  hold(): void;
  /**
   * The VM is to stand still, and submits nothing any more: returns when nothing is under way, and nothing is lost.
   *
   * On failure: `EOPNOTSUPP` if that cannot be; `EIO`. It goes on after `resume`.
   */
  suspend(): Task<Refusal<'EOPNOTSUPP' | 'EIO'> | undefined>;
  /** And goes on as it was. */
  resume(): Task;
  /**
   * What it is, after `suspend`, for another to take over.
   *
   * On failure: `EOPNOTSUPP` if that cannot be.
   */
  save(): FunctionState | Refusal<'EOPNOTSUPP'>;
  /**
   * Takes over what another was, and stands still: `resume` follows.
   *
   * On failure: `EOPNOTSUPP`; `EINVAL` if it cannot be that.
   */
  load(state: FunctionState): Refusal<'EINVAL' | 'EOPNOTSUPP'> | undefined;
  /** The VM lets go of what is behind it: it is reset. */
  close(): Task;
}

/** What a virtual function is while it stands still: its VMM's part of it, and the device's. */
export interface FunctionState {
  readonly rid: number;
  /** Configuration space, as far as there is any, word by word. */
  readonly config: Int32Array;
  readonly msix: MsixState;
  readonly device: MdevState;
}

/** Where a function stands in its VM. */
export interface FunctionOptions {
  /** `vm1 dsa0`. */
  readonly name: string;
  /** What the guest finds it at. */
  readonly rid: number;
  /** PASIDs, ATS and PRI are there where the virtual IOMMU has them: a guest's driver asks for all. */
  readonly shown: Shown;
  /** Sends an interrupt message. */
  readonly message: (address: number, data: number) => void;
  /** Called when its BARs may have been moved, switched on or off. */
  readonly moved: () => void;
}

/** What a function is, as its configuration space tells. */
export interface Identity {
  readonly identity: Pick<ConfigOptions, 'vendor' | 'device' | 'classCode' | 'bars'>;
  readonly msix: { readonly vectors: number; readonly table: number; readonly pending: number };
}

/** Configuration space and MSI-X of a virtual function. */
export abstract class FunctionShell implements GuestFunction, Restorable {
  readonly name: string;
  readonly rid: number;
  abstract readonly bars: readonly MmioRegion[];
  protected readonly config: ConfigSpace;
  protected readonly msix: MsixTable;
  readonly #moved: () => void;

  constructor({ name, rid, shown, message, moved }: FunctionOptions, { identity, msix }: Identity) {
    this.name = name;
    this.rid = rid;
    this.#moved = moved;
    this.config = new ConfigSpace({
      ...{ ...identity, msix },
      ...(shown.pasidBits > 0 ? { pasid: { width: shown.pasidBits } } : {}),
      ...(shown.deviceTlbs ? { ats: { queueDepth: DEPTH } } : {}),
      ...(shown.deviceTlbs && shown.pageRequests ? { pri: { capacity: DEPTH } } : {}),
      changed: (part) => {
        if (part === 'msix') this.msix.unmasked();
        else if (part === 'header') this.headerChanged();
      },
    });
    this.msix = new MsixTable({
      vectors: msix.vectors,
      isEnabled: () => this.config.isMsixEnabled,
      isMasked: () => this.config.isMsixMasked,
      message,
    });
  }

  readConfig(offset: number, bytes: number): number {
    return this.config.read(offset, bytes);
  }

  writeConfig(offset: number, bytes: number, value: number): void {
    this.config.write(offset, bytes, value);
  }

  /** @see VmFunction.placeBars */
  placeBars(from: number): number {
    let at = from;
    for (const [i, { bytes }] of this.bars.entries()) {
      at = Math.ceil(at / bytes) * bytes;
      this.config.write(BAR_AT + i * 8, 4, at % 2 ** 32);
      this.config.write(BAR_AT + i * 8 + 4, 4, Math.floor(at / 2 ** 32));
      at += bytes;
    }
    this.config.write(COMMAND, 2, MEMORY);
    return at;
  }

  /** What the VMM has of a function. */
  protected saveShell(): Pick<FunctionState, 'rid' | 'config' | 'msix'> {
    return { rid: this.rid, config: this.config.save(), msix: this.msix.save() };
  }

  protected loadShell({ config, msix }: FunctionState): void {
    this.config.load(config);
    this.msix.load(msix);
    this.headerChanged();
  }

  mark(): void {
    this.config.mark();
    this.msix.mark();
  }

  restore(): void {
    this.config.restore();
    this.msix.restore();
  }

  /** The guest has written to its header. */
  protected headerChanged(): void {
    this.#moved();
  }

  /** The guest frame of an offset in the `index`-th BAR; undefined while BARs do not answer. */
  protected gfnOf(index: number, offset: number): number | undefined {
    if (!this.config.isMemoryEnabled) return undefined;
    const at = BAR_AT + index * 8;
    const low = Int32Array.of(this.config.read(at, 4));
    const base = this.config.read(at + 4, 4) * 2 ** 32 + BASE_ADDRESS_REG.BASE.get(low, 0) * 16;
    return Math.floor((base + offset) / PAGE);
  }
}

/** Registers as 4-byte accesses: a pair of them is as good as one of 8, for no register tells them apart. */
export function wordRegion(of: Pick<MmioRegion, 'name' | 'bytes' | 'read32' | 'write32'>): MmioRegion {
  return {
    ...of,
    read64(offset, out) {
      out[0] = of.read32(offset);
      out[1] = of.read32(offset + 4);
    },
    write64(offset, lo, hi) {
      of.write32(offset, lo);
      of.write32(offset + 4, hi);
    },
    write512: () => {},
    enqueue: () => false,
  };
}

/** Registers with the MSI-X table of the VMM's own among them. */
export function withMsix(
  { name, bytes, read32, write32 }: Pick<MmioRegion, 'name' | 'bytes' | 'read32' | 'write32'>,
  msix: MsixTable,
  { table, pending }: { readonly table: number; readonly pending: number },
): MmioRegion {
  const isTable = (offset: number): boolean => offset >= table && offset < table + msix.bytes;
  return wordRegion({
    ...{ name, bytes },
    read32: (offset) => {
      if (offset === pending) return msix.pending;
      return isTable(offset) ? msix.read32(offset - table) : read32(offset);
    },
    write32: (offset, value) => {
      if (isTable(offset)) msix.write32(offset - table, value);
      else write32(offset, value);
    },
  });
}
