/**
 * A whole function that VFIO hands out, as its driver keeps it (Linux's vfio-pci): taken instead of by the driver that
 * would know what it is, reset when a VM takes it and when that lets go of it, and in between the guest's. The driver
 * has no say in what the guest puts into its registers, PASIDs among it; what the host does about the function is what
 * is the same for all: bus mastering, decoding, PASIDs, ATS and page requests as the IOMMU's driver wants them, and
 * interrupts, whose messages are the host's.
 *
 * The reset is the function's own (FLR; PCIe 6.0, 6.6.2). It clears bus mastering by itself, so that nothing comes
 * after it, and puts the configuration back, which has to be set up anew. Left out: functions without it, which a
 * hot reset of their bus would have to reset with their neighbours; power states; legacy interrupts; a reset that the
 * guest asks for.
 */
import { assert, isRefusal, KeptValue, type Refusal, refuse, type Task } from '../../base/index.js';
import { type KernelContext, newInterrupt, tell } from '../context.js';
import type { IommuDevice } from '../iommu/device.js';
import { type InterruptMessage, routeVector } from '../msix.js';
import type { MsixPlace, PciDevice } from '../pci.js';

/** A 64-bit memory BAR: where it answers. */
export interface BarRegion {
  readonly address: number;
  readonly bytes: number;
}

/** The BARs that a function may have, of 64 bits each. */
const BARS = [0, 2, 4];

export class VfioPci {
  readonly name: string;
  readonly pci: PciDevice;
  /** What its configuration space says that it is. */
  readonly config: {
    readonly vendor: number;
    readonly device: number;
    readonly classCode: number;
    readonly msix: MsixPlace;
  };
  /** By the number of the BAR; it has those alone. */
  readonly bars: ReadonlyMap<number, BarRegion>;
  readonly #context: KernelContext;
  readonly #iommu: IommuDevice | Refusal<'ENODEV' | 'ENOMEM' | 'EIO'>;
  readonly #messages: readonly InterruptMessage[];
  /** Called with each vector that the function signals, while somebody has it. */
  readonly #owner: KeptValue<((vector: number) => void) | undefined>;

  /** @param of `iommu`: the function behind its IOMMU, or why it is behind none */
  constructor(
    context: KernelContext,
    of: {
      readonly name: string;
      readonly pci: PciDevice;
      readonly iommu: IommuDevice | Refusal<'ENODEV' | 'ENOMEM' | 'EIO'>;
    },
  ) {
    this.name = of.name;
    this.pci = of.pci;
    this.#context = context;
    this.#iommu = of.iommu;
    const { vendor, device, classCode, msix } = of.pci;
    this.config = { vendor, device, classCode, msix };
    this.bars = new Map(
      BARS.map((bar): [number, BarRegion] => {
        return [bar, { address: of.pci.bar(bar), bytes: of.pci.barBytes(bar) }];
      }).filter(([, { address }]) => address > 0),
    );
    this.#owner = new KeptValue<((vector: number) => void) | undefined>(context.log, undefined);
    this.#messages = Array.from({ length: msix.vectors }, (_, vector) =>
      newInterrupt(context, () => this.#owner.value?.(vector)),
    );
  }

  /** The function behind its IOMMU. A `Bug` before it was opened. */
  get iommu(): IommuDevice {
    assert(!isRefusal(this.#iommu), `${this.name} is behind no IOMMU`);
    return this.#iommu;
  }

  /**
   * A VM takes the function: its interrupts go to `interrupt`. It is to be reset before it is used.
   *
   * On failure: `ENODEV` if it is behind no IOMMU, or cannot be reset; `EBUSY` if somebody has it.
   */
  open(interrupt: (vector: number) => void): Refusal<'ENODEV' | 'EBUSY'> | undefined {
    if (isRefusal(this.#iommu)) return refuse('ENODEV', this.#iommu.why);
    if (!this.pci.hasFunctionReset) return refuse('ENODEV', `${this.name} cannot be reset by itself`);
    if (this.#owner.value !== undefined) return refuse('EBUSY', `${this.name} is in use`);
    this.#owner.value = interrupt;
    tell(this.#context, 'vfio:open', { device: this.name });
    return undefined;
  }

  /** The VM lets go of it: it is reset, unless it has done nothing since it was, and answers nothing. */
  *close(): Task {
    if (this.#owner.value === undefined) return;
    if (this.pci.isMaster) yield* this.reset();
    this.pci.decode(false);
    this.#owner.value = undefined;
    tell(this.#context, 'vfio:close', { device: this.name });
  }

  /** What the guest wants of bus mastering. */
  master(is: boolean): void {
    if (this.#owner.value !== undefined) this.pci.master(is);
  }

  /**
   * Returns when nothing is in it of what was: it has no translations, and sends no requests before it is a bus master
   * again. Its registers answer.
   */
  *reset(): Task {
    this.pci.resetFunction();
    // 100 ms, in which nobody may touch it (PCIe 6.0, 6.6.2).
    yield `${this.name}: reset`;
    for (const [bar, { address }] of this.bars) this.pci.placeBar(bar, address);
    this.pci.decode(true);
    if (!isRefusal(this.#iommu)) this.#iommu.switchOn();
    const table = this.pci.enableMsix();
    for (const [vector, message] of this.#messages.entries()) {
      if (table !== undefined) routeVector(this.#context, table, { vector, ...message });
    }
    tell(this.#context, 'vfio:reset', { device: this.name });
  }
}
