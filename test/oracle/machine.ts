/**
 * The lab's QEMU as an oracle: a q35 machine without a running CPU (`-accel qtest`), a VT-d unit of a chosen kind,
 * and four devices that do DMA when told to. Of each kind of device one stands in each half of the scalable-mode
 * context tables. There is no firmware, so the devices' BARs are placed here.
 *
 * `iommu-testdev` writes a pattern to an address, and says whether it could. `edu` copies from an address into a
 * buffer of its own, and from the buffer to an address; a failed read leaves zeros.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Qtest } from './qtest.js';

/** A kind of unit: the options of QEMU's `intel-iommu`. */
export interface Kind {
  readonly name: string;
  readonly options: string;
  /** What its tables are: a scalable unit is judged with scalable tables. */
  readonly mode: 'legacy' | 'second-stage' | 'first-stage';
}

export const KINDS: readonly Kind[] = [
  { name: 'legacy', mode: 'legacy', options: '' },
  {
    name: 'legacy, 39 bits, device TLBs, caching mode',
    mode: 'legacy',
    options: ',aw-bits=39,device-iotlb=on,caching-mode=on',
  },
  { name: 'second stage', mode: 'second-stage', options: ',scalable-mode=on' },
  {
    name: 'second stage, 39 bits, snoop control',
    mode: 'second-stage',
    options: ',scalable-mode=on,aw-bits=39,snoop-control=on',
  },
  {
    name: 'second stage, device TLBs, transient mappings',
    mode: 'second-stage',
    options: ',scalable-mode=on,device-iotlb=on,stale-tm=on',
  },
  { name: 'first stage', mode: 'first-stage', options: ',scalable-mode=on,fsts=on' },
  {
    name: 'first stage, no 1 GiB pages, PASIDs, page requests',
    mode: 'first-stage',
    options: ',scalable-mode=on,fsts=on,fs1gp=off,pasid-bits=20,device-iotlb=on,svm=on',
  },
];

/** Where the registers of the unit are (Q35). */
export const UNIT_BASE = 0xfed9_0000n;
/** The size of its memory, in frames, and the hole in it: what a PC keeps for graphics and firmware. */
export const RAM_FRAMES = 0x1_0000;
export const HOLE = { first: 0xa0, end: 0x100 };

/** A device, as the case names it by its place in {@link DEVICES}. */
export interface Device {
  readonly kind: 'iommu-testdev' | 'edu';
  readonly rid: number;
  readonly bar: bigint;
}

export const DEVICES: readonly Device[] = [
  { kind: 'iommu-testdev', rid: 0x18, bar: 0xe000_0000n },
  { kind: 'iommu-testdev', rid: 0x88, bar: 0xe010_0000n },
  { kind: 'edu', rid: 0x20, bar: 0xe020_0000n },
  { kind: 'edu', rid: 0x90, bar: 0xe030_0000n },
];

/** How long QEMU has to open its socket, in milliseconds. */
const PATIENCE = 10_000;
const COMMAND_OFFSET = 4;
const BAR_OFFSET = 0x10;
const MEMORY_AND_MASTER = 6;

export class OracleMachine {
  readonly kind: Kind;
  readonly qtest: Qtest;
  /** As QEMU's unit has them: ours gets the same. */
  readonly cap: bigint;
  readonly ecap: bigint;
  readonly #process: ChildProcess;
  readonly #socket: string;

  private constructor(
    parts: { kind: Kind; qtest: Qtest; process: ChildProcess; socket: string },
    caps: bigint[],
  ) {
    this.kind = parts.kind;
    this.qtest = parts.qtest;
    this.#process = parts.process;
    this.#socket = parts.socket;
    [this.cap, this.ecap] = [caps[0] ?? 0n, caps[1] ?? 0n];
  }

  /**
   * Starts QEMU.
   *
   * @param folder the lab's
   * @param name of the socket, of one word; of one machine at a time
   */
  static async start(folder: string, name: string, kind: Kind): Promise<OracleMachine> {
    const root = join(folder, 'root');
    const socket = join(root, 'tmp', `${name}.qtest`);
    rmSync(socket, { force: true });
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'chroot', root, ...commandLine(name, kind)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const complaints: string[] = [];
    child.stderr.on('data', (text) => complaints.push(String(text)));
    const until = performance.now() + PATIENCE;
    const ended = once(child, 'close').then(([code, signal]) => {
      throw new Error(
        `QEMU ended by ${signal ?? `exit code ${code}`}: ${complaints.slice(-3).join('').trim()}`,
      );
    });
    ended.catch(() => undefined);
    const qtest = await Promise.race([connected(socket, until), ended]);
    ended.catch((error: Error) => qtest.fail(error));
    placeDevices(qtest);
    const caps = await Promise.all([0x8n, 0x10n].map((at) => qtest.ask(`readq ${hex(UNIT_BASE + at)}`)));
    return new OracleMachine({ kind, qtest, process: child, socket }, caps.map(BigInt));
  }

  /** Ends QEMU and waits for that. */
  async end(): Promise<void> {
    this.qtest.fail(new Error('the machine is ended'));
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const closed = once(this.#process, 'close');
      this.#process.kill('SIGKILL');
      await closed;
    }
    rmSync(this.#socket, { force: true });
  }
}

const commandLine = (name: string, { options }: Kind): string[] => [
  ...[
    'qemu-system-x86_64',
    '-accel',
    'qtest',
    '-machine',
    'q35',
    '-nodefaults',
    '-display',
    'none',
    '-m',
    '256',
  ],
  ...['-device', `intel-iommu,intremap=off${options}`],
  ...DEVICES.flatMap(({ kind, rid }) => ['-device', deviceOption(kind, rid)]),
  ...['-qtest', `unix:/tmp/${name}.qtest,server=on,wait=off`, '-qtest-log', '/dev/null'],
];

const deviceOption = (kind: string, rid: number): string =>
  `${kind},addr=${(rid >> 3).toString(16)}.${rid & 7}${kind === 'edu' ? ',dma_mask=0xffffffffffffffff' : ''}`;

/** Connects as soon as QEMU listens. */
async function connected(path: string, until: number): Promise<Qtest> {
  for (;;) {
    try {
      return await Qtest.connect(path);
    } catch (error) {
      if (performance.now() > until) throw new Error(`QEMU does not listen at ${path}: ${error}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** Gives the devices their BARs, and lets them answer and do DMA; by the PC's configuration ports. */
function placeDevices(qtest: Qtest): void {
  for (const { rid, bar } of DEVICES) {
    const config = (offset: number): string => hex(0x8000_0000n + BigInt(rid * 256 + offset));
    qtest.tell(`outl 0xcf8 ${config(BAR_OFFSET)}`);
    qtest.tell(`outl 0xcfc ${hex(bar)}`);
    qtest.tell(`outl 0xcf8 ${config(COMMAND_OFFSET)}`);
    qtest.tell(`outw 0xcfc ${MEMORY_AND_MASTER}`);
  }
}

export const hex = (value: bigint): string => `0x${value.toString(16)}`;
