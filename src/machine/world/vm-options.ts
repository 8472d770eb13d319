/** What the VMMs of a scenario's virtual machines are made of, and how what their guests tell is told. */
import { assert, type Chooser, type TaskSet } from '../../base/index.js';
import type { Kernel } from '../../kernel/index.js';
import type { GuestLedger } from '../../rules/index.js';
import type { VmDevice, VmHost, VmIommu, VmOptions } from '../../vmm/index.js';
import type { VmMember } from '../scenario/members.js';
import type { VirtualIommuSpec, VmSpec } from '../scenario/schema.js';
import { sizeBytes } from '../scenario/size.js';
import { type Hardware, ridOf } from './hardware.js';
import type { HostMachine } from './machines.js';
import type { Taps } from './taps/taps.js';
import { isWhole } from './vm-devices.js';

/** What virtual machines are made on. */
export interface VmGround {
  readonly hardware: Hardware;
  readonly host: HostMachine;
  readonly taps: Taps;
  readonly tasks: TaskSet;
  readonly chooser: Chooser;
}

/** Host PASIDs that a virtual machine may be given. */
const LAST_PASID = 0xfffff;
/** The smallest core of ids that there is: of a guest that has no use for them. */
const LEAST_IDS = 2;

/** A number of its own for each name: what is picked by chance differs from one to the next. */
const seedOf = (name: string): number =>
  [...name].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) >>> 0, 7);

/**
 * A guest's kernel names functions by RID, and counts accelerators in the order in which it finds them: those of its
 * boot in that of their RIDs, then as they come.
 *
 * @param found the guest's name of an accelerator that came later, if it is there
 */
function aliasesOf(
  { devices }: VmMember['spec'],
  host: HostMachine,
  found: (rid: number) => string | undefined,
): () => [string, string][] {
  const sorted = Object.entries(devices).toSorted(([, a], [, b]) => ridOf(a.at) - ridOf(b.at));
  const ofQueues = (name: string, own: string): [string, string][] => {
    const from = devices[name]?.from ?? '';
    const names = isWhole(from) ? Object.keys(host.whole(from).spec.queues) : [from.split('/')[1] ?? ''];
    return [
      ...names.map((queue, wq): [string, string] => [`${own}/wq${wq}`, `${name}/${queue}`]),
      [own, name],
    ];
  };
  const atBoot = sorted.filter(([, { plugged }]) => plugged === 'boot');
  const late = sorted.filter(([, { plugged }]) => plugged === 'late');
  const places = sorted.map(([name, { at }]): [string, string] => [at, name]);
  const known = [...atBoot.flatMap(([name], i) => ofQueues(name, `dsa${i}`)), ...places];
  if (late.length === 0) return () => known;
  return () => [
    ...late.flatMap(([name, { at }]) => {
      const own = found(ridOf(at));
      return own === undefined ? [] : ofQueues(name, own);
    }),
    ...known,
  ];
}

const hasVfio = (kernel: Kernel): kernel is VmHost => 'vfio' in kernel;

const iommuOf = (vm: string, iommu: VirtualIommuSpec, pasids: VmSpec['pasids']): VmIommu => ({
  cachingMode: iommu['caching-mode'],
  pasidBits: iommu['pasid-bits'],
  pageRequests: iommu['page-requests'],
  deviceTlbs: true,
  pasids: {
    pairs: pasids.numbers.map((pair) => ({ guestPasid: pair.guest, hostPasid: pair.host })),
    rest: pasids.policy === 'scattered' ? 'seeded' : pasids.policy,
    ...{ seed: seedOf(vm), hostMin: 1, hostMax: LAST_PASID },
  },
});

/** How what a guest tells is told. */
export interface Told {
  readonly guest: GuestLedger;
  /** The guest's name of an accelerator that came later, if it is there. */
  readonly found: (rid: number) => string | undefined;
  /** The host's accelerator behind a device, by the scenario's names. */
  readonly deviceOf: (device: string) => string;
}

/** A VMM, and what it has for the guest. */
export interface Vmm {
  readonly vmm: string;
  readonly pasids: VmSpec['pasids'];
  readonly devices: readonly VmDevice[];
}

/** What a VMM is to be made of, and what hears of its guest. */
export function optionsOf(
  { hardware, host, taps, tasks, chooser }: VmGround,
  member: VmMember,
  { vmm: name, pasids, devices, guest, found, deviceOf }: Vmm & Told,
): VmOptions {
  const { spec } = member;
  const { iommu } = spec;
  const { kernel } = host;
  assert(hasVfio(kernel), 'the host has no VFIO');
  const aliases = aliasesOf(spec, host, found);
  const tapped = {
    ledger: guest,
    deviceOf,
    get aliases() {
      return aliases();
    },
  };
  return {
    ...{ name, host: kernel, tasks, chooser, devices },
    machine: hardware.vmMachine,
    stepIn: (what) => hardware.engines.maybeStep(chooser, what),
    memory: sizeBytes(spec.memory),
    cpus: spec.cpus,
    ...(iommu === 'none' ? {} : { iommu: iommuOf(name, iommu, pasids) }),
    ridDomain: spec['kernel-dma'],
    quota: pasids.quota,
    lateTranslation: spec.kvm === 'late',
    pasids: iommu === 'none' ? LEAST_IDS : 2 ** iommu['pasid-bits'],
    emit: taps.kernels.guest(tapped),
    stored: taps.stored,
    ledger: taps.guestFrames(guest),
    ioasidTrace: {
      trace: taps.kernels.guestIoasid({ ledger: guest, aliases: aliases() }),
      traces: taps.kernels.readsIoasid,
    },
  };
}
