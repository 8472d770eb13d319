/** All that the rules know of a run, told by taps on hardware and kernel, and by what the processes did. */
import type { Restorable } from '../../base/index.js';
import { FrameLedger } from './frames.js';
import { JobLedger } from './jobs.js';
import { OpenLedger } from './opens.js';
import { OverlayMap } from './overlay.js';
import { PasidLedger } from './pasids.js';

export class Ledger implements Restorable {
  /** The scheduler's step. */
  step = 0;
  readonly frames = new FrameLedger();
  readonly pasids = new PasidLedger();
  readonly jobs = new JobLedger();
  readonly opens = new OpenLedger();
  /** Address spaces that are going, or gone, and since when. */
  readonly dying = new OverlayMap<string, number>();

  mark(): void {
    for (const part of [this.frames, this.pasids, this.jobs, this.opens, this.dying]) part.mark();
  }

  restore(): void {
    this.step = 0;
    for (const part of [this.frames, this.pasids, this.jobs, this.opens, this.dying]) part.restore();
  }
}
