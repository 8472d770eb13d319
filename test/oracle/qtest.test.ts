/** The qtest client against a server that answers as the test says. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Qtest } from './qtest.js';

let folder: string;
let server: Server;
let answer: (line: string, socket: Socket) => void;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ioasis-qtest-'));
  server = createServer((socket) => {
    createInterface(socket).on('line', (line) => answer(line, socket));
  });
  server.listen(join(folder, 'socket'));
  await once(server, 'listening');
});

afterEach(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const client = (patience?: number): Promise<Qtest> => Qtest.connect(join(folder, 'socket'), patience);

test('commands are answered in their order, whatever interrupts come in between', async () => {
  answer = (line, socket) => socket.write(`IRQ raise 3\nOK ${line.length}\n`);
  const qtest = await client();
  expect(await Promise.all(['a', 'bcd', 'ef'].map((command) => qtest.ask(command)))).toEqual(['1', '3', '2']);
  qtest.fail(new Error('done'));
});

test('commands of one turn are sent before the first is answered', async () => {
  const lines: string[] = [];
  answer = (line, socket) => {
    if (lines.push(line) === 3) socket.write('OK\nOK\nOK\n');
  };
  const qtest = await client();
  qtest.tell('one');
  qtest.tell('two');
  expect(await qtest.ask('three')).toBe('');
  qtest.fail(new Error('done'));
});

test('a command that QEMU refuses is named, also to who asks after it was only told', async () => {
  answer = (line, socket) => socket.write(line === 'bad' ? 'FAIL Unknown command\n' : 'OK\n');
  const qtest = await client();
  await expect(qtest.ask('bad')).rejects.toThrow("QEMU refuses 'bad': FAIL Unknown command");
  qtest.tell('bad');
  await expect(qtest.ask('good')).rejects.toThrow("QEMU refuses 'bad'");
  await expect(qtest.ask('good')).rejects.toThrow("QEMU refuses 'bad'");
});

test('an answer that does not come is waited for so long, and no longer', async () => {
  answer = () => {};
  const qtest = await client(50);
  await expect(qtest.ask('readl 0x0')).rejects.toThrow("QEMU has not answered 'readl 0x0' within 0.05 s");
});

test('whoever waits hears that QEMU has gone', async () => {
  answer = (_, socket) => socket.destroy();
  const qtest = await client();
  const waiting = [qtest.ask('a'), qtest.ask('b')];
  for (const each of waiting) await expect(each).rejects.toThrow('QEMU has closed its qtest socket');
});

test('an answer that nobody asked for ends it', async () => {
  answer = (_, socket) => socket.write('OK\nOK\n');
  const qtest = await client();
  await qtest.ask('a');
  await expect.poll(() => qtest.ask('b').catch((error: Error) => error.message)).toMatch(/nobody asked/);
});
