/**
 * A unit whose queue stops, or whose device does not answer, with domains attached: what was asked for is told to have
 * failed, nothing that hardware may still use is given away, and everybody else goes on (bugs D23, F14).
 */
import { describe, expect, it } from 'vitest';
import { isRefusal, type Task } from '../../src/base/index.js';
import type { Engine } from '../../src/hardware/index.js';
import { type FrameOwner, Pasid } from '../../src/kernel/index.js';
import { INVALIDATION } from '../../src/spec/index.js';
import { FIRST_RID, Lab, must, NO_PASID, SECOND_RID, wordOf } from './lab.js';

const RANGE = [{ first: 0x10, last: 0x10 }];

describe('a device that does not answer', () => {
  it('is asked again, and what it held is given back when it answers', () => {
    const lab = new Lab({ ats: true });
    const { dma, device } = lab.plug();
    const { domain } = lab.domain(device, [0x10]);
    must(lab.run(lab.iommu.attach(device, NO_PASID, domain)));
    lab.access(dma, [{ pasid: 0, page: 0x10 }]);
    dma.deaf = 2;
    expect(lab.run(domain.unmap(RANGE))).toBe(1);
    expect(lab.bench.events.filter(({ kind }) => kind === 'iommu:invalidation-timeout')).toHaveLength(2);
    expect(dma.invalidations).toHaveLength(3);
  });

  it('does not keep the other unit from being flushed', () => {
    for (const deaf of [0, 1]) {
      const lab = new Lab({ ats: true, units: 2 });
      const plugged = [lab.plug(FIRST_RID), lab.plug(SECOND_RID)];
      const { domain, tag, frames } = lab.domain(lab.plug(FIRST_RID + 8).device, [0x10]);
      for (const { device, dma } of plugged) {
        must(lab.run(lab.iommu.attach(device, NO_PASID, domain)));
        const met = lab.access(dma, [{ pasid: 0, page: 0x10 }]);
        expect(met.every((each) => each.passed && (each.isWrite || each.value === wordOf(tag, 0)))).toBe(
          true,
        );
      }
      const { inUse } = lab.bench.kernel.context.frames;
      const mute = plugged[deaf];
      const other = plugged[1 - deaf];
      if (mute === undefined || other === undefined) throw new Error('no devices');
      mute.dma.deaf = 3;
      // All that one table serves.
      const whole = [{ first: 0, last: 0x1ff }];
      expect(lab.run(domain.unmap(whole))).toMatchObject({ errno: 'EIO' });
      expect(lab.access(other.dma, [{ pasid: 0, page: 0x10 }]).some(({ passed }) => passed)).toBe(false);
      // The tables that were taken out of the domain stay taken: the device may still be walked for.
      expect(lab.bench.kernel.context.frames.inUse).toBe(inUse);
      expect(domain.leaf(0x10)).toBeUndefined();
      expect(frames).toHaveLength(1);
    }
  });

  it('keeps its domain when it is detached, until it answers', () => {
    const lab = new Lab({ ats: true });
    const { dma, device } = lab.plug();
    const { domain } = lab.domain(device, [0x10]);
    const attachment = must(lab.run(lab.iommu.attach(device, Pasid.of(3), domain)));
    dma.deaf = 3;
    expect(lab.run(lab.iommu.detach(attachment))).toMatchObject({ errno: 'EIO' });
    expect(device.attachments.get(Pasid.of(3))).toBe(attachment);
    expect(domain.free()).toMatchObject({ errno: 'EBUSY' });
    const again = lab.run(lab.iommu.attach(device, Pasid.of(3), domain));
    expect(again).toMatchObject({ errno: 'EBUSY' });
    must(lab.run(lab.iommu.detach(attachment)));
    expect(domain.free()).toBeUndefined();
  });

  it('is asked again for what it did not confirm when that was muted', () => {
    const lab = new Lab({ ats: true });
    const { dma, device } = lab.plug();
    const { domain } = lab.domain(device, [0x10]);
    const attachment = must(lab.run(lab.iommu.attach(device, Pasid.of(3), domain)));
    dma.deaf = 6;
    expect(lab.run(lab.iommu.mute(attachment))).toMatchObject({ errno: 'EIO' });
    expect(lab.run(lab.iommu.detach(attachment))).toMatchObject({ errno: 'EIO' });
    expect(device.attachments.get(Pasid.of(3))).toBe(attachment);
    must(lab.run(lab.iommu.detach(attachment)));
    expect(dma.invalidations.length).toBeGreaterThan(6);
    expect(domain.free()).toBeUndefined();
  });

  it('does not keep the other unit from marking dirty pages', () => {
    for (const deaf of [0, 1]) {
      const lab = new Lab({ ats: true, units: 2, ecap: { SSADS: 1 } });
      const plugged = [lab.plug(FIRST_RID), lab.plug(SECOND_RID)];
      const { domain } = lab.domain(lab.plug(FIRST_RID + 8).device, [0x10]);
      for (const { device } of plugged) must(lab.run(lab.iommu.attach(device, NO_PASID, domain)));
      const [mute, other] = [plugged[deaf], plugged[1 - deaf]];
      if (mute === undefined || other === undefined) throw new Error('no devices');
      mute.dma.deaf = 3;
      expect(lab.run(lab.iommu.trackDirty(domain, true))).toMatchObject({ errno: 'EIO' });
      lab.access(other.dma, [{ pasid: 0, page: 0x10 }]);
      expect(lab.run(domain.readAndClearDirty(RANGE[0] ?? { first: 0, last: 0 }))).toEqual(RANGE);
    }
  });

  it('holds nobody up who waits for another device', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const lab = new Lab({ seed, ats: true });
      const [silent, other] = [lab.plug(FIRST_RID), lab.plug(FIRST_RID + 8)];
      // Each unmap of the silent one's is tried three times.
      silent.dma.deaf = 9;
      const results: unknown[] = [];
      const unmaps: (() => Task)[] = [];
      for (const [i, device] of [silent, silent, silent, other].map((each) => each.device).entries()) {
        const { domain } = lab.domain(device, [0x10]);
        must(lab.run(lab.iommu.attach(device, Pasid.of(i), domain)));
        const unmap = function* (): Task {
          const result = yield* domain.unmap(RANGE);
          results[i] = isRefusal(result) ? result.errno : result;
        };
        unmaps.push(unmap);
      }
      for (const unmap of unmaps) lab.bench.tasks.spawn('unmap', unmap());
      lab.bench.runAll();
      // Hardware drops the waits of all; a status that it wrote after that is not to be believed.
      expect(results).toEqual(['EIO', 'EIO', 'EIO', 1]);
    }
  });
});

