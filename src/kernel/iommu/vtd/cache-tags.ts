/**
 * What a unit's caches may hold of each domain (VT-d 4.1, 6.2): its IOTLB and paging-structure caches by a domain id,
 * which a domain has one of on each unit, and with a first stage by PASID too; the device TLBs of the devices that it
 * is attached to by PASID. From that follows what has to be flushed when something of the domain changes (bugs D4 to
 * D6): all tags are asked for, whoever made the change.
 */
import { Bug, KeptMap, type Refusal, refuse } from '../../../base/index.js';
import type { KernelContext } from '../../context.js';
import type { Domain } from '../domain.js';
import type { Endpoint, GuestFlush, PageRange } from '../driver.js';
import type { Capabilities } from './capabilities.js';
import { DomainIds } from './domain-ids.js';
import * as inv from './invalidations.js';

/** More descriptors than this for one change, and everything of the domain is flushed instead (bug E3). */
const MAX_DESCRIPTORS = 24;
const PASIDS = 2 ** 20;

/** A (device, PASID) that a domain is attached to. */
export interface Use {
  readonly device: Endpoint;
  readonly pasid: number;
}

/** A use, and which of the domains that share a tag it is of. */
interface TaggedUse extends Use {
  readonly domain: Domain;
}

/** What the unit's caches hold of one domain, or of the nested ones that share a domain id. */
class Tag {
  readonly did: number;
  readonly type: Domain['type'];
  readonly name: string;
  /** By device and PASID. */
  readonly uses: KeptMap<number, TaggedUse>;

  constructor({ log }: KernelContext, did: number, { type, name }: Domain) {
    this.did = did;
    this.type = type;
    this.name = name;
    this.uses = new KeptMap(log);
  }
}

export class CacheTags {
  readonly #context: KernelContext;
  readonly #caps: Capabilities;
  readonly #unit: string;
  readonly #dids: DomainIds;
  /** By the domain, or by what nested ones share. */
  readonly #tags: KeptMap<object, Tag>;
  /** The tags of nested domains, by what they are built on. */
  readonly #nested: KeptMap<object, KeptMap<object, Tag>>;

  constructor(context: KernelContext, caps: Capabilities, unit: string) {
    this.#context = context;
    this.#caps = caps;
    this.#unit = unit;
    this.#dids = new DomainIds(context, caps.domains);
    this.#tags = new KeptMap(context.log);
    this.#nested = new KeptMap(context.log);
  }

  didOf(domain: Domain): number {
    return this.#tagOf(domain).did;
  }

  /**
   * The domain's id, for one more use of it.
   *
   * On failure: `ENOSPC`.
   */
  add(domain: Domain, use: Use): number | Refusal<'ENOSPC'> {
    const tag = this.#tags.get(keyOf(domain)) ?? this.#newTag(domain);
    if (tag === undefined) return refuse('ENOSPC', `${this.#unit} has no domain id left`);
    tag.uses.set(placeOf(use), { device: use.device, pasid: use.pasid, domain });
    return tag.did;
  }

  /** Nothing that the use has left is in any cache; with the last one the id is free again. */
  remove(domain: Domain, use: Use): void {
    const tag = this.#tagOf(domain);
    if (!tag.uses.delete(placeOf(use))) {
      throw new Bug(`${domain.name} is not attached to PASID ${use.pasid} of ${use.device.name}`);
    }
    if (tag.uses.size > 0) return;
    this.#tags.delete(keyOf(domain));
    this.#dids.give(tag.did);
    if (domain.type !== 'nested') return;
    const siblings = this.#nested.get(domain.parent);
    siblings?.delete(keyOf(domain));
    if (siblings?.size === 0) this.#nested.delete(domain.parent);
  }

  /** What flushes all translations of a domain and a PASID from this unit's caches. */
  ofEntry(domain: Domain, pasid: number): Int32Array {
    return this.#whole(this.#tagOf(domain), pasid);
  }

  /** What flushes all translations of one use, from this unit's caches and the device's. */
  ofUse(domain: Domain, { device, pasid }: Use): Int32Array[] {
    const flushes = [this.ofEntry(domain, pasid)];
    if (device.ats) flushes.push(inv.flushDeviceTlb(device, pasid));
    return flushes;
  }

  /** The uses of a domain, and of what is built on it. */
  usesOn(domain: Domain): { readonly domain: Domain; readonly use: Use }[] {
    const own = this.#tags.get(keyOf(domain));
    const nested = this.#nested.get(domain)?.values() ?? [];
    return [...(own === undefined ? [] : [own]), ...nested].flatMap(({ uses }) =>
      uses.values().map((use) => ({ domain: use.domain, use })),
    );
  }

