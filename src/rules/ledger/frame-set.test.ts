import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FrameSet } from './frame-set.js';

it('a set of frames has what was added, and nothing else', () => {
  const frame = fc.oneof(fc.integer({ min: 0, max: 9000 }), fc.integer({ min: 0, max: 2 ** 40 - 1 }));
  fc.assert(
    fc.property(fc.array(frame), fc.array(frame), (added, others) => {
      const set = new FrameSet();
      for (const each of added) set.add(each);
      for (const each of [...added, ...others]) expect(set.has(each)).toBe(added.includes(each));
    }),
  );
});
