/**
 * KVM's part in the life of a guest's PASIDs: it listens to the IOASID set of the VM, writes each pair that is bound
 * into the table that the CPUs translate by, and takes it out when it is unbound or freed. Each entry holds a
 * reference in KVM's name. Taking one out is over when every CPU of the VM is past an instruction that may have read
 * it: until then KVM has work of phase `stop` on the id. (In Linux's proposal, a request to all vCPUs blocks VM entry
 * while an entry is cleared.)
 */
import {
  assert,
  isRefusal,
  KeptList,
  KeptValue,
  type Refusal,
  type Task,
  WaitQueue,
} from '../../base/index.js';
import {
  type IoasidCore,
  type IoasidEvent,
  type IoasidHolder,
  type IoasidNotifier,
  type IoasidSet,
  type IoasidSubscription,
  type IoasidToken,
  type IoasidWork,
  ioasidFindBySpid,
  ioasidFindMmSet,
  ioasidFindSet,
  ioasidFinishWork,
  ioasidGet,
  ioasidHolderAlloc,
  ioasidHolderFree,
  ioasidPut,
  ioasidQueueWork,
  ioasidRegisterNotifierMm,
  ioasidTakeWork,
  ioasidUnregisterNotifier,
} from '../../ioasid/index.js';
import { type KernelContext, tell } from '../context.js';
import { GuestPasid, Pasid } from '../ids.js';
import { type PasidPair, VmxPasidTable } from './pasid-table.js';

/** What the VM is to it. */
export interface TranslatedVm {
  readonly name: string;
  /** The VM's address space: the token of its set. */
  readonly token: IoasidToken;
  /** Whether a CPU is in the middle of an instruction that may have read an entry. */
  isBusy(): boolean;
  /** Returns when every CPU is past the instruction that it is in the middle of. */
  past(): Task;
  /** A guest's PASID is translated from now on. */
  translated(guest: GuestPasid): void;
}

export class PasidTranslation implements IoasidNotifier {
  readonly name: string;
  readonly priority = 'cpu';
  readonly events = ['BIND', 'UNBIND', 'FREE'] as const;
  readonly table: VmxPasidTable;
  readonly #context: KernelContext;
  readonly #core: IoasidCore;
  readonly #vm: TranslatedVm;
  readonly #holder: IoasidHolder;
  readonly #subscription: KeptValue<IoasidSubscription | undefined>;
  readonly #isWorking: KeptValue<boolean>;
  /** How many items of work it has queued that are not finished. */
  readonly #queued: KeptValue<number>;
  /** Ids whose entries are gone, and that no work could be queued for: the reference goes when the CPUs are past. */
  readonly #unqueued: KeptList<Pasid>;
  readonly #rests = new WaitQueue('work of KVM');

  private constructor(
    context: KernelContext,
    vm: TranslatedVm,
    of: { readonly table: VmxPasidTable; readonly holder: IoasidHolder },
  ) {
    this.name = of.holder.name;
    this.table = of.table;
    this.#context = context;
    this.#core = of.holder.core;
    this.#vm = vm;
    this.#holder = of.holder;
    this.#subscription = new KeptValue<IoasidSubscription | undefined>(context.log, undefined);
    this.#isWorking = new KeptValue(context.log, false);
    this.#queued = new KeptValue(context.log, 0);
    this.#unqueued = new KeptList(context.log);
  }

  /**
   * An empty table, not yet told of anything.
   *
   * On failure: `ENOMEM`.
   */
  static create(
    context: KernelContext,
    core: IoasidCore,
    vm: TranslatedVm,
  ): PasidTranslation | Refusal<'ENOMEM'> {
    const table = VmxPasidTable.create(context, vm.name);
    if (isRefusal(table)) return table;
    const made: PasidTranslation[] = [];
    const wake = (): void => {
      for (const translation of made) translation.#wake();
    };
    const holder = ioasidHolderAlloc(core, `kvm:${vm.name}`, wake);
    if (isRefusal(holder)) {
      table.free();
      return outOfMemory(holder);
    }
    const translation = new PasidTranslation(context, vm, { table, holder });
    made.push(translation);
    return translation;
  }