  /** What flushes pages of a domain from all caches, and of those that are built on it. */
  ofRanges(domain: Domain, ranges: readonly PageRange[]): Int32Array[] {
    const flushes: Int32Array[] = [];
    const own = this.#tags.get(keyOf(domain));
    if (own !== undefined) flushes.push(...this.#ofTag(own, ranges));
    // Which pages of the first stage lead to those of the second one, nobody knows.
    for (const tag of this.#nested.get(domain)?.values() ?? []) flushes.push(...this.#ofTag(tag, []));
    return flushes;
  }

  /** What flushes what a guest has changed in its own stages. */
  ofGuest(device: Endpoint, { entries, iotlb, deviceTlb, pasidCache, range }: GuestFlush): Int32Array[] {
    const [first] = entries;
    if (first === undefined) return [];
    const did = this.didOf(first.domain);
    const flushes: Int32Array[] = [];
    const block = range && inv.blockOf(range.first, range.last);
    const isBlock = block !== undefined && this.#caps.pageSelective && block.order <= this.#caps.maxMask;
    if (pasidCache) for (const { pasid } of entries) flushes.push(inv.flushPasid(did, pasid));
    if (iotlb && entries.length > MAX_DESCRIPTORS) flushes.push(inv.flushDomain(did));
    else if (iotlb) {
      for (const { pasid } of entries) {
        flushes.push(isBlock ? inv.flushPages({ did, pasid }, block) : inv.flushPasidIotlb(did, pasid));
      }
    }
    if (deviceTlb && device.ats) {
      for (const { pasid } of entries) flushes.push(inv.flushDeviceTlb(device, pasid, block));
    }
    return flushes;
  }

  /** @param ranges what has changed; everything if there are none */
  #ofTag(tag: Tag, ranges: readonly PageRange[]): Int32Array[] {
    const uses = tag.uses.values();
    const blocks = ranges.map(({ first, last }) => inv.blockOf(first, last));
    const isWhole = this.#hasSecondStage(tag);
    const pasids = isWhole ? [0] : [...new Set(uses.map(({ pasid }) => pasid))];
    const devices = uses.filter(({ device }) => device.ats);
    const isFew =
      blocks.length > 0 &&
      tag.type !== 'nested' &&
      blocks.length * (pasids.length + devices.length) <= MAX_DESCRIPTORS;
    const byPages =
      isFew && this.#caps.pageSelective && blocks.every(({ order }) => order <= this.#caps.maxMask);
    const flushes: Int32Array[] = [];
    for (const pasid of pasids) {
      if (byPages) flushes.push(...blocks.map((block) => this.#pages(tag, pasid, block)));
      else flushes.push(this.#whole(tag, pasid));
    }
    for (const { device, pasid } of devices) {
      if (isFew) flushes.push(...blocks.map((block) => inv.flushDeviceTlb(device, pasid, block)));
      else flushes.push(inv.flushDeviceTlb(device, pasid));
    }
    return flushes;
  }

  /** First-stage and pass-through entries are tagged by PASID; a flush by PASID leaves what a second stage made. */
  #whole(tag: Tag, pasid: number): Int32Array {
    if (this.#hasSecondStage(tag) || !this.#caps.scalableMode) return inv.flushDomain(tag.did);
    return inv.flushPasidIotlb(tag.did, pasid);
  }

  #pages({ type, did }: Tag, pasid: number, block: inv.Block): Int32Array {
    return type === 'second-stage' ? inv.flushDomainPages(did, block) : inv.flushPages({ did, pasid }, block);
  }

  #hasSecondStage({ type }: Tag): boolean {
    return type === 'second-stage' || type === 'nested';
  }

  #tagOf(domain: Domain): Tag {
    const tag = this.#tags.get(keyOf(domain));
    if (tag === undefined) throw new Bug(`${domain.name} has no domain id on ${this.#unit}`);
    return tag;
  }

  #newTag(domain: Domain): Tag | undefined {
    const did = this.#dids.take();
    if (did === undefined) return undefined;
    const tag = new Tag(this.#context, did, domain);
    this.#tags.set(keyOf(domain), tag);
    if (domain.type === 'nested') this.#siblingsOf(domain.parent).set(keyOf(domain), tag);
    return tag;
  }

  #siblingsOf(parent: object): KeptMap<object, Tag> {
    const known = this.#nested.get(parent);
    if (known !== undefined) return known;
    const made = new KeptMap<object, Tag>(this.#context.log);
    this.#nested.set(parent, made);
    return made;
  }
}

const keyOf = (domain: Domain): object => (domain.type === 'nested' ? (domain.sharedId ?? domain) : domain);

const placeOf = ({ device, pasid }: Use): number => device.rid * PASIDS + pasid;
