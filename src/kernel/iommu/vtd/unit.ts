/**
 * The driver of one VT-d unit in scalable mode: through MMIO and memory alone. After VT-d 4.1, chapters 6, 7, 9
 * and 11; the order of invalidations is that of 6.5.3.3.
 *
 * A PASID entry goes in three steps: not present; flushed from PASID cache, IOTLB and device TLB; empty (bugs D1,
 * D2). Left out here: second stage and nested entries, interrupt remapping, posted interrupts, suspend.
 */
import {
  assert,
  isRefusal,
  KeptMap,
  KeptValue,
  type Refusal,
  refuse,
  type Task,
} from '../../../base/index.js';
import { RESPONSE_CODE, TTM, VTD_REGISTER } from '../../../spec/index.js';
import type { KernelContext } from '../../context.js';
import type { Pasid } from '../../ids.js';
import type { IommuUnit } from '../../platform.js';
import type { FirstStageDomain, RidDomain } from '../domain.js';
import type { Endpoint, IommuClient, IommuDriver, PageRequest, PageResponse } from '../driver.js';
import { type Capabilities, lacking, readCapabilities } from './capabilities.js';
import { startFaultReports } from './faults.js';
import * as inv from './invalidations.js';
import { PageRequestQueue } from './page-request-queue.js';
import { InvalidationQueue } from './queue.js';
import { UnitRegisters } from './registers.js';
import { UnitTables } from './tables.js';

/** Domain ids: 0 tags what caching mode caches of entries that are not present; identity has the next one. */
const IDENTITY_DID = 1;
const FIRST_DID = 2;
/** The PASID of requests without one. */
const RID_PASID = 0;

const CODES = {
  success: RESPONSE_CODE.SUCCESS,
  'invalid request': RESPONSE_CODE.INVALID_REQUEST,
  failure: RESPONSE_CODE.RESPONSE_FAILURE,
} as const satisfies Record<PageResponse, number>;

/** What the unit's caches hold of one domain: tagged by its id, in the device TLBs of these devices. */
interface Tag {
  readonly did: number;
  readonly devices: readonly Endpoint[];
}

export class VtdUnit implements IommuDriver {
  readonly name: string;
  readonly #context: KernelContext;
  readonly #registers: UnitRegisters;
  readonly #caps: Capabilities;
  readonly #tags: KeptMap<FirstStageDomain, Tag>;
  readonly #parts: KeptValue<Parts | undefined>;

  constructor(context: KernelContext, unit: IommuUnit, name: string) {
    this.name = name;
    this.#context = context;
    this.#registers = new UnitRegisters(context.platform.mmio, unit.registers);
    this.#caps = readCapabilities(this.#registers);
    this.#tags = new KeptMap(context.log);
    this.#parts = new KeptValue<Parts | undefined>(context.log, undefined);
  }

  get pasidBits(): number {
    return this.#caps.firstStage ? this.#caps.pasidBits : 0;
  }

  get hasDeviceTlbs(): boolean {
    return this.#caps.deviceTlbs;
  }

  get hasPageRequests(): boolean {
    return this.#caps.pageRequests;
  }

