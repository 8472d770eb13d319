/** All that the rules know of a run, told by taps on hardware and kernel, and by what the processes did. */
import type { Restorable } from '../../base/index.js';
import { FrameLedger } from './frames.js';
import { JobLedger } from './jobs.js';
import { OpenLedger } from './opens.js';
import { PasidLedger } from './pasids.js';

export class Ledger implements Restorable {
  /** The scheduler's step. */
  step = 0;
  readonly frames = new FrameLedger();
  readonly pasids = new PasidLedger();
  readonly jobs = new JobLedger();
  readonly opens = new OpenLedger();

  mark(): void {
    for (const part of [this.frames, this.pasids, this.jobs, this.opens]) part.mark();
  }

  restore(): void {
    this.step = 0;
    for (const part of [this.frames, this.pasids, this.jobs, this.opens]) part.restore();
  }
}
