import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeQemu, type Misdeed } from '../../../test/inspect/fake-qemu.js';
import { ABSENT, FRAME_WORDS } from '../../hardware/index.js';
import { EnvironmentError, InputError } from '../errors.js';
import type { Ending, Endings } from './pause.js';
import { openQemu, type QemuOptions } from './qemu.js';
import { type LiveSource, settle } from './source.js';

const REGISTERS = 'xp /140wx 0xfed90000';
const frameAt = (address: string): string => `xp /1024wx ${address}`;

/** A process that signals can be sent to, and that notes how it would have ended. */
class FakeProcess implements Endings {
  readonly listeners = new Map<Ending, () => void>();
  readonly codes: number[] = [];
  on(name: Ending, listener: () => void): void {
    this.listeners.set(name, listener);
  }
  off(name: Ending): void {
    this.listeners.delete(name);
  }
  exit(code: number): void {
    this.codes.push(code);
  }
}

let machine: FakeQemu;
let process: FakeProcess;
beforeEach(async () => {
  machine = await FakeQemu.start();
  process = new FakeProcess();
});
afterEach(() => machine.end());

const open = (options: QemuOptions = {}): Promise<LiveSource> =>
  openQemu(machine.path, { endings: process, ...options });

/** The first word of each frame, read as a walk would. */
const firstWords = (source: LiveSource, frames: readonly number[]): Promise<(number | undefined)[]> =>
  settle(source, () =>
    frames.map((frame) => {
      const at = source.memory.at(frame, 0);
      return at === ABSENT ? undefined : source.memory.words[at];
    }),
  );

describe('a guest', () => {
  test('is stopped before its registers are read, and goes on when it is let go', async () => {
    machine.frames.set(3, new Int32Array(FRAME_WORDS).fill(-2));
    const source = await open();
    expect(await firstWords(source, [3, 4])).toEqual([-2, 0]);
    await source.close();
    expect(machine.asked).toEqual([
      ...['qmp_capabilities', 'info mtree -f', 'query-status', 'stop', REGISTERS],
      ...[frameAt('0x3000'), frameAt('0x4000'), 'cont'],
    ]);
    expect(machine.isRunning).toBe(true);
    await expect.poll(() => machine.clients).toBe(0);
  });

  test('that was paused stays paused', async () => {
    machine.isRunning = false;
    const source = await open();
    await source.close();
    expect(machine.asked.slice(2)).toEqual(['query-status', REGISTERS]);
    expect(machine.isRunning).toBe(false);
  });

  test('may be left running, and is asked again what has changed', async () => {
    const source = await open({ running: true });
    await firstWords(source, [9, 3, 5]);
    machine.frames.set(9, new Int32Array(FRAME_WORDS).fill(1));
    machine.frames.set(5, new Int32Array(FRAME_WORDS).fill(2));
    expect(await source.readAgain()).toEqual([5, 9]);
    expect(await firstWords(source, [9, 3, 5])).toEqual([1, 0, 2]);
    expect(await source.readAgain()).toEqual([]);
    await source.close();
    expect(machine.asked.filter((each) => ['query-status', 'stop', 'cont'].includes(each))).toEqual([]);
  });

  test('goes on once, however often it is let go', async () => {
    const source = await open();
    await Promise.all([source.close(), source.close()]);
    await source.close();
    expect(machine.asked.filter((each) => each === 'cont')).toHaveLength(1);
  });
});

describe('registers', () => {
  test('are those that the unit has by CAP and ECAP', async () => {
    machine.registers.set([1, 2, 3, -1], 0x220 / 4);
    const { registers, close } = await open().then((source) => ({
      registers: source.registers,
      close: () => source.close(),
    }));
    expect(registers.values.get('CAP')).toBe(0x222f0606n);
    expect(registers.values.get('GSTS')).toBe(0x4000_0000n);
    expect(registers.values.get('RTADDR')).toBe(0x3000n);
    expect(registers.values.has('IQA')).toBe(true);
    expect(registers.values.has('PQA')).toBe(false);
    expect(registers.faultRecords).toEqual([0xffffffff_00000003_00000002_00000001n]);
    await close();
  });

  test('of faults are not recorded where they lie outside of the region', async () => {
    machine.registers[2] = 0x232f_0606;
    const source = await open();
    expect(source.registers.faultRecords).toBeUndefined();
    await source.close();
  });
});

