/**
 * A case of the differential suites as data: what lies in memory when translation is switched on, and what is done
 * then. From it come the steps that both twins do, and from their answers what was seen of each operation.
 */

import { addressOf, DATA_FRAMES, QUEUE_FRAME, ROOT_FRAME, signatureAt } from './layout.js';
import { DEVICES } from './machine.js';
import { type Answer, PATTERN, type Step } from './twin.js';

/** A 64-bit word and its address. */
export type PlacedWord = readonly [address: bigint, word: bigint];

export type Operation =
  /** One of {@link DEVICES} writes or reads; with `keeps`, software does not clear the fault record afterwards. */
  | { readonly do: 'dma'; readonly device: number; readonly page: bigint; readonly keeps?: true }
  /** Software changes an entry of a table. */
  | {
      readonly do: 'store';
      readonly address: bigint;
      readonly words: readonly bigint[];
      readonly entry: Entry;
    }
  /** A descriptor to the queue; 2 or 4 words. */
  | { readonly do: 'invalidate'; readonly words: readonly bigint[] }
  /** A descriptor that may be wrong: if it stops the queue, a wait descriptor takes its place. */
  | { readonly do: 'mistake'; readonly words: readonly bigint[] }
  /** Translation goes off and on again. */
  | { readonly do: 'toggle' }
  /** The root table is latched again. */
  | { readonly do: 'latch' };

/** Which entry of which table software changes: what has to be invalidated hangs on it. */
export type Entry =
  | { readonly of: 'root' }
  | { readonly of: 'context'; readonly rid: number }
  | { readonly of: 'pasid' }
  /** Of a paging structure in a domain, which spans some pages. */
  | {
      readonly of: 'first-stage' | 'second-stage';
      readonly domain: number;
      readonly page: bigint;
      readonly pages: bigint;
      readonly isLeaf: boolean;
    };

export interface Case {
  readonly isScalable: boolean;
  readonly words: readonly PlacedWord[];
  readonly operations: readonly Operation[];
}

/** What was seen of an operation, by name: what a twin answers must be the same. */
export type Seen = Readonly<Record<string, string>>;

const REGISTER = {
  GCMD: 0x18,
  GSTS: 0x1c,
  RTADDR: 0x20,
  FSTS: 0x34,
  FECTL: 0x38,
  IQH: 0x80,
  IQT: 0x88,
  IQA: 0x90,
  ICS: 0x9c,
  FRCD: 0x220,
} as const;
const TE = 1n << 31n;
const SRTP = 1n << 30n;
const QIE = 1n << 26n;
const QUEUE_BYTES = 4096;
const WORD_BYTES = 8;
const WORDS_A_FRAME = 512;
const MAX_SLOTS = 512;

/** The steps of a case, each operation's among them. */
export interface Script {
  readonly steps: readonly Step[];
  /** By operation: its first step, and one past its last. */
  readonly spans: readonly (readonly [number, number])[];
  /** By device with a buffer: the step that drains it. */
  readonly drains: ReadonlyMap<number, number>;
}

const write = (offset: number, bytes: 4 | 8, value: bigint): Step => ({ do: 'write', offset, bytes, value });
const read = (offset: number, bytes: 4 | 8): Step => ({ do: 'read', offset, bytes });

/** A case as steps. */
export function scriptOf({ isScalable, words, operations }: Case): Script {
  const steps: Step[] = [...prologue(isScalable), ...contents(words), ...start(isScalable)];
  const spans: [number, number][] = [];
  const queue = new QueueWriter(isScalable);
  operations.forEach((operation, index) => {
    const from = steps.length;
    steps.push(...stepsOf(operation, index, queue));
    spans.push([from, steps.length]);
  });
  steps.push(write(REGISTER.GCMD, 4, QIE), ...queue.submit(queue.wait()), write(REGISTER.GCMD, 4, 0n));
  const drains = new Map<number, number>();
  DEVICES.forEach(({ kind }, device) => {
    if (kind !== 'edu') return;
    drains.set(device, steps.length);
    steps.push({ do: 'drain', device, slots: Math.max(1, operations.length) });
  });
  return { steps, spans, drains };
}

