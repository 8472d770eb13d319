/** What the command line tells the engine of the memory that machines take. */
import { setFlagsFromString } from 'node:v8';

/**
 * Gives threads that are made after this more room for what lives short. A run makes a megabyte of that and keeps
 * none; of what a machine of a hundred thousand processes keeps, less is looked at before its time.
 *
 * @param shortLived MiB; there are two of it, and a bit
 */
export function giveRoomToThreads(shortLived: number): void {
  for (const size of ['min', 'max']) setFlagsFromString(`--${size}-semi-space-size=${shortLived}`);
}
