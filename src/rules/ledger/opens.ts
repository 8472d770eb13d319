/**
 * Who has which queue open, as the processes did it: an open file counts once for each process that has it, and a
 * forked child has its parent's. The last one to let go of a device for an address space unbinds it there.
 */
import type { Restorable } from '../../base/index.js';
import { OverlayMap } from './overlay.js';

/** An open queue. */
export interface OpenQueue {
  readonly id: number;
  /** The address space that it was opened for. */
  readonly mm: string;
  readonly device: string;
  readonly queue: string;
  readonly holders: readonly string[];
}

export class OpenLedger implements Restorable {
  readonly #opens = new OverlayMap<number, OpenQueue>();
  #next = 1;
  #markedNext = 1;

  opened(mm: string, device: string, queue: string): void {
    const id = this.#next++;
    this.#opens.set(id, { id, mm, device, queue, holders: [mm] });
  }

  forked(parent: string, child: string): void {
    for (const open of this.of(parent)) {
      this.#opens.set(open.id, { ...open, holders: [...open.holders, child] });
    }
  }

  /** A process closed a queue; the open that it was, if that was its last holder. */
  closed(process: string, queue: string): OpenQueue | undefined {
    const open = this.of(process).find((each) => each.queue === queue);
    return open && this.#letGo(open, process);
  }

  /** A process is gone; the opens that it was the last holder of. */
  ended(process: string): OpenQueue[] {
    return this.of(process)
      .map((open) => this.#letGo(open, process))
      .filter((open) => open !== undefined);
  }

  /** What a process holds. */
  of(process: string): OpenQueue[] {
    return [...this.all()].filter(({ holders }) => holders.includes(process));
  }

  /** Whether an address space is bound to a device by an open queue. */
  isBound(mm: string, device: string): boolean {
    for (const open of this.all()) if (open.mm === mm && open.device === device) return true;
    return false;
  }

  *all(): Generator<OpenQueue> {
    for (const [, open] of this.#opens.entries()) yield open;
  }

  mark(): void {
    this.#opens.mark();
    this.#markedNext = this.#next;
  }

  restore(): void {
    this.#opens.restore();
    this.#next = this.#markedNext;
  }

  #letGo(open: OpenQueue, process: string): OpenQueue | undefined {
    const holders = open.holders.filter((holder) => holder !== process);
    if (holders.length > 0) {
      this.#opens.set(open.id, { ...open, holders });
      return undefined;
    }
    this.#opens.delete(open.id);
    return open;
  }
}
