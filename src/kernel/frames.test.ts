import { describe, expect, it } from 'vitest';
import { FakePlatform } from '../../test/kernel/fake-platform.js';
import { Bug, isRefusal, UndoLog } from '../base/index.js';
import { type FrameLedger, type FrameOwner, Frames } from './index.js';

const OWNER: FrameOwner = { kind: 'kernel', use: 'test' };

function framesOf(
  platform: FakePlatform,
  options: { ledger?: FrameLedger; mayFail?: boolean; seed?: number } = {},
): { frames: Frames } {
  const log = new UndoLog();
  platform.keep(log);
  return { frames: new Frames({ platform, log, ...options }) };
}

describe('page frames', () => {
  it('hands out the lowest free one, zeroed, and tells the ledger', () => {
    const platform = new FakePlatform({ frames: 64 });
    const told: string[] = [];
    const ledger = {
      owned: (frame: number): void => void told.push(`owned ${frame}`),
      freed: (frame: number): void => void told.push(`freed ${frame}`),
    };
    const { frames } = framesOf(platform, { ledger });
    platform.memory.write(256 * 4096, new Uint8Array(4096).fill(7));
    expect([frames.alloc(OWNER), frames.alloc(OWNER)]).toEqual([256, 257]);
    expect(platform.memory.load32(256 * 4096 + 4092)).toBe(0);
    frames.free(256);
    expect(frames.alloc(OWNER)).toBe(256);
    expect(told).toEqual(['owned 256', 'owned 257', 'freed 256', 'owned 256']);
    expect(frames.inUse).toBe(2);
  });

  it('scatters frames by the seed, as far as there are any, and puts the sequence back', () => {
    const scatter = (seed: number): { frames: Frames; platform: FakePlatform; list: number[] } => {
      const platform = new FakePlatform({ frames: 64 });
      const { frames } = framesOf(platform, { seed });
      platform.mark();
      return {
        frames,
        platform,
        list: Array.from({ length: 64 }, () => Number(frames.allocScattered(OWNER))),
      };
    };
    const { frames, platform, list } = scatter(1);
    expect([...list].sort((a, b) => a - b)).toEqual(Array.from({ length: 64 }, (_, i) => 256 + i));
    expect(new Set(list.map((frame, i) => frame - i)).size).toBeGreaterThan(16);
    expect(frames.allocScattered(OWNER)).toMatchObject({ errno: 'ENOMEM' });
    platform.restore();
    expect(frames.allocScattered(OWNER)).toBe(list[0]);
    expect(scatter(2).list).not.toEqual(list);
  });

  it('finds aligned runs, and says when there is none', () => {
    const { frames } = framesOf(new FakePlatform({ frames: 64 }));
    expect(frames.alloc(OWNER)).toBe(256);
    expect(frames.allocRun(32, OWNER)).toBe(288);
    expect(frames.allocRun(32, OWNER)).toMatchObject({ errno: 'ENOMEM' });
    for (let i = 0; i < 31; i++) expect(isRefusal(frames.alloc(OWNER))).toBe(false);
    expect(frames.alloc(OWNER)).toMatchObject({ errno: 'ENOMEM' });
  });

  it('fails by choice where it may', () => {
    const chooser = { choose: (n: number): number => n - 1 };
    expect(framesOf(new FakePlatform({ chooser })).frames.alloc(OWNER)).toBe(256);
    const failing = framesOf(new FakePlatform({ chooser }), { mayFail: true });
    expect(failing.frames.alloc(OWNER)).toBe(256);
    failing.frames.booted();
    expect(failing.frames.alloc(OWNER)).toMatchObject({ errno: 'ENOMEM' });
  });

  it('goes back to a mark', () => {
    const platform = new FakePlatform();
    const { frames } = framesOf(platform);
    frames.alloc(OWNER);
    platform.mark();
    frames.alloc(OWNER);
    frames.free(256);
    platform.restore();
    expect([frames.inUse, frames.alloc(OWNER)]).toEqual([1, 257]);
  });

  it('keeps what is held in use, until the last hold ends', () => {
    const platform = new FakePlatform();
    const freed: number[] = [];
    const ledger = { owned() {}, freed: (frame: number) => void freed.push(frame) };
    const { frames } = framesOf(platform, { ledger });
    for (let i = 0; i < 5; i++) frames.alloc(OWNER);
    platform.mark();
    // Two neighbours: their counts stand in one word.
    for (const frame of [257, 257, 258]) expect(frames.hold(frame)).toBeUndefined();
    frames.free(257);
    expect(() => frames.free(257)).toThrow(Bug);
    frames.release(258);
    frames.release(257);
    expect([frames.inUse, freed]).toEqual([5, []]);
    frames.release(257);
    expect([frames.inUse, freed, frames.alloc(OWNER)]).toEqual([4, [257], 257]);
    expect(() => frames.release(257)).toThrow(Bug);
    for (let i = 0; i < 127; i++) expect(frames.hold(256)).toBeUndefined();
    expect(frames.hold(256)).toMatchObject({ errno: 'EOVERFLOW' });
    platform.restore();
    frames.free(256);
    expect([frames.inUse, freed]).toEqual([4, [257, 256]]);
  });

  it('frees nothing twice', () => {
    const { frames } = framesOf(new FakePlatform());
    frames.alloc(OWNER);
    frames.free(256);
    expect(() => frames.free(256)).toThrow(Bug);
  });
});
