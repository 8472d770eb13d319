/**
 * A guest that is stopped while somebody looks, and goes on afterwards, however looking ends: when the work is
 * done, when it fails, when the user interrupts it. A guest that did not run is left as it is.
 */
import { EnvironmentError, PlacedError } from '../errors.js';
import type { QmpClient } from './qmp.js';

/** The part of `process` through which a program learns that it is to end. */
export interface Signals {
  on(name: Signal, listener: () => void): unknown;
  off(name: Signal, listener: () => void): unknown;
  exit(code: number): void;
}

/** What ends a program and leaves it time to tidy up, with the exit code that shells give to it. */
const EXIT = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

export type Signal = keyof typeof EXIT;

const NAMES: readonly Signal[] = ['SIGHUP', 'SIGINT', 'SIGTERM'];

export class Pause {
  readonly #client: QmpClient;
  readonly #signals: Signals;
  readonly #listeners = new Map<Signal, () => void>();
  #ended: Promise<void> | undefined;

  private constructor(client: QmpClient, signals: Signals) {
    this.#client = client;
    this.#signals = signals;
  }

  /**
   * Stops a guest, if it runs. On failure it has been told to go on.
   *
   * @returns what lets it go on
   */
  static async begin(client: QmpClient, signals: Signals): Promise<Pause> {
    const pause = new Pause(client, signals);
    if (!(await isRunning(client))) {
      pause.#ended = Promise.resolve();
      return pause;
    }
    for (const name of NAMES) {
      const listener = (): void => void pause.#interrupted(name);
      pause.#listeners.set(name, listener);
      signals.on(name, listener);
    }
    try {
      await client.execute('stop');
    } catch (error) {
      await pause.end();
      throw error;
    }
    return pause;
  }

  /**
   * Lets the guest go on. May be called more than once, and when QEMU is gone.
   *
   * On failure: an `EnvironmentError` that says that the guest may stand still.
   */
  end(): Promise<void> {
    this.#ended ??= this.#resume();
    return this.#ended;
  }

  async #resume(): Promise<void> {
    // Whoever lost QEMU on the way has been told so, and nobody is left who could let the guest go on.
    try {
      if (!this.#client.isLost) await this.#client.execute('cont');
    } catch (error) {
      const why = error instanceof PlacedError ? error.what : String(error);
      throw new EnvironmentError(this.#client.name, `${why}; the guest may still be stopped`);
    } finally {
      for (const [name, listener] of this.#listeners) this.#signals.off(name, listener);
    }
  }

  /** Further signals are ignored until the guest goes on, which takes as long as QEMU may take to answer. */
  async #interrupted(name: Signal): Promise<void> {
    await this.end().catch(() => undefined);
    this.#client.close();
    this.#signals.exit(EXIT[name]);
  }
}

async function isRunning(client: QmpClient): Promise<boolean> {
  const status = await client.execute('query-status');
  return typeof status === 'object' && status !== null && 'running' in status && status.running === true;
}
