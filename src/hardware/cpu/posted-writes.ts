/**
 * The posted writes of one CPU that are on their way (MOVDIR64B), and land later, in their order. What pushes
 * them ahead of itself, by the CPU's ordering or the fabric's (Intel SDM volume 3, 10.2; PCIe 6.0, 2.4.1):
 *
 * - ENQCMD and ENQCMDS, whose write is not posted, and reads of registers: a non-posted request does not pass
 *   posted ones on its way to a function;
 * - stores to registers (uncacheable), which are posted too and stay behind;
 * - SFENCE, MFENCE, serializing instructions and locked ones.
 *
 * Loads and stores of memory do not, nor does a switch to another task, or an interrupt: a write may land after
 * the process that made it has gone. Writes of different CPUs have no order.
 */
import { type Restorable, Words } from '../../base/index.js';
import type { Bus } from '../bus.js';
import { type Engine, Readiness } from '../engine.js';

const LINE_WORDS = 16;
const CAPACITY = 8;
/** A chunk of {@link Words} each: the data, the address in two halves. */
const ENTRY_WORDS = 32;
const ADDRESS = LINE_WORDS;
const TWO_32 = 2 ** 32;

export class PostedWrites implements Engine, Restorable {
  readonly name: string;
  readonly readiness = new Readiness();
  readonly #bus: Bus;
  readonly #ring = new Words(CAPACITY * ENTRY_WORDS, ENTRY_WORDS);
  readonly #line = new Int32Array(LINE_WORDS);
  readonly #changed: ((writes: PostedWrites) => void) | undefined;
  #head = 0;
  #count = 0;
  #marked = { head: 0, count: 0 };

  /** @param changed told when it becomes ready, and when it is no more */
  constructor(name: string, bus: Bus, changed?: (writes: PostedWrites) => void) {
    this.name = name;
    this.#bus = bus;
    this.#changed = changed;
  }

  /** How many are on their way. */
  get length(): number {
    return this.#count;
  }

  get isReady(): boolean {
    return this.#count > 0;
  }

  /** The oldest lands. */
  step(): void {
    const at = this.#head * ENTRY_WORDS;
    const { words } = this.#ring;
    for (let i = 0; i < LINE_WORDS; i++) this.#line[i] = words[at + i] ?? 0;
    const address = ((words[at + ADDRESS + 1] ?? 0) >>> 0) * TWO_32 + ((words[at + ADDRESS] ?? 0) >>> 0);
    this.#head = (this.#head + 1) % CAPACITY;
    this.#count--;
    this.readiness.stir();
    if (this.#count === 0) this.#changed?.(this);
    this.#bus.write512(address, this.#line);
  }

  /** Sends 64 bytes to a physical address; if too many are on their way, the oldest lands first. */
  post(address: number, data: Int32Array): void {
    if (this.#count === CAPACITY) this.step();
    const at = ((this.#head + this.#count) % CAPACITY) * ENTRY_WORDS;
    this.#ring.touch(at);
    const { words } = this.#ring;
    for (let i = 0; i < LINE_WORDS; i++) words[at + i] = data[i] ?? 0;
    words[at + ADDRESS] = address | 0;
    words[at + ADDRESS + 1] = (address / TWO_32) | 0;
    this.#count++;
    this.readiness.stir();
    if (this.#count === 1) this.#changed?.(this);
  }

  /** All of them land. */
  drain(): void {
    while (this.#count > 0) this.step();
  }

  mark(): void {
    this.#ring.mark();
    this.#marked = { head: this.#head, count: this.#count };
  }

  restore(): void {
    this.#ring.restore();
    this.#head = this.#marked.head;
    this.#count = this.#marked.count;
    this.readiness.stir();
    this.#changed?.(this);
  }
}
