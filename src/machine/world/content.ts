/** What scenarios say that memory holds: text over and over, or one byte. */
import type { Content } from '../scenario/schema.js';

/** As many bytes of it as are wanted. Text is ASCII; other characters are written by the low byte of their code. */
export function contentBytes(content: Content, bytes: number): Uint8Array {
  if (typeof content === 'number') return new Uint8Array(bytes).fill(content);
  const all = new Uint8Array(bytes);
  for (let i = 0; i < Math.min(content.length, bytes); i++) all[i] = content.charCodeAt(i);
  for (let done = content.length; done < bytes; done *= 2)
    all.copyWithin(done, 0, Math.min(done, bytes - done));
  return all;
}

/** The place of the first byte that is another; -1 if there is none. Both have a buffer of their own. */
export function firstDifference(found: Uint8Array, expected: Uint8Array): number {
  const words = found.length >>> 2;
  const [ours, theirs] = [found, expected].map(({ buffer }) => new Int32Array(buffer, 0, words));
  let same = 0;
  if (ours !== undefined && theirs !== undefined) while (same < words && ours[same] === theirs[same]) same++;
  for (let i = 4 * same; i < found.length; i++) if (found[i] !== expected[i]) return i;
  return -1;
}

/** A byte, and the character that it may stand for. */
export const byteText = (byte: number): string =>
  `0x${byte.toString(16).padStart(2, '0')}${byte > 0x20 && byte < 0x7f ? ` (${String.fromCharCode(byte)})` : ''}`;
