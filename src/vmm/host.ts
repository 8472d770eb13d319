/** The host's kernel, with what a VMM asks of it. */
import type { Kernel, Vfio } from '../kernel/index.js';

export type VmHost = Kernel & { readonly vfio: Vfio };
