/**
 * A guest that is stopped while somebody looks, and goes on afterwards, however looking ends: when the work is
 * done, when it fails, when the user interrupts it, when the program breaks down. A guest that did not run is left
 * as it is. Nothing helps it where the program is killed outright.
 */
import { EnvironmentError, PlacedError } from '../errors.js';
import type { QmpClient } from './qmp.js';

/** What ends a program and leaves it time to tidy up, with the exit code that shells give to it. */
const EXIT = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const;

export type Signal = keyof typeof EXIT;

const SIGNALS: readonly Signal[] = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'];

/** What `process` tells of its end: that it is asked to, or, last of all, that it does. */
export type Ending = Signal | 'exit';

/** The part of `process` through which a program learns that it is to end. */
export interface Endings {
  on(name: Ending, listener: () => void): unknown;
  off(name: Ending, listener: () => void): unknown;
  exit(code: number): void;
}

export class Pause {
  readonly #client: QmpClient;
  readonly #endings: Endings;
  readonly #listeners = new Map<Ending, () => void>();
  #ended: Promise<void> | undefined;

  private constructor(client: QmpClient, endings: Endings) {
    this.#client = client;
    this.#endings = endings;
  }

  /**
   * Stops a guest, if it runs. On failure it has been told to go on.
   *
   * @returns what lets it go on
   */
  static async begin(client: QmpClient, endings: Endings): Promise<Pause> {
    const pause = new Pause(client, endings);
    if (!(await isRunning(client))) {
      pause.#ended = Promise.resolve();
      return pause;
    }
    for (const name of SIGNALS) pause.#listen(name, () => void pause.#interrupted(name));
    pause.#listen('exit', () => pause.#abandon());
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

  #listen(name: Ending, listener: () => void): void {
    this.#listeners.set(name, listener);
    this.#endings.on(name, listener);
  }

  /** The last that a program does which has run into an error that nobody caught. */
  #abandon(): void {
    // There is no time to wait for the answer: the socket takes the command at once, and QEMU reads it later.
    this.#client.execute('cont').catch(() => undefined);
  }

  async #resume(): Promise<void> {
    // Whoever lost QEMU on the way has been told so, and nobody is left who could let the guest go on.
    try {
      if (!this.#client.isLost) await this.#client.execute('cont');
    } catch (error) {
      const why = error instanceof PlacedError ? error.what : String(error);
      throw new EnvironmentError(this.#client.name, `${why}; the guest may still be stopped`);
    } finally {
      for (const [name, listener] of this.#listeners) this.#endings.off(name, listener);
    }
  }

  /** Further signals are ignored until the guest goes on, which takes as long as QEMU may take to answer. */
  async #interrupted(name: Signal): Promise<void> {
    await this.end().catch(() => undefined);
    this.#client.close();
    this.#endings.exit(EXIT[name]);
  }
}

async function isRunning(client: QmpClient): Promise<boolean> {
  const status = await client.execute('query-status');
  return typeof status === 'object' && status !== null && 'running' in status && status.running === true;
}
