/**
 * Single faults, each of which some test must notice: `npm run mutate` puts one at a time into a copy of the sources. A
 * table a layer: add those of a layer to its own, with the tests that have to notice them.
 */
import { ACCELERATOR_FAULTS } from './accelerator.js';
import type { Fault } from './fault.js';
import { IOASID_FAULTS } from './ioasid.js';
import { IOMMU_FAULTS } from './iommu.js';
import { ORACLE_FAULTS } from './oracle.js';
import { VIRTUAL_IOMMU_FAULTS } from './virtual-iommu.js';
import { VTD_FAULTS } from './vtd.js';

export type { Fault } from './fault.js';

export const FAULTS: readonly Fault[] = [
  ...IOASID_FAULTS,
  ...VTD_FAULTS,
  ...IOMMU_FAULTS,
  ...ACCELERATOR_FAULTS,
  ...VIRTUAL_IOMMU_FAULTS,
  ...ORACLE_FAULTS,
];
