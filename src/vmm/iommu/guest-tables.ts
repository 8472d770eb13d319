/**
 * A guest's root, context and PASID tables, as its virtual unit reads them: entry by entry, by the steps that the
 * hardware's walk takes too (VT-d 4.1, 9.1 to 9.6), each read once. What is read is judged by what the virtual unit
 * offers: what it does not is a fault, as on hardware.
 */
import {
  ABSENT,
  type AddressSpace,
  contextEntryOffset,
  DeviceTables,
  DIRECTORY_ENTRY_BYTES,
  type FrameReader,
  PASID_ENTRY_BYTES,
  PASIDS_PER_TABLE,
  ROOT_ENTRY_BYTES,
  type UnitFormat,
} from '../../hardware/index.js';
import { FAULT } from '../../spec/index.js';

const FRAME_BYTES = 4096;

export class GuestTables {
  /** Why the last read found no entry; 0 if it found one. */
  fault = 0;
  readonly #memory: FrameReader;
  readonly #tables: DeviceTables;

  /** @param format of the virtual unit */
  constructor(memory: FrameReader, format: UnitFormat) {
    this.#memory = memory;
    this.#tables = new DeviceTables(format, true);
  }

  /** Whether faults of the last read's requests are not to be recorded (FPD). */
  get isSilenced(): boolean {
    return this.#tables.silenced;
  }

  /** Whether the device of the last read may ask for pages. */
  get mayRequestPages(): boolean {
    return this.#tables.context.pageRequests;
  }

  /**
   * The PASID table entry of a device and PASID, in scalable mode.
   *
   * @param root frame of the root table
   * @returns the entry, until the next read; undefined if there is none: {@link GuestTables.fault} says why
   */
  read(
    root: number,
    { rid, pasid }: { readonly rid: number; readonly pasid: number },
  ): AddressSpace | undefined {
    this.#tables.silenced = false;
    this.fault = this.#read(root, rid, pasid);
    return this.fault === 0 ? this.#tables.space : undefined;
  }

  #read(root: number, rid: number, pasid: number): number {
    const tables = this.#tables;
    const devfn = rid & 0xff;
    let at = this.#at(root, (rid >>> 8) * ROOT_ENTRY_BYTES);
    if (at === ABSENT) return FAULT.SM_ROOT_ACCESS;
    let fault = tables.rootStep(this.#memory.words, at, devfn);
    if (fault !== 0) return fault;
    at = this.#at(tables.next, contextEntryOffset(true, devfn));
    if (at === ABSENT) return FAULT.SM_CONTEXT_ACCESS;
    fault = tables.contextStep(this.#memory.words, at);
    if (fault !== 0) return fault;
    const { context } = tables;
    if (!context.pasidEnabled) return FAULT.PASIDE_CLEAR;
    if (pasid >= context.pasidLimit) return FAULT.PASID_BEYOND_DIRECTORY;
    at = this.#at(context.directory, Math.floor(pasid / PASIDS_PER_TABLE) * DIRECTORY_ENTRY_BYTES);
    if (at === ABSENT) return FAULT.PASID_DIRECTORY_ACCESS;
    fault = tables.directoryStep(this.#memory.words, at);
    if (fault !== 0) return fault;
    at = this.#at(tables.next, (pasid % PASIDS_PER_TABLE) * PASID_ENTRY_BYTES);
    return at === ABSENT ? FAULT.PASID_TABLE_ACCESS : tables.pasidStep(this.#memory.words, at);
  }

  /** Where in the memory's words a table's entry lies. */
  #at(frame: number, offset: number): number {
    return this.#memory.at(frame + Math.floor(offset / FRAME_BYTES), (offset % FRAME_BYTES) / 4);
  }
}