/** Stops what a case before has left on. */
const prologue = (isScalable: boolean): Step[] => [
  write(REGISTER.GCMD, 4, 0n),
  ...clearFaults(),
  write(REGISTER.ICS, 4, 1n),
  write(REGISTER.IQA, 8, BigInt(QUEUE_FRAME * 4096) | (isScalable ? 1n << 11n : 0n)),
  write(REGISTER.IQT, 8, 0n),
];

const start = (isScalable: boolean): Step[] => [
  write(REGISTER.RTADDR, 8, BigInt(ROOT_FRAME * 4096) | (isScalable ? 1n << 10n : 0n)),
  write(REGISTER.GCMD, 4, SRTP),
  write(REGISTER.GCMD, 4, QIE),
  write(REGISTER.GCMD, 4, TE | QIE),
  read(REGISTER.GSTS, 4),
];

const clearFaults = (): Step[] => [write(REGISTER.FRCD + 12, 4, 1n << 31n), write(REGISTER.FSTS, 4, 0x71n)];

/** Stores the words, a frame at a time, and the data frames. */
function contents(words: readonly PlacedWord[]): Step[] {
  const frames = new Map<bigint, bigint[]>();
  const frameOf = (address: bigint): bigint[] => {
    const base = (address >> 12n) << 12n;
    let found = frames.get(base);
    if (found === undefined) {
      found = Array.from({ length: WORDS_A_FRAME }, (_, i) => signatureAt(base + BigInt(i * WORD_BYTES)));
      frames.set(base, found);
    }
    return found;
  };
  for (const frame of DATA_FRAMES) frameOf(BigInt(frame) << 12n);
  for (const [address, word] of words) frameOf(address)[Number(address & 0xfffn) / WORD_BYTES] = word;
  return [...frames].map(([address, stored]) => ({ do: 'store', address, words: stored }));
}

function stepsOf(operation: Operation, index: number, queue: QueueWriter): Step[] {
  switch (operation.do) {
    case 'dma': {
      const address = (operation.page << 12n) + BigInt(index * 4);
      return [
        { do: 'dma', device: operation.device, address, slot: index },
        ...[
          read(REGISTER.FRCD, 8),
          read(REGISTER.FRCD + 8, 8),
          read(REGISTER.FSTS, 4),
          read(REGISTER.FECTL, 4),
        ],
        ...(operation.keeps === true ? [] : clearFaults()),
      ];
    }
    case 'store':
      return [{ do: 'store', address: operation.address, words: operation.words }];
    case 'invalidate':
      return [
        ...queue.submit(operation.words),
        read(REGISTER.IQH, 8),
        read(REGISTER.FSTS, 4),
        read(REGISTER.ICS, 4),
      ];
    case 'mistake':
      return [
        ...queue.submit(operation.words),
        ...[read(REGISTER.IQH, 8), read(REGISTER.FSTS, 4), read(REGISTER.ICS, 4)],
        ...queue.replace(queue.wait()),
        write(REGISTER.ICS, 4, 1n),
        write(REGISTER.FSTS, 4, 0x71n),
        ...queue.ring(),
        ...[read(REGISTER.IQH, 8), read(REGISTER.FSTS, 4)],
        write(REGISTER.ICS, 4, 1n),
      ];
    case 'toggle':
      return [write(REGISTER.GCMD, 4, QIE), write(REGISTER.GCMD, 4, TE | QIE), read(REGISTER.GSTS, 4)];
    case 'latch':
      return [write(REGISTER.GCMD, 4, SRTP | TE | QIE), read(REGISTER.GSTS, 4)];
  }
}

/** Names of what is read after each operation. */
const READ: Readonly<Record<Operation['do'], readonly string[]>> = {
  dma: ['record', 'record', 'FSTS', 'FECTL'],
  store: [],
  invalidate: ['IQH', 'FSTS', 'ICS'],
  mistake: ['IQH', 'FSTS', 'ICS', 'IQH then', 'FSTS then'],
  toggle: ['GSTS'],
  latch: ['GSTS'],
};

