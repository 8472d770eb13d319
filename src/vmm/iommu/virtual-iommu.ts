/**
 * The VT-d unit that a guest sees: registers, queues and records by the hardware's own code, and behind them what
 * the VMM does on the host (flow 2). After VT-d 4.1; the virtual command interface after 11.4.45 to 11.4.48.
 *
 * A guest's access traps here and returns at once. What it asks for is noted, and a task does it, one thing after
 * the other; the guest finds its command or descriptor complete only when the host has done it: a wait descriptor
 * is not looked at before all descriptors before it are. There is no task while there is nothing to do.
 *
 * With caching mode off an entry that becomes present may be told by any wide invalidation, or by nothing: then by
 * its first use, which KVM tells. An entry that is malformed, or that the host refuses to bind, is like one that
 * hardware could not use: its first use is recorded as a fault. What the host's hardware did not confirm is not
 * completed: the queue stops with IQE (or ITE, for a device), a register's command says that it was not done. It is
 * tried again when the guest asks again, and not before: a device that is dead would keep the VMM busy for ever.
 *
 * Left out: interrupt remapping.
 */
import {
  assert,
  isRefusal,
  KeptList,
  KeptMap,
  KeptValue,
  type Refusal,
  refuse,
  type Task,
  UndoLog,
} from '../../base/index.js';
import {
  PAGE_RESPONSE,
  type PageGroupResponse,
  type PageRequest,
  type RootTable,
  UnitFront,
  unitFormat,
  type VirtualCommand,
  type VirtualResponse,
} from '../../hardware/index.js';
import { ridName } from '../../kernel/index.js';
import {
  IQEI,
  TTM,
  VIRTUAL_COMMAND,
  VIRTUAL_COMMAND_STATUS,
  VIRTUAL_COMMAND_STATUS_3_2,
  wordsOf,
} from '../../spec/index.js';
import { Bindings } from './bindings.js';
import { offeredToGuests } from './capabilities.js';
import { GuestFaults } from './guest-faults.js';
import { GuestPasids } from './guest-pasids.js';
import { GuestTables } from './guest-tables.js';
import type { GuestBinding, HostSide, PasidPair } from './host-side.js';
import { type Failed, HostWork } from './host-work.js';
import { type Operation, QueueEnd, RegisterEnd } from './operations.js';
import type { GuestFault, VirtualIommuOptions, VirtualUnit } from './port.js';
import { checkOffer, type Offer, type VirtualIommuState } from './state.js';
import { WithoutPasid } from './without-pasid.js';

/** VCRSP.SC of a command that there is not: below the codes of single commands. */
const UNDEFINED_COMMAND = 1;

export class VirtualIommu implements VirtualUnit {
  readonly name: string;
  readonly bytes: number;
  readonly #options: VirtualIommuOptions;
  readonly #log = new UndoLog();
  readonly #host: HostSide;
  readonly #front: UnitFront;
  /** Where its task stands between two things that it does. */
  readonly #at: string;
  readonly #pasids: GuestPasids;
  readonly #bindings: Bindings;
  readonly #without: WithoutPasid;
  readonly #work: HostWork;
  readonly #faults: GuestFaults;
  readonly #hasPageRequests: boolean;
  readonly #devices: KeptList<number>;
  /** Whether translation is on, and the root table, as the host follows them. */
  readonly #isEnabled: KeptValue<boolean>;
  readonly #root: KeptValue<RootTable | undefined>;
  /** Counts resets: what was begun before one is not to be completed after it. */
  readonly #life: KeptValue<number>;
  readonly #isRunning: KeptValue<boolean>;
  readonly #registers: RegisterEnd;
  readonly #descriptor: QueueEnd;
  /** Whether all bindings are to be compared; else those of these guest PASIDs, and whether they were used. */
  readonly #comparesAll: KeptValue<boolean>;
  readonly #compares: KeptMap<number, boolean>;
  readonly #offer: Offer;
  /** What the unit answers page requests by itself. */
  readonly #answers: KeptList<PageGroupResponse>;
  /** Pairs of before a reset: given back once nothing is bound to them. */
  readonly #retired: KeptList<PasidPair>;

