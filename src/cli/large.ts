/** What the command line tells the engine of the memory that machines take. */
import { setFlagsFromString } from 'node:v8';

/**
 * Has the engine look for what is over before its heap has grown by a fifth: by default it waits longer, which of a
 * machine with a hundred thousand processes is half a gigabyte. Looking costs time; of small heaps, none to speak of.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--heap-growing-percent=20');
}

/**
 * Gives threads that are made after this more room for what lives short. A run makes a megabyte of that and keeps
 * none: the seldomer the engine looks, the less it finds to keep.
 */
export function giveRoomToThreads(): void {
  for (const size of ['min', 'max']) setFlagsFromString(`--${size}-semi-space-size=64`);
}