/** What a twin has seen of each operation. */
export function seenOf(
  { operations }: Case,
  { steps, spans, drains }: Script,
  seen: { readonly answers: readonly Answer[]; readonly frames: ReadonlyMap<number, Uint8Array> },
): Seen[] {
  return operations.map((operation, index) => {
    const [from = 0, end = 0] = spans[index] ?? [];
    const result: Record<string, string> = {};
    const values: bigint[] = [];
    for (let at = from; at < end; at++) {
      if (steps[at]?.do === 'read') values.push(toBigint(seen.answers[at]));
    }
    READ[operation.do].forEach((name, i) => {
      if (name !== 'record') result[name] = `0x${(values[i] ?? 0n).toString(16)}`;
    });
    if (operation.do !== 'dma') return result;
    const [low = 0n, high = 0n] = values;
    result['record'] = recordText(low, high);
    if (drains.has(operation.device)) {
      const buffer = seen.answers[drains.get(operation.device) ?? 0];
      result['data'] = dataText(Array.isArray(buffer) ? buffer[index] : 0);
    } else {
      const isDone = seen.answers[from] === true;
      result['went'] = isDone ? whereIs(index, seen.frames) : 'nowhere';
    }
    return result;
  });
}

const toBigint = (answer: Answer): bigint => (typeof answer === 'bigint' ? answer : 0n);

function dataText(word: number | undefined): string {
  const address = addressOf(word ?? 0);
  if (address !== undefined) return `of 0x${address.toString(16)}`;
  return `0x${(word ?? 0).toString(16)}`;
}

/** Each write has an offset of its own: where the pattern stands at it, there it went. */
function whereIs(index: number, frames: ReadonlyMap<number, Uint8Array>): string {
  const found: string[] = [];
  for (const [frame, bytes] of frames) {
    const word = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(index * 4, true);
    if (word === PATTERN) found.push(`0x${(frame * 4096 + index * 4).toString(16)}`);
  }
  return found.length === 0 ? 'elsewhere' : found.join(' and ');
}

/** A fault record in words. */
export function recordText(low: bigint, high: bigint): string {
  if (high >> 63n === 0n) return 'none';
  const field = (at: number, bits: number) => (high >> BigInt(at)) & ((1n << BigInt(bits)) - 1n);
  return [
    `reason 0x${field(32, 8).toString(16)}`,
    `page 0x${(low >> 12n).toString(16)}`,
    `rid 0x${field(0, 16).toString(16)}`,
    field(62, 1) === 1n ? 'read' : 'write',
    ...(field(31, 1) === 1n ? [`PASID 0x${field(40, 20).toString(16)}`] : []),
    ...((high & ((3n << 60n) | (1n << 28n) | (3n << 29n))) === 0n && (low & 0xfffn) === 0n
      ? []
      : [`more 0x${high.toString(16)} 0x${low.toString(16)}`]),
  ].join(', ');
}

/** Puts descriptors where the tail is. */
class QueueWriter {
  readonly #width: number;
  #tail = 0;

  constructor(isScalable: boolean) {
    this.#width = isScalable ? 32 : 16;
  }

  submit(words: readonly bigint[]): Step[] {
    const store = this.#store(this.#tail, words);
    this.#tail = (this.#tail + this.#width) % QUEUE_BYTES;
    return [store, ...this.ring()];
  }

  /** Overwrites the last descriptor. */
  replace(words: readonly bigint[]): Step[] {
    return [this.#store((this.#tail + QUEUE_BYTES - this.#width) % QUEUE_BYTES, words)];
  }

  ring(): Step[] {
    return [write(REGISTER.IQT, 8, BigInt(this.#tail))];
  }

  /** A wait descriptor with an interrupt: it needs no memory, and ICS tells. */
  wait(): bigint[] {
    return [5n | (1n << 4n), 0n];
  }

  #store(at: number, words: readonly bigint[]): Step {
    const width = this.#width / WORD_BYTES;
    const padded = Array.from({ length: width }, (_, i) => words[i] ?? 0n);
    return { do: 'store', address: BigInt(QUEUE_FRAME * 4096 + at), words: padded };
  }
}

/** So many operations a case has at most: each DMA has an offset in its page, and a slot of a buffer. */
export const MAX_OPERATIONS = MAX_SLOTS;
