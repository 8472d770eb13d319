/**
 * Who has which queue open, as the processes did it: an open file counts once for each process that has it, and a
 * forked child has its parent's. The last one to let go of a device for an address space unbinds it there.
 */
import type { Restorable } from '../../base/index.js';
import { OverlayMap } from './overlay.js';

/** What a process opens, by the names of the hardware: a virtual device's queue is its parent's. */
export interface Queue {
  readonly device: string;
  readonly queue: string;
  /** What the process calls it: `vdsa0/shared` in a virtual machine. */
  readonly via: string;
}

/** An open queue. */
export interface OpenQueue extends Queue {
  readonly id: number;
  /** The address space that it was opened for. */
  readonly mm: string;
  readonly holders: readonly string[];
}

export class OpenLedger implements Restorable {
  readonly #opens = new OverlayMap<number, OpenQueue>();
  /** The ids of what a process holds, and of what was opened for an address space. */
  readonly #held = new OverlayMap<string, readonly number[]>();
  readonly #bound = new OverlayMap<string, readonly number[]>();
  #next = 1;
  #markedNext = 1;

  opened(mm: string, queue: Queue): void {
    const id = this.#next++;
    this.#opens.set(id, { id, mm, ...queue, holders: [mm] });
    add(this.#held, mm, id);
    add(this.#bound, mm, id);
  }

  forked(parent: string, child: string): void {
    for (const open of this.of(parent)) {
      this.#opens.set(open.id, { ...open, holders: [...open.holders, child] });
      add(this.#held, child, open.id);
    }
  }

  /** An open queue is another from now on: its machine has gone to other devices. */
  moved(id: number, to: Pick<Queue, 'device' | 'queue'>): void {
    const open = this.#opens.get(id);
    if (open !== undefined) this.#opens.set(id, { ...open, ...to });
  }

  /** A process closed a queue, by its own name of it; the open that it was, if that was its last holder. */
  closed(process: string, via: string): OpenQueue | undefined {
    const open = this.of(process).find((each) => each.via === via);
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
    return this.#listed(this.#held.get(process));
  }

  /** What is open for an address space. */
  for(mm: string): OpenQueue[] {
    return this.#listed(this.#bound.get(mm));
  }

  /** Whether an address space is bound to a device by an open queue. */
  isBound(mm: string, device: string): boolean {
    return this.for(mm).some((open) => open.device === device);
  }

  *all(): Generator<OpenQueue> {
    for (const [, open] of this.#opens.entries()) yield open;
  }

  mark(): void {
    for (const map of [this.#opens, this.#held, this.#bound]) map.mark();
    this.#markedNext = this.#next;
  }

  restore(): void {
    for (const map of [this.#opens, this.#held, this.#bound]) map.restore();
    this.#next = this.#markedNext;
  }

  #listed(ids: readonly number[] | undefined): OpenQueue[] {
    return (ids ?? []).map((id) => this.#opens.get(id)).filter((open) => open !== undefined);
  }

  #letGo(open: OpenQueue, process: string): OpenQueue | undefined {
    const holders = open.holders.filter((holder) => holder !== process);
    remove(this.#held, process, open.id);
    if (holders.length > 0) {
      this.#opens.set(open.id, { ...open, holders });
      return undefined;
    }
    this.#opens.delete(open.id);
    remove(this.#bound, open.mm, open.id);
    return open;
  }
}

type Index = OverlayMap<string, readonly number[]>;

const add = (index: Index, key: string, id: number): void => index.set(key, [...(index.get(key) ?? []), id]);

function remove(index: Index, key: string, id: number): void {
  const left = (index.get(key) ?? []).filter((each) => each !== id);
  if (left.length === 0) index.delete(key);
  else index.set(key, left);
}
