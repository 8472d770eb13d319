import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FRAME_BYTES } from '../../hardware/index.js';
import { FrameStream } from './frame-stream.js';

/** Frames that hold one byte each, at a place of its own. */
const contents = fc.array(fc.record({ at: fc.nat(FRAME_BYTES - 1), byte: fc.nat(255) }), { maxLength: 6 });

test('keeps each frame that is not zero, however the stream is cut', () => {
  fc.assert(
    fc.property(contents, fc.array(fc.integer({ min: 1, max: 9000 })), (frames, cuts) => {
      const whole = Buffer.alloc(frames.length * FRAME_BYTES);
      frames.forEach(({ at, byte }, i) => {
        whole[i * FRAME_BYTES + at] = byte;
      });
      const stream = new FrameStream();
      let done = 0;
      for (const cut of [...cuts, whole.length]) {
        const chunk = Buffer.from(whole.subarray(done, done + cut));
        stream.take(chunk);
        chunk.fill(0xaa);
        done += chunk.length;
      }
      expect(stream.bytes).toBe(whole.length);
      const kept = [...stream.frames].map(([number, frame]) => [number, Buffer.from(frame)]);
      const expected = frames.flatMap(({ byte }, i) =>
        byte === 0 ? [] : [[i, whole.subarray(i * FRAME_BYTES, (i + 1) * FRAME_BYTES)]],
      );
      expect(kept).toEqual(expected);
    }),
    { numRuns: 50 },
  );
});
