/**
 * The tables of a unit in legacy mode: root and context tables alone (VT-d 4.1, 9.1 and 9.3). A device's one entry
 * names its domain, and stands in a table with those of all other functions of its bus.
 */
import { isRefusal, type Refusal } from '../../../base/index.js';
import { CONTEXT_ENTRY, ROOT_ENTRY } from '../../../spec/index.js';
import type { KernelContext } from '../../context.js';
import { PAGE_BYTES, paOf } from '../../ids.js';
import type { Endpoint } from '../driver.js';
import type { Capabilities } from './capabilities.js';
import { EntryTables } from './entry-tables.js';

const ROOT_BYTES = 16;

export class LegacyTables extends EntryTables {
  readonly root: number;
  readonly #unit: string;

  private constructor(
    context: KernelContext,
    caps: Capabilities,
    of: { readonly unit: string; readonly root: number },
  ) {
    super(context, caps, { entry: CONTEXT_ENTRY, pointer: { present: ROOT_ENTRY.P, frame: ROOT_ENTRY.CTP } });
    this.#unit = of.unit;
    this.root = of.root;
  }

  /**
   * An empty root table.
   *
   * On failure: `ENOMEM`.
   */
  static create(context: KernelContext, caps: Capabilities, unit: string): LegacyTables | Refusal<'ENOMEM'> {
    const root = context.frames.alloc({ kind: 'kernel', use: `root table of ${unit}` });
    if (isRefusal(root)) return root;
    const tables = new LegacyTables(context, caps, { unit, root });
    tables.writeBack(paOf(root), PAGE_BYTES);
    return tables;
  }

  /**
   * Sees to it that there is a context table for a device.
   *
   * On failure: `ENOMEM`.
   */
  addDevice(device: Endpoint): Refusal<'ENOMEM'> | undefined {
    if (this.tableOf(device, 0) !== undefined) return undefined;
    const table = this.makeTable(device, 0);
    return isRefusal(table) ? table : undefined;
  }

  /** A device without a domain has no entry. */
  clearDevice(): void {}

  /** The context table is the bus's. */
  freeDevice(): void {}

  protected override pointerAt({ rid }: Endpoint): number {
    return paOf(this.root, (rid >> 8) * ROOT_BYTES);
  }

  protected override indexOf({ rid }: Endpoint): number {
    return rid & 0xff;
  }

  protected override useOf(): string {
    return `context table of ${this.#unit}`;
  }
}