describe('frames', () => {
  test('that are no memory are never asked for', async () => {
    const source = await open();
    const nowhere = [0xc, 0xfea00, 0xfed90, 0x1000, 2 ** 40 - 1];
    expect(await firstWords(source, nowhere)).toEqual(nowhere.map(() => undefined));
    await source.close();
    expect(machine.asked.filter((each) => each.startsWith('xp'))).toEqual([REGISTERS]);
  });

  test('that QEMU cannot read are absent', async () => {
    machine.misdeeds.set(frameAt('0x5000'), {
      line: '{"return": "00005000: Cannot access memory\\r\\n", "id": 6}',
    });
    const source = await open();
    expect(await firstWords(source, [5])).toEqual([undefined]);
    await source.close();
  });
});

describe('when reading fails', () => {
  const garbled: Misdeed = { line: '{"return": "nonsense", "id": 5}' };

  test.each([
    { at: 'stop', misdeed: { refusal: 'no' }, why: 'stop: no' },
    { at: REGISTERS, misdeed: { refusal: 'no' }, why: `${REGISTERS}: no` },
    { at: REGISTERS, misdeed: 'silence', why: `no answer to ${REGISTERS} within 0.2 s` },
    { at: REGISTERS, misdeed: garbled, why: `the answer to ${REGISTERS} is no dump of memory` },
  ] as const)('at $at with $misdeed, the guest goes on', async ({ at, misdeed, why }) => {
    machine.misdeeds.set(at, misdeed);
    const timeouts = misdeed === 'silence' ? { answer: 200 } : {};
    await expect(open({ timeouts })).rejects.toEqual(new EnvironmentError(`qmp:${machine.path}`, why));
    expect(machine.asked.at(-1)).toBe('cont');
    expect(machine.isRunning).toBe(true);
    expect(process.listeners.size).toBe(0);
    await expect.poll(() => machine.clients).toBe(0);
  });

  test('because QEMU has gone, letting go of it is no second failure', async () => {
    machine.misdeeds.set(frameAt('0x3000'), 'drop');
    const source = await open();
    await expect(firstWords(source, [3])).rejects.toThrow('QEMU closed the connection');
    await source.close();
    expect(process.listeners.size).toBe(0);
  });

  test('to let the guest go on, it says so', async () => {
    machine.misdeeds.set('cont', { refusal: 'it was shut down' });
    const source = await open();
    await expect(source.close()).rejects.toThrow('it was shut down; the guest may still be stopped');
    await expect.poll(() => machine.clients).toBe(0);
  });

  test.each([
    { what: 'no IOMMU', regions: /intel_iommu/, kind: InputError, why: /no Intel IOMMU/ },
    { what: 'no address space', regions: /AS "memory"/, kind: InputError, why: /info mtree/ },
  ])('since there is $what, the guest was never stopped', async ({ regions, kind, why }) => {
    machine.regions = machine.regions.replace(regions, 'something');
    const failed = await open().catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(kind);
    expect(String(failed)).toMatch(why);
    expect(machine.asked).toEqual(['qmp_capabilities', 'info mtree -f']);
  });
});

describe('a signal', () => {
  test.each([
    { signal: 'SIGHUP', code: 129 },
    { signal: 'SIGINT', code: 130 },
    { signal: 'SIGQUIT', code: 131 },
    { signal: 'SIGTERM', code: 143 },
  ] as const)('$signal has the guest go on before the process ends with $code', async ({ signal, code }) => {
    await open();
    process.listeners.get(signal)?.();
    process.listeners.get(signal)?.();
    await expect.poll(() => process.codes).toContain(code);
    expect(machine.asked.filter((each) => each === 'cont')).toHaveLength(1);
    expect(machine.isRunning).toBe(true);
  });

  test('need not come: a program that breaks down has the guest go on, too', async () => {
    await open();
    process.listeners.get('exit')?.();
    await expect.poll(() => machine.isRunning).toBe(true);
  });

  test('is left alone once the guest goes on, and while it runs', async () => {
    const stopped = await open();
    expect(process.listeners.size).toBe(5);
    await stopped.close();
    expect(process.listeners.size).toBe(0);
    const running = await open({ running: true });
    expect(process.listeners.size).toBe(0);
    await running.close();
  });
});
