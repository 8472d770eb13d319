/**
 * What an address space promises of a run of pages, whether or not they are there yet. An area never changes: an
 * unmap or a change of rights puts others in its place.
 */
import type { LeafRights } from './page-table.js';

/** Frames of a device that lie in an address space: a portal of a work queue. */
export interface PortalFrames {
  /** The frame of the area's first page. */
  readonly frame: number;
  /** Whether a forked child has it too. */
  readonly inherited: boolean;
  /** Whose mapping it is: an open file. */
  readonly owner: object;
}

export interface Area {
  /** The first and the last page. */
  readonly first: number;
  readonly last: number;
  readonly rights: LeafRights;
  /** Whether its frames come from anywhere: a virtual machine's memory. */
  readonly scattered: boolean;
  /** Undefined for memory of the process's own, which is there when it is first touched. */
  readonly portal: PortalFrames | undefined;
}

/** What is left of an area outside of the pages `first` to `last`. */
export function without(area: Area, first: number, last: number): Area[] {
  const left: Area[] = [];
  if (area.first < first) left.push(part(area, area.first, first - 1));
  if (area.last > last) left.push(part(area, last + 1, area.last));
  return left;
}

/** The part of an area that lies in the pages `first` to `last`. */
export function within(area: Area, first: number, last: number): Area {
  return part(area, Math.max(area.first, first), Math.min(area.last, last));
}

function part(area: Area, first: number, last: number): Area {
  const { rights, portal, scattered } = area;
  const moved = portal && { ...portal, frame: portal.frame + first - area.first };
  return { first, last, rights, scattered, portal: moved };
}
