/**
 * An Intel DSA device: a PCI function with registers in BAR0 and portals in BAR2, work queues of both kinds,
 * groups, engines and commands (Intel DSA Architecture Specification, 341204, revision 3.0). Its device
 * TLB and page request interface are PCIe's.
 *
 * Left out, and not advertised: inter-domain operations, read buffers, performance counters, readback.
 * Traffic classes have no effect.
 */
import { Bug, type Chooser, type Restorable } from '../../base/index.js';
import {
  DSA_BAR0_BYTES,
  DSA_DEVICE_STATE,
  DSA_GENCFG_REG,
  DSA_GENCTRL_REG,
  DSA_GENSTS_REG,
  DSA_INTCAUSE_REG,
  DSA_STATUS,
  DSA_WQ_STATE,
  DSA_WQCFG,
  type DsaRegisterTable,
  dsaRegisters,
  type Register,
  RegisterFile,
  RegisterMap,
} from '../../spec/index.js';
import type { Engine } from '../engine.js';
import type { DeviceTlbInvalidation, MmioRegion, PageGroupResponse, PciFunction } from '../pci/ports.js';
import { enginesOf, wqsOf } from './checks.js';
import { Commands } from './commands.js';
import type { DeviceState, DsaCore } from './core.js';
import { DsaEngine } from './engine.js';
import type { EngineHost } from './engine-host.js';
import { EventLog } from './event-log.js';
import { Group } from './group.js';
import { DEVICE_VECTOR, Interrupts } from './interrupts.js';
import { InvalidationQueue } from './invalidations.js';
import { capabilities, DSA_DEFAULTS, type DsaOptions } from './options.js';
import { PortalRegion } from './portals.js';
import { type DsaAudit, type DsaParts, type DsaSlot, dsaParts } from './ports.js';
import { RegisterRegion } from './register-region.js';
import { SoftwareErrors } from './software-errors.js';
import { ANY_PASID, WorkQueue } from './work-queue.js';

const { STATE } = DSA_GENSTS_REG;

export class DsaDevice implements PciFunction, DsaCore, EngineHost, Restorable {
  readonly options: DsaOptions;
  readonly parts: DsaParts;
  readonly chooser: Chooser;
  readonly table: DsaRegisterTable;
  readonly registers: RegisterFile;
  readonly interrupts: Interrupts;
  readonly errors: SoftwareErrors;
  readonly queues: readonly WorkQueue[];
  readonly engines: readonly DsaEngine[];
  readonly bars: readonly MmioRegion[];
  /** Who watches. */
  audit: DsaAudit | undefined;
  readonly #groups: readonly Group[];
  readonly #commands: Commands;
  readonly #invalidations: InvalidationQueue;
  readonly #kept: readonly Restorable[];
  #lastTag = 0;
  #markedTag = 0;

