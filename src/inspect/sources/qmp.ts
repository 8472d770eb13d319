/**
 * A client of QEMU's machine protocol, over a UNIX socket (QEMU's interoperability manual, "QEMU Machine
 * Protocol Specification"): greeting, negotiation, commands with ids, and the human monitor's commands, whose
 * answers are text. Asynchronous events are passed over; out-of-band commands and file descriptors are left out.
 *
 * Commands may be sent without waiting for the answers to those before: QEMU reads on as it gets them done.
 */
import { stat } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { codeOf, EnvironmentError, InputError, type PlacedError, reasonOf } from '../errors.js';

/** How long an answer may take, in milliseconds. */
export interface QmpTimeouts {
  readonly greeting?: number;
  readonly answer?: number;
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly what: string;
}

/** Longer lines than this are none of QEMU's. */
const LINE_LIMIT = 1 << 24;

const GONE = 'QEMU closed the connection';

/** The longest path that a UNIX socket can have on Linux, in bytes. */
const PATH_LIMIT = 107;

export class QmpClient {
  /** What messages call the machine. */
  readonly name: string;
  readonly #socket: Socket;
  readonly #timeout: number;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  #text = '';
  #lost: PlacedError | undefined;
  #greeted: ((greeting: string) => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor(name: string, socket: Socket, timeout: number) {
    this.name = name;
    this.#socket = socket;
    this.#timeout = timeout;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#receive(text));
    // A connection that is cut with commands under way fails as broken or reset: it is closed all the same.
    socket.on('error', () => this.#lose(new EnvironmentError(name, GONE)));
    socket.on('close', () => this.#lose(new EnvironmentError(name, GONE)));
  }

  /**
   * Connects, and negotiates. On failure: an `EnvironmentError` where nobody answers, an `InputError` where
   * somebody does who is no QEMU.
   */
  static async connect(path: string, timeouts: QmpTimeouts = {}): Promise<QmpClient> {
    const name = `qmp:${path}`;
    if (Buffer.byteLength(path) > PATH_LIMIT) {
      throw new InputError(name, `a socket's path has ${PATH_LIMIT} bytes at most`);
    }
    const socket = await connected(name, path);
    const client = new QmpClient(name, socket, timeouts.answer ?? 10_000);
    try {
      await client.#greeting(timeouts.greeting ?? 5000);
      await client.execute('qmp_capabilities');
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  /** Whether the connection has gone. */
  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /**
   * Has QEMU execute a command.
   *
   * @returns what it returns. On failure: an `EnvironmentError`, also if QEMU refuses
   */
  execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    const id = ++this.#lastId;
    const what = typeof args['command-line'] === 'string' ? args['command-line'] : command;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, what });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
      if (this.#timer === undefined) this.#restart();
    });
  }

  /** Has the human monitor execute a line, and gives the text of its answer. */
  async monitor(line: string): Promise<string> {
    const answer = await this.execute('human-monitor-command', { 'command-line': line });
    if (typeof answer === 'string') return answer;
    throw new InputError(this.name, `the monitor answers ${line} with something that is no text`);
  }

  close(): void {
    this.#lose(new EnvironmentError(this.name, 'the connection is closed'));
  }

  async #greeting(timeout: number): Promise<void> {
    const line = await new Promise<string>((resolve, reject) => {
      this.#greeted = resolve;
      this.#pending.set(0, { resolve: () => {}, reject, what: 'the greeting' });
      this.#restart(timeout);
    });
    this.#greeted = undefined;
    this.#pending.delete(0);
    this.#restart();
    const message = parsed(line);
    if (message === undefined || !('QMP' in message)) {
      throw new InputError(this.name, `this is no QMP socket: it begins with ${shown(line)}`);
    }
  }

  #receive(text: string): void {
    this.#text += text;
    // A long answer comes in pieces. Events are no answer, however many there are of them.
    if (!text.includes('\n') && this.#pending.size > 0 && this.#greeted === undefined) this.#restart();
    this.#lines();
    if (this.#text.length > LINE_LIMIT) this.#lose(new InputError(this.name, 'this is no QMP socket'));
  }

  #lines(): void {
    let at = 0;
    for (;;) {
      const end = this.#text.indexOf('\n', at);
      if (end < 0) break;
      this.#line(this.#text.slice(at, end).trim());
      at = end + 1;
    }
    this.#text = this.#text.slice(at);
  }

  #line(line: string): void {
    if (this.#greeted !== undefined) {
      this.#greeted(line);
      this.#greeted = undefined;
      return;
    }
    const message = parsed(line);
    if (message === undefined) {
      if (line !== '') this.#lose(new InputError(this.name, `this is no QMP: ${shown(line)}`));
      return;
    }
    const id = message['id'];
    const pending = typeof id === 'number' ? this.#pending.get(id) : undefined;
    if (pending === undefined || typeof id !== 'number') return; // an event
    this.#pending.delete(id);
    this.#restart();
    if ('return' in message) pending.resolve(message['return']);
    else pending.reject(new EnvironmentError(this.name, `${pending.what}: ${refusalOf(message)}`));
  }

  /** Begins to count anew how long QEMU has been silent while something is wanted of it. */
  #restart(timeout = this.#timeout): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#pending.size === 0) return;
    this.#timer = setTimeout(() => this.#giveUp(this.#silence(timeout)), timeout);
  }

  #silence(timeout: number): PlacedError {
    const seconds = `${timeout / 1000} s`;
    if (this.#greeted === undefined) {
      const [pending] = this.#pending.values();
      return new EnvironmentError(
        this.name,
        `no answer to ${pending?.what ?? 'a command'} within ${seconds}`,
      );
    }
    if (this.#text !== '') {
      return new InputError(this.name, `this is no QMP socket: it begins with ${shown(this.#text)}`);
    }
    const why = 'another client holds this monitor, which serves one at a time, or it is no QMP socket';
    return new EnvironmentError(this.name, `no greeting within ${seconds}: ${why}`);
  }

  #lose(error: PlacedError): void {
    if (this.#lost !== undefined) return;
    this.#lost = error;
    this.#socket.destroy();
    this.#giveUp(error);
  }

  /** Nothing is expected any more of what was asked. The connection stays: a guest may have to be let go. */
  #giveUp(error: PlacedError): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

async function connected(name: string, path: string): Promise<Socket> {
  const socket = connect(path);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
  } catch (error) {
    const code = codeOf(error);
    const isSocket = await stat(path).then(
      (found) => found.isSocket(),
      () => true,
    );
    if (!isSocket) throw new InputError(name, 'this is no socket');
    throw new EnvironmentError(name, (code === undefined ? undefined : WHY[code]) ?? reasonOf(error));
  }
  socket.removeAllListeners('error');
  return socket;
}

/** Why a socket can't be connected to. */
const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ENOTDIR: 'there is no such socket',
  ECONNREFUSED: 'nobody listens on this socket: its QEMU is gone',
  EACCES: 'no permission to connect to this socket',
  EAGAIN: 'too many clients wait for this socket',
};

type Message = Readonly<Record<string, unknown>>;

function parsed(line: string): Message | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isMessage(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const isMessage = (value: unknown): value is Message => typeof value === 'object' && value !== null;

function refusalOf(message: Message): string {
  const error = message['error'];
  return isMessage(error) && typeof error['desc'] === 'string' ? error['desc'] : 'QEMU refuses';
}

const shown = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
