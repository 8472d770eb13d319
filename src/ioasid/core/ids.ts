/**
 * The numbers that name things: host ids and private ids. Both are PASIDs of PCIe (20 bits: PCI Express Base
 * Specification, "PASID TLP Prefix"), and the two must not be mixed: a guest's number on the host's table
 * reaches a stranger's address space.
 */
import { type Brand, numberBrand } from '../../base/index.js';

/** A host's IOASID: one space for the whole machine. */
export type Ioasid = Brand<number, 'Ioasid'>;
/** 0 to 2^20 - 1. Id 0 stands for requests without PASID: it is a name, and is never handed out. */
export const Ioasid = numberBrand<Ioasid>('IOASID', 0, 0xfffff);

/** A private id of one set: a guest's PASID. */
export type Spid = Brand<number, 'Spid'>;
/** 0 to 2^20 - 1. */
export const Spid = numberBrand<Spid>('SPID', 0, 0xfffff);

/** What a custom allocator answers that has no id to give (include/linux/ioasid.h). */
export const INVALID_IOASID = 0xffff_ffff;

/** The most ids that a machine can have (20 bits), id 0 included. */
export const MAX_CAPACITY = 0x10_0000;
