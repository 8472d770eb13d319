/**
 * The terminal: colours where there is one (and nobody asked for none), progress on what takes over a second.
 * Progress goes to standard error, so that output can be piped.
 */
import { stderr, stdout } from 'node:process';
import spinner from 'yocto-spinner';
import { bold, cyan, dim, green, red, yellow } from 'yoctocolors';

/** Ways to set text off; each gives it back as it is where there are no colours. */
export interface Paint {
  readonly strong: (text: string) => string;
  readonly faint: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly warn: (text: string) => string;
  readonly accent: (text: string) => string;
}

const same = (text: string): string => text;
const PLAIN: Paint = { strong: same, faint: same, good: same, bad: same, warn: same, accent: same };
const COLOURED: Paint = { strong: bold, faint: dim, good: green, bad: red, warn: yellow, accent: cyan };

/** Colours for standard output: only on a terminal, and not with NO_COLOR. */
export function paintFor(isColoured: boolean = stdout.isTTY === true && stdout.hasColors()): Paint {
  return isColoured ? COLOURED : PLAIN;
}

/** Before that, nobody wonders what goes on. */
const SILENT_MS = 1000;
const REDRAW_MS = 100;

/** How far something has come that does not wait for anything. */
export interface Progress {
  /** What it does now: shown, once it has taken over a second, where somebody watches. */
  say(what: string): void;
  stop(): void;
}

export function progressOf(text: string): Progress {
  const begun = performance.now();
  let drawn = 0;
  let shown: ReturnType<typeof spinner> | undefined;
  return {
    say(what) {
      const now = performance.now();
      if (stderr.isTTY !== true || now - begun < SILENT_MS || now - drawn < REDRAW_MS) return;
      drawn = now;
      shown ??= spinner({ text, stream: stderr }).start();
      // Setting it draws it: there is no turn for timers meanwhile.
      shown.text = `${text}: ${what}`;
    },
    stop: () => void shown?.stop(),
  };
}

/** Waits for something that may take over a second, and shows that it does where somebody watches. */
export async function withProgress<T>(text: string, work: () => Promise<T>): Promise<T> {
  if (stderr.isTTY !== true) return work();
  const progress = spinner({ text, stream: stderr }).start();
  try {
    return await work();
  } finally {
    progress.stop();
  }
}
