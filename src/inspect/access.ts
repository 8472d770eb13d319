/** Rights as people write them. */
import { RIGHT } from '../hardware/index.js';

/** `rw`, `r`, `w`, and with `x` only where the unit can grant execution. */
export function accessText(rights: number, canExecute: boolean): string {
  const r = (rights & RIGHT.READ) !== 0 ? 'r' : '';
  const w = (rights & RIGHT.WRITE) !== 0 ? 'w' : '';
  const x = canExecute && (rights & RIGHT.EXECUTE) !== 0 ? 'x' : '';
  return r + w + x;
}

/** Whether only requests with privilege are granted anything. */
export const isPrivileged = (rights: number): boolean => (rights & RIGHT.USER) === 0;
