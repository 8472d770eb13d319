/**
 * CPUs for virtual machines: each runs one vCPU and nothing else, so that there are as many as are asked for. One that
 * is given back is the next to be taken. What is on its way of their posted writes goes on as one group of engines, in
 * which a CPU that has none costs nothing.
 */
import { assert, type Restorable } from '../../base/index.js';
import { Cpu, type CpuOptions, type Engine, QuietEngines } from '../../hardware/index.js';

interface Seat {
  readonly cpu: Cpu;
  /** Who has it; undefined if it is free. */
  owner: string | undefined;
  marked: string | undefined;
}

export class CpuPool implements Restorable {
  readonly engines = new QuietEngines();
  readonly #options: Pick<CpuOptions, 'memory' | 'bus'>;
  readonly #every: Cpu[];
  readonly #seats: Seat[] = [];

  /** @param others the machine's other CPUs, whose indices come before */
  constructor(options: Pick<CpuOptions, 'memory' | 'bus'>, others: readonly Cpu[]) {
    this.#options = options;
    this.#every = [...others];
  }

  /** All CPUs of the machine, by their index. It grows with the pool. */
  get every(): readonly Cpu[] {
    return this.#every;
  }

  /** A CPU on which nothing runs. */
  take(owner: string): Cpu {
    const seat = this.#seats.find((each) => each.owner === undefined) ?? this.#more();
    seat.owner = owner;
    return seat.cpu;
  }

  /** Takes a CPU back; nothing of its owner stays on it. */
  give(cpu: Cpu): void {
    const seat = this.#seats.find((each) => each.cpu === cpu);
    assert(seat?.owner !== undefined, `${cpu.name} is given back and nobody has it`);
    cpu.vmcs = undefined;
    cpu.cpl = 0;
    cpu.writePasidMsr(0);
    cpu.setPageTable(0);
    seat.owner = undefined;
  }

  /** All of them, by their index. */
  get all(): readonly Cpu[] {
    return this.#seats.map(({ cpu }) => cpu);
  }

  /** The CPUs that are taken, and by whom. */
  get taken(): readonly { readonly cpu: Cpu; readonly owner: string }[] {
    return this.#seats.flatMap(({ cpu, owner }) => (owner === undefined ? [] : [{ cpu, owner }]));
  }

  mark(): void {
    for (const seat of this.#seats) {
      seat.marked = seat.owner;
      seat.cpu.mark();
    }
  }

  restore(): void {
    for (const seat of this.#seats) {
      seat.owner = seat.marked;
      seat.cpu.restore();
    }
  }

  #more(): Seat {
    const cpu = new Cpu({
      ...this.#options,
      index: this.#every.length,
      onPosted: (writes: Engine) => this.engines.changed(writes),
    });
    // One that comes after a mark goes back to what it is now.
    cpu.mark();
    this.engines.add(cpu.posted);
    this.#every.push(cpu);
    const seat: Seat = { cpu, owner: undefined, marked: undefined };
    this.#seats.push(seat);
    return seat;
  }
}
