/**
 * A virtual machine goes from one VMM to another: of the same host, as for a live update, or of another that is run with
 * it. Its devices are parts of other accelerators or queues from then on; its memory lies in other frames; other host
 * PASIDs stand behind its guest PASIDs. What runs in it goes on with what it had. States are VFIO's (`enum
 * vfio_device_mig_state`):
 *
 * - the destination is built while the guest goes on;
 * - RUNNING to STOP: what is queued is done while the guest can answer for pages, then it stands still (`Vm.pause`). So
 *   no descriptor has to be submitted anew, with a reference that nobody gives back, or skipped (bug B5);
 * - STOP_COPY: what it is becomes one value, which the destination takes over (RESUMING): memory, then PASIDs, which are
 *   bound anew from the guest's own tables, then devices;
 * - RUNNING: the guest goes on, and the source ends as every VMM does: nothing of its PASIDs is left.
 *
 * Until the guest goes on there, it can go on here: whatever the destination refuses, nothing has happened.
 */
import { isRefusal, type Refusal, refuse, type Task } from '../../base/index.js';
import { tell } from '../../kernel/index.js';
import type { Vm } from '../vm.js';

/** Whoever keeps books on whose memory and PASIDs a guest's are. */
export interface MigrationWatch {
  /** The guest stands still: what is done now is done for the destination. */
  stopped?(): void;
  /** It goes on where it was. */
  failed?(): void;
  /** It goes on at the destination. */
  moved?(): void;
}

/**
 * Takes the guest of a VM to another, which was not started yet: nothing is left of the first. A guest that stood still
 * does so there.
 *
 * On failure: `ESRCH` if it does not run, or was killed meanwhile; `EOPNOTSUPP` if a device of its cannot be taken over;
 * `EINVAL` if the destination cannot be what it was; what the host refuses with. The guest goes on as it did, and
 * nothing is left of the destination.
 */
export function* migrate(source: Vm, destination: Vm, watch: MigrationWatch = {}): Task<Refusal | undefined> {
  const { context } = source.options.host;
  const [vm, into] = [source.name, destination.name];
  const refusal = (yield* destination.prepare()) ?? (yield* move(source, destination, watch));
  if (refusal !== undefined) {
    yield* destination.destroy();
    tell(context, 'vmm:not-migrated', { vm, to: into, why: refusal.toString() });
    return refusal;
  }
  yield* source.destroy();
  tell(context, 'vmm:migrated', { vm, to: into });
  return undefined;
}

function* move(source: Vm, destination: Vm, watch: MigrationWatch): Task<Refusal | undefined> {
  const wasPaused = source.isPaused;
  const busy = yield* source.pause();
  if (busy !== undefined) return busy;
  const refusal = yield* copy(source, destination, watch);
  if (refusal === undefined) {
    source.handOver(destination);
    watch.moved?.();
    if (!wasPaused) yield* destination.resume();
    return undefined;
  }
  source.tellPasids();
  watch.failed?.();
  if (!wasPaused) yield* source.resume();
  return refusal;
}

/** The destination is what the source is, but for the guest. */
function* copy(source: Vm, destination: Vm, watch: MigrationWatch): Task<Refusal | undefined> {
  const state = yield* source.save();
  if (isRefusal(state)) return state;
  watch.stopped?.();
  const { context } = source.options.host;
  const [pages, pasids] = [state.memory.length, state.iommu?.pasids.length ?? 0];
  tell(context, 'vmm:stop-copy', { vm: source.name, to: destination.name, pages, pasids });
  const refusal = yield* destination.load(state);
  return refusal ?? (source.isRunning ? undefined : refuse('ESRCH', `${source.name} was killed`));
}
