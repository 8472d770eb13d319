import { expect, it } from 'vitest';
import { FakePlatform, fakeContext } from '../../../../test/kernel/fake-platform.js';
import { DomainIds } from './domain-ids.js';

it('hands out the lowest domain id that is free, never 0, until there is none', () => {
  const ids = new DomainIds(fakeContext(new FakePlatform()), 80);
  const taken = Array.from({ length: 79 }, () => ids.take());
  expect(taken).toEqual(Array.from({ length: 79 }, (_, i) => i + 1));
  expect(ids.take()).toBeUndefined();
  for (const did of [70, 5, 33]) ids.give(did);
  expect([ids.take(), ids.take(), ids.take(), ids.take()]).toEqual([5, 33, 70, undefined]);
});

it('goes back to a mark', () => {
  const platform = new FakePlatform();
  const ids = new DomainIds(fakeContext(platform), 16);
  ids.take();
  platform.mark();
  ids.take();
  ids.give(1);
  platform.restore();
  expect(ids.take()).toBe(2);
});
