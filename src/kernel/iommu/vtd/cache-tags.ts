/**
 * What a unit's caches may hold of each domain (VT-d 4.1, 6.2): its IOTLB and paging-structure caches by a domain id,
 * which a domain has one of on each unit, and with a first stage by PASID too; the device TLBs of the devices that it
 * is attached to by PASID. From that follows what has to be flushed when something of the domain changes (bugs D4 to
 * D6): all tags are asked for, whoever made the change.
 */
import { assert, KeptMap, type Refusal, refuse } from '../../../base/index.js';
import type { KernelContext } from '../../context.js';
import type { Domain } from '../domain.js';
import type { Endpoint, PageRange } from '../driver.js';
import type { Capabilities } from './capabilities.js';
import * as inv from './invalidations.js';

/** Domain id 0 tags what caching mode caches of entries that are not present. */
const FIRST_DID = 1;
/** More descriptors than this for one change, and everything of the domain is flushed instead (bug E3). */
const MAX_DESCRIPTORS = 24;

/** A (device, PASID) that a domain is attached to. */
export interface Use {
  readonly device: Endpoint;
  readonly pasid: number;
}

/** What the unit's caches hold of one domain. */
interface Tag {
  readonly did: number;
  readonly uses: readonly Use[];
}

export class CacheTags {
  readonly #caps: Capabilities;
  readonly #unit: string;
  readonly #tags: KeptMap<Domain, Tag>;

  constructor({ log }: KernelContext, caps: Capabilities, unit: string) {
    this.#caps = caps;
    this.#unit = unit;
    this.#tags = new KeptMap(log);
  }

  /** The domain ids that are taken. */
  get dids(): readonly number[] {
    return this.#tags.values().map(({ did }) => did);
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
    const known = this.#tags.get(domain);
    const did = known?.did ?? this.#freeDid();
    if (did >= this.#caps.domains) return refuse('ENOSPC', `${this.#unit} has no domain id left`);
    this.#tags.set(domain, { did, uses: [...(known?.uses ?? []), use] });
    return did;
  }

  /** Nothing that the use has left is in any cache; with the last one the id is free again. */
  remove(domain: Domain, { device, pasid }: Use): void {
    const tag = this.#tagOf(domain);
    const at = tag.uses.findIndex((use) => use.device === device && use.pasid === pasid);
    assert(at >= 0, `${domain.name} is not attached to PASID ${pasid} of ${device.name}`);
    const uses = tag.uses.filter((_, i) => i !== at);
    if (uses.length === 0) this.#tags.delete(domain);
    else this.#tags.set(domain, { did: tag.did, uses });
  }

  /** What flushes all translations of one use, from this unit's caches and the device's. */
  ofUse(domain: Domain, { device, pasid }: Use): Int32Array[] {
    const flushes = [this.#whole(domain, this.didOf(domain), pasid)];
    if (device.ats) flushes.push(inv.flushDeviceTlb(device, pasid));
    return flushes;
  }

  /** The uses of a domain, and of what is built on it. */
  usesOn(domain: Domain): { readonly domain: Domain; readonly use: Use }[] {
    return this.#tags.keys().flatMap((tagged) => {
      const isOn = tagged === domain || (tagged.type === 'nested' && tagged.parent === domain);
      return isOn ? this.#tagOf(tagged).uses.map((use) => ({ domain: tagged, use })) : [];
    });
  }

  /** What flushes pages of a domain from all caches, and of those that are built on it. */
  ofRanges(domain: Domain, ranges: readonly PageRange[]): Int32Array[] {
    const flushes: Int32Array[] = [];
    for (const tagged of this.#tags.keys()) {
      if (tagged === domain) flushes.push(...this.#ofTag(tagged, ranges));
      // Which pages of the first stage lead to those of the second one, nobody knows.
      else if (tagged.type === 'nested' && tagged.parent === domain) flushes.push(...this.#ofTag(tagged, []));
    }
    return flushes;
  }

  /** @param ranges what has changed; everything if there are none */
  #ofTag(domain: Domain, ranges: readonly PageRange[]): Int32Array[] {
    const tag = this.#tagOf(domain);
    const blocks = ranges.map(({ first, last }) => inv.blockOf(first, last));
    const pasids = domain.type === 'second-stage' ? [0] : [...new Set(tag.uses.map(({ pasid }) => pasid))];
    const devices = tag.uses.filter(({ device }) => device.ats);
    const isFew = blocks.length > 0 && blocks.length * (pasids.length + devices.length) <= MAX_DESCRIPTORS;
    const byPages =
      isFew && this.#caps.pageSelective && blocks.every(({ order }) => order <= this.#caps.maxMask);
    const flushes: Int32Array[] = [];
    for (const pasid of pasids) {
      if (byPages)
        flushes.push(...blocks.map((block) => this.#pages(domain, { did: tag.did, pasid }, block)));
      else flushes.push(this.#whole(domain, tag.did, pasid));
    }
    for (const { device, pasid } of devices) {
      if (isFew) flushes.push(...blocks.map((block) => inv.flushDeviceTlb(device, pasid, block)));
      else flushes.push(inv.flushDeviceTlb(device, pasid));
    }
    return flushes;
  }

  /** First-stage and pass-through entries are tagged by PASID; a flush by PASID leaves what a second stage made. */
  #whole(domain: Domain, did: number, pasid: number): Int32Array {
    const hasSecondStage = domain.type === 'second-stage' || domain.type === 'nested';
    if (hasSecondStage || !this.#caps.scalableMode) return inv.flushDomain(did);
    return inv.flushPasidIotlb(did, pasid);
  }

  #pages(domain: Domain, of: { did: number; pasid: number }, block: inv.Block): Int32Array {
    return domain.type === 'second-stage' ? inv.flushDomainPages(of.did, block) : inv.flushPages(of, block);
  }

  #tagOf(domain: Domain): Tag {
    const tag = this.#tags.get(domain);
    assert(tag !== undefined, `${domain.name} has no domain id on ${this.#unit}`);
    return tag;
  }

  #freeDid(): number {
    const taken = new Set(this.dids);
    let did = FIRST_DID;
    while (taken.has(did)) did++;
    return did;
  }
}
