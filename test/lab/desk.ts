/**
 * The desk at which suites borrow guests. Suites run in processes of their own, and their guests must outlive them
 * and be shared; so the machines belong to the test runner's main process, and suites ask it over a socket.
 *
 * A request is one line of JSON, a `Request`; so is the answer, an `Answer`, to `lend` alone. A guest is lent to one
 * suite at a time (its QMP socket serves one client), until that suite closes its connection or dies.
 *
 * @module
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Guest, type Kind, Machines } from './machines.js';

/** `boot`: begin now, so that it is up when it is borrowed. `lend`: borrow. */
export interface Request {
  readonly ask: 'boot' | 'lend';
  readonly kind: Kind;
}

export type Answer = { readonly guest: Guest } | { readonly error: string };

export class Desk {
  /** Path of the socket to ask at. */
  readonly path: string;
  readonly #machines: Machines;
  readonly #server: Server;
  readonly #visitors = new Set<Socket>();
  /** For each kind, when the last who queued for it is done with it. */
  readonly #queues = new Map<Kind, Promise<unknown>>();

  private constructor(folder: string) {
    this.path = join(mkdtempSync(join(tmpdir(), 'ioasis-lab-')), 'desk');
    this.#machines = new Machines(folder);
    this.#server = createServer((visitor) => void this.#serve(visitor));
    // A second Ctrl-C ends the test runner without a `close`; the machines then end by themselves.
    process.once('exit', this.#sweep);
  }

  /** Opens a desk for the lab in `folder`. */
  static async open(folder: string): Promise<Desk> {
    const desk = new Desk(folder);
    desk.#server.listen(desk.path);
    await once(desk.#server, 'listening');
    return desk;
  }

  /** Ends all machines and takes no more requests. */
  async close(): Promise<void> {
    this.#server.close();
    for (const visitor of this.#visitors) visitor.destroy();
    await this.#machines.end();
    this.#sweep();
    process.off('exit', this.#sweep);
  }

  readonly #sweep = (): void => {
    this.#machines.removeLogs();
    rmSync(dirname(this.path), { recursive: true, force: true });
  };

  async #serve(visitor: Socket): Promise<void> {
    this.#visitors.add(visitor);
    const done = new Promise<void>((resolve) => visitor.once('close', () => resolve()));
    void done.then(() => this.#visitors.delete(visitor));
    visitor.on('error', () => undefined); // `close` follows
    for await (const line of createInterface(visitor)) {
      const request: Request = JSON.parse(line);
      void this.#machines.get(request.kind).catch(() => undefined);
      if (request.ask === 'lend') await this.#lend(visitor, request.kind, done);
    }
    visitor.end();
  }

  async #lend(visitor: Socket, kind: Kind, done: Promise<void>): Promise<void> {
    const before = this.#queues.get(kind);
    this.#queues.set(kind, Promise.all([before, done]));
    await before;
    const answer: Answer = await this.#machines.get(kind).then(
      (guest) => ({ guest }),
      (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
    );
    if (!visitor.destroyed) visitor.write(`${JSON.stringify(answer)}\n`);
  }
}
