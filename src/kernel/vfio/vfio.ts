/**
 * VFIO: devices and memory for a process that runs a virtual machine. A process has one container, and a device one
 * owner: a whole function is given to nobody of whom a part is used, and the other way round.
 */
import { assert, isRefusal, KeptMap, KeptValue, type Refusal, refuse } from '../../base/index.js';
import { type IoasidSet, ioasidSetAlloc, ioasidSetFree } from '../../ioasid/index.js';
import type { KernelContext } from '../context.js';
import { AuxDomain } from '../iommu/aux-domain.js';
import type { Iommu } from '../iommu/core.js';
import type { IommuDevice } from '../iommu/device.js';
import type { TableLimits } from '../iommu/driver.js';
import { Guests } from '../iommu/guest/guests.js';
import { PagingDomain } from '../iommu/paging-domain.js';
import type { Process } from '../process.js';
import { VfioContainer } from './container.js';
import type { VfioDevice } from './device.js';
import { DmaMappings } from './dma.js';

/** Ids that a container may have at a time, if nothing else is said. */
const DEFAULT_QUOTA = 1000;

export interface VfioOptions {
  /** How many PASIDs the VM may have: reserved from what the system has. */
  readonly quota?: number;
}

type OpenErrno = 'ENODEV' | 'ESRCH' | 'EEXIST' | 'EBUSY' | 'EDQUOT' | 'ENOSPC' | 'ENOMEM';

/** Who uses a function. */
interface Use {
  /** The function itself; undefined if parts of it are used. */
  readonly whole: VfioDevice | undefined;
  readonly parts: KeptMap<VfioDevice, true>;
}

export class Vfio {
  readonly #context: KernelContext;
  readonly #iommu: Iommu;
  readonly #pasids: IoasidSet;
  readonly #guests: Guests;
  readonly #uses: KeptMap<IommuDevice, Use>;
  readonly #count: KeptValue<number>;

  /** @param pasids the host's own set: default PASIDs are of it */
  constructor(context: KernelContext, iommu: Iommu, pasids: IoasidSet) {
    this.#context = context;
    this.#iommu = iommu;
    this.#pasids = pasids;
    this.#guests = new Guests(context, iommu, pasids.core);
    this.#uses = new KeptMap(context.log);
    this.#count = new KeptValue(context.log, 0);
  }

  /** How many containers are open. */
  get containers(): number {
    return this.#count.value;
  }

  /**
   * A container for a process, whose memory is the token of its set of PASIDs.
   *
   * On failure: `ESRCH` if the process is ending; `ENODEV` if the machine has no IOMMU with a second stage; `EEXIST`
   * if the process has a set, `EBUSY` if one of its waits for its ids; `EDQUOT`, `ENOSPC` for the quota; `ENOMEM`.
   */
  open(process: Process, { quota = DEFAULT_QUOTA }: VfioOptions = {}): VfioContainer | Refusal<OpenErrno> {
    const { mm, name } = process;
    if (!mm.isAlive) return refuse('ESRCH', `${name} is ending`);
    const limits = this.#limits();
    if (limits === undefined) return refuse('ENODEV', 'no IOMMU');
    const drivers = () => this.#iommu.drivers;
    const domain = PagingDomain.create(this.#context, { name, stage: 'second-stage', limits, drivers });
    if (isRefusal(domain)) return refuse(domain.errno === 'ENOMEM' ? 'ENOMEM' : 'ENODEV', domain.why);
    const set = ioasidSetAlloc(this.#pasids.core, { type: 'mm', token: mm, quota });
    if (isRefusal(set)) {
      domain.free();
      const { errno, why } = set;
      assert(errno !== 'EDEADLK' && errno !== 'EINVAL' && errno !== 'ENOENT', `a set for ${name}: ${why}`);
      return refuse(errno, why);
    }
    const space = this.#guests.open({ name, set, parent: domain });
    if (isRefusal(space)) {
      ioasidSetFree(set);
      domain.free();
      return space;
    }
    this.#count.value++;
    return new VfioContainer(this.#context, {
      ...{ iommu: this.#iommu, process, domain, space },
      aux: new AuxDomain(this.#context, this.#iommu, { domain, set: this.#pasids }),
      dma: new DmaMappings(this.#context, { domain, mm }),
      claim: (device) => this.#claim(device),
      unclaim: (device) => this.#unclaim(device),
      closed: (closed) => {
        this.#count.value--;
        this.#guests.forget(closed);
      },
    });
  }

  /** What the second stages of all units have in common; undefined if there is no unit. */
  #limits(): TableLimits | undefined {
    const [first, ...rest] = this.#iommu.drivers.map(({ secondStage }) => secondStage);
    if (first === undefined) return undefined;
    return rest.reduce(
      (all, each) => ({
        levels: all.levels.filter((level) => each.levels.includes(level)),
        leaves: all.leaves.filter((level) => each.leaves.includes(level)),
        width: Math.min(all.width, each.width),
      }),
      first,
    );
  }

  #claim(device: VfioDevice): Refusal<'EBUSY'> | undefined {
    const use = this.#uses.get(device.iommu);
    if (use?.whole !== undefined || use?.parts.has(device) === true) {
      return refuse('EBUSY', `${device.name} has an owner`);
    }
    if (use !== undefined && !device.usesParentPasids) {
      return refuse('EBUSY', `parts of ${device.name} have owners`);
    }
    const known = use ?? {
      whole: device.usesParentPasids ? undefined : device,
      parts: new KeptMap<VfioDevice, true>(this.#context.log),
    };
    known.parts.set(device, true);
    this.#uses.set(device.iommu, known);
    return undefined;
  }

  #unclaim(device: VfioDevice): void {
    const use = this.#uses.get(device.iommu);
    use?.parts.delete(device);
    if (use?.parts.size === 0) this.#uses.delete(device.iommu);
  }
}