  constructor(slot: DsaSlot, options: Partial<DsaOptions> = {}) {
    this.options = { ...DSA_DEFAULTS, ...options };
    const parts = dsaParts(slot, this.options, () => this.reset());
    this.parts = parts;
    this.chooser = slot.chooser;
    const { name, wqs, groups, engines, entries, vectors, imsEntries, interruptHandles } = this.options;
    if (wqs > 16 || vectors > 64) throw new Bug(`${name} with ${wqs} WQs and ${vectors} vectors`);
    this.table = dsaRegisters(capabilities(this.options));
    this.registers = new RegisterFile(new RegisterMap(this.table.all, DSA_BAR0_BYTES), (register) =>
      this.#written(register),
    );
    this.interrupts = new Interrupts(this.table, this.registers, {
      parts,
      ims: imsEntries,
      handles: interruptHandles,
    });
    const { interrupts } = this;
    const log = new EventLog(this.table, this.registers, { interrupts, parts, audit: () => this.audit });
    this.errors = new SoftwareErrors(this.table, this.registers, { interrupts, log });
    this.queues = this.table.WQCFG.slice(0, wqs).map(
      (config, index) => new WorkQueue(config, this.registers, { index, capacity: entries }),
    );
    this.engines = Array.from({ length: engines }, (_, i) => new DsaEngine(`${name} engine ${i}`, this, i));
    this.#groups = Array.from({ length: groups }, (_, i) => new Group(`${name} group ${i}`, slot.chooser));
    this.#commands = new Commands(`${name} command`, this);
    this.#invalidations = new InvalidationQueue(parts, this.engines);
    this.bars = [new RegisterRegion(`${name} BAR0`, this), new PortalRegion(`${name} BAR2`, this)];
    this.#kept = [
      ...[parts.config, parts.tlb, parts.pageRequests],
      ...[this.registers, this.interrupts, this.#commands, this.#invalidations],
      ...[...this.queues, ...this.engines, ...this.#groups],
    ];
  }

  /** What goes on by itself: the engines, and the commands. */
  get running(): readonly Engine[] {
    return [...this.engines, this.#commands];
  }

  get rid(): number {
    return this.parts.rid;
  }
  get overlappingCopy(): boolean {
    return this.options.overlappingCopy;
  }
  get pageRequestRetries(): number {
    return this.options.pageRequestRetries;
  }
  get userInterrupts(): boolean {
    return this.registers.get(this.table.GENCFG, DSA_GENCFG_REG.USER_INT) === 1;
  }
  get deviceState(): DeviceState {
    return STATE.get(this.registers.words, this.table.GENSTS.at) as DeviceState;
  }
  set deviceState(state: DeviceState) {
    this.registers.set(this.table.GENSTS, STATE, state);
  }
  get isRunning(): boolean {
    const state = this.deviceState;
    return state === DSA_DEVICE_STATE.ENABLED || state === DSA_DEVICE_STATE.DRAINING;
  }
  get hasIms(): boolean {
    return this.options.imsEntries > 0;
  }
  get lastTag(): number {
    return this.#lastTag;
  }

  readConfig(offset: number, bytes: number): number {
    return this.parts.config.read(offset, bytes);
  }

  /** A change of bus mastering, PASID, ATS or page requests while the device is not disabled halts it (5.7). */
  writeConfig(offset: number, bytes: number, value: number): void {
    this.stir();
    const before = this.#pciState();
    this.parts.config.write(offset, bytes, value);
    const isDisabled = this.deviceState === DSA_DEVICE_STATE.DISABLED;
    if (!isDisabled && this.#pciState() !== before) this.#halt();
    this.interrupts.unmasked();
  }

  invalidateDeviceTlb(invalidation: DeviceTlbInvalidation): void {
    this.stir();
    this.parts.tlb.invalidate(invalidation);
    this.#invalidations.add(invalidation);
  }

  pageGroupResponse(response: PageGroupResponse): void {
    this.stir();
    if (!this.parts.pageRequests.take(response)) return;
    for (const engine of this.engines) if (engine.respond(response.group, response.code)) return;
  }

  /** What a function-level reset does beside the configuration space. */
  reset(): void {
    this.stir();
    for (const queue of this.queues) {
      queue.discard(ANY_PASID, this.discarded);
      queue.state = DSA_WQ_STATE.DISABLED;
    }
    for (const engine of this.engines) engine.reset();
    this.#setGroups(false);
    this.registers.reset();
    this.interrupts.reset();
    this.parts.tlb.clear();
    this.parts.pageRequests.reset();
  }

  mark(): void {
    this.#markedTag = this.#lastTag;
    for (const part of this.#kept) part.mark();
  }

  restore(): void {
    this.stir();
    this.#lastTag = this.#markedTag;
    for (const part of this.#kept) part.restore();
  }

  // For the engines and the command unit.

  queue(index: number): WorkQueue {
    const queue = this.queues[index];
    if (queue === undefined) throw new Bug(`${this.options.name} has no WQ ${index}`);
    return queue;
  }

  hasEarlier(queue: WorkQueue, pasid: number, tag: number): boolean {
    const whose = queue.isDedicated ? undefined : pasid;
    for (const engine of this.engines) if (engine.isAt(queue.index, whose, tag - 1)) return true;
    return false;
  }

  stir(): void {
    for (const engine of this.engines) engine.readiness.stir();
    this.#commands.readiness.stir();
  }

  released(): void {
    this.#invalidations.complete();
  }

  readonly discarded = (tag: number): void => {
    this.audit?.completed(tag, DSA_STATUS.NONE);
  };

  /** Takes a descriptor into a queue that has room. */
  accept(queue: WorkQueue, descriptor: Int32Array, table: number): void {
    this.stir();
    const tag = ++this.#lastTag;
    queue.push(descriptor, tag, table);
    this.audit?.submitted(tag, queue.index, descriptor);
  }

  enable(): void {
    this.#setGroups(true);
    this.deviceState = DSA_DEVICE_STATE.ENABLED;
  }

  disable(): void {
    for (const queue of this.queues) queue.state = DSA_WQ_STATE.DISABLED;
    this.#setGroups(false);
    this.deviceState = DSA_DEVICE_STATE.DISABLED;
  }

  resetConfiguration(): void {
    this.disable();
    const { GENCFG, GENCTRL, INTCAUSE, EVLCFG, EVLSTATUS, WQCFG, GRPCFG, MSIXPERM } = this.table;
    const all = [GENCFG, GENCTRL, INTCAUSE, EVLCFG, EVLSTATUS, ...WQCFG, ...GRPCFG, ...MSIXPERM];
    for (const register of all) this.#resetRegister(register);
    this.interrupts.reset();
  }

  resetQueue(queue: WorkQueue): void {
    const config = this.table.WQCFG[queue.index];
    if (config === undefined) throw new Bug(`WQ ${queue.index} has no configuration`);
    const size = queue.size;
    this.#resetRegister(config);
    this.registers.set(config, DSA_WQCFG.SIZE, size);
  }

  #resetRegister(register: Register): void {
    for (const field of register.layout.fields) {
      const value = BigInt.asUintN(field.width, register.reset >> BigInt(field.low));
      this.registers.setBig(register, field, value);
    }
  }

  /** Puts engines and queues into their groups, or all out of them. */
  #setGroups(isEnabled: boolean): void {
    for (const engine of this.engines) engine.setGroup(undefined);
    this.#groups.forEach((group, i) => {
      const config = this.table.GRPCFG[i];
      if (!isEnabled || config === undefined) {
        group.setQueues([]);
        return;
      }
      const wqs = wqsOf(this, config);
      const engines = enginesOf(this, config);
      group.setQueues(this.queues.filter(({ index }) => (wqs >> BigInt(index)) & 1n));
      this.engines.forEach((engine, at) => {
        if ((engines >> BigInt(at)) & 1n) engine.setGroup(group);
      });
    });
  }

  #pciState(): number {
    const { isBusMaster, isPasidEnabled, isPrivilegedEnabled, isAtsEnabled, isPriEnabled } =
      this.parts.config;
    return [isBusMaster, isPasidEnabled, isPrivilegedEnabled, isAtsEnabled, isPriEnabled].reduce(
      (bits, bit) => bits * 2 + (bit ? 1 : 0),
      0,
    );
  }

  #halt(): void {
    this.deviceState = DSA_DEVICE_STATE.HALTED;
    this.errors.record({ error: DSA_STATUS.PCI_CONFIGURATION });
    if (this.registers.get(this.table.GENCTRL, DSA_GENCTRL_REG.HALT_INT) === 0) return;
    this.registers.set(this.table.INTCAUSE, DSA_INTCAUSE_REG.HALT, 1);
    this.interrupts.signal(DEVICE_VECTOR);
  }

  #written(register: Register): void {
    this.stir();
    if (register === this.table.CMD) this.#commands.submit(this.registers.words[register.at] ?? 0);
    else if (this.table.MSIX.includes(register)) this.interrupts.unmasked();
  }
}
