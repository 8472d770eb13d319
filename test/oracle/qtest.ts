/**
 * A client of QEMU's qtest protocol (QEMU's documentation, "QTest device emulation testing framework"): lines of
 * text over a socket, a command each, answered in order; in between, lines that tell of interrupts. Commands may
 * be sent before the answers to those before them have come, and are: an answer each would cost a turn each.
 *
 * Every wait has a bound. When QEMU ends or says that a command failed, all who wait hear why.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** How long a command may take, unless said otherwise, in milliseconds. */
const PATIENCE = 20_000;

interface Waiting {
  readonly command: string;
  readonly resolve: (answer: string) => void;
  readonly reject: (error: Error) => void;
}

export class Qtest {
  readonly #socket: Socket;
  readonly #patience: number;
  readonly #waiting: Waiting[] = [];
  /** Lines to be sent in one piece. */
  #outgoing: string[] = [];
  #failure: Error | undefined;
  #alarm: NodeJS.Timeout | undefined;

  private constructor(socket: Socket, patience: number) {
    this.#socket = socket;
    this.#patience = patience;
    createInterface(socket).on('line', (line) => this.#receive(line));
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('QEMU has closed its qtest socket')));
  }

  /**
   * Connects to the socket at `path`, which has to be listening.
   *
   * @param patience how long one command may take, those before it included, in milliseconds
   */
  static async connect(path: string, patience = PATIENCE): Promise<Qtest> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new Qtest(socket, patience);
  }

  /**
   * Sends a command, and what it answers after `OK`. Commands of one turn of the event loop travel together, in
   * the order of the calls.
   */
  ask(command: string): Promise<string> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => this.#queue({ command, resolve, reject }));
  }

  /** Sends a command whose answer says nothing; that it failed is told to whoever asks next, or waits already. */
  tell(command: string): void {
    if (this.#failure !== undefined) return;
    this.#queue({ command, resolve: () => {}, reject: (error) => this.fail(error) });
  }

  /** Gives up: all who wait are told why. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    clearTimeout(this.#alarm);
    this.#socket.destroy();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #queue(waiting: Waiting): void {
    if (this.#outgoing.length === 0) setImmediate(() => this.#send());
    this.#outgoing.push(waiting.command);
    this.#waiting.push(waiting);
  }

  #send(): void {
    if (this.#failure !== undefined) return;
    this.#socket.write(`${this.#outgoing.join('\n')}\n`);
    this.#outgoing = [];
    this.#watch();
  }

  #receive(line: string): void {
    if (line.startsWith('IRQ ')) return;
    const waiting = this.#waiting.shift();
    if (waiting === undefined) {
      this.fail(new Error(`QEMU answers what nobody asked: ${line}`));
      return;
    }
    this.#watch();
    if (line === 'OK' || line.startsWith('OK ')) waiting.resolve(line.slice(3));
    else waiting.reject(new Error(`QEMU refuses '${shown(waiting.command)}': ${line}`));
  }

  /** Sets the alarm anew. */
  #watch(): void {
    clearTimeout(this.#alarm);
    const [next] = this.#waiting;
    if (next === undefined) return;
    this.#alarm = setTimeout(() => {
      this.fail(
        new Error(`QEMU has not answered '${shown(next.command)}' within ${this.#patience / 1000} s`),
      );
    }, this.#patience);
  }
}

const shown = (command: string): string => (command.length > 80 ? `${command.slice(0, 80)}…` : command);
