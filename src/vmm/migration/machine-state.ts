/**
 * What a virtual machine is while it stands still, as one value: its memory, its vCPUs, its virtual IOMMU, its devices.
 * A machine that another VMM has built takes it over, and is from then on what this one was for the guest. The guest's
 * PASIDs are in it, the host's are not: they are found anew (that only virtual numbers are a machine's state is what
 * the discussion of `/dev/iommu` of May and June 2021 came to).
 *
 * The guest's code is not in it: its kernel and its processes are tasks here, which go on with the ports that they have
 * (`GuestSide`, `GuestPlatform`). Left out: memory that is copied while the guest goes on; a file format.
 */
import { isRefusal, type Refusal, refuse, type Task } from '../../base/index.js';
import { FRAME_BYTES, type FrameRange } from '../../hardware/index.js';
import { ridName, type VcpuState } from '../../kernel/index.js';
import type { FunctionState } from '../function.js';
import type { VirtualIommuState } from '../iommu/index.js';
import type { PageState } from '../memory.js';
import type { Monitor } from '../monitor.js';
import type { HeldStore } from '../portal-stores.js';
import type { SlotState } from '../slots.js';

/** Of the value's layout. */
const VERSION = 1;

export interface MachineState {
  readonly version: number;
  /** Where the guest has RAM. */
  readonly ranges: readonly FrameRange[];
  /** The pages of it that are not all zeros. */
  readonly memory: readonly PageState[];
  readonly vcpus: readonly VcpuState[];
  readonly iommu: VirtualIommuState | undefined;
  readonly functions: readonly FunctionState[];
  readonly slots: SlotState;
  /** Stores to portals that wait for these. */
  readonly held: readonly HeldStore[];
}

/** What a machine is made of that another is to be as well. */
type Parts = Pick<Monitor, 'ram' | 'vcpus' | 'iommu' | 'functions'>;

/**
 * What a machine is that has been paused and has settled. It stays as it is.
 *
 * On failure: `EOPNOTSUPP` if a device of its cannot be taken over.
 */
export function saveMachine({
  ram,
  vcpus,
  iommu,
  functions,
  devices,
  stores,
}: Parts & Pick<Monitor, 'devices' | 'stores'>): MachineState | Refusal<'EOPNOTSUPP'> {
  const saved: FunctionState[] = [];
  for (const each of functions) {
    const state = each.save();
    if (isRefusal(state)) return state;
    saved.push(state);
  }
  return {
    version: VERSION,
    ranges: ram.ranges,
    memory: [...ram.pages()],
    vcpus: vcpus.map((vcpu) => vcpu.save()),
    iommu: iommu?.save(),
    functions: saved,
    slots: devices.controller.save(),
    held: [...stores.held],
  };
}

/**
 * Has a machine that was prepared take over what another was. What the guest's devices name is bound before they are
 * told of it, and the memory that its tables are in is there before that.
 *
 * On failure: `EINVAL` if it cannot be that; as `VirtualUnit.load` and `VmFunction.load`. It is of no use then.
 */
export function* loadMachine(monitor: Monitor, state: MachineState): Task<Refusal | undefined> {
  const unlike = mismatch(monitor, state);
  if (unlike !== undefined) return refuse('EINVAL', unlike);
  const { ram, vcpus, iommu, functions, devices, bus } = monitor;
  for (const { gfn, bytes } of state.memory) {
    yield 'a page of its memory';
    ram.write(gfn * FRAME_BYTES, bytes);
  }
  for (const [i, vcpu] of vcpus.entries()) {
    const saved = state.vcpus[i];
    if (saved !== undefined) vcpu.load(saved);
  }
  const refused = state.iommu && (yield* iommu?.load(state.iommu) ?? []);
  if (refused !== undefined) return refused;
  for (const each of functions) {
    const saved = state.functions.find(({ rid }) => rid === each.rid);
    const refusal = saved && each.load(saved);
    if (refusal !== undefined) return refusal;
  }
  bus.moved();
  devices.controller.load(state.slots);
  monitor.stores.take(state.held);
  return undefined;
}

/** Why a machine has not the parts that it needs; undefined if it has. */
function mismatch({ ram, vcpus, iommu, functions }: Parts, state: MachineState): string | undefined {
  if (state.version !== VERSION) return `the state is of version ${state.version}, not ${VERSION}`;
  const rangesText = (ranges: readonly FrameRange[]): string =>
    ranges.map(({ first, last }) => `${first}-${last}`).join(', ');
  const ridsText = (all: readonly { readonly rid: number }[]): string =>
    all
      .map(({ rid }) => ridName(rid))
      .sort()
      .join(', ') || 'none';
  const both: readonly (readonly [what: string, here: string, there: string])[] = [
    ['its RAM', rangesText(ram.ranges), rangesText(state.ranges)],
    ['its vCPUs', String(vcpus.length), String(state.vcpus.length)],
    ['an IOMMU', iommu === undefined ? 'none' : 'one', state.iommu === undefined ? 'none' : 'one'],
    ['its devices', ridsText(functions), ridsText(state.functions)],
  ];
  const unlike = both.find(([, here, there]) => here !== there);
  return unlike && `${unlike[0]}: here ${unlike[1]}, there ${unlike[2]}`;
}
