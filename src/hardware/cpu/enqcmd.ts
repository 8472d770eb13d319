/**
 * The instructions that submit work: ENQCMD, ENQCMDS and MOVDIR64B (Intel SDM volume 2). ENQCMD has three points
 * where others may come between, which matter to the life of a PASID: its PASID is *translated* (directly here;
 * by a VM's table under virtualization), the command *departs*, and it *arrives* at the device, whose answer the
 * CPU waits for. The source and IA32_PASID are read, and all faults raised, before the first.
 */
import type { Task } from '../../base/index.js';
import { ENQCMD_HEAD } from '../../spec/index.js';
import { RIGHT } from '../paging/step.js';
import type { Cpu } from './cpu.js';
import { type CpuFault, GP_FAULT } from './mmu.js';

/** A 64-byte store from a source in memory to an aligned destination. */
export interface Submission {
  readonly destination: number;
  readonly source: number;
}

/** What an instruction came to: a fault, or ZF: 0 for accepted, 1 for retry. */
export type EnqcmdResult = { readonly fault: CpuFault } | { readonly fault?: never; readonly zf: 0 | 1 };

const LINE = 64;
const { PASID, PRIV } = ENQCMD_HEAD;
const HEAD_RESERVED = ENQCMD_HEAD.reserved[0] ?? 0;
const ACCEPTED: EnqcmdResult = { zf: 0 };
const RETRY: EnqcmdResult = { zf: 1 };

/** ENQCMD: submits with the PASID of IA32_PASID, as user. */
export const enqcmd = (cpu: Cpu, submission: Submission): Task<EnqcmdResult> =>
  submit(cpu, submission, false);

/** ENQCMDS: submits with the PASID and the privilege that the command names; at CPL 0 only. */
export const enqcmds = (cpu: Cpu, submission: Submission): Task<EnqcmdResult> =>
  submit(cpu, submission, true);

function* submit(cpu: Cpu, submission: Submission, isSupervisor: boolean): Task<EnqcmdResult> {
  const command = new Int32Array(LINE / 4);
  const fault = readCommand(cpu, submission, { command, isSupervisor });
  if (fault !== undefined) return { fault };
  const portal = cpu.physical(submission.destination, RIGHT.WRITE);
  if (portal < 0) return { fault: cpu.fault ?? GP_FAULT };
  yield 'enqcmd translates';
  yield 'enqcmd departs';
  yield 'enqcmd arrives';
  return deliver(cpu, portal, command) ? ACCEPTED : RETRY;
}

/** Where {@link readCommand} puts what it reads. */
export interface CommandBuffer {
  /** 16 words. */
  readonly command: Int32Array;
  readonly isSupervisor: boolean;
}

/** Reads and checks a command, and sets its first doubleword. Returns the fault, if there is one. */
export function readCommand(
  cpu: Cpu,
  { destination, source }: Submission,
  { command, isSupervisor }: CommandBuffer,
): CpuFault | undefined {
  if (isSupervisor ? cpu.cpl !== 0 : !cpu.hasValidPasid) return GP_FAULT;
  if (destination % LINE !== 0) return GP_FAULT;
  const fault = cpu.load(source, new Uint8Array(command.buffer, command.byteOffset, LINE));
  if (fault !== undefined) return fault;
  const head = command[0] ?? 0;
  if (isSupervisor) return (head & HEAD_RESERVED) !== 0 ? GP_FAULT : undefined;
  if (head !== 0) return GP_FAULT;
  PASID.set(command, 0, cpu.pasid);
  PRIV.set(command, 0, 0);
  return undefined;
}

/** The write arrives, behind this CPU's posted ones. Whether the device accepted it. */
export function deliver(cpu: Cpu, portal: number, command: Int32Array): boolean {
  cpu.fence();
  return cpu.bus.enqueue(portal, command);
}

/** MOVDIR64B: a posted write of 64 bytes, which returns nothing. Returns the fault, if there is one. */
export function movdir64b(cpu: Cpu, { destination, source }: Submission): CpuFault | undefined {
  if (destination % LINE !== 0) return GP_FAULT;
  const data = new Int32Array(LINE / 4);
  const fault = cpu.load(source, new Uint8Array(data.buffer));
  if (fault !== undefined) return fault;
  const portal = cpu.physical(destination, RIGHT.WRITE);
  if (portal < 0) return cpu.fault;
  cpu.posted.post(portal, data);
  return undefined;
}
