/**
 * What callers hold: a set, a holder, a controller, a user, a subscription. A handle never changes; what changes
 * about it is in the core's words, at its record. It names what it was made for and nothing else: when that is
 * gone, every call with it is `ENOENT`, also after its record serves another.
 */
import type { IoasidCore } from './core.js';
import type { IoasidNotifier } from './notifier.js';

/** An address space, as the token of a set of type `mm`: the object itself, so that it cannot be reused while the set has it. */
export interface IoasidToken {
  /** What tables call it: `vm1`, `pid 4711`. */
  readonly name: string;
}

export type IoasidSetType = 'none' | 'mm';

/** A partition of the ids with an owner. Made by `ioasidSetAlloc`. */
export class IoasidSet {
  readonly core: IoasidCore;
  /** @internal */
  readonly record: number;
  readonly type: IoasidSetType;
  readonly token: IoasidToken | undefined;

  /** @internal */
  constructor(core: IoasidCore, record: number, of: { type: IoasidSetType; token: IoasidToken | undefined }) {
    this.core = core;
    this.record = record;
    this.type = of.type;
    this.token = of.token;
  }

  /** What messages and tables call it. */
  get name(): string {
    return this.token === undefined ? `set ${this.record}` : `set ${this.record} (${this.token.name})`;
  }
}

/** Whatever has a name and a record. Each kind says which it is, so that one is not taken for another. */
class Named {
  readonly core: IoasidCore;
  /** @internal */
  readonly record: number;
  readonly name: string;

  /** @internal */
  constructor(core: IoasidCore, record: number, name: string) {
    this.core = core;
    this.record = record;
    this.name = name;
  }
}

/** In whose name references are held and work is done: `kvm:vm1`, `iommu0`, `vdcm:vdev3`. Made by `ioasidHolderAlloc`. */
export class IoasidHolder extends Named {
  readonly kind = 'holder';
  /** Wakes whoever does its work. */
  readonly wake: (() => void) | undefined;

  /** @internal */
  constructor(core: IoasidCore, record: number, of: { name: string; wake: (() => void) | undefined }) {
    super(core, record, of.name);
    this.wake = of.wake;
  }
}

/** A node of the hierarchy that charges ids, as a cgroup does. Made by `ioasidControllerAlloc`; its name is its path. */
export class IoasidController extends Named {
  readonly kind = 'controller';
}

/** Somebody whose sets together have a limit, as an rlimit is. Made by `ioasidUserAlloc`. */
export class IoasidUser extends Named {
  readonly kind = 'user';
}

/** A notifier on a chain, or waiting for the set of its token. Made by `ioasidRegisterNotifier` and its like. */
export class IoasidSubscription {
  readonly core: IoasidCore;
  /** @internal */
  readonly record: number;
  readonly notifier: IoasidNotifier;
  /** The token that it was registered for. */
  readonly token: IoasidToken | undefined;

  /** @internal */
  constructor(
    core: IoasidCore,
    record: number,
    of: { notifier: IoasidNotifier; token: IoasidToken | undefined },
  ) {
    this.core = core;
    this.record = record;
    this.notifier = of.notifier;
    this.token = of.token;
  }
}
