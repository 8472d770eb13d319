/**
 * For each event the candidates that it may still belong to, as bits; what was taken away can be put back to a
 * mark, so that a search can go back on its decisions.
 */
export class CandidateSets {
  readonly candidates: number;
  readonly #words: number;
  readonly #bits: Int32Array;
  readonly #trail: number[] = [];

  /** All candidates for each of the events. */
  constructor(events: number, candidates: number) {
    this.candidates = candidates;
    this.#words = Math.max(1, Math.ceil(candidates / 32));
    this.#bits = new Int32Array(events * this.#words);
    for (let event = 0; event < events; event++) {
      for (let i = 0; i < candidates; i += 32) {
        const last = candidates - i;
        this.#bits[event * this.#words + (i >>> 5)] = last >= 32 ? -1 : (1 << last) - 1;
      }
    }
  }

  has(event: number, candidate: number): boolean {
    return (((this.#bits[event * this.#words + (candidate >>> 5)] ?? 0) >>> (candidate & 31)) & 1) === 1;
  }

  count(event: number): number {
    let count = 0;
    for (let i = 0; i < this.#words; i++) {
      for (let bits = this.#bits[event * this.#words + i] ?? 0; bits !== 0; bits &= bits - 1) count++;
    }
    return count;
  }

  /** The candidates of an event, ascending. */
  of(event: number): number[] {
    const found: number[] = [];
    for (let i = 0; i < this.#words; i++) {
      for (let bits = this.#bits[event * this.#words + i] ?? 0; bits !== 0; bits &= bits - 1) {
        found.push(32 * i + 31 - Math.clz32(bits & -bits));
      }
    }
    return found;
  }

  /** The only candidate of an event; -1 if there are several or none. */
  only(event: number): number {
    return this.count(event) === 1 ? (this.of(event)[0] ?? -1) : -1;
  }

  remove(event: number, candidate: number): void {
    const at = event * this.#words + (candidate >>> 5);
    this.#write(at, (this.#bits[at] ?? 0) & ~(1 << (candidate & 31)));
  }

  /** Leaves an event one candidate. */
  fix(event: number, candidate: number): void {
    for (let i = 0; i < this.#words; i++) {
      const bit = candidate >>> 5 === i ? 1 << (candidate & 31) : 0;
      this.#write(event * this.#words + i, (this.#bits[event * this.#words + i] ?? 0) & bit);
    }
  }

  /** Where {@link CandidateSets.backTo} can go back to. */
  mark(): number {
    return this.#trail.length;
  }

  backTo(mark: number): void {
    while (this.#trail.length > mark) {
      const bits = this.#trail.pop() ?? 0;
      const at = this.#trail.pop() ?? 0;
      this.#bits[at] = bits;
    }
  }

  #write(at: number, bits: number): void {
    const old = this.#bits[at] ?? 0;
    if (old === bits) return;
    this.#trail.push(at, old);
    this.#bits[at] = bits;
  }
}
