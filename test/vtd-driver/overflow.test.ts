/**
 * A page request queue that overflows: what hardware dropped, it answered, and a group of it is over (VT-d 4.1, 7.4).
 */
import { expect, it } from 'vitest';
import { isRefusal, type Refusal } from '../../src/base/index.js';
import { type PageRequest, RIGHT } from '../../src/hardware/index.js';
import { PRS_REG, VTD_REGISTER } from '../../src/spec/index.js';
import { Bench } from '../native-sva/machine.js';

const ENTRIES = 128;
const GROUP = 1;

function must<T>(value: T | Refusal): T {
  if (isRefusal(value)) throw new Error(value.toString());
  return value as T;
}

it('a group whose last request was dropped is no part of the next one of its index', () => {
  const bench = new Bench();
  const { kernel } = bench;
  const [device] = kernel.iommu.devices;
  const [unit] = bench.units;
  if (device === undefined || unit === undefined) throw new Error('no device');
  const { mm } = must(kernel.processes.spawn('p'));
  const first = must(bench.run(mm.mmap(ENTRIES * 2)));
  const { pasid } = must(bench.run(kernel.sva.bind(device, mm)));
  const request = (page: number, group: number, isLast: boolean): PageRequest => ({
    ...{ rid: device.rid, pasid, page: first + page, rights: RIGHT.READ | RIGHT.USER, group, isLast },
  });
  for (let i = 0; i < ENTRIES - 1; i++) unit.requestPage(request(i, GROUP + i, false));
  unit.requestPage(request(ENTRIES, GROUP, true));
  expect(PRS_REG.PRO.get(Int32Array.of(unit.read32(VTD_REGISTER.PRS.offset)), 0)).toBe(1);
  bench.runAll();
  expect(unit.read32(VTD_REGISTER.PRS.offset)).toBe(0);
  bench.run(mm.munmap(first, ENTRIES));
  unit.requestPage(request(ENTRIES + 1, GROUP, true));
  bench.runAll();
  const answers = bench.events.filter(({ kind }) => kind === 'iommu:page-response');
  expect(answers.map(({ fields }) => [fields['group'], fields['response']])).toEqual([[GROUP, 'success']]);
});
