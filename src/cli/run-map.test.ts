import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type PasidRow, parseScenario, seededChooser, World } from '../machine/index.js';
import { type MapOptions, mapText } from './run-map.js';
import { paintFor } from './terminal.js';

const OPTIONS: MapOptions = { paint: paintFor(false), hasTables: false, users: undefined };

const ENTRY = {
  device: 'dsa0',
  number: undefined,
  translation: 'first-stage',
  secondStage: undefined,
  address: '0x5040',
};
const ROW: PasidRow = {
  ...{ pasid: 7, vm: undefined, process: 'alice', guest: undefined, set: 'set 1 (host)', state: 'ACTIVE' },
  ...{ holders: ['mm alice'], queues: [{ queue: 'dsa0/own', via: 'dsa0/own' }], kvm: undefined, frames: 1 },
  ...{
    guestEntries: [],
    hostEntries: [{ ...ENTRY, firstStage: '0x107000', words: '0000000000000041' }],
    step: 3,
  },
};

describe('the map', () => {
  it('tells of a virtual machine by both numbers, and what both tables and KVM say', () => {
    const text = readFileSync(new URL('../../scenarios/two-vms-one-swq.yaml', import.meta.url), 'utf8');
    const scenario = parseScenario(text);
    if (Array.isArray(scenario)) throw new Error('the scenario has faults');
    const result = new World(scenario).run(seededChooser(1), () => undefined);
    const map = mapText(result, { ...OPTIONS, hasTables: true });
    const masked = map
      .replaceAll(/0x[0-9a-f]+/g, '0x…')
      .replaceAll(/[0-9a-f]{16}/g, '…')
      .replace(/(alice.*), [0-9]+ page/, '$1, some page');
    expect(masked).toContain(`
vm1, set 2 (vm1)
  vm1/alice  guest PASID 101 → host PASID 202  ACTIVE, some page frames of memory
    held by      kvm:vm1, vfio vm1 vdsa0
    queues       vdsa0/shared in the guest, dsa0/shared on the host
    ENQCMD       guest 101 → host 202, by KVM's table
                 at host 0x…: 800000ca
    guest entry  vdsa0: first stage at guest 0x…
                 at guest 0x…: … … …
    host entry   dsa0: nested, first stage at guest 0x…, second stage at host 0x…
                 at host 0x…: … … …
`);
    for (const line of map.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
    const { guestEntries, hostEntries } = result.pasids.find(({ process }) => process === 'vm1/alice') ?? ROW;
    expect(guestEntries[0]?.firstStage).toBe(hostEntries[0]?.firstStage);
  });

  it('tells of a host without virtual machines by its own numbers alone', () => {
    expect(mapText({ pasids: [ROW], mostPasids: 1 }, OPTIONS)).toBe(
      `PASIDs as they stood at step 3, when the most were in use:

  alice  PASID 7  ACTIVE, 1 page frame of memory
    held by      mm alice
    queues       dsa0/own
    entry        dsa0: first stage at 0x107000

`,
    );
  });

  it('says what is not there', () => {
    const row = { ...ROW, vm: 'vm1', guest: 3, holders: [], queues: [], hostEntries: [] };
    expect(mapText({ pasids: [row], mostPasids: 1 }, OPTIONS)).toContain(
      `    held by      nobody
    queues       none open
    ENQCMD       an exit: no valid entry in KVM's table
    guest entry  none
    host entry   none
`,
    );
  });

  it('says by which number a function that a guest has whole finds an entry', () => {
    const [entry] = ROW.hostEntries;
    const nested = { ...entry, device: 'dsa1', translation: 'nested', secondStage: '0x107000' } as const;
    const hostEntries = [
      { ...nested, number: 3 },
      { ...nested, number: ROW.pasid },
    ] as PasidRow['hostEntries'];
    const row = { ...ROW, vm: 'vm1', guest: 3, hostEntries };
    const stages = `first stage at guest ${entry?.firstStage}, second stage at host 0x107000`;
    expect(mapText({ pasids: [row], mostPasids: 1 }, OPTIONS)).toContain(
      `    host entry   dsa1, whole, at guest PASID 3: nested, ${stages}
    host entry   dsa1, whole, at host PASID ${ROW.pasid}: nested, ${stages}
`,
    );
  });

  it('is a line a virtual machine where there are very many PASIDs, vm2 before vm10', () => {
    const pasids = Array.from({ length: 90 }, (_, i) => {
      return { ...ROW, pasid: i + 1, vm: `vm${1 + (i % 30)}`, guest: 200 + i, process: `p${i}` };
    });
    const lines = mapText({ pasids, mostPasids: 90 }, OPTIONS).split('\n');
    expect(lines[1]).toBe('  vm1       3 PASIDs (3 ACTIVE); guest 200 to 260; host 1 to 61; dsa0/own');
    expect(lines[10]).toMatch(/^ {2}vm10 /);
    expect(lines[21]).toBe('  ... and 10 more, with 30 PASIDs');
  });

  it.each([
    [0, undefined, 'No PASID was in use.\n\n'],
    [5, undefined, '5 PASIDs were in use at once, at most.\n\n'],
    [6, '2 virtual machines', '6 PASIDs were in use at once, at most, by 2 virtual machines.\n\n'],
  ])('is a sentence where the %i that there were are not kept', (mostPasids, users, text) => {
    expect(mapText({ pasids: [], mostPasids }, { ...OPTIONS, users })).toBe(text);
  });
});
