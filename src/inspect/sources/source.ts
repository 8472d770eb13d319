/**
 * Where the tables of a machine come from: a memory image, or a live machine that is asked for them frame by
 * frame. Reading is asynchronous, and lives in this folder alone; what is made of the tables is a pure function
 * of {@link TableMemory}, computed again until it finds every frame that it looks for.
 */
import type { TableMemory } from '../table-memory.js';

/** A unit's registers at one moment. */
export interface UnitRegisters {
  /** Values by the specification's names (`CAP`, `RTADDR`, …); one that is missing was not recorded. */
  readonly values: ReadonlyMap<string, bigint>;
  /** The fault recording registers, 128 bits each; undefined if they were not recorded. */
  readonly faultRecords: readonly bigint[] | undefined;
}

/** A machine to be read. */
export interface Source {
  /** What messages call it. */
  readonly name: string;
  readonly registers: UnitRegisters;
  /** The frames that have been read so far. */
  readonly memory: TableMemory;
  /** Reads the frames that {@link TableMemory.missing} lists, so that it lists none. */
  readMissing(): Promise<void>;
  /** Lets the machine go: a stopped guest goes on. To be called however reading ended. */
  close(): Promise<void>;
}

/** A machine that is there while it is read, and may change. */
export interface LiveSource extends Source {
  /**
   * Reads all frames again that have been read so far: {@link Source.memory} has the new contents.
   *
   * @returns the frames that differ from what was read of them before, lowest first
   */
  readAgain(): Promise<readonly number[]>;
}

/**
 * Computes something from a machine's tables.
 *
 * @param compute a pure function of the source's memory: it is called until it asks for no further frame
 */
export async function settle<T>(source: Source, compute: () => T): Promise<T> {
  for (;;) {
    const result = compute();
    if (source.memory.missing.size === 0) return result;
    await source.readMissing();
  }
}