describe('a queue that stops', () => {
  it('at a descriptor that it does not understand, says so to who submitted it, and goes on for all others', () => {
    for (let seed = 1; seed <= 10; seed++) {
      let ring = 0;
      const owned = (frame: number, owner: FrameOwner): void => {
        if (owner.kind === 'kernel' && owner.use === 'invalidation queue of dmar0') ring = frame * 4096;
      };
      const lab = new Lab({ seed, ledger: { owned, freed() {} } });
      const plugged = [lab.plug(FIRST_RID), lab.plug(FIRST_RID + 8)];
      const made = plugged.map(({ device }) => {
        const space = lab.domain(device, [0x10, 0x11]);
        must(lab.run(lab.iommu.attach(device, NO_PASID, space.domain)));
        return space;
      });
      for (const { dma } of plugged) lab.access(dma, [{ pasid: 0, page: 0x10 }]);
      const [damaged, whole] = made;
      if (damaged === undefined || whole === undefined) throw new Error('no domains');
      lab.bench.engines.add(bitFlip(lab, ring));
      const results: unknown[] = [];
      const unmap = function* (which: number): Task {
        const result = yield* (which === 0 ? damaged : whole).domain.unmap(RANGE);
        results[which] = isRefusal(result) ? result.errno : result;
      };
      lab.bench.tasks.spawn('unmap 0', unmap(0));
      lab.bench.tasks.spawn('unmap 1', unmap(1));
      lab.bench.runAll();
      expect(results.toSorted()).toEqual([1, 'EIO']);
      expect(lab.bench.events.filter(({ kind }) => kind === 'iommu:queue-error')).toHaveLength(1);
      const good = results.indexOf(1);
      const dma = plugged[good]?.dma;
      if (dma === undefined) throw new Error('no device');
      expect(lab.access(dma, [{ pasid: 0, page: 0x10 }]).some(({ passed }) => passed)).toBe(false);
      expect(lab.run(damaged.domain.unmap([{ first: 0x11, last: 0x11 }]))).toBe(1);
      const attachment = plugged[0]?.device.attachments.get(NO_PASID);
      if (attachment === undefined) throw new Error('not attached');
      must(lab.run(lab.iommu.detach(attachment)));
    }
  });
});

