/**
 * One question to a machine's QMP socket, in the fewest lines that the protocol allows (QEMU's interoperability
 * manual, "QEMU Machine Protocol Specification", 2.2 and 2.3): what the lab is judged with must not be what it is
 * there to judge.
 *
 * @module
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

/** Connects, asks, disconnects. Gives the command's `return`; throws on an `error` or a lost connection. */
export async function askQmp(path: string, command: string): Promise<unknown> {
  const socket = connect(path);
  await once(socket, 'connect');
  const send = (execute: string): void => void socket.write(`${JSON.stringify({ execute })}\n`);
  let isNegotiated = false;
  try {
    for await (const line of createInterface(socket)) {
      const message: Record<string, unknown> = JSON.parse(line);
      if ('error' in message) throw new Error(`${command}: ${JSON.stringify(message['error'])}`);
      if ('QMP' in message) send('qmp_capabilities');
      if (!('return' in message)) continue; // the greeting, or an event
      if (isNegotiated) return message['return'];
      isNegotiated = true;
      send(command);
    }
    throw new Error(`${path} closed before it answered`);
  } finally {
    socket.destroy();
  }
}
