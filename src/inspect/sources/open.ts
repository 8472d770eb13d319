/**
 * The ways to get at a machine, as the command line names them.
 */
import { openImageFile } from './image.js';
import { openQemu } from './qemu.js';
import { readRegisters } from './registers-file.js';
import type { Source } from './source.js';

export { openQemu };

/**
 * Opens an image of memory with a file of registers beside it.
 *
 * @param files their names; `base` is the physical address of the image's first byte, 0 if it is not given
 * On failure: an `InputError` with the file at fault and the place in it.
 */
export async function openImage(files: {
  readonly memory: string;
  readonly registers: string;
  readonly base?: number;
}): Promise<Source> {
  const registers = await readRegisters(files.registers);
  return openImageFile({ ...files, registers });
}
