/**
 * The project's generator of random numbers: xoshiro128** 1.1 (Blackman and Vigna, "Scrambled Linear
 * Pseudorandom Number Generators", 2018), seeded by SplitMix32 (a Weyl sequence through the finalizer of
 * MurmurHash3). Integers only, so that a run is the same on every machine; its whole state is 16 bytes, which a
 * restore puts back.
 */
import { assert, Bug } from './bug.js';
import { hiOfNumber, loOfNumber } from './u64.js';

export class Random {
  readonly #state = new Int32Array(4);

  /** @param seed any integer from 0 to 2^53 - 1; equal seeds give equal sequences, different ones different */
  constructor(seed: number) {
    this.seed(seed);
  }

  /** Begins anew as `new Random(seed)` would. */
  seed(seed: number): void {
    assert(Number.isSafeInteger(seed) && seed >= 0, `a seed is an integer from 0 to 2^53 - 1, not ${seed}`);
    let mix = loOfNumber(seed);
    for (let i = 0; i < 4; i++) {
      mix = (mix + 0x9e37_79b9) | 0;
      let z = mix;
      z = Math.imul(z ^ (z >>> 16), 0x85eb_ca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2_ae35);
      this.#state[i] = z ^ (z >>> 16);
      // After the first word, so that two words tell both halves, and no two seeds share a state.
      if (i === 0) mix ^= hiOfNumber(seed);
    }
  }

  /** The next 32 random bits, as a signed integer. */
  next(): number {
    const s = this.#state;
    const s0 = s[0] ?? 0;
    const s1 = s[1] ?? 0;
    const s2 = (s[2] ?? 0) ^ s0;
    const s3 = (s[3] ?? 0) ^ s1;
    const times5 = Math.imul(s1, 5);
    s[0] = s0 ^ s3;
    s[1] = s1 ^ s2;
    s[2] = s2 ^ (s1 << 9);
    s[3] = (s3 << 11) | (s3 >>> 21);
    return Math.imul((times5 << 7) | (times5 >>> 25), 9);
  }

  /** An integer from 0 to `n` - 1, each as likely as the others. `n` is from 1 to 2^31. */
  below(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 0x8000_0000) throw new Bug(`a number below ${n}`);
    const mask = n === 1 ? 0 : 0xffff_ffff >>> Math.clz32(n - 1);
    for (;;) {
      const value = this.next() & mask;
      if (value < n) return value;
    }
  }

  /** Copies the state into `into[at]` to `into[at + 3]`. */
  save(into: Int32Array, at = 0): void {
    into.set(this.#state, at);
  }

  /** Takes the state back from where {@link Random.save} put it. */
  load(from: Int32Array, at = 0): void {
    const state = from.subarray(at, at + 4);
    assert(state.length === 4 && state.some((word) => word !== 0), 'no saved state of a generator');
    this.#state.set(state);
  }
}
