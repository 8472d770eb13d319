/**
 * What a domain looks like in a PASID table entry, or in legacy mode in a context entry (VT-d 4.1, 9.3 and 9.6),
 * and which domains a unit has: what its capabilities do not offer is refused before anything is written.
 */
import { type Refusal, refuse } from '../../../base/index.js';
import { AW_LEVELS, CONTEXT_ENTRY, FSPM, PASID_TABLE_ENTRY, PGTT, TT } from '../../../spec/index.js';
import { structure } from '../../words.js';
import type { Domain, FirstStage, NestedStage, SecondStage } from '../domain.js';
import type { Endpoint, Unsuited } from '../driver.js';
import type { Capabilities } from './capabilities.js';

const e = PASID_TABLE_ENTRY;

const TYPES = {
  identity: PGTT.PASS_THROUGH,
  'first-stage': PGTT.FIRST_STAGE,
  'second-stage': PGTT.SECOND_STAGE,
  nested: PGTT.NESTED,
} as const satisfies Record<Domain['type'], number>;

/** AW by the levels of a second stage. */
const awOf = (levels: number): number => AW_LEVELS.indexOf(levels);

const fspmOf = (levels: number): number => (levels === 5 ? FSPM.LEVELS_5 : FSPM.LEVELS_4);

/** A present PASID table entry. */
export function pasidEntry(domain: Domain, did: number, caps: Capabilities): Int32Array {
  const words = new Int32Array(PASID_TABLE_ENTRY.bytes / 4);
  e.P.set(words, 0, 1);
  e.DID.set(words, 0, did);
  e.PGTT.set(words, 0, TYPES[domain.type]);
  if (domain.type === 'identity') return words;
  if (caps.snoopsWalks) e.PWSNP.set(words, 0, 1);
  if (domain.type === 'second-stage') setSecondStage(words, domain);
  if (domain.type === 'nested') {
    setSecondStage(words, domain.parent);
    if (domain.supervisor) e.SRE.set(words, 0, 1);
    if (domain.writeProtect) e.WPE.set(words, 0, 1);
    if (domain.extendedAccessed) e.EAFE.set(words, 0, 1);
  }
  if (domain.type === 'first-stage' && domain.snoops === true) e.PGSNP.set(words, 0, 1);
  if (domain.type !== 'second-stage') {
    e.FSPM.set(words, 0, fspmOf(domain.levels));
    e.FSPTPTR.set(words, 0, domain.root);
  }
  return words;
}

function setSecondStage(words: Int32Array, { levels, root, tracksDirty = false }: SecondStage): void {
  e.AW.set(words, 0, awOf(levels));
  e.SSPTPTR.set(words, 0, root);
  if (tracksDirty) e.SSADE.set(words, 0, 1);
}

/** A present context entry of legacy mode, for a domain that legacy mode has. */
export function contextEntry(
  domain: Domain,
  did: number,
  of: { readonly caps: Capabilities; readonly device: Endpoint },
): Int32Array {
  const { caps, device } = of;
  if (domain.type !== 'second-stage') {
    // Pass-through wants the largest width that the unit has.
    const levels = caps.secondStageLevels.at(-1) ?? 0;
    return structure(CONTEXT_ENTRY, { P: 1, TT: TT.PASS_THROUGH, AW: awOf(levels), DID: did });
  }
  return structure(CONTEXT_ENTRY, {
    P: 1,
    TT: device.ats ? TT.SECOND_STAGE_DEVICE_TLB : TT.SECOND_STAGE,
    SSPTPTR: domain.root,
    AW: awOf(domain.levels),
    DID: did,
  });
}

