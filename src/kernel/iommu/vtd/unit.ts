/**
 * The driver of one VT-d unit, in scalable mode, or in legacy mode where it has no other: through MMIO and memory
 * alone. After VT-d 4.1, chapters 6, 7, 9 and 11; the order of invalidations is that of 6.5.3.3.
 *
 * An entry goes in three steps: not present; flushed from the context or PASID cache, IOTLB and device TLB; empty
 * (bugs D1, D2). Left out: interrupt remapping, posted interrupts, suspend.
 */
import {
  Bug,
  ended,
  isRefusal,
  KeptValue,
  type Refusal,
  refuse,
  type Task,
  type WaitQueue,
} from '../../../base/index.js';
import type { IoasidAllocatorOps } from '../../../ioasid/index.js';
import { RESPONSE_CODE, TTM, VTD_REGISTER } from '../../../spec/index.js';
import type { KernelContext } from '../../context.js';
import type { Pasid } from '../../ids.js';
import type { IommuUnit } from '../../platform.js';
import type { Domain } from '../domain.js';
import type {
  AttachErrno,
  Endpoint,
  GuestFlush,
  IommuClient,
  IommuDriver,
  NestingInfo,
  PageRange,
  PageRequest,
  PageResponse,
  Refresh,
  Replacement,
  TableLimits,
  Unsuited,
} from '../driver.js';
import { CacheTags } from './cache-tags.js';
import { type Capabilities, lacking, readCapabilities } from './capabilities.js';
import { contextEntry, judgeDomain, pasidEntry } from './entries.js';
import { FaultStatus } from './faults.js';
import * as inv from './invalidations.js';
import type { Invalidator } from './invalidator.js';
import { LegacyTables } from './legacy-tables.js';
import { PageRequestQueue } from './page-request-queue.js';
import { InvalidationQueue } from './queue.js';
import { RegisterInvalidations } from './register-invalidations.js';
import { UnitRegisters } from './registers.js';
import { VtdReplacement } from './replacement.js';
import { UnitTables } from './tables.js';
import { virtualCommandAllocator } from './virtual-commands.js';

/** Bits of an address of the lower half, with four levels: the upper one starts with ones. */
const FIRST_STAGE_WIDTH = 47;
const NO_DID = 0;

const CODES = {
  success: RESPONSE_CODE.SUCCESS,
  'invalid request': RESPONSE_CODE.INVALID_REQUEST,
  failure: RESPONSE_CODE.RESPONSE_FAILURE,
} as const satisfies Record<PageResponse, number>;

export class VtdUnit implements IommuDriver {
  readonly name: string;
  readonly pasidAllocator: IoasidAllocatorOps | undefined;
  readonly #context: KernelContext;
  readonly #registers: UnitRegisters;
  readonly #caps: Capabilities;
  readonly #progress: WaitQueue | undefined;
  readonly #tags: CacheTags;
  readonly #parts: KeptValue<Parts | undefined>;
  /** How to wait for invalidations and what comes before them. */
  readonly #drain: { readonly drain: boolean };

