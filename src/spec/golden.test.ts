/** Every layout that `spec` exports comes from a module whose layouts are held against golden bytes. */
import { expect, test } from 'vitest';
import { layoutsOf } from '../../test/golden.js';
import * as spec from './index.js';
import * as configuration from './pci/configuration.js';
import * as faults from './vtd/faults.js';
import * as invalidation from './vtd/invalidation.js';
import * as secondStage from './vtd/paging.js';
import * as registers from './vtd/register-layouts.js';
import * as moreRegisters from './vtd/register-layouts-more.js';
import * as requests from './vtd/requests.js';
import * as tables from './vtd/tables.js';
import * as x86 from './x86/index.js';

/** The modules that a `golden*.test.ts` beside them goes through. */
const MODULES = [
  ...[x86, tables, secondStage, invalidation, requests, faults, registers, moreRegisters],
  configuration,
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
