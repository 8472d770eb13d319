/**
 * Who is there from the start: a scenario's names, with those that stand for many (`count`) written out. The steps of
 * one that stands for many are each of its members' own.
 */
import type { Scenario, VmSpec } from './schema.js';

/** A process that runs from the start. */
export interface ProcessMember {
  /** `alice`, `vm1/alice`: no other has this name. */
  readonly name: string;
  /** Who its steps are written for: `vm/alice`. */
  readonly steps: string;
  /** It is one of many. */
  readonly isCounted: boolean;
}

/** A virtual machine. */
export interface VmMember {
  readonly name: string;
  /** What the scenario calls it, and those that are as it is. */
  readonly group: string;
  readonly spec: VmSpec;
  readonly processes: readonly ProcessMember[];
}

/** How a VMM is called that a virtual machine goes to. */
export const vmmAt = (vm: string, destination: string): string => `${vm}-${destination}`;

/** The host's own processes. */
export const hostProcesses = ({ processes }: Scenario): ProcessMember[] =>
  Object.keys(processes).map((name) => ({ name, steps: name, isCounted: false }));

/** The virtual machines, in the order of the scenario. */
export function vmMembers({ vms }: Scenario): VmMember[] {
  return Object.entries(vms).flatMap(([group, spec]) =>
    written(group, spec.count).map((name) => ({
      name,
      group,
      spec,
      processes: guestProcesses(name, group, spec),
    })),
  );
}

function guestProcesses(vm: string, group: string, spec: VmSpec): ProcessMember[] {
  return Object.entries(spec.processes).flatMap(([process, { count }]) => {
    const isCounted = count !== undefined || spec.count !== undefined;
    const steps = `${group}/${process}`;
    return written(process, count).map((name) => ({ name: `${vm}/${name}`, steps, isCounted }));
  });
}

const written = (name: string, count: number | undefined): string[] =>
  count === undefined ? [name] : Array.from({ length: count }, (_, i) => `${name}${i + 1}`);

/** By whom steps are done: the members of each name that they are written for. */
export function actorsOf(scenario: Scenario): ReadonlyMap<string, readonly string[]> {
  const actors = new Map<string, string[]>([['host', ['host']]]);
  const add = (steps: string, name: string): void => {
    const known = actors.get(steps);
    if (known === undefined) actors.set(steps, [name]);
    else known.push(name);
  };
  for (const { name, steps } of hostProcesses(scenario)) add(steps, name);
  for (const { name, group, processes } of vmMembers(scenario)) {
    add(`${group}/kernel`, `${name}/kernel`);
    for (const each of processes) add(each.steps, each.name);
  }
  for (const step of scenario.steps)
    if ('fork' in step) add(childName(step.by, step.fork.as), childName(step.by, step.fork.as));
  return actors;
}

/** A forked child is in its parent's machine. */
export const childName = (parent: string, as: string): string =>
  parent.includes('/') ? `${parent.split('/', 1)[0]}/${as}` : as;
