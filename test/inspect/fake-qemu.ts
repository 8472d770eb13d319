/**
 * A QMP server that plays a machine with an Intel IOMMU, as far as a reader of tables can tell, and remembers
 * what it was asked. A test may have it misbehave at any command.
 *
 * @module
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/**
 * What a test has the machine do instead of answering: drop the connection, stay silent, send a line as it is, refuse.
 */
export type Misdeed = 'drop' | 'silence' | { readonly line: string } | { readonly refusal: string };

export const GREETING = '{"QMP": {"version": {"qemu": {"major": 11}}, "capabilities": ["oob"]}}';

/** What `info mtree -f` prints, cut down: 16 MiB of memory with a hole of one frame, and a device behind it. */
export const REGIONS = [
  'FlatView #0',
  ' AS "I/O", root: io',
  ' Root memory region: io',
  '  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan',
  '',
  'FlatView #1',
  ' AS "memory", root: system',
  ' AS "cpu-memory-0", root: system',
  ' Root memory region: system',
  '  0000000000000000-000000000000bfff (prio 0, ram): pc.ram',
  '  000000000000d000-0000000000ffffff (prio 0, ram): pc.ram @000000000000d000',
  '  00000000fea00000-00000000feafffff (prio 1, i/o): edu-mmio',
  '  00000000fed90000-00000000fed9022f (prio 0, i/o): intel_iommu',
  '',
].join('\r\n');

/** Where the registers lie, as {@link REGIONS} says. */
const UNIT = 0xfed9_0000;
const UNIT_WORDS = 0x230 / 4;

export class FakeQemu {
  readonly path: string;
  /** Commands as they came; a line of the human monitor stands for itself. */
  readonly asked: string[] = [];
  /** By command or line of the monitor. */
  readonly misdeeds = new Map<string, Misdeed>();
  /** Frames that are not zero, by number. */
  readonly frames = new Map<number, Int32Array>();
  readonly registers = new Int32Array(UNIT_WORDS);
  greeting: string | undefined = `${GREETING}\r\n`;
  regions = REGIONS;
  isRunning = true;
  readonly #folder = mkdtempSync(join(tmpdir(), 'fake-qemu-'));
  readonly #server: Server;
  readonly #clients = new Set<Socket>();

  private constructor() {
    this.path = join(this.#folder, 'qmp');
    this.#server = createServer((client) => this.#serve(client));
    // CAP: 48-bit second stages, records at 0x220; ECAP: queued invalidation, IVA at 0xf0.
    this.registers.set([0x10, 0, 0x222f_0606, 0x0000_0000, 0x0000_0f02, 0, 0, 0x4000_0000, 0x0000_3000, 0]);
  }

  static async start(): Promise<FakeQemu> {
    const machine = new FakeQemu();
    machine.#server.listen(machine.path);
    await once(machine.#server, 'listening');
    return machine;
  }

  async end(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    if (this.#server.listening) {
      this.#server.close();
      await once(this.#server, 'close');
    }
    rmSync(this.#folder, { recursive: true });
  }

  /** How many clients are connected. */
  get clients(): number {
    return this.#clients.size;
  }

  #serve(client: Socket): void {
    this.#clients.add(client);
    client.on('close', () => this.#clients.delete(client));
    client.on('error', () => undefined);
    if (this.greeting !== undefined) client.write(this.greeting);
    createInterface(client).on('line', (line) => {
      const { execute, arguments: args = {}, id } = JSON.parse(line);
      this.#execute(client, { command: args['command-line'] ?? execute, id });
    });
  }

  #execute(client: Socket, { command, id }: { command: string; id: number }): void {
    this.asked.push(command);
    const misdeed = this.misdeeds.get(command);
    if (misdeed === 'silence') return;
    if (misdeed === 'drop') return void client.destroy();
    if (misdeed === undefined)
      return void client.write(`${JSON.stringify({ return: this.#answer(command), id })}\r\n`);
    if ('line' in misdeed) return void client.write(`${misdeed.line}\r\n`);
    client.write(`${JSON.stringify({ error: { class: 'GenericError', desc: misdeed.refusal }, id })}\r\n`);
  }

  #answer(command: string): unknown {
    if (command === 'query-status') {
      return { status: this.isRunning ? 'running' : 'paused', running: this.isRunning };
    }
    if (command === 'stop') this.isRunning = false;
    if (command === 'cont') this.isRunning = true;
    if (command === 'info mtree -f') return this.regions;
    const dump = /^xp \/(\d+)wx 0x([0-9a-f]+)$/.exec(command);
    return dump === null ? {} : this.#dump(Number.parseInt(dump[2] ?? '', 16), Number(dump[1]));
  }

  #dump(address: number, count: number): string {
    const lines: string[] = [];
    for (let i = 0; i < count; i += 4) {
      const words = [0, 1, 2, 3].map((k) =>
        this.#word(address + (i + k) * 4)
          .toString(16)
          .padStart(8, '0'),
      );
      lines.push(`${(address + i * 4).toString(16).padStart(8, '0')}: 0x${words.join(' 0x')}\r\n`);
    }
    return lines.join('');
  }

  #word(address: number): number {
    const inUnit = address - UNIT;
    const from =
      inUnit >= 0 ? this.registers[inUnit / 4] : this.frames.get(address >>> 12)?.[(address & 0xfff) / 4];
    return (from ?? 0) >>> 0;
  }
}
