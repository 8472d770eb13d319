import { describe, expect, it } from 'vitest';
import { Ledger } from './ledger.js';
import { OverlayMap } from './overlay.js';

describe('an overlay map', () => {
  it('goes back to its mark: what was added, changed and deleted since', () => {
    const map = new OverlayMap<string, number>();
    map.set('kept', 1);
    map.set('changed', 2);
    map.set('deleted', 3);
    map.mark();
    for (let round = 0; round < 2; round++) {
      map.set('changed', 20);
      map.delete('deleted');
      map.set('added', 4);
      map.delete('added');
      map.set('added', 5);
      expect([...map.entries()]).toEqual([
        ['kept', 1],
        ['changed', 20],
        ['added', 5],
      ]);
      map.restore();
      expect([...map.entries()]).toEqual([
        ['kept', 1],
        ['changed', 2],
        ['deleted', 3],
      ]);
    }
    map.delete('deleted');
    map.mark();
    map.restore();
    expect([map.get('deleted'), [...map.entries()].length]).toEqual([undefined, 2]);
  });
});

describe('the ledger', () => {
  it('of frames knows a page by its address space, also when it got another frame', () => {
    const { frames } = new Ledger();
    frames.owned(7, { kind: 'page', mm: 'a', page: 1 }, 10);
    frames.owned(8, { kind: 'page', mm: 'a', page: 1 }, 20);
    frames.freed(7, 30);
    expect(frames.frameAt('a', 1)).toBe(8);
    frames.freed(8, 40);
    expect(frames.frameAt('a', 1)).toBeUndefined();
    expect([...frames.all()]).toEqual([]);
    expect(frames.tenure(8)).toMatchObject({ owner: undefined, since: 40, before: { since: 20 } });
  });

  it('of frames forgets old owners', () => {
    const { frames } = new Ledger();
    for (let step = 0; step < 50; step++) frames.owned(7, { kind: 'kernel', use: `${step}` }, step);
    let depth = 0;
    for (let at = frames.tenure(7); at !== undefined; at = at.before) depth++;
    expect(depth).toBeGreaterThan(3);
    expect(depth).toBeLessThan(9);
  });

  it('of frames shows those that may have changed hands since the mark', () => {
    const { frames } = new Ledger();
    const changed = (): number[] => {
      const found: number[] = [];
      frames.eachChanged((frame) => found.push(frame));
      return found;
    };
    const table = { kind: 'kernel', use: 'table' } as const;
    for (const frame of [9, 3, 2 ** 39]) frames.owned(frame, table, 0);
    expect(changed()).toEqual([3, 9, 2 ** 39]);
    frames.mark();
    expect(changed()).toEqual([]);
    frames.freed(3, 1);
    frames.owned(3, table, 2);
    frames.freed(9, 3);
    frames.owned(5, table, 4);
    expect(changed()).toEqual([3, 5]);
    frames.restore();
    expect([changed(), frames.tenure(5), frames.tenure(9)?.owner]).toEqual([[], undefined, table]);
  });

  it('of open queues counts holders: a forked child has what its parent has', () => {
    const { opens } = new Ledger();
    opens.opened('a', { device: 'dsa0', queue: 'dsa0/s', via: 'dsa0/s' });
    opens.opened('a', { device: 'dsa0', queue: 'dsa0/d', via: 'dsa0/d' });
    opens.forked('a', 'b');
    expect(opens.closed('a', 'dsa0/s')).toBeUndefined();
    expect(opens.closed('b', 'dsa0/s')).toMatchObject({ mm: 'a', queue: 'dsa0/s' });
    expect(opens.isBound('a', 'dsa0')).toBe(true);
    expect(opens.ended('a')).toEqual([]);
    expect(opens.ended('b')).toMatchObject([{ mm: 'a', queue: 'dsa0/d' }]);
    expect([opens.isBound('a', 'dsa0'), opens.closed('a', 'dsa0/d')]).toEqual([false, undefined]);
  });

  it('of PASIDs keeps whose one was', () => {
    const { pasids } = new Ledger();
    pasids.given(3, 'a', 10);
    expect(pasids.of('a')).toBe(3);
    pasids.takenBack(3, 20);
    pasids.takenBack(4, 20);
    expect([pasids.of('a'), [...pasids.all()]]).toEqual([undefined, []]);
    pasids.given(3, 'b', 30);
    expect(pasids.tenure(3)).toMatchObject({ mm: 'b', before: { mm: 'a', until: 20 } });
  });

  it('goes back to its mark as a whole', () => {
    const ledger = new Ledger();
    ledger.frames.owned(1, { kind: 'kernel', use: 'boot' }, 0);
    ledger.mark();
    for (let round = 0; round < 2; round++) {
      ledger.step = 9;
      ledger.frames.freed(1, 9);
      ledger.pasids.given(3, 'a', 9);
      ledger.opens.opened('a', { device: 'dsa0', queue: 'dsa0/s', via: 'dsa0/s' });
      expect([...ledger.opens.all()].map(({ id }) => id)).toEqual([1]);
      ledger.restore();
      expect(ledger.step).toBe(0);
      expect([...ledger.frames.all()]).toEqual([[1, { kind: 'kernel', use: 'boot' }]]);
      expect([[...ledger.pasids.all()], [...ledger.opens.all()], [...ledger.jobs.pending()]]).toEqual([
        [],
        [],
        [],
      ]);
    }
  });
});
