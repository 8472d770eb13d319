/**
 * The IOASID core: PASIDs for virtual machines. Ids, sets and quota, private ids, references in the name of their
 * holders, notifications, phases of tear-down, limits; restorable; by itself, without the rest of ioasis.
 *
 * @module
 */
export { isRefusal, Refusal } from '../base/index.js';
export { ioasidAlloc, ioasidFree, ioasidFreeAllInSet } from './alloc.js';
export {
  type IoasidAllocatorOps,
  ioasidActiveAllocator,
  ioasidRegisterAllocator,
  ioasidUnregisterAllocator,
} from './allocator.js';
export {
  type IoasidControllerState,
  ioasidControllerAlloc,
  ioasidControllerFree,
  ioasidControllerRead,
  ioasidControllerSetMax,
  ioasidMoveSet,
  NO_LIMIT,
} from './controller.js';
export {
  type IoasidCapacity,
  type IoasidCore,
  type IoasidFailure,
  type IoasidOptions,
  ioasidCapacity,
  ioasidCreate,
  ioasidFailures,
} from './core.js';
export type {
  IoasidController,
  IoasidHolder,
  IoasidSet,
  IoasidSetType,
  IoasidSubscription,
  IoasidToken,
  IoasidUser,
} from './handles.js';
export { ioasidHolderAlloc, ioasidHolderFree } from './holder.js';
export * from './ids.js';
export * from './inspect.js';
export {
  type IoasidEvent,
  type IoasidEventKind,
  type IoasidNotifier,
  ioasidRegisterNotifier,
  ioasidRegisterNotifierMm,
  ioasidUnregisterNotifier,
  type NotifierPriority,
} from './notifier.js';
export type { Phase, StateName } from './record.js';
export {
  ioasidAttachData,
  ioasidDetachData,
  ioasidFind,
  ioasidFindSet,
  ioasidGet,
  ioasidPut,
} from './reference.js';
export {
  type IoasidSetOptions,
  type IoasidSetState,
  ioasidAdjustSet,
  ioasidFindMmSet,
  ioasidFindSetByToken,
  ioasidSetAlloc,
  ioasidSetForEach,
  ioasidSetFree,
  ioasidSetRead,
  ioasidSets,
} from './set.js';
export { ioasidAttachSpid, ioasidDetachSpid, ioasidFindBySpid, ioasidSpidOf } from './spid.js';
export { type CoreCounts, type CoreDump, ioasidTestBench, type TestBench } from './test-bench.js';
export { ioasidUserAlloc, ioasidUserFree, ioasidUserRead, ioasidUserSetMax } from './user.js';
export {
  type IoasidWork,
  type IoasidWorkItem,
  ioasidFinishWork,
  ioasidQueueWork,
  ioasidTakeWork,
} from './work.js';
