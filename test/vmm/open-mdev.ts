/** A virtual device that its VMM has opened, whose guest has enabled what it needs in configuration space. */
import { type IoasidSet, ioasidSetAlloc } from '../../src/ioasid/index.js';
import type { IdxdDevice, Mdev } from '../../src/kernel/index.js';
import { PCI_ENABLED, TestHost, value } from './host.js';

export interface OpenMdev {
  readonly host: TestHost;
  readonly idxd: IdxdDevice;
  readonly mdev: Mdev;
  /** The VM's set. */
  readonly set: IoasidSet;
  /** The vectors that it has interrupted by, oldest first. */
  readonly interrupts: readonly number[];
}

/** @param wq a share of the shared queue 0, or queue 1, which is dedicated */
export function openMdev(wq: 0 | 1 = 0): OpenMdev {
  const host = new TestHost();
  const [idxd] = host.kernel.idxds;
  if (idxd === undefined) throw new Error('no accelerator');
  const set = value(ioasidSetAlloc(host.ioasids, { type: 'none', quota: 10 }));
  const mdev = host.newMdev('mdev', wq);
  const interrupts: number[] = [];
  const refusal = mdev.open(set, (vector) => void interrupts.push(vector));
  if (refusal !== undefined) throw new Error(refusal.toString());
  mdev.configWritten(PCI_ENABLED);
  return { host, idxd, mdev, set, interrupts };
}
