/**
 * What vitest runs before and after the suites of the project `lab`: opens the desk at which they borrow guests, or
 * says why there are none.
 *
 * @module
 */
import type { TestProject } from 'vitest/node';
import { Desk } from './desk.js';
import { findLab } from './machines.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where to ask for guests, or why there are none. */
    lab: { readonly desk: string } | { readonly missing: string };
  }
}

let desk: Desk | undefined;

export async function setup(project: TestProject): Promise<void> {
  const lab = findLab();
  if ('missing' in lab) {
    console.warn(`The suites that need the lab are skipped: ${lab.missing}`);
    project.provide('lab', lab);
    return;
  }
  desk = await Desk.open(lab.folder);
  project.provide('lab', { desk: desk.path });
}

export async function teardown(): Promise<void> {
  await desk?.close();
}