  constructor(context: KernelContext, unit: IommuUnit, name: string) {
    this.name = name;
    this.#context = context;
    this.#registers = new UnitRegisters(context.platform.mmio, unit.registers);
    this.#caps = readCapabilities(this.#registers);
    this.#drain = { drain: this.#caps.pageRequestDrain };
    this.#progress = unit.progress;
    this.pasidAllocator = virtualCommandAllocator(context, this.#registers, name);
    this.#tags = new CacheTags(context, this.#caps, name);
    this.#parts = new KeptValue<Parts | undefined>(context.log, undefined);
  }

  get pasidBits(): number {
    return this.#caps.pasidBits;
  }

  get hasDeviceTlbs(): boolean {
    return this.#caps.deviceTlbs;
  }

  get throttlesDeviceTlbs(): boolean {
    return this.#caps.deviceTlbThrottle;
  }

  /** A context entry of legacy mode that passes requests through blocks those for translations (VT-d 4.1, 9.3). */
  get translatesIdentity(): boolean {
    return this.#caps.scalableMode;
  }

  get canSnoop(): boolean {
    return this.#caps.snoopControl;
  }

  get dirtyStages(): IommuDriver['dirtyStages'] {
    return this.#caps.dirtyStages;
  }

  get hasPageRequests(): boolean {
    return this.#caps.pageRequests;
  }

  get firstStage(): TableLimits {
    const { firstStage, firstStageLevels, firstStageLeaves } = this.#caps;
    return { levels: firstStage ? firstStageLevels : [], leaves: firstStageLeaves, width: FIRST_STAGE_WIDTH };
  }

  get secondStage(): TableLimits {
    const { secondStage, secondStageLevels, secondStageLeaves, guestAddressWidth } = this.#caps;
    const levels = secondStage ? secondStageLevels : [];
    return { levels, leaves: secondStageLeaves, width: guestAddressWidth };
  }

  get nesting(): NestingInfo | undefined {
    return this.#caps.nested && this.#caps.pasidBits > 0 ? this.#caps.nesting : undefined;
  }

  *boot(client: IommuClient): Task<Refusal<'ENODEV' | 'ENOMEM' | 'EIO'> | undefined> {
    const missing = lacking(this.#caps);
    if (missing !== undefined) return refuse('ENODEV', `${this.name} has ${missing}`);
    const { scalableMode } = this.#caps;
    const parts = this.#makeParts(client);
    if (isRefusal(parts)) return parts;
    this.#parts.value = parts;
    yield* parts.queue.start();
    const mode = scalableMode ? TTM.SCALABLE : TTM.LEGACY;
    this.#registers.write64(VTD_REGISTER.RTADDR, { RTA: parts.tables.root, TTM: mode });
    yield* this.#registers.latchRootTable();
    const flushes = [inv.flushContexts(), ...(scalableMode ? [inv.flushPasids()] : []), inv.flushIotlb()];
    const refusal = yield* parts.queue.sync(flushes);
    if (refusal !== undefined) return refusal;
    parts.faults.start((status) => parts.queue.recover(status));
    parts.requests?.start();
    return undefined;
  }

  *enable(): Task {
    yield* this.#registers.enableTranslation();
  }

  *refresh(scope: Refresh): Task<Refusal<'EIO'> | undefined> {
    const { scalableMode } = this.#caps;
    if (scope === 'translation') {
      yield* this.#registers.disableTranslation();
      yield* this.#registers.enableTranslation();
    } else if (scope === 'root table') {
      yield* this.#registers.latchRootTable();
    }
    const flushes = [inv.flushContexts(), ...(scalableMode ? [inv.flushPasids()] : []), inv.flushIotlb()];
    return yield* this.#ready.queue.sync(flushes);
  }

  *addDevice(device: Endpoint): Task<Refusal<'ENOMEM' | 'EIO'> | undefined> {
    const refusal = this.#ready.tables.addDevice(device);
    if (refusal !== undefined) return refusal;
    yield 'vtd: context entry';
    // Who caches what is not present has it by domain 0.
    return yield* this.#tellNew(() => [inv.flushContext(device.rid, NO_DID)]);
  }

  *removeDevice(device: Endpoint): Task<Refusal<'EIO'> | undefined> {
    const { tables, queue } = this.#ready;
    if (!this.#caps.scalableMode) return undefined;
    tables.clearDevice(device);
    yield 'vtd: context entry is not present';
    const flushes = [inv.flushContext(device.rid, NO_DID), inv.flushPasids()];
    const refusal = yield* queue.sync(flushes);
    if (refusal === undefined) tables.freeDevice(device);
    return refusal;
  }

  judge(device: Endpoint, pasid: Pasid, domain: Domain): Unsuited | undefined {
    return judgeDomain(this.#caps, domain, { unit: this.name, device, pasid });
  }

  *attach(device: Endpoint, pasid: Pasid, domain: Domain): Task<Refusal<AttachErrno> | undefined> {
    const { tables } = this.#ready;
    const unsuited = this.judge(device, pasid, domain);
    if (unsuited !== undefined) return unsuited;
    if (tables.isPresent(device, pasid)) {
      return refuse('EBUSY', `PASID ${pasid} of ${device.name} has an entry`);
    }
    const use = { device, pasid };
    const did = this.#tags.add(domain, use);
    if (isRefusal(did)) return did;
    this.#writeBack(domain);
    const full = tables.set(device, pasid, this.#entryOf(domain, did, device));
    if (full !== undefined) {
      this.#tags.remove(domain, use);
      return full;
    }
    yield 'vtd: entry is present';
    // A device TLB caches nothing of what was not present.
    const refusal = yield* this.#tellNew(() => [
      this.#entryFlush(device, pasid, NO_DID),
      this.#entryFlush(device, pasid, did),
      this.#tags.ofEntry(domain, pasid),
    ]);
    if (refusal !== undefined) yield* this.detach(device, pasid, { domain, mute: false });
    return refusal;
  }

  *detach(
    device: Endpoint,
    pasid: Pasid,
    { domain, mute }: { readonly domain: Domain; readonly mute: boolean },
  ): Task<Refusal<'EIO'> | undefined> {
    const { tables, queue, requests } = this.#ready;
    const use = { device, pasid };
    tables.clearPresent(device, pasid, mute);
    yield 'vtd: entry is not present';
    const did = this.#tags.didOf(domain);
    const flushes = [this.#entryFlush(device, pasid, did), this.#tags.ofEntry(domain, pasid)];
    if (device.ats) flushes.push(inv.flushDeviceTlb(device, pasid));
    // Behind the device TLB's, the same wait does what 7.10 asks for to drain page requests.
    const drains = !mute && device.pri && requests !== undefined;
    const refusal = yield* queue.sync(flushes, drains ? this.#drain : undefined);
    if (refusal !== undefined) return refusal;
    tables.empty(device, pasid, mute);
    this.#tags.remove(domain, use);
    if (drains && !requests.isEmpty) yield* requests.empty();
    return undefined;
  }

  *unmute(device: Endpoint, pasid: Pasid): Task<Refusal<'EIO'> | undefined> {
    const { tables, queue } = this.#ready;
    tables.empty(device, pasid, false);
    yield 'vtd: entry is empty';
    // Only caching mode caches what is not present, and tags it with domain 0.
    return this.#caps.cachingMode ? yield* queue.sync([this.#entryFlush(device, pasid, NO_DID)]) : undefined;
  }

  prepareReplace(
    device: Endpoint,
    pasid: Pasid,
    { from, to }: { readonly from: Domain; readonly to: Domain },
  ): Replacement | Refusal<AttachErrno> {
    const { tables, queue } = this.#ready;
    const unsuited = this.judge(device, pasid, to);
    if (unsuited !== undefined) return unsuited;
    const use = { device, pasid };
    const did = this.#tags.add(to, use);
    if (isRefusal(did)) return did;
    const spare = tables.allocSpare(device);
    if (isRefusal(spare)) {
      this.#tags.remove(to, use);
      return spare;
    }
    this.#writeBack(to);
    return new VtdReplacement(
      this.#context,
      { tables, queue, tags: this.#tags },
      {
        ...{ unit: this.name, use, spare },
        // A copy of a table may be what other entries of it are cached by.
        entryFlush: this.#caps.scalableMode ? inv.flushPasids() : inv.flushContexts(),
        from: { domain: from, words: this.#entryOf(from, this.#tags.didOf(from), device) },
        to: { domain: to, words: this.#entryOf(to, did, device) },
      },
    );
  }

  *update(domain: Domain): Task<Refusal<'EIO'> | undefined> {
    const { tables, queue } = this.#ready;
    const flushes: Int32Array[] = [];
    for (const { domain: tagged, use } of this.#tags.usesOn(domain)) {
      const { device, pasid } = use;
      const did = this.#tags.didOf(tagged);
      if (!tables.update(device, pasid, this.#entryOf(tagged, did, device))) continue;
      flushes.push(this.#entryFlush(device, pasid, did), ...this.#tags.ofUse(tagged, use));
    }
    if (flushes.length === 0) return undefined;
    yield 'vtd: entries have changed';
    return yield* queue.sync(flushes);
  }

  *flush(domain: Domain, ranges: readonly PageRange[]): Task<Refusal<'EIO'> | undefined> {
    const flushes = this.#tags.ofRanges(domain, ranges);
    return flushes.length === 0 ? undefined : yield* this.#ready.queue.sync(flushes);
  }

  *flushNew(domain: Domain, range: PageRange): Task<Refusal<'EIO'> | undefined> {
    return yield* this.#tellNew(() => this.#tags.ofRanges(domain, [range]));
  }

  flushGuest(device: Endpoint, flush: GuestFlush): Task<Refusal<'EIO'> | undefined> {
    const flushes = this.#tags.ofGuest(device, flush);
    return flushes.length === 0 ? ended(undefined) : this.#ready.queue.sync(flushes);
  }

  /** After VT-d 4.1, 7.10: what the device sent is in the queue once the device TLB has answered and PD is done. */
  *drainPageRequests(device: Endpoint, pasid: Pasid): Task<Refusal<'EIO'> | undefined> {
    const { queue, requests } = this.#ready;
    const flushes = device.ats ? [inv.flushDeviceTlb(device, pasid)] : [];
    const refusal = yield* queue.sync(flushes, this.#drain);
    if (requests !== undefined && !requests.isEmpty) yield* requests.empty();
    return refusal;
  }

  *respond(
    { rid, pasid, group }: Pick<PageRequest, 'rid' | 'pasid' | 'group'>,
    response: PageResponse,
  ): Task<Refusal<'EIO'> | undefined> {
    return yield* this.#ready.queue.sync([inv.groupResponse({ rid, pasid, group, code: CODES[response] })]);
  }

  get #ready(): Parts {
    const parts = this.#parts.value;
    if (parts === undefined) throw new Bug(`${this.name} has not been booted`);
    return parts;
  }

  /** Something is present that was not: to be told where that may be cached, or be held up on its way. */
  #tellNew(flushes: () => readonly Int32Array[]): Task<Refusal<'EIO'> | undefined> {
    if (!this.#caps.cachingMode)
      return this.#caps.writeBufferFlush ? this.#flushWriteBuffer() : ended(undefined);
    const all = flushes();
    return all.length === 0 ? ended(undefined) : this.#ready.queue.sync(all);
  }

  *#flushWriteBuffer(): Task<undefined> {
    yield* this.#registers.flushWriteBuffer();
  }

  /** What flushes the entry of a (device, PASID) that names a domain id. */
  #entryFlush(device: Endpoint, pasid: number, did: number): Int32Array {
    return this.#caps.scalableMode ? inv.flushPasid(did, pasid) : inv.flushContext(device.rid, did);
  }

  #entryOf(domain: Domain, did: number, device: Endpoint): Int32Array {
    const caps = this.#caps;
    return caps.scalableMode ? pasidEntry(domain, did, caps) : contextEntry(domain, did, { caps, device });
  }

  /** Before an entry is there: no walk may find a table that was never written back. */
  #writeBack(domain: Domain): void {
    if (this.#caps.snoopsWalks || domain.type === 'identity') return;
    // A guest's tables the guest writes back: its own unit says that it has to.
    if (domain.type === 'nested') domain.parent.writeBack();
    else domain.writeBack();
  }

  #makeParts(client: IommuClient): Parts | Refusal<'ENOMEM'> {
    const context = this.#context;
    const { name } = this;
    const { scalableMode } = this.#caps;
    const tables = (scalableMode ? UnitTables : LegacyTables).create(context, this.#caps, name);
    if (isRefusal(tables)) return tables;
    const faults = new FaultStatus(context, this.#registers, { name, client, ...this.#caps.faultRecords });
    const queue = this.#makeInvalidator(faults);
    if (isRefusal(queue)) return queue;
    if (!this.#caps.pageRequests) return { tables, queue, faults, requests: undefined };
    const frame = context.frames.alloc({ kind: 'kernel', use: `page request queue of ${name}` });
    if (isRefusal(frame)) return frame;
    const sink = {
      take: (request: PageRequest) => client.pageRequest(this, request),
      lost: () => client.pageRequestsLost(this),
    };
    const requests = new PageRequestQueue(context, this.#registers, { name, frame, sink });
    return { tables, queue, faults, requests };
  }

  #makeInvalidator(faults: FaultStatus): Invalidator | Refusal<'ENOMEM'> {
    const context = this.#context;
    const { name } = this;
    const { queuedInvalidation, scalableMode: isWide, invalidationRegisters: iro } = this.#caps;
    if (!queuedInvalidation) return new RegisterInvalidations(context, this.#registers, { name, iro });
    const descriptors = context.frames.alloc({ kind: 'kernel', use: `invalidation queue of ${name}` });
    if (isRefusal(descriptors)) return descriptors;
    const status = context.frames.alloc({ kind: 'kernel', use: `invalidation status of ${name}` });
    if (isRefusal(status)) return status;
    const frames = { descriptors, status };
    const progress = this.#progress;
    return new InvalidationQueue(context, this.#registers, { name, frames, isWide, faults, progress });
  }
}

/** What a unit has once it is booted. */
interface Parts {
  readonly tables: UnitTables | LegacyTables;
  readonly queue: Invalidator;
  readonly faults: FaultStatus;
  readonly requests: PageRequestQueue | undefined;
}
