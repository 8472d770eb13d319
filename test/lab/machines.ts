/**
 * The machines of one test run: each kind is booted when first asked for, at most two at a time, and all end
 * together. Boots by `lab/lab boot`, whose help says what a kind is.
 *
 * @module
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export type Kind = 'vtd' | 'vtd-second' | 'vtd-legacy' | 'amd' | 'smmuv3';

/** A guest that is up. */
export interface Guest {
  readonly kind: Kind;
  /** Path of the machine's QMP socket, which serves one client at a time. */
  readonly qmp: string;
  /** Path of the log of the guest's console. */
  readonly console: string;
}

const LAB = join(import.meta.dirname, '../../lab/lab');

/** A software-emulated boot keeps a core busy, and a small machine has two. */
const BOOTS_AT_A_TIME = 2;

/** How long a machine is given to end before it is killed, in milliseconds. */
const GRACE = 10_000;

/** The lab's folder, or in one line why no guest can be booted here. */
export function findLab(): { readonly folder: string } | { readonly missing: string } {
  if (process.getuid?.() !== 0) return { missing: 'booting needs root' };
  const { status, stdout, stderr, error } = spawnSync('bash', [LAB, 'where'], { encoding: 'utf8' });
  if (error !== undefined) return { missing: error.message };
  return status === 0 ? { folder: stdout.trim() } : { missing: stderr.trim() };
}

export class Machines {
  readonly #folder: string;
  readonly #guests = new Map<Kind, Promise<Guest>>();
  readonly #processes = new Set<ChildProcess>();
  readonly #logs = new Set<string>();
  readonly #waiting: (() => void)[] = [];
  #booting = 0;
  #isEnding = false;

  /** `folder` is the lab's, as `findLab` says. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The one guest of a kind, once it is up. Rejects with what `lab/lab boot` says if it does not come up. */
  get(kind: Kind): Promise<Guest> {
    let guest = this.#guests.get(kind);
    if (guest === undefined) {
      guest = this.#inTurn(() => this.#boot(kind));
      // Whoever asks hears of it; a boot that was only begun ahead must not end the run.
      guest.catch(() => undefined);
      this.#guests.set(kind, guest);
    }
    return guest;
  }

  /** Ends every machine, also those that are still booting, and waits for that. */
  async end(): Promise<void> {
    this.#isEnding = true;
    for (const next of this.#waiting.splice(0)) next();
    await Promise.all([...this.#processes].map(endProcess));
    this.removeLogs();
  }

  /** Removes the logs of the guests that ran; that of a boot that failed is left for whoever looks into it. */
  removeLogs(): void {
    for (const log of this.#logs) rmSync(log, { force: true });
  }

  async #inTurn(boot: () => Promise<Guest>): Promise<Guest> {
    if (this.#booting === BOOTS_AT_A_TIME) await new Promise<void>((go) => this.#waiting.push(go));
    else this.#booting++;
    try {
      if (this.#isEnding) throw new Error('the run is ending');
      return await boot();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#booting--;
      else next();
    }
  }

  async #boot(kind: Kind): Promise<Guest> {
    const name = `test-${process.pid}-${kind}`;
    const stem = join(this.#folder, 'root/tmp', name);
    const guest: Guest = { kind, qmp: `${stem}.qmp`, console: `${stem}.log` };
    // The parent-death signal ends the machine even if this process is killed and ends nothing itself.
    const command = ['--pdeathsig', 'TERM', 'bash', LAB, 'boot', kind, name];
    const env = { ...process.env, IOASIS_LAB: this.#folder };
    const boot = spawn('setpriv', command, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#processes.add(boot);
    this.#logs.add(guest.console);
    boot.once('close', () => this.#processes.delete(boot));
    try {
      await isUp(boot);
    } catch (error) {
      if (!this.#isEnding) this.#logs.delete(guest.console);
      throw new Error(`${error instanceof Error ? error.message : error} (console: ${guest.console})`);
    }
    return guest;
  }
}

/** Waits until a boot says that its guest is up; it has a bound of its own for that. */
async function isUp(boot: ChildProcess): Promise<void> {
  const complaints: string[] = [];
  const { stdout, stderr } = boot;
  if (stdout === null || stderr === null) throw new Error('a boot without its streams');
  createInterface(stderr).on('line', (line) => complaints.push(line));
  await new Promise<void>((resolve, reject) => {
    createInterface(stdout).on('line', (line) => {
      if (/ is up after \d+ s$/.test(line)) resolve();
    });
    boot.once('error', reject);
    boot.once('close', (code, signal) => {
      const why = complaints.findLast((line) => line.startsWith('lab: ')) ?? complaints.at(-1);
      reject(new Error(why ?? `lab/lab boot ended by ${signal ?? `exit code ${code}`}`));
    });
  });
}

async function endProcess(process: ChildProcess): Promise<void> {
  const ended = once(process, 'close');
  process.kill('SIGTERM');
  const killer = setTimeout(() => process.kill('SIGKILL'), GRACE);
  await ended;
  clearTimeout(killer);
}
