/** Every layout that `spec` exports comes from a module whose layouts are held against golden bytes. */
import { expect, test } from 'vitest';
import { layoutsOf } from '../../test/golden.js';
import * as dsaConfiguration from './dsa/configuration.js';
import * as dsaDescriptors from './dsa/descriptor.js';
import * as dsaRegisters from './dsa/register-layouts.js';
import * as spec from './index.js';

import * as pci from './pci/index.js';

import * as uapi from './uapi/index.js';

import * as faults from './vtd/faults.js';
import * as invalidation from './vtd/invalidation.js';
import * as optionalRegisters from './vtd/optional-register-layouts.js';
import * as secondStage from './vtd/paging.js';
import * as registers from './vtd/register-layouts.js';
import * as requests from './vtd/requests.js';
import * as tables from './vtd/tables.js';
import * as x86 from './x86/index.js';

/** The modules that a `golden*.test.ts` beside them goes through. */
const MODULES = [
  ...[x86, pci, tables, secondStage, invalidation, requests, faults, registers, optionalRegisters],
  ...[dsaRegisters, dsaConfiguration, dsaDescriptors, uapi],
];

test('no layout is without golden bytes', () => {
  const covered = new Set(MODULES.flatMap((module) => [...layoutsOf(module).values()]));
  const missing = [...layoutsOf(spec)].filter(([, layout]) => !covered.has(layout)).map(([name]) => name);
  expect(missing).toEqual([]);
  expect(layoutsOf(spec).size).toBe(covered.size);
});

test('no two layouts have one name', () => {
  const names = [...layoutsOf(spec).values()].map(({ name }) => name);
  expect(names.toSorted()).toEqual([...new Set(names)].toSorted());
});
