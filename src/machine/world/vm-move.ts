/**
 * The books on a virtual machine that goes to another VMM: whose memory is the guest's, which queues its processes have
 * open, where its PASIDs lead, and what is left of where it was.
 */
import { assert, isRefusal } from '../../base/index.js';
import { type Cpu, type Memory, translatePasid } from '../../hardware/index.js';
import { type IoasidCore, ioasidCapacity, ioasidFindBySpid, ioasidFindMmSet } from '../../ioasid/index.js';
import type { GuestHome, GuestLedger, Ledger, Mapping } from '../../rules/index.js';
import { guestRanges, type MigrationWatch, type Vm } from '../../vmm/index.js';
import type { DestinationSpec } from '../scenario/schema.js';
import type { Taps } from './taps/taps.js';

/** Where a VM's guest has its memory: pages of the VMM's. */
export function homeOf(vm: Vm, { frames }: Ledger): GuestHome {
  const slots = guestRanges(vm.options.memory).map(({ first, last }) => {
    const frame = vm.hostFrame(first);
    const owner = frame === undefined ? undefined : frames.tenure(frame)?.owner;
    assert(owner?.kind === 'page', `the memory of ${vm.name} is not its VMM's`);
    return { gfn: first, pages: last - first + 1, page: owner.page };
  });
  return { vmm: vm.name, slots };
}

/** Where a guest's PASID leads in a VM: by the set's private ids, and by the table that its CPUs walk. */
export function mappingOf(
  vm: Pick<Vm, 'set'>,
  guest: number,
  on: { memory: Memory; cpu: Cpu | undefined },
): Mapping {
  const core = ioasidFindBySpid(vm.set, guest);
  const vmcs = on.cpu?.vmcs;
  const cpu = vmcs?.translatesPasids === true ? translatePasid(on.memory, vmcs, guest) : undefined;
  return {
    core: isRefusal(core) ? undefined : core,
    cpu: cpu === undefined || cpu < 0 ? undefined : cpu,
  };
}

/** What the core has not back of a VM that has ended, of the set and of a quota; and how much was available before. */
export function setRemains(
  core: IoasidCore,
  { process }: Vm,
  before: { readonly available: number; readonly quota: number },
): readonly string[] {
  const hasSet = !isRefusal(ioasidFindMmSet(core, process.mm));
  const { available, quota } = before;
  const missing = available + quota - ioasidCapacity(core).available;
  return [
    ...(hasSet ? ['its set of PASIDs'] : []),
    ...(missing <= 0 ? [] : [`${missing} PASIDs of its quota of ${quota}`]),
  ];
}

export interface MoveParts {
  readonly taps: Taps;
  readonly memory: Memory;
  readonly core: IoasidCore;
  readonly guest: GuestLedger;
  readonly source: Vm;
  readonly destination: Vm;
  /** Where it goes, and what its quota was. */
  readonly place: DestinationSpec;
  readonly quota: number;
  /** It is there now. */
  readonly moved: () => void;
}

export class VmMove implements MigrationWatch {
  readonly #parts: MoveParts;
  /** Where it was. */
  #home: GuestHome;
  /** Where its PASIDs led, by the guest's numbers. */
  readonly #led = new Map<number, Mapping>();
  /** Its PASIDs of the host's there, each with the step that it has been since. */
  readonly #had = new Map<number, number>();
  /** Those of them that stood for its kernel before there was a destination, which has one for it too. */
  readonly #kernels: ReadonlySet<number>;
  /** PASIDs of the host's that no set had, before the source's end. */
  #available = 0;

  constructor(parts: MoveParts) {
    this.#parts = parts;
    this.#home = parts.guest.home;
    this.#kernels = new Set(this.#pasids.map(([pasid]) => pasid));
  }

  stopped(): void {
    const { taps, guest, source, destination } = this.#parts;
    const { ledger } = taps;
    this.#home = guest.home;
    for (const [number] of guest.pasids.all()) this.#led.set(number, this.#mapping(source, number));
    for (const [pasid, { mm, from }] of this.#pasids)
      if (mm !== `${guest.name}/kernel` || this.#kernels.has(pasid)) this.#had.set(pasid, from);
    guest.moved(homeOf(destination, ledger));
  }

  failed(): void {
    this.#parts.guest.moved(this.#home);
  }

  moved(): void {
    const { taps, guest, source, destination, place, core } = this.#parts;
    const { ledger, judge } = taps;
    for (const { id, mm, via } of [...ledger.opens.all()]) {
      const queue = place.devices[via.split('/', 1)[0] ?? ''];
      if (queue !== undefined && ledger.guestOf(mm) === guest)
        ledger.opens.moved(id, { device: queue.split('/', 1)[0] ?? '', queue });
    }
    this.#parts.moved();
    this.#available = ioasidCapacity(core).available;
    const pasids = [...guest.pasids.all()].map(([number, { mm }]) => ({
      ...{ mm, guest: number },
      before: this.#led.get(number) ?? { core: undefined, cpu: undefined },
      after: this.#mapping(destination, number),
    }));
    judge.tell('migrated', { vm: guest.name, from: source.name, to: destination.name, pasids });
  }

  /** Nothing is to be left of the source. */
  ended(): void {
    const { taps, source, core, quota } = this.#parts;
    const { pasids } = taps.ledger;
    const kept = [...this.#had].filter(([pasid, from]) => {
      const tenure = pasids.tenure(pasid);
      return tenure?.from === from && tenure.until === undefined;
    });
    const left = [
      ...setRemains(core, source, { available: this.#available, quota }),
      ...kept.map(([pasid]) => `PASID ${pasid}`),
    ];
    taps.judge.tell('vmGone', { vm: source.name, left });
  }

  /** The host's PASIDs that stand for anybody in it. */
  get #pasids() {
    const { guest, taps } = this.#parts;
    const { ledger } = taps;
    return [...ledger.pasids.all()].filter(([, { mm }]) => ledger.guestOf(mm) === guest);
  }

  #mapping(vm: Vm, number: number): Mapping {
    return mappingOf(vm, number, { memory: this.#parts.memory, cpu: vm.cpus[0] });
  }
}