  constructor(options: VirtualIommuOptions) {
    const { name, memory, host, emit } = options;
    const log = this.#log;
    const offered = offeredToGuests(options);
    const { hostAddressWidth } = options;
    const format = unitFormat({
      ...{ cap: wordsOf(offered.cap), ecap: wordsOf(offered.ecap) },
      ...(hostAddressWidth === undefined ? {} : { hostAddressWidth }),
    });
    this.name = name;
    this.#options = options;
    this.#offer = { ...offered, oldVirtualCommands: options.oldVirtualCommands ?? false };
    this.#host = host;
    this.#hasPageRequests = format.pageRequests;
    this.#devices = new KeptList(log);
    this.#isEnabled = new KeptValue(log, false);
    this.#root = new KeptValue<RootTable | undefined>(log, undefined);
    this.#life = new KeptValue(log, 0);
    this.#isRunning = new KeptValue(log, false);
    this.#comparesAll = new KeptValue(log, false);
    this.#compares = new KeptMap(log);
    this.#answers = new KeptList(log);
    this.#retired = new KeptList(log);
    const isScalable = (): boolean => this.#root.value?.mode === TTM.SCALABLE;
    this.#registers = new RegisterEnd(log, isScalable);
    this.#descriptor = new QueueEnd(log, isScalable);
    this.#pasids = new GuestPasids(log, { policy: options.pasids, host, limit: 2 ** format.pasidWidth });
    this.#bindings = new Bindings(log);
    const shared = {
      bindings: this.#bindings,
      tables: new GuestTables(memory, format),
      devices: () => this.#devices.items,
      root: () => (this.#isEnabled.value && isScalable() ? this.#root.value?.frame : undefined),
    };
    const { deviceTlb: deviceTlbs } = format;
    const isOn = (): boolean => this.#isEnabled.value;
    this.#without = new WithoutPasid(log, { ...shared, name, host, emit, isOn, range: options.pasids });
    const { pasids, without } = { pasids: this.#pasids, without: this.#without };
    this.#work = new HostWork({ ...shared, name, host, emit, deviceTlbs, pasids, without });
    this.#faults = new GuestFaults({
      ...shared,
      record: (fault, request) => this.#front.record(fault, request),
    });
    this.#front = new UnitFront({
      ...{ name, memory, format, ...offered, interrupt: options.interrupt, gate: this.#faults },
      ...{ end: this.#registers, queueEnd: this.#descriptor },
      isSilenced: () => this.#faults.isSilenced,
      respond: (response) => this.#answers.push({ ...response }),
      oldVirtualCommands: options.oldVirtualCommands,
      virtualCommands: {
        allocatesPasids: true,
        submit: (command, respond) => respond(this.#command(command)),
      },
    });
    this.bytes = this.#front.bytes;
    this.#at = `${this.name}: work`;
    this.#front.queue.onProgress = options.onProgress;
  }

  get isBusy(): boolean {
    return this.#isRunning.value;
  }

  hostPasidOf(guestPasid: number): number | undefined {
    return this.#pasids.get(guestPasid)?.hostPasid;
  }

  bindingOf(rid: number, guestPasid: number): GuestBinding | undefined {
    if (guestPasid === 0) return this.#without.get(rid);
    const bound = this.#bindings.get(rid, guestPasid);
    if (bound?.isMuted === true) return undefined;
    return bound?.life === this.#pasids.get(guestPasid)?.life ? bound : undefined;
  }

  addDevice(rid: number): void {
    if (this.#devices.items.includes(rid)) return;
    this.#devices.push(rid);
    this.#without.added(rid);
    this.#compareAll();
  }

  removeDevice(rid: number): void {
    if (this.#devices.remove(rid)) this.#compareAll();
  }

  pageRequest(request: PageRequest): void {
    const { rid, pasid, group } = request;
    if (this.#hasPageRequests) this.#front.pageRequests.request(request);
    else if (request.isLast) this.#answers.push({ rid, pasid, group, code: PAGE_RESPONSE.INVALID_REQUEST });
    this.#kick();
  }

  fault(fault: GuestFault): void {
    this.#faults.record(fault);
  }

  unknownPasid(guestPasid: number): void {
    if (this.#pasids.get(guestPasid) === undefined) {
      this.#faults.recordUse(guestPasid);
      return;
    }
    this.#compares.set(guestPasid, true);
    this.#kick();
  }

  reset(): void {
    this.#life.value++;
    this.#front.reset();
    this.#registers.clear();
    this.#descriptor.take();
    this.#isEnabled.value = false;
    this.#root.value = undefined;
    for (const pair of this.#pasids.retire()) this.#retired.push(pair);
    this.#compareAll();
  }

  save(): VirtualIommuState {
    assert(!this.isBusy && !this.#hasWork, `${this.name} has work`);
    const places = [...this.#bindings.all, ...this.#without.bound];
    return {
      ...this.#offer,
      unit: this.#front.save(),
      isEnabled: this.#isEnabled.value,
      root: this.#root.value,
      pasids: this.#pasids.all,
      bound: places.map(({ rid, guestPasid }) => ({ rid, guestPasid })),
    };
  }

  *load(state: VirtualIommuState): Task<Refusal | undefined> {
    const unlike = checkOffer(this.name, this.#offer, state);
    if (unlike !== undefined) return unlike;
    for (const guestPasid of state.pasids) {
      const pair = this.#pasids.adopt(guestPasid);
      if (isRefusal(pair)) return pair;
    }
    this.tellPasids();
    this.#front.load(state.unit);
    this.#isEnabled.value = state.isEnabled;
    this.#root.value = state.root;
    this.#compareAll();
    while (this.isBusy) yield `${this.name}: bind anew`;
    // Of what was bound, the guest may have cleared the entry, and not have told yet.
    const lost = state.bound.find((each) => !this.#work.isAsSaid(each));
    if (lost === undefined) return undefined;
    return refuse('EIO', `guest PASID ${lost.guestPasid} of ${ridName(lost.rid)} could not be bound anew`);
  }

  tellPasids(): void {
    for (const guestPasid of this.#pasids.all) {
      const hostPasid = this.hostPasidOf(guestPasid) ?? 0;
      this.#options.emit?.({ kind: 'viommu:backed', fields: { unit: this.name, guestPasid, hostPasid } });
    }
  }

  read32(offset: number): number {
    return this.#front.read32(offset);
  }

  read64(offset: number, out: Int32Array): void {
    this.#front.read64(offset, out);
  }

  write32(offset: number, value: number): void {
    this.#front.write32(offset, value);
    this.#kick();
  }

  write64(offset: number, lo: number, hi: number): void {
    this.#front.write64(offset, lo, hi);
    this.#kick();
  }

  write512(): void {
    this.#front.write512();
  }

  enqueue(): boolean {
    return this.#front.enqueue();
  }

  mark(): void {
    this.#log.mark();
    this.#front.mark();
  }

  restore(): void {
    this.#log.restore();
    this.#front.restore();
  }

  /** A virtual command: answered at once. */
  #command({ code, operand }: VirtualCommand): VirtualResponse {
    const { oldVirtualCommands = false } = this.#options;
    const status = oldVirtualCommands ? VIRTUAL_COMMAND_STATUS_3_2 : VIRTUAL_COMMAND_STATUS;
    if (code === VIRTUAL_COMMAND.ALLOCATE_PASID) {
      const pair = this.#pasids.alloc();
      if (isRefusal(pair)) return { status: status.NO_PASID, result: 0 };
      return { status: status.SUCCESS, result: pair.guestPasid };
    }
    if (code !== VIRTUAL_COMMAND.FREE_PASID) return { status: UNDEFINED_COMMAND, result: 0 };
    const pair = this.#pasids.free(operand);
    if (isRefusal(pair)) return { status: status.INVALID_PASID, result: 0 };
    // The host has begun to tear down what is bound to it: what the guest flushes from now on waits for that.
    if (this.#work.isBound(operand) && !this.#compares.has(operand)) this.#compares.set(operand, false);
    return { status: status.SUCCESS, result: 0 };
  }

  #compareAll(): void {
    this.#comparesAll.value = true;
    this.#kick();
  }

  /** Sees to it that there is a task while there is work. */
  #kick(): void {
    if (this.#isRunning.value || !this.#hasWork) return;
    this.#isRunning.value = true;
    this.#options.tasks.spawn(this.name, this.#run());
  }

  get #hasWork(): boolean {
    return (
      this.#front.queue.isReady ||
      !this.#registers.isEmpty ||
      this.#comparesAll.value ||
      this.#compares.size > 0 ||
      this.#answers.length > 0 ||
      this.#retired.length > 0
    );
  }

  *#run(): Task {
    try {
      while (this.#hasWork) {
        yield this.#at;
        const task = this.#next();
        if (task !== undefined) yield* task;
      }
    } finally {
      this.#isRunning.value = false;
    }
  }

  /** Does one thing, or says what has to be done for it. */
  #next(): Task | undefined {
    const command = this.#registers.take();
    if (command !== undefined) return this.#doCommand(command);
    if (this.#comparesAll.value || this.#compares.size > 0) return this.#compare();
    if (this.#answers.length > 0) return this.#answer();
    if (this.#retired.length === 0) return this.#doDescriptor();
    this.#giveBack();
    return undefined;
  }

  *#compare(): Task {
    if (this.#comparesAll.value) {
      this.#comparesAll.value = false;
      yield* whole(this.#work.compare({}));
      return;
    }
    const [pasid = 0] = this.#compares.keys();
    const wasUsed = this.#compares.get(pasid) === true;
    this.#compares.delete(pasid);
    yield* whole(this.#work.compare({ pasid }));
    if (wasUsed && !this.#work.isBound(pasid)) this.#faults.recordUse(pasid);
  }

  *#answer(): Task {
    const answer = this.#answers.shift();
    if (answer !== undefined) yield* this.#work.respond(answer);
  }

  #giveBack(): void {
    const pair = this.#retired.shift();
    if (pair !== undefined) this.#host.freePasid(pair.hostPasid);
  }

  /** What a register's command asks for, and its end. */
  *#doCommand(operation: Operation): Task {
    const life = this.#life.value;
    if (operation.kind === 'root') this.#root.value = operation.table;
    if (operation.kind === 'translation') this.#isEnabled.value = operation.isOn;
    const hasFailed = yield* whole(this.#perform(operation));
    if (life !== this.#life.value || this.#registers.has(operation.kind)) return;
    const { commands } = this.#front;
    if (operation.kind === 'contexts') commands.contextDone(hasFailed);
    else if (operation.kind === 'translations') commands.iotlbDone(hasFailed);
    else if (hasFailed) return;
    else if (operation.kind === 'root') commands.rootDone();
    else if (operation.kind === 'translation') commands.translationDone(operation.isOn);
  }

  /** Does the descriptor at the head of the queue, or says what has to be done for it. */
  #doDescriptor(): Task | undefined {
    const { queue } = this.#front;
    if (queue.isReady) queue.step();
    const operation = this.#descriptor.take();
    if (operation === undefined) return undefined;
    const work = this.#perform(operation);
    if (typeof work !== 'boolean') return this.#finishLater(operation, work);
    this.#finish(operation, work);
    return undefined;
  }

  *#finishLater(operation: Operation, work: Task<Failed>): Task {
    const life = this.#life.value;
    const hasFailed = yield* work;
    if (life === this.#life.value) this.#finish(operation, hasFailed);
  }

  /** The descriptor in progress is done. */
  #finish(operation: Operation, hasFailed: Failed): void {
    const { queue } = this.#front;
    if (operation.kind !== 'device-tlb') {
      queue.finish(hasFailed ? IQEI.NOT_AVAILABLE : undefined);
      return;
    }
    const { rid, itag } = operation.invalidation;
    if (hasFailed) queue.timedOut(rid);
    else queue.done(rid, itag);
    queue.finish();
  }

  /** A task only if the host has something to do. */
  #perform(operation: Operation): Failed | Task<Failed> {
    switch (operation.kind) {
      case 'root':
      case 'translation':
        return this.#work.compare({});
      case 'contexts': {
        // Scalable-mode context entries have no domain: one that names a domain covers them all.
        const { rid, ridMask = 0 } = operation.scope;
        return this.#work.compare(rid === undefined ? {} : { rid, ridMask });
      }
      case 'pasids': {
        const { pasid } = operation.scope;
        // An entry that is new may name another domain than the command does.
        return this.#work.compare(pasid === undefined ? {} : { pasid });
      }
      case 'translations':
        return this.#work.invalidate(operation.of);
      case 'device-tlb':
        return this.#work.invalidateDevice(operation.invalidation);
      case 'response':
        return this.#work.respond(operation.response);
    }
  }
}

/** What comes of it, in the end. */
function* whole(work: Failed | Task<Failed>): Task<Failed> {
  return typeof work === 'boolean' ? work : yield* work;
}
