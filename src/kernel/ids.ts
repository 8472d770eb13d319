/**
 * Numbers that name things of this machine. In a guest's kernel they are the guest's own: what they are for the
 * host, only the VMM knows.
 */
import { type Brand, hex, numberBrand } from '../base/index.js';

/** A PASID of this machine. 0 stands for requests without one. */
export type Pasid = Brand<number, 'Pasid'>;
export const Pasid = numberBrand<Pasid>('PASID', 0, 0xfffff);

/** A PASID of a guest of this machine, as that guest's kernel names it: its SPID. Another namespace for each VM. */
export type GuestPasid = Brand<number, 'GuestPasid'>;
export const GuestPasid = numberBrand<GuestPasid>('guest PASID', 0, 0xfffff);

/** A physical address of this machine. */
export type Pa = Brand<number, 'Pa'>;
export const Pa = numberBrand<Pa>('physical address', 0, 2 ** 52 - 1);

/** Bytes a page. */
export const PAGE_BYTES = 4096;

/** The address of a byte of a frame. */
export const paOf = (frame: number, offset = 0): Pa => Pa.of(frame * PAGE_BYTES + offset);

/** The frame that an address lies in. */
export const frameOf = (address: Pa): number => Math.floor(address / PAGE_BYTES);

/** `6a:01.0`: bus, device and function of a requester. */
export function ridName(rid: number): string {
  const digits = (value: number): string => value.toString(16).padStart(2, '0');
  return `${digits(rid >> 8)}:${digits((rid >> 3) & 0x1f)}.${rid & 7}`;
}

/** A virtual address, as events print it. */
export const pageName = (page: number): string => hex(page * PAGE_BYTES);
