/**
 * What runs in a virtual machine: the guest's kernel, on a core of PASIDs of its own. It boots as a task of the
 * guest's, and may be stopped at any of its steps.
 */
import {
  assert,
  isRefusal,
  KeptValue,
  type Refusal,
  type Restorable,
  refuse,
  type Task,
  WaitQueue,
} from '../base/index.js';
import { type IoasidCore, ioasidCreate } from '../ioasid/index.js';
import { type IdxdDevice, Kernel, type WqConfig } from '../kernel/index.js';
import type { Monitor } from './monitor.js';
import type { VmOptions } from './options.js';
import { GuestPlatform } from './platform.js';

export class Guest {
  readonly name: string;
  readonly kernel: Kernel;
  readonly #platform: GuestPlatform;
  readonly #ioasids: IoasidCore;
  readonly #monitor: Monitor;
  /** Devices whose shared queues the guest could not have, by RID, and why. */
  readonly unshared = new Map<number, Refusal>();
  readonly #devices: VmOptions['devices'];
  /** Woken when its kernel has booted, or it was stopped. */
  readonly #booted: WaitQueue;
  readonly #isStopped: KeptValue<boolean>;

  constructor(options: VmOptions, monitor: Monitor) {
    const { name, chooser, stepIn, stored, emit, ledger, ridDomain = 'blocked' } = options;
    this.name = name;
    this.#devices = options.devices;
    this.#monitor = monitor;
    this.#isStopped = new KeptValue(options.host.context.log, false);
    this.#booted = new WaitQueue(`${name}: boot`);
    const { interrupts, iommus, tasks, hotPlug } = monitor;
    const platform = new GuestPlatform({
      machine: monitor,
      ...{ interrupts, iommus, hotPlug, chooser, stepIn, stored, emit },
    });
    const ioasids = newIoasids(options);
    this.kernel = new Kernel({
      ...{ name, platform, tasks, ioasids, ridDomain },
      ...(ledger === undefined ? {} : { ledger }),
    });
    this.#platform = platform;
    this.#ioasids = ioasids;
  }

  /** What is put back with the machine: a kernel asks for more of it while it boots. */
  get kept(): readonly Restorable[] {
    return [...this.#platform.kept, this.#ioasids];
  }

  /** It stands still, and goes on in front of another machine, which has taken over what its own was. */
  move(to: Monitor): void {
    this.#platform.move(to);
  }

  /** No task of its goes on any more: whoever waits for it need not. */
  stopped(): void {
    this.#isStopped.value = true;
    this.#booted.wakeAll();
  }

  /**
   * Boots the kernel, and takes the virtual devices as they are configured; or configures them, where they can be.
   *
   * On failure: what the kernel or its driver refuses with; `ESRCH` if it was stopped.
   */
  *boot(): Task<Refusal | undefined> {
    let result: Refusal | 'booted' | undefined;
    const { kernel } = this;
    const prepare = (idxd: IdxdDevice) => this.#prepare(idxd);
    const code = function* (done: (refusal: Refusal | undefined) => void): Task {
      let refusal: Refusal | undefined = yield* kernel.boot();
      for (const idxd of kernel.idxds) refusal ??= yield* prepare(idxd);
      done(refusal);
    };
    this.#monitor.tasks.spawn(
      'boot',
      code((refusal) => {
        result = refusal ?? 'booted';
        this.#booted.wakeAll();
      }),
    );
    while (result === undefined && !this.#isStopped.value) yield this.#booted;
    if (isRefusal(result)) return result;
    return result === 'booted' ? undefined : refuse('ESRCH', `${this.name} was stopped`);
  }

  /** Gives an accelerator its queues. Where it can have no shared ones, it has the others. */
  *#prepare(idxd: IdxdDevice): Task<Refusal | undefined> {
    if (idxd.isFixed) return yield* idxd.loadConfig();
    const { rid } = idxd.pci;
    const device = this.#devices.find(({ at }) => at === rid);
    const groups = device !== undefined && 'groups' in device ? device.groups : [];
    const refusal = yield* idxd.configure(groups);
    if (refusal === undefined || !groups.some(({ wqs }) => wqs.some(isShared))) return refusal;
    this.unshared.set(rid, refusal);
    const dedicated = groups.map(({ wqs, engines }) => ({ engines, wqs: wqs.filter((wq) => !isShared(wq)) }));
    return yield* idxd.configure(dedicated);
  }
}

const isShared = ({ mode }: WqConfig): boolean => mode === 'shared';

function newIoasids({ name, pasids: capacity, ioasidTrace }: VmOptions): IoasidCore {
  const core = ioasidCreate({
    ...{ actor: name, ...ioasidTrace },
    ...(capacity === undefined ? {} : { capacity }),
  });
  assert(!isRefusal(core), `no IOASID core for ${name}: ${String(core)}`);
  return core;
}
