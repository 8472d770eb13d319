/**
 * What a scenario says of its IOMMU: which of VT-d's capabilities the unit has. What is left out is what goes with the
 * rest; what contradicts the rest is refused where it stands, after the dependences of VT-d 4.1, 11.4.2 and 11.4.3.
 */
import { z } from 'zod';

const caches = z
  .strictObject({
    context: z.int().min(2).max(65536).default(4),
    pasid: z.int().min(2).max(65536).default(4),
    iotlb: z.int().min(2).max(1048576).default(8),
    'paging-structures': z.int().min(2).max(65536).default(32).describe('for each stage'),
  })
  .describe('entries of each cache; few, so that eviction is common');

/** The parts without a default depend on others if they are left out: {@link traitsOf}. */
export const vtd = z.strictObject({
  kind: z.literal('vtd').describe('Intel VT-d'),
  mode: z
    .enum(['scalable', 'legacy'])
    .default('scalable')
    .describe('legacy: no PASIDs, a second stage alone'),
  'host-address-width': z.int().min(36).max(52).default(46),
  'first-stage': z
    .enum(['none', '48-bit', '57-bit'])
    .optional()
    .describe('the widest addresses that it translates; 48-bit in scalable mode, if left out'),
  'second-stage': z
    .array(z.enum(['39-bit', '48-bit', '57-bit']))
    .max(3)
    .optional()
    .describe('the widths of its tables; none in scalable mode and 48-bit in legacy mode, if left out'),
  nested: z.boolean().default(false).describe('a first stage over a second one'),
  'pass-through': z.boolean().default(true),
  'pasid-bits': z.int().min(0).max(20).optional().describe('0: no PASIDs; 20 in scalable mode, if left out'),
  'largest-page': z
    .enum(['4 KiB', '2 MiB', '1 GiB'])
    .default('1 GiB')
    .describe('of a second stage; first stages have 2 MiB always'),
  'device-tlbs': z.boolean().optional().describe('ATS; true where there is a queue, if left out'),
  'page-requests': z.boolean().optional().describe('PRI; as device-tlbs in scalable mode, if left out'),
  'queued-invalidation': z.boolean().default(true).describe('false: by registers, as old units have it'),
  'snoops-tables': z.boolean().default(true).describe('false: tables have to be written back for the unit'),
  'snoops-walks': z
    .boolean()
    .optional()
    .describe('the same of paging structures; as snoops-tables, if left out'),
  'snoop-control': z.boolean().default(false).describe('whether DMA can be made to snoop'),
  'accessed-dirty': z.boolean().default(false).describe('of second stages in scalable mode'),
  'caching-mode': z.boolean().default(false).describe('whether it may cache that an entry is not present'),
  caches: caches.prefault({}),
  'stale-entries': z
    .enum(['may-stay', 'always-stay'])
    .default('may-stay')
    .describe('whether what was not invalidated is sometimes gone by itself'),
});

export type IommuSpec = z.infer<typeof vtd>;

/** What is said, and what goes with it. */
export type UnitTraits = {
  readonly [K in keyof IommuSpec]-?: Exclude<IommuSpec[K], undefined>;
};

/** Fills in what was left out. */
export function traitsOf(spec: IommuSpec): UnitTraits {
  const isScalable = spec.mode === 'scalable';
  const deviceTlbs = spec['device-tlbs'] ?? spec['queued-invalidation'];
  return {
    ...spec,
    'first-stage': spec['first-stage'] ?? (isScalable ? '48-bit' : 'none'),
    'second-stage': spec['second-stage'] ?? (isScalable ? [] : ['48-bit']),
    'pasid-bits': spec['pasid-bits'] ?? (isScalable ? 20 : 0),
    'device-tlbs': deviceTlbs,
    'page-requests': spec['page-requests'] ?? (isScalable && deviceTlbs),
    'snoops-walks': spec['snoops-walks'] ?? spec['snoops-tables'],
  };
}

/** What of a unit contradicts the rest: the part, and why. */
export function contradictions(spec: IommuSpec): [keyof IommuSpec, string][] {
  const unit = traitsOf(spec);
  const isLegacy = unit.mode === 'legacy';
  const hasFirst = unit['first-stage'] !== 'none';
  const hasSecond = unit['second-stage'].length > 0;
  const wrong: [boolean, keyof IommuSpec, string][] = [
    [isLegacy && hasFirst, 'first-stage', 'legacy mode has no first stage'],
    [isLegacy && !hasSecond, 'second-stage', 'legacy mode has nothing else'],
    [isLegacy && unit['pasid-bits'] > 0, 'pasid-bits', 'legacy mode has no PASIDs'],
    [isLegacy && unit['page-requests'], 'page-requests', 'legacy mode has none'],
    [isLegacy && unit['accessed-dirty'], 'accessed-dirty', 'legacy mode has none'],
    [
      isLegacy && unit['snoops-walks'] !== unit['snoops-tables'],
      'snoops-walks',
      'legacy mode has one for both: as snoops-tables',
    ],
    [!isLegacy && !hasFirst && !hasSecond, 'first-stage', 'a unit has one stage at least'],
    [
      !isLegacy && !unit['queued-invalidation'],
      'queued-invalidation',
      'scalable mode is invalidated by the queue alone',
    ],
    [unit.nested && !(hasFirst && hasSecond), 'nested', 'it needs both stages'],
    [
      unit['device-tlbs'] && !unit['queued-invalidation'],
      'device-tlbs',
      'they are invalidated by the queue alone',
    ],
    [unit['page-requests'] && !unit['device-tlbs'], 'page-requests', 'they need device-tlbs'],
    [!isLegacy && unit['accessed-dirty'] && !hasSecond, 'accessed-dirty', 'it needs a second stage'],
  ];
  return wrong.filter(([is]) => is).map(([, part, why]) => [part, why]);
}