  *boot(client: IommuClient): Task<Refusal<'ENODEV' | 'ENOMEM' | 'EIO'> | undefined> {
    const missing = lacking(this.#caps);
    if (missing !== undefined) return refuse('ENODEV', `${this.name} has ${missing}`);
    const parts = this.#makeParts(client);
    if (isRefusal(parts)) return parts;
    this.#parts.value = parts;
    yield* parts.queue.start();
    this.#registers.write64(VTD_REGISTER.RTADDR, { RTA: parts.tables.root, TTM: TTM.SCALABLE });
    yield* this.#registers.latchRootTable();
    const refusal = yield* parts.queue.sync([inv.flushContexts(), inv.flushPasids(), inv.flushIotlb()]);
    if (refusal !== undefined) return refusal;
    const source = { name: this.name, client, ...this.#caps.faultRecords };
    startFaultReports(this.#context, this.#registers, source);
    parts.requests?.start();
    return undefined;
  }

  *enable(): Task {
    yield* this.#registers.enableTranslation();
  }

  *addDevice(device: Endpoint, rid: RidDomain): Task<Refusal<'ENODEV' | 'ENOMEM' | 'EIO'> | undefined> {
    const { tables, queue } = this.#ready;
    if (rid === 'identity' && !this.#caps.passThrough) {
      return refuse('ENODEV', `${this.name} has no pass-through (ECAP.PT) for ${device.name}`);
    }
    const refusal = yield* tables.addDevice(device);
    if (refusal !== undefined) return refusal;
    if (rid === 'identity') {
      const full = tables.setPassThrough(device, RID_PASID, IDENTITY_DID);
      if (full !== undefined) return full;
    }
    if (!this.#caps.cachingMode) {
      if (this.#caps.writeBufferFlush) yield* this.#registers.flushWriteBuffer();
      return undefined;
    }
    return yield* queue.sync([inv.flushContext(device.rid, 0), inv.flushPasid(IDENTITY_DID, RID_PASID)]);
  }

  *setFirstStage(
    device: Endpoint,
    pasid: Pasid,
    domain: FirstStageDomain,
  ): Task<Refusal<'EBUSY' | 'ENOSPC' | 'ENOMEM' | 'EIO'> | undefined> {
    const { tables, queue } = this.#ready;
    if (tables.isPresent(device, pasid)) {
      return refuse('EBUSY', `PASID ${pasid} of ${device.name} has an entry`);
    }
    const did = this.#tag(domain, device);
    if (isRefusal(did)) return did;
    // Before the entry is there: no walk may find a table that was never written back.
    if (!this.#caps.snoopsWalks) domain.writeBack();
    const full = tables.setFirstStage(device, pasid, { did, root: domain.root });
    if (full !== undefined) {
      this.#untag(domain, device);
      return full;
    }
    yield 'vtd: entry is present';
    if (this.#caps.cachingMode) {
      const refusal = yield* queue.sync([inv.flushPasid(did, pasid), inv.flushPasidIotlb(did, pasid)]);
      if (refusal !== undefined) yield* this.clearPasid(device, pasid, { domain, mute: false });
      return refusal;
    }
    if (this.#caps.writeBufferFlush) yield* this.#registers.flushWriteBuffer();
    return undefined;
  }

  *clearPasid(
    device: Endpoint,
    pasid: Pasid,
    { domain, mute }: { readonly domain: FirstStageDomain; readonly mute: boolean },
  ): Task<Refusal<'EIO'> | undefined> {
    const { tables, queue } = this.#ready;
    const did = tables.didOf(device, pasid);
    tables.clearPresent(device, pasid, mute);
    yield 'vtd: entry is not present';
    const flushes: Int32Array[] = [];
    flushes.push(inv.flushPasid(did, pasid));
    flushes.push(inv.flushPasidIotlb(did, pasid));
    if (device.ats) flushes.push(inv.flushDeviceTlb(device, pasid));
    const refusal = yield* queue.sync(flushes);
    if (refusal !== undefined) return refusal;
    tables.empty(device, pasid, mute);
    this.#untag(domain, device);
    return undefined;
  }

  *unmutePasid(device: Endpoint, pasid: Pasid): Task<Refusal<'EIO'> | undefined> {
    const { tables, queue } = this.#ready;
    tables.empty(device, pasid, false);
    yield 'vtd: entry is empty';
    // Only caching mode caches what is not present, and tags it with domain 0.
    return this.#caps.cachingMode ? yield* queue.sync([inv.flushPasid(0, pasid)]) : undefined;
  }

  *flushRange(
    domain: FirstStageDomain,
    { pasid, first, last }: { readonly pasid: Pasid; readonly first: number; readonly last: number },
  ): Task<Refusal<'EIO'> | undefined> {
    const tag = this.#tags.get(domain);
    if (tag === undefined) return undefined;
    const { did } = tag;
    const block = inv.blockOf(first, last);
    const byPages = this.#caps.pageSelective && block.order <= this.#caps.maxMask;
    const flushes: Int32Array[] = [];
    flushes.push(byPages ? inv.flushPages({ did, pasid }, block) : inv.flushPasidIotlb(did, pasid));
    for (const device of tag.devices) {
      if (device.ats) flushes.push(inv.flushDeviceTlb(device, pasid, block));
    }
    return yield* this.#ready.queue.sync(flushes);
  }

  /** After VT-d 4.1, 7.10: what the device sent is in the queue once the device TLB has answered and PD is done. */
  *drainPageRequests(device: Endpoint, pasid: Pasid): Task<Refusal<'EIO'> | undefined> {
    const { queue, requests } = this.#ready;
    const flushes = device.ats ? [inv.flushDeviceTlb(device, pasid)] : [];
    const refusal = yield* queue.sync(flushes, { drain: this.#caps.pageRequestDrain });
    if (requests !== undefined) yield* requests.empty();
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
    assert(parts !== undefined, `${this.name} has not been booted`);
    return parts;
  }

  #makeParts(client: IommuClient): Parts | Refusal<'ENOMEM'> {
    const context = this.#context;
    const { name } = this;
    const tables = UnitTables.create(context, this.#caps, name);
    if (isRefusal(tables)) return tables;
    const descriptors = context.frames.alloc({ kind: 'kernel', use: `invalidation queue of ${name}` });
    if (isRefusal(descriptors)) return descriptors;
    const status = context.frames.alloc({ kind: 'kernel', use: `invalidation status of ${name}` });
    if (isRefusal(status)) return status;
    const queue = new InvalidationQueue(context, this.#registers, { name, frames: { descriptors, status } });
    if (!this.#caps.pageRequests) return { tables, queue, requests: undefined };
    const frame = context.frames.alloc({ kind: 'kernel', use: `page request queue of ${name}` });
    if (isRefusal(frame)) return frame;
    const of = { name, frame, sink: (request: PageRequest) => client.pageRequest(this, request) };
    return { tables, queue, requests: new PageRequestQueue(context, this.#registers, of) };
  }

  /** The domain's id on this unit, with one more device; a domain has one on each unit. */
  #tag(domain: FirstStageDomain, device: Endpoint): number | Refusal<'ENOSPC'> {
    const known = this.#tags.get(domain);
    const did = known?.did ?? this.#freeDid();
    if (did >= this.#caps.domains) return refuse('ENOSPC', `${this.name} has no domain id left`);
    this.#tags.set(domain, { did, devices: [...(known?.devices ?? []), device] });
    return did;
  }

  #untag(domain: FirstStageDomain, device: Endpoint): void {
    const tag = this.#tags.get(domain);
    assert(tag !== undefined, `${domain.name} has no domain id on ${this.name}`);
    const devices = tag.devices.filter((each) => each !== device);
    if (devices.length === 0) this.#tags.delete(domain);
    else this.#tags.set(domain, { did: tag.did, devices });
  }

  #freeDid(): number {
    const taken = new Set(this.#tags.values().map((tag) => tag.did));
    let did = FIRST_DID;
    while (taken.has(did)) did++;
    return did;
  }
}

/** What a unit has once it is booted. */
interface Parts {
  readonly tables: UnitTables;
  readonly queue: InvalidationQueue;
  readonly requests: PageRequestQueue | undefined;
}