  /**
   * Listens to the VM's set, whether or not it is there yet; what is bound in it by now comes into the table at once.
   *
   * On failure: `ENOMEM`.
   */
  register(): Refusal<'ENOMEM'> | undefined {
    const subscription = ioasidRegisterNotifierMm(this.#core, this.#vm.token, this);
    if (isRefusal(subscription)) return outOfMemory(subscription);
    this.#subscription.value = subscription;
    return undefined;
  }

  /** @see IoasidNotifier */
  notify({ kind, id, spid, set }: IoasidEvent): void {
    if (spid === undefined || set === undefined) return;
    const pair = { guest: GuestPasid.of(spid), host: Pasid.of(id) };
    if (kind === 'BIND') this.#set(set, pair);
    else this.#clear(set, pair);
  }

  /**
   * An exit for a guest's PASID: whether it is bound after all, and translated from now on (there may have been no
   * memory for its table when it was bound).
   */
  fill(guest: GuestPasid): boolean {
    const set = ioasidFindMmSet(this.#core, this.#vm.token);
    if (isRefusal(set)) return false;
    const host = ioasidFindBySpid(set, guest);
    return !isRefusal(host) && this.#set(set, { guest, host: Pasid.of(host) });
  }

  /** Takes every entry out, and is told of nothing any more: it holds nothing when it returns. */
  *end(): Task {
    const subscription = this.#subscription.value;
    if (subscription !== undefined) ioasidUnregisterNotifier(subscription);
    this.#subscription.value = undefined;
    const { pairs } = this.table;
    for (const { guest } of pairs) this.table.clear(guest);
    yield* this.#vm.past();
    for (const { host } of pairs) this.#put(host);
    while (this.#isWorking.value || this.#queued.value > 0) yield this.#rests;
  }

  /** Frees the table. No CPU may translate by it any more, and it holds nothing. */
  free(): void {
    const refusal = ioasidHolderFree(this.#holder);
    assert(refusal === undefined, `${this.name} holds PASIDs at its end: ${String(refusal)}`);
    this.table.free();
  }

  /** Whether the pair is in the table now. */
  #set(set: IoasidSet, pair: PasidPair): boolean {
    const { guest, host } = pair;
    const before = this.table.get(guest);
    if (before === host) return true;
    if (before !== undefined) this.#clear(set, { guest, host: before });
    const refusal = ioasidGet(set, host, this.#holder) ?? this.#fill(set, pair);
    tell(this.#context, 'kvm:bind', {
      vm: this.#vm.name,
      spid: guest,
      pasid: host,
      ok: refusal === undefined,
    });
    if (refusal !== undefined) return false;
    this.#vm.translated(guest);
    return true;
  }

  #fill(set: IoasidSet, pair: PasidPair): Refusal<'ENOMEM'> | undefined {
    const refusal = this.table.set(pair);
    if (refusal !== undefined) ioasidPut(set, pair.host, this.#holder);
    return refusal;
  }

  /** Takes a pair out, if it is there: the guest's PASID may stand for another id by now. */
  #clear(set: IoasidSet, { guest, host }: PasidPair): void {
    if (this.table.get(guest) !== host) return;
    this.table.clear(guest);
    tell(this.#context, 'kvm:unbind', { vm: this.#vm.name, spid: guest, pasid: host });
    if (!this.#vm.isBusy()) {
      ioasidPut(set, host, this.#holder);
      return;
    }
    const refusal = ioasidQueueWork(set, host, { holder: this.#holder, phase: 'stop' });
    if (refusal === undefined) {
      this.#queued.value++;
    } else {
      this.#unqueued.push(host);
      this.#wake();
    }
  }

  /** There is work. Under the core's lock. */
  #wake(): void {
    if (this.#isWorking.value) return;
    this.#isWorking.value = true;
    this.#context.tasks.spawn(`${this.name} stop`, this.#work());
  }

  *#work(): Task {
    for (;;) {
      const items = this.#take();
      const unqueued = [...this.#unqueued.items];
      if (items.length + unqueued.length === 0) break;
      yield* this.#vm.past();
      for (const host of unqueued) {
        this.#unqueued.remove(host);
        this.#put(host);
      }
      for (const item of items) {
        this.#put(Pasid.of(item.id));
        ioasidFinishWork(item);
        this.#queued.value--;
      }
    }
    this.#isWorking.value = false;
    this.#rests.wakeAll();
  }

  #take(): IoasidWork[] {
    const items: IoasidWork[] = [];
    for (;;) {
      const item = ioasidTakeWork(this.#holder);
      if (item === undefined || isRefusal(item)) return items;
      items.push(item);
    }
  }

  #put(host: Pasid): void {
    const set = ioasidFindSet(this.#core, host);
    assert(!isRefusal(set), `PASID ${host} went while ${this.name} held it`);
    ioasidPut(set, host, this.#holder);
  }
}

/** What may fail here, and what else is a bug of ours. */
function outOfMemory(refusal: Refusal): Refusal<'ENOMEM'> {
  assert(isOutOfMemory(refusal), String(refusal));
  return refusal;
}

const isOutOfMemory = (refusal: Refusal): refusal is Refusal<'ENOMEM'> => refusal.errno === 'ENOMEM';
