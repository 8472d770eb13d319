/** What scenarios say that memory holds: text over and over, or one byte. */
import type { Content } from '../scenario/schema.js';

/** As many bytes of it as are wanted. Text is ASCII; other characters are written by the low byte of their code. */
export function contentBytes(content: Content, bytes: number): Uint8Array {
  if (typeof content === 'number') return new Uint8Array(bytes).fill(content);
  return Uint8Array.from({ length: bytes }, (_, i) => content.charCodeAt(i % content.length));
}

/** A byte, and the character that it may stand for. */
export const byteText = (byte: number): string =>
  `0x${byte.toString(16).padStart(2, '0')}${byte > 0x20 && byte < 0x7f ? ` (${String.fromCharCode(byte)})` : ''}`;