/** Why a unit cannot use a domain for a (device, PASID); undefined if it can. */
export function judgeDomain(
  caps: Capabilities,
  domain: Domain,
  of: { readonly unit: string; readonly device: Endpoint; readonly pasid: number },
): Unsuited | undefined {
  const { unit, device, pasid } = of;
  if (pasid !== 0 && device.pasidBits === 0) return lacks(unit, `PASIDs for ${device.name}`);
  if (pasid >= 2 ** Math.max(device.pasidBits, 1)) {
    return refuse('EINVAL', `${device.name} has ${device.pasidBits} bits for PASID ${pasid}`);
  }
  switch (domain.type) {
    case 'identity':
      if (!caps.passThrough) return lacks(unit, 'pass-through (ECAP.PT)');
      return caps.scalableMode || !device.ats
        ? undefined
        : lacks(unit, `pass-through in legacy mode for ${device.name}, whose ATS is on`);
    case 'first-stage':
      return caps.firstStage ? judgeFirst(caps, unit, domain) : lacks(unit, 'first stages (ECAP.FSTS)');
    case 'second-stage':
      return caps.secondStage ? judgeSecond(caps, unit, domain) : lacks(unit, 'second stages (ECAP.SSTS)');
    case 'nested':
      return caps.nested ? judgeNested(caps, unit, domain) : lacks(unit, 'nested translation (ECAP.NEST)');
  }
}

const lacks = (unit: string, what: string): Refusal<'EOPNOTSUPP'> =>
  refuse('EOPNOTSUPP', `${unit} has no ${what}`);

function judgeFirst(caps: Capabilities, unit: string, domain: FirstStage): Unsuited | undefined {
  const { name, levels, largestLeaf } = domain;
  if (!caps.firstStageLevels.includes(levels)) {
    return refuse('EINVAL', `${unit} has no first stage of ${levels} levels (CAP.FS5LP) for ${name}`);
  }
  if (caps.firstStageLeaves.includes(largestLeaf)) return judgeUse(caps, unit, domain);
  return refuse('EINVAL', `${unit} has no first-stage pages as large as those of ${name} (CAP.FS1GP)`);
}

function judgeSecond(caps: Capabilities, unit: string, domain: SecondStage): Unsuited | undefined {
  const { name, levels, largestLeaf, width } = domain;
  if (!caps.secondStageLevels.includes(levels)) {
    return refuse('EINVAL', `${unit} has no second stage of ${levels} levels (CAP.SAGAW) for ${name}`);
  }
  if (width > caps.guestAddressWidth) {
    return refuse('EINVAL', `${unit} has ${caps.guestAddressWidth} bits (CAP.MGAW), ${name} has ${width}`);
  }
  if (largestLeaf === 1 || caps.secondStageLeaves.includes(largestLeaf)) return judgeUse(caps, unit, domain);
  return refuse('EINVAL', `${unit} has no second-stage pages as large as those of ${name} (CAP.SSLPS)`);
}

/** What a domain is used for beside translation. */
function judgeUse(caps: Capabilities, unit: string, domain: FirstStage | SecondStage): Unsuited | undefined {
  const { name, type, snoops = false, tracksDirty = false } = domain;
  if (snoops && !caps.snoopControl) {
    return refuse('EINVAL', `${unit} has no snoop control (ECAP.SC) for ${name}`);
  }
  if (!tracksDirty || caps.dirtyStages.includes(type)) return undefined;
  return refuse('EINVAL', `${unit} marks no dirty pages of a ${type} for ${name}`);
}

function judgeNested(caps: Capabilities, unit: string, domain: NestedStage): Unsuited | undefined {
  if (!caps.firstStageLevels.includes(domain.levels)) {
    return refuse(
      'EINVAL',
      `${unit} has no first stage of ${domain.levels} levels (CAP.FS5LP) for ${domain.name}`,
    );
  }
  if (domain.supervisor && !caps.supervisorRequests) {
    return refuse('EINVAL', `${unit} has no supervisor requests (ECAP.SRS) for ${domain.name}`);
  }
  if (domain.extendedAccessed && !caps.extendedAccessed) {
    return refuse('EINVAL', `${unit} has no extended accessed bits (ECAP.EAFS) for ${domain.name}`);
  }
  return judgeSecond(caps, unit, domain.parent);
}
