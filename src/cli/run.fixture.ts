/** Runs the command line inside a test, with its own standard streams. */
import process from 'node:process';
import { Readable } from 'node:stream';
import { vi } from 'vitest';
import { main } from './main.js';

/** How a run ended. */
export interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `ioasis ARGS`, with `input` on standard input. */
export async function ioasis(args: readonly string[], input = ''): Promise<Run> {
  let out = '';
  let err = '';
  const take = (sink: (text: string) => void) => (text: string | Uint8Array) => {
    sink(text.toString());
    return true;
  };
  const stdin = Object.getOwnPropertyDescriptor(process, 'stdin');
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation(take((text) => (out += text))),
    vi.spyOn(process.stderr, 'write').mockImplementation(take((text) => (err += text))),
  ];
  Object.defineProperty(process, 'stdin', { value: Readable.from([input]), configurable: true });
  try {
    const code = await main(args);
    return { code, out, err };
  } finally {
    for (const spy of spies) spy.mockRestore();
    if (stdin !== undefined) Object.defineProperty(process, 'stdin', stdin);
  }
}
