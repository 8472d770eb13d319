import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeQemu, GREETING } from '../../../test/inspect/fake-qemu.js';
import { EnvironmentError, InputError } from '../errors.js';
import { QmpClient, type QmpTimeouts } from './qmp.js';

/** Where silence is what a test waits for. */
const SHORT = { greeting: 50, answer: 50 };

let machine: FakeQemu;
beforeEach(async () => {
  machine = await FakeQemu.start();
});
afterEach(() => machine.end());

const connect = (timeouts: QmpTimeouts = {}): Promise<QmpClient> => QmpClient.connect(machine.path, timeouts);

describe('connecting', () => {
  test('negotiates before anything else', async () => {
    const client = await connect();
    await client.execute('query-status');
    expect(machine.asked).toEqual(['qmp_capabilities', 'query-status']);
    client.close();
  });

  test.each([
    {
      what: 'text',
      greeting: 'QEMU 11.1.3 monitor - type help\r\n(qemu) ',
      begins: 'QEMU 11.1.3 monitor - type help',
    },
    { what: 'JSON of another kind', greeting: '{"hello": 1}\n', begins: String.raw`{\"hello\": 1}` },
    { what: 'JSON that is no object', greeting: 'null\n', begins: 'null' },
    { what: 'half a line', greeting: 'login: ', begins: 'login: ' },
  ])('refuses who greets with $what', async ({ greeting, begins }) => {
    machine.greeting = greeting;
    const failed = await connect(SHORT).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(InputError);
    expect(String(failed)).toBe(
      `InputError: qmp:${machine.path}: this is no QMP socket: it begins with "${begins}"`,
    );
  });

  test('refuses who never ends a line', async () => {
    machine.greeting = 'x'.repeat(2 ** 24 + 1);
    await expect(connect({ greeting: 60_000 })).rejects.toEqual(
      new InputError(`qmp:${machine.path}`, 'this is no QMP socket'),
    );
  });

  test('says why nobody may have greeted', async () => {
    machine.greeting = undefined;
    const failed = await connect(SHORT).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(EnvironmentError);
    expect(String(failed)).toMatch(/: no greeting within 0\.05 s: another client holds this monitor/);
    await expect.poll(() => machine.clients).toBe(0);
  });

  test('gives up on who sends events for ever, and no answer', async () => {
    machine.greeting = undefined;
    const path = `${machine.path}-2`;
    const server = createServer((client) => {
      client.on('error', () => undefined);
      client.write(GREETING);
      client.write('\r\n');
      const timer = setInterval(() => client.write('{"event": "RESUME"}\r\n'), 5);
      client.on('close', () => clearInterval(timer));
    }).listen(path);
    await expect(QmpClient.connect(path, { answer: 100 })).rejects.toThrow('no answer to qmp_capabilities');
    server.close();
  });

  test('takes a greeting that comes in pieces', async () => {
    machine.greeting = undefined;
    const path = `${machine.path}-2`;
    const server = createServer((client) => {
      client.write(GREETING.slice(0, 20));
      setTimeout(() => client.write(`${GREETING.slice(20)}\r\n`), 10);
      client.once('data', () => client.write('{"return": {}, "id": 1}\r\n'));
    }).listen(path);
    const client = await QmpClient.connect(path);
    expect(client.isLost).toBe(false);
    client.close();
    server.close();
  });

  test('tells a socket that is not there from one that nobody serves', async () => {
    await expect(QmpClient.connect('/no/such/socket')).rejects.toEqual(
      new EnvironmentError('qmp:/no/such/socket', 'there is no such socket'),
    );
    const path = `${machine.path}-file`;
    writeFileSync(path, '');
    await expect(QmpClient.connect(path)).rejects.toEqual(new InputError(`qmp:${path}`, 'this is no socket'));
  });

  test('refuses a path that no socket can have', async () => {
    const path = `/${'x'.repeat(107)}`;
    await expect(QmpClient.connect(path)).rejects.toThrow(InputError);
  });
});

describe('commands', () => {
  test('may be asked all at once, and each gets its own answer', async () => {
    const client = await connect();
    const statuses = [1, 2, 3].map(() => client.execute('query-status'));
    const text = client.monitor('info mtree -f');
    expect(await Promise.all(statuses)).toHaveLength(3);
    expect(await text).toContain('intel_iommu');
    client.close();
  });

  test('pass over events', async () => {
    machine.misdeeds.set('stop', { line: '{"event": "STOP"}\r\n{"return": 7, "id": 2}' });
    const client = await connect();
    expect(await client.execute('stop')).toBe(7);
    client.close();
  });

  test.each([
    { misdeed: 'drop', kind: EnvironmentError, why: /: QEMU closed the connection$/ },
    { misdeed: 'silence', kind: EnvironmentError, why: /: no answer to stop within 0\.05 s$/ },
    { misdeed: { refusal: 'not now' }, kind: EnvironmentError, why: /: stop: not now$/ },
    { misdeed: { line: 'what?' }, kind: InputError, why: /: this is no QMP: "what\?"$/ },
  ] as const)('fail where QEMU answers with $misdeed', async ({ misdeed, kind, why }) => {
    machine.misdeeds.set('stop', misdeed);
    const client = await connect(misdeed === 'silence' ? SHORT : {});
    const failed = await client.execute('stop').catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(kind);
    expect(String(failed)).toMatch(why);
    client.close();
  });

  test('fail alike where the connection is cut with many of them under way', async () => {
    machine.misdeeds.set('stop', 'drop');
    const client = await connect();
    const asked = ['stop', ...Array.from({ length: 5000 }, () => 'query-status')];
    const failed = await Promise.allSettled(asked.map((each) => client.execute(each)));
    const why = failed.map((each) => (each.status === 'rejected' ? String(each.reason) : each.status));
    expect(new Set(why)).toEqual(
      new Set([`EnvironmentError: qmp:${machine.path}: QEMU closed the connection`]),
    );
  });

  test('fail at once when the connection has gone', async () => {
    const client = await connect();
    client.close();
    await expect(client.execute('stop')).rejects.toThrow('the connection is closed');
  });

  test('are answered again after one that was not', async () => {
    machine.misdeeds.set('stop', 'silence');
    const client = await connect({ answer: 200 });
    await expect(client.execute('stop')).rejects.toThrow('no answer');
    expect(await client.execute('cont')).toEqual({});
    client.close();
  });
});
