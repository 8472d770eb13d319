/**
 * The instructions that submit work: ENQCMD, ENQCMDS and MOVDIR64B (Intel SDM volume 2). ENQCMD has three points
 * where others may come between, which matter to the life of a PASID: its PASID is *translated* (to itself, or in
 * guest mode by the VM's table), the command *departs*, and it *arrives* at the device, whose answer the CPU waits
 * for. The source and IA32_PASID are read, and all faults but that of an exit raised, before the first.
 */
import type { Task } from '../../base/index.js';
import { ENQCMD_HEAD, EXIT_REASON } from '../../spec/index.js';
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
const { PASID } = ENQCMD_HEAD;
const HEAD_RESERVED = ENQCMD_HEAD.reserved[0] ?? 0;
const ACCEPTED: EnqcmdResult = { zf: 0 };
const RETRY: EnqcmdResult = { zf: 1 };
const INJECTED: EnqcmdResult = { fault: GP_FAULT };

/** ENQCMD: submits with the PASID of IA32_PASID, as user. */
export const enqcmd = (cpu: Cpu, submission: Submission): Task<EnqcmdResult> =>
  submit(cpu, submission, false);

/** ENQCMDS: submits with the PASID and the privilege that the command names; at CPL 0 only. */
export const enqcmds = (cpu: Cpu, submission: Submission): Task<EnqcmdResult> =>
  submit(cpu, submission, true);

function* submit(cpu: Cpu, submission: Submission, isSupervisor: boolean): Task<EnqcmdResult> {
  const command = cpu.takeLine();
  const fault = isSupervisor ? readEnqcmds(cpu, submission, command) : readEnqcmd(cpu, submission, command);
  if (fault !== undefined) return { fault };
  const portal = cpu.physical(submission.destination, RIGHT.WRITE);
  if (portal < 0) return { fault: cpu.fault ?? GP_FAULT };
  cpu.beginInstruction();
  try {
    yield 'enqcmd translates';
    const refused = translate(cpu, command, isSupervisor);
    if (refused !== undefined) return refused;
    yield 'enqcmd departs';
    yield 'enqcmd arrives';
    // A non-posted write does not pass this CPU's posted ones.
    cpu.fence();
    return cpu.bus.enqueue(portal, command) ? ACCEPTED : RETRY;
  } finally {
    cpu.giveLine(command);
    cpu.endInstruction();
  }
}

/** Puts the PASID that the device is to see into the command; how the instruction ends if there is none. */
function translate(cpu: Cpu, command: Int32Array, isSupervisor: boolean): EnqcmdResult | undefined {
  const pasid = PASID.get(command, 0);
  const sent = cpu.devicePasid(pasid);
  if (sent >= 0) {
    PASID.set(command, 0, sent);
    return undefined;
  }
  const reason = isSupervisor ? EXIT_REASON.ENQCMDS : EXIT_REASON.ENQCMD;
  return cpu.exit(reason, { pasid }) === 'skip' ? RETRY : INJECTED;
}

/** Reads ENQCMD's command, with its first doubleword as it is sent. Returns the fault, if there is one. */
function readEnqcmd(
  cpu: Cpu,
  { destination, source }: Submission,
  command: Int32Array,
): CpuFault | undefined {
  if (!cpu.hasValidPasid || destination % LINE !== 0) return GP_FAULT;
  const fault = cpu.loadLine(source, command);
  if (fault !== undefined) return fault;
  if (command[0] !== 0) return GP_FAULT;
  PASID.set(command, 0, cpu.pasid);
  return undefined;
}

function readEnqcmds(
  cpu: Cpu,
  { destination, source }: Submission,
  command: Int32Array,
): CpuFault | undefined {
  if (cpu.cpl !== 0 || destination % LINE !== 0) return GP_FAULT;
  const fault = cpu.loadLine(source, command);
  if (fault !== undefined) return fault;
  return ((command[0] ?? 0) & HEAD_RESERVED) === 0 ? undefined : GP_FAULT;
}

/** MOVDIR64B: a posted write of 64 bytes, which returns nothing. Returns the fault, if there is one. */
export function movdir64b(cpu: Cpu, { destination, source }: Submission): CpuFault | undefined {
  if (destination % LINE !== 0) return GP_FAULT;
  const data = cpu.takeLine();
  const fault = cpu.loadLine(source, data);
  if (fault !== undefined) return fault;
  const portal = cpu.physical(destination, RIGHT.WRITE);
  if (portal < 0) return cpu.fault;
  cpu.posted.post(portal, data);
  cpu.giveLine(data);
  return undefined;
}
