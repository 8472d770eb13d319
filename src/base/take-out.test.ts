import fc from 'fast-check';
import { expect, test } from 'vitest';
import { takeOut } from './take-out.js';

test('the item goes, the others keep their order', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(), { minLength: 1 }), fc.nat(), (items, any) => {
      const at = any % items.length;
      const left = [...items];
      takeOut(left, at);
      expect(left).toEqual(items.toSpliced(at, 1));
    }),
  );
});
