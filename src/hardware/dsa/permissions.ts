/** What the descriptor that an engine works on is allowed: by its queue, by the device, and as one of a batch. */
import { DSA_NOOP, DSA_OPCODE as OP } from '../../spec/index.js';
import { NO_PASID } from '../vtd/request.js';
import type { Batch } from './batch.js';
import type { Allowed } from './descriptor-checks.js';
import type { EngineHost } from './engine-host.js';
import type { Work } from './work.js';
import type { WorkQueue } from './work-queue.js';

const { HANDLE } = DSA_NOOP;

export class Permissions {
  readonly #host: EngineHost;
  readonly #work: Work;
  readonly #batch: Batch;
  readonly #allowed: { -readonly [K in keyof Allowed]: Allowed[K] } = {
    ignoresHead: false,
    inBatch: false,
    operation: false,
    blockOnFault: false,
    interrupts: false,
    privileged: false,
    maxTransfer: 0,
    maxBatch: 0,
    overlappingCopy: false,
  };

  constructor(host: EngineHost, work: Work, batch: Batch) {
    this.#host = host;
    this.#work = work;
    this.#batch = batch;
  }

  /** For a descriptor of this queue. A record that is used again. */
  of(queue: WorkQueue): Allowed {
    const allowed = this.#allowed;
    const host = this.#host;
    const { opcode } = this.#work.now;
    const { isOpen } = this.#batch.now;
    allowed.ignoresHead = queue.isDedicated || isOpen;
    allowed.inBatch = isOpen;
    allowed.operation = queue.allows(opcode) && !(isOpen && (opcode === OP.BATCH || opcode === OP.DRAIN));
    allowed.blockOnFault = queue.allowsBlockOnFault;
    allowed.interrupts = this.mayInterrupt;
    allowed.privileged = host.parts.config.isPrivilegedEnabled;
    allowed.maxTransfer = queue.maxTransfer;
    allowed.maxBatch = queue.maxBatch;
    allowed.overlappingCopy = host.overlappingCopy;
    return allowed;
  }

  /** Whether descriptors like this may ask for interrupts: users with a PASID need leave (table 5-4). */
  get mayInterrupt(): boolean {
    const { isPrivileged, pasid } = this.#work.now;
    return isPrivileged || pasid === NO_PASID || this.#host.userInterrupts;
  }

  /** Where its interrupt goes: its handle, in the table that its portal stands for. */
  get handle(): number {
    return HANDLE.get(this.#work.descriptor, 0) | this.#work.now.table;
  }

  /** Whether the entry that it names for its interrupt is for its PASID. */
  get ownsHandle(): boolean {
    return this.#host.interrupts.isAllowed(this.handle, this.#work.now.pasid);
  }
}
