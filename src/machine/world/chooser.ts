/** The one chooser that all models of a machine are given: each run puts another one behind it. */
import { type Chooser, firstChooser } from '../../base/index.js';

export class SwitchedChooser implements Chooser {
  inner: Chooser = firstChooser;

  choose(n: number, what: string): number {
    return this.inner.choose(n, what);
  }
}
