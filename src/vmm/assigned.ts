/**
 * A virtual PCI function in front of a whole one of the host's, as QEMU's vfio-pci: configuration space is the VMM's,
 * and of what the guest writes there bus mastering reaches the function; registers are the function's own, but for the
 * MSI-X table, whose messages are the host's: what they signal is forwarded; and but for what a guest cannot have
 * (`shown-registers.ts`). All pages of its portals are mapped
 * straight through. What the guest's driver configures (groups, queues, the PASIDs of dedicated ones) nobody looks at.
 *
 * One thing of an accelerator's is not as it is (bug B9). A guest's ENQCMD is sent with the host's PASID, by the one
 * table that its CPUs have for all devices, and a whole function has the guest's: the shared queues cannot be told what
 * number they get. Three ways are there:
 *
 * - `refused`: WQCAP says that there is no shared mode, the way in which hardware without it says so (Intel DSA 3.0,
 *   9.2.3): a driver asks there before it configures, and says why to its user. A guest that does not ask harms itself
 *   alone: in its function's table are its own address spaces, and no others.
 * - `both-numbers`: the function's table has each address space twice, under the guest's number and the host's; and
 *   commands about a PASID are about both (`both-numbers.ts`).
 * - `one-number`: the shared queues are there, and their numbers are wrong: to show what happens then.
 */
import { KeptValue, type Refusal, refuse, type Task, type UndoLog } from '../base/index.js';
import type { MmioRegion } from '../hardware/index.js';
import type { Mmio, VfioDevice, VfioPci } from '../kernel/index.js';
import { BothNumbers } from './both-numbers.js';
import { type FunctionOptions, FunctionShell, type VmFunction, withMsix, wordRegion } from './function.js';
import { ShownRegisters, type Words } from './shown-registers.js';

const PAGE = 4096;
/** The BARs with registers, and with portals. */
const [REGISTERS, PORTALS] = [0, 2];

/** What becomes of a whole function's shared queues, in a VM whose CPUs translate PASIDs. */
export type SharedQueues = 'refused' | 'both-numbers' | 'one-number';

export interface AssignedFunctionOptions extends FunctionOptions {
  readonly whole: VfioPci;
  readonly sharedQueues: SharedQueues;
  /** The host's. */
  readonly log: UndoLog;
  readonly mmio: Mmio;
}

export class AssignedFunction extends FunctionShell implements VmFunction {
  readonly bars: readonly MmioRegion[];
  readonly vfio: VfioDevice;
  readonly portals: readonly number[];
  readonly #whole: VfioPci;
  readonly #registers: ShownRegisters;
  readonly #both: BothNumbers | undefined;
  /** What becomes of its header is no word of the guest's any more. */
  readonly #isAbandoned: KeptValue<boolean>;

  constructor(options: AssignedFunctionOptions) {
    const { name, whole, sharedQueues, shown, log } = options;
    const { msix, ...identity } = whole.config;
    const [registers, portals] = [straight(options, REGISTERS), straight(options, PORTALS)];
    super(options, { msix, identity: { ...identity, bars: [registers.bytes, portals.bytes] } });
    this.#whole = whole;
    this.#isAbandoned = new KeptValue(log, false);
    const both = sharedQueues === 'both-numbers' ? new BothNumbers(log, registers) : undefined;
    this.#both = both;
    this.#registers = new ShownRegisters(both ?? registers, { hasSharedMode: sharedQueues !== 'refused' });
    this.bars = [withMsix(this.#registers, this.msix, msix), wordRegion(portals)];
    const { address, bytes } = whole.bars.get(PORTALS) ?? { address: 0, bytes: 0 };
    this.portals = Array.from({ length: bytes / PAGE }, (_, i) => address / PAGE + i);
    this.vfio = {
      ...{ name, iommu: whole.iommu, usesParentPasids: false, showsAts: shown.deviceTlbs },
      takesBothNumbers: both !== undefined,
      bound: ({ guest, host }) => guest !== undefined && both?.bound({ guest, host }),
      unbound: (host) => both?.unbound(host),
      // Nobody stands between the guest and its function: while the guest goes on, it drains what it unbinds.
      *drain(): Task<undefined> {},
    };
  }

  get portalGfn(): number | undefined {
    return this.gfnOf(1, 0);
  }

  open(): Refusal | undefined {
    return this.#whole.open((vector) => this.msix.signal(vector));
  }

  *start(): Task {
    yield* this.#whole.reset();
    this.#registers.learn();
  }

  /** Without the guest nobody can drain it: it is reset before its PASIDs go. */
  *quiesce(): Task {
    yield* this.#whole.reset();
    this.#both?.reset();
  }

  /** It has been. */
  *reset(): Task {}

  /** Without its registers the guest cannot drain it: it is reset before it is unbound, as it is then. */
  abandon(): void {
    this.#isAbandoned.value = true;
  }

  /** What its guest asks of it goes straight to it. */
  hold(): void {}

  /** What it has under way the host cannot wait for. */
  *suspend(): Task<Refusal<'EOPNOTSUPP'>> {
    yield `${this.name}: suspend`;
    return refuse('EOPNOTSUPP', `${this.name} is a whole function`);
  }

  *resume(): Task {}

  save(): Refusal<'EOPNOTSUPP'> {
    return refuse('EOPNOTSUPP', `${this.name} is a whole function`);
  }

  load(): Refusal<'EOPNOTSUPP'> {
    return this.save();
  }

  *close(): Task {
    yield* this.#whole.close();
  }

  /** Bus mastering is the function's own. */
  protected override headerChanged(): void {
    super.headerChanged();
    if (!this.#isAbandoned.value) this.#whole.master(this.config.isBusMaster);
  }
}

/** A BAR of the function, as it is. */
function straight({ name, whole, mmio }: AssignedFunctionOptions, bar: number): Words {
  const { address, bytes } = whole.bars.get(bar) ?? { address: 0, bytes: 0 };
  return {
    ...{ name: `${name} BAR${bar}`, bytes },
    read32: (offset) => mmio.read32(address + offset),
    write32: (offset, value) => mmio.write32(address + offset, value),
  };
}
