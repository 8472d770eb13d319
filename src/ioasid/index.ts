/**
 * The IOASID core: PASIDs for virtual machines. Ids, sets and quota, private ids, references in the name of their
 * holders, notifications, phases of tear-down, limits; restorable; by itself, without the rest of ioasis.
 *
 * The folders, from the bottom up; each knows only those before it:
 *
 * - `tables/`: arrays that can be put back, and what is built of them: free ids, records, SPIDs, the columns of an id
 * - `core/`: the state, the handles that callers hold, the numbers, the options, and what every call checks first
 * - `records/`: what is kept of sets, holders, references, work and subscribers, and the lists through them
 * - `limits/`: controllers and users
 * - `life/`: an id is chosen, and settled when somebody has let go of it
 * - `notify/`: registering, and announcing
 * - `holders/`: holders, their references and their work
 * - `ids/`: allocating, freeing, finding and binding ids; custom allocators
 * - `sets/`: making, freeing and finding sets
 * - `inspect/`: who holds an id and what it waits for, as values and as a table; the test bench's look inside
 *
 * @module
 */
export {
  type Brand,
  Bug,
  type Chooser,
  type Event,
  type EventSink,
  isRefusal,
  Refusal,
  type Restorable,
} from '../base/index.js';
export type { IoasidAllocatorOps } from './core/allocator-ops.js';
export type {
  IoasidController,
  IoasidCore,
  IoasidEvent,
  IoasidHolder,
  IoasidNotifier,
  IoasidSet,
  IoasidSetType,
  IoasidSubscription,
  IoasidToken,
  IoasidUser,
} from './core/core.js';
export { type IoasidCapacity, ioasidCapacity, ioasidCreate, ioasidFailures } from './core/create.js';
export { INVALID_IOASID, Ioasid, MAX_CAPACITY, Spid } from './core/ids.js';
export type { IoasidEventKind, IoasidFailure, IoasidOptions, NotifierPriority } from './core/options.js';
export { ioasidHolderAlloc, ioasidHolderFree } from './holders/holder.js';
export { ioasidGet, ioasidPut } from './holders/reference.js';
export {
  type IoasidWork,
  type IoasidWorkItem,
  ioasidFinishWork,
  ioasidQueueWork,
  ioasidTakeWork,
} from './holders/work.js';
export { ioasidAlloc, ioasidFree, ioasidFreeAllInSet } from './ids/alloc.js';
export {
  ioasidActiveAllocator,
  ioasidRegisterAllocator,
  ioasidUnregisterAllocator,
} from './ids/allocator.js';
export { ioasidAttachData, ioasidDetachData, ioasidFind, ioasidFindSet } from './ids/find.js';
export { ioasidAttachSpid, ioasidDetachSpid, ioasidFindBySpid, ioasidSpidOf } from './ids/spid.js';
export {
  type HeldBy,
  type IoasidReport,
  ioasidHeldBy,
  ioasidInspect,
  ioasidReports,
  ioasidStrayNotifiers,
  type WorkBy,
} from './inspect/inspect.js';
export { ioasidTable } from './inspect/table.js';
export { type CoreCounts, type CoreDump, ioasidTestBench, type TestBench } from './inspect/test-bench.js';
export {
  type IoasidControllerState,
  ioasidControllerAlloc,
  ioasidControllerFree,
  ioasidControllerRead,
  ioasidControllerSetMax,
  ioasidMoveSet,
  NO_LIMIT,
} from './limits/controller.js';
export { ioasidUserAlloc, ioasidUserFree, ioasidUserRead, ioasidUserSetMax } from './limits/user.js';
export {
  ioasidRegisterNotifier,
  ioasidRegisterNotifierMm,
  ioasidUnregisterNotifier,
} from './notify/notifier.js';
export { ioasidFindMmSet, ioasidFindSetByToken, ioasidSetForEach, ioasidSets } from './sets/find-set.js';
export {
  type IoasidSetOptions,
  type IoasidSetState,
  ioasidAdjustSet,
  ioasidSetAlloc,
  ioasidSetFree,
  ioasidSetRead,
} from './sets/set.js';
export type { Phase, StateName } from './tables/id-columns.js';
