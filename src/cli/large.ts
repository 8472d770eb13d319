/** What the command line does for a machine of gigabytes. */
import { setFlagsFromString } from 'node:v8';

/**
 * Has the engine look for what is over before its heap has grown by a fifth: by default it waits longer, which of a
 * machine with a hundred thousand processes is half a gigabyte. Looking costs time; of small heaps, none to speak of.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--heap-growing-percent=20');
}