/** Spoils the next IOTLB invalidation that is put into an idle queue, once. */
function bitFlip(lab: Lab, ring: number): Engine {
  const { memory } = lab.bench;
  memory.write(ring, new Uint8Array(4096));
  let isOver = false;
  const find = (): number => {
    const bytes = new Uint8Array(4096);
    memory.read(ring, bytes);
    for (let at = 0; at < bytes.length; at += 32) {
      if ((bytes[at] ?? 0) % 16 === INVALIDATION.IOTLB) return at;
    }
    return -1;
  };
  return {
    name: 'bit flip',
    get isReady() {
      return !isOver && find() >= 0;
    },
    step() {
      isOver = true;
      memory.write(ring + find(), Uint8Array.of(0xf));
    },
  };
}

describe('one group of devices', () => {
  it('is replaced by two callers, one after the other', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const lab = new Lab({ seed, units: 2 });
      const plugged = [FIRST_RID, SECOND_RID].map((rid) => lab.plug(rid));
      const [one] = plugged;
      if (one === undefined) throw new Error('no device');
      const made = [0, 1, 2].map(() => lab.domain(one.device, [0x10]).domain);
      const [first, ...others] = made;
      if (first === undefined) throw new Error('no domain');
      const attachments = plugged.map(({ device }) =>
        must(lab.run(lab.iommu.attach(device, NO_PASID, first))),
      );
      const results: boolean[] = [];
      for (const [i, domain] of others.entries()) {
        const order = i === 0 ? attachments : attachments.toReversed();
        const replace = function* (): Task {
          results.push(isRefusal(yield* lab.iommu.replace(order, domain)));
        };
        lab.bench.tasks.spawn(`replace ${i}`, replace());
      }
      lab.bench.runAll();
      // Who comes second finds the attachments over.
      expect(results.toSorted()).toEqual([false, true]);
      const now = plugged.map(({ device }) => device.attachments.get(NO_PASID)?.domain);
      expect(new Set(now).size).toBe(1);
      expect(lab.faults).toBe(0);
    }
  });

  it('is detached and replaced at once: detached in the end, whoever comes first', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const lab = new Lab({ seed });
      const { device } = lab.plug();
      const [from, to] = [lab.domain(device, [0x10]).domain, lab.domain(device, [0x10]).domain];
      const attachment = must(lab.run(lab.iommu.attach(device, NO_PASID, from)));
      const replace = function* (): Task {
        const result = yield* lab.iommu.replace([attachment], to);
        if (isRefusal(result)) expect(result.errno).toBe('EBUSY');
      };
      const detach = function* (): Task {
        must(yield* lab.iommu.detach(attachment));
      };
      lab.bench.tasks.spawn('replace', replace());
      lab.bench.tasks.spawn('detach', detach());
      lab.bench.runAll();
      expect(from.free()).toBeUndefined();
      expect(device.attachments.get(NO_PASID)).toBeUndefined();
      expect(to.free()).toBeUndefined();
    }
  });
});
