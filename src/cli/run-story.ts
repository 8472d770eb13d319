/** The story of a run: one line an event, with step, actor, and what happened in a person's words. */
import type { Event, FieldValue } from '../base/index.js';
import type { Paint } from './terminal.js';

type Fields = Readonly<Record<string, FieldValue>>;
type Tell = (fields: Fields) => string;

const of = (fields: Fields, name: string): string => String(fields[name] ?? '-');

/** Whose a PASID is, of a fault: process, virtual machine and its guest's number, and the work that it had then. */
function whose(fields: Fields): string {
  if (fields['owner'] === undefined) return '';
  const guest = fields['guest'] == null ? '' : `, guest PASID ${of(fields, 'guest')} of ${of(fields, 'vm')}`;
  const jobs = fields['jobs'] == null ? '' : `, who has ${of(fields, 'jobs')}`;
  return ` (${of(fields, 'owner')}${guest}${jobs})`;
}

/** By kind of event. What stands here first is what most people want to know. */
const TELL: Readonly<Record<string, Tell>> = {
  step: (f) => of(f, 'does'),
  'step:kill': (f) => `kills ${of(f, 'process')}`,
  stopped: (f) => `the modelled software cannot go on: ${of(f, 'why')}`,
  finding: (f) => `${of(f, 'rule')} is broken: ${of(f, 'message')}`,

  'announce:ALLOC': (f) => `all who listen are told of PASID ${of(f, 'id')}`,
  'announce:BIND': (f) => `those who listen to its set are told: PASID ${of(f, 'id')} is bound${spidText(f)}`,
  'announce:UNBIND': (f) =>
    `those who listen to its set are told: PASID ${of(f, 'id')} is unbound${spidText(f)}`,
  'announce:FREE': (f) => `all who listen are told that PASID ${of(f, 'id')} is freed${spidText(f)}`,
  attach: (f) => `PASID ${of(f, 'spid')} of a guest is attached to PASID ${of(f, 'id')}`,
  detach: (f) => `PASID ${of(f, 'spid')} of a guest is detached from PASID ${of(f, 'id')}`,

  alloc: (f) => `PASID ${of(f, 'id')} is allocated`,
  free: (f) => `PASID ${of(f, 'id')} is freed`,
  reclaim: (f) => `PASID ${of(f, 'id')} is free again`,
  get: (f) => `PASID ${of(f, 'id')} is held by ${of(f, 'holder')}`,
  put: (f) => `PASID ${of(f, 'id')} is let go of by ${of(f, 'holder')}`,

  'guest:alloc': (f) => `PASID ${of(f, 'id')} of the guest is allocated`,
  'guest:free': (f) => `PASID ${of(f, 'id')} of the guest is freed`,
  'guest:reclaim': (f) => `PASID ${of(f, 'id')} of the guest is free again`,
  'guest:get': (f) => `PASID ${of(f, 'id')} of the guest is held by ${of(f, 'holder')}`,
  'guest:put': (f) => `PASID ${of(f, 'id')} of the guest is let go of by ${of(f, 'holder')}`,

  'kvm:bind': (f) => `KVM translates ${of(f, 'vm')}'s PASID ${of(f, 'spid')} to ${of(f, 'pasid')}`,
  'kvm:unbind': (f) =>
    `KVM translates ${of(f, 'vm')}'s PASID ${of(f, 'spid')} no more (it was ${of(f, 'pasid')})`,
  'kvm:exit': (f) =>
    `${of(f, 'vm')} exits: ${of(f, 'reason')} with PASID ${of(f, 'pasid')}, which nothing translates: ${of(f, 'action')}`,
  'kvm:destroyed': (f) => `KVM has nothing of ${of(f, 'vm')} any more`,
  'viommu:bind': (f) =>
    `the guest's entry of PASID ${of(f, 'guestPasid')} is new: binds it to PASID ${of(f, 'hostPasid')}`,
  'viommu:unbind': (f) =>
    `the guest's entry of PASID ${of(f, 'guestPasid')} is gone: unbinds it from PASID ${of(f, 'hostPasid')}`,
  'vdcm:create': (f) => `${of(f, 'mdev')} is a part of ${of(f, 'wq')}`,

  'process:new': (f) => `process ${of(f, 'process')} is there, pid ${of(f, 'pid')}`,
  'process:fork': (f) => `pid ${of(f, 'parent')} has forked pid ${of(f, 'pid')}`,
  'process:pasid': (f) => `#GP on the first ENQCMD: IA32_PASID is loaded with PASID ${of(f, 'pasid')}`,
  'process:trap': (f) =>
    `#${of(f, 'vector')} that the kernel cannot serve${f['why'] ? `: ${of(f, 'why')}` : ''}`,
  'process:signal': (f) => `${of(f, 'signal')} to ${of(f, 'process')}`,
  'process:exit': (f) => `${of(f, 'process')} is gone`,

  'mm:map': (f) => `promises ${plural(f, 'pages', 'page')} at ${of(f, 'page')} to ${of(f, 'mm')}`,
  'mm:unmap': (f) =>
    `${plural(f, 'pages', 'page')} at ${of(f, 'page')} of ${of(f, 'mm')} are gone, from all caches too`,
  'mm:protect': (f) =>
    `${plural(f, 'pages', 'page')} at ${of(f, 'page')} of ${of(f, 'mm')} have other rights`,
  'mm:exit': (f) => `the memory of ${of(f, 'mm')} goes`,
  'mm:end': (f) => `the address space of ${of(f, 'mm')} is gone`,

  'sva:bind': (f) =>
    `${of(f, 'device')} is bound to ${of(f, 'process')}, PASID ${of(f, 'pasid')}: its table entry is there`,
  'sva:unbind': (f) =>
    `${of(f, 'device')} is unbound from ${of(f, 'process')}, PASID ${of(f, 'pasid')}: entry and caches are clear`,
  'idxd:open': (f) => `${of(f, 'wq')} is open for ${of(f, 'process')}`,
  'idxd:close': (f) => `${of(f, 'wq')} is closed for ${of(f, 'process')}`,
  'idxd:error': (f) =>
    `${of(f, 'device')} reports "${of(f, 'error')}" for PASID ${of(f, 'pasid')}${whose(f)}`,
  'idxd:quiesce-failed': (f) => `${of(f, 'device')} does not let go: ${of(f, 'why')}`,
  'iommu:fault': (f) =>
    `${of(f, 'unit')} reports a fault of ${of(f, 'rid')}, PASID ${of(f, 'pasid')}, ${of(f, 'access')} at ${of(f, 'page')}: ${of(f, 'reason')}${whose(f)}`,
  'iommu:fault-overflow': (f) => `${of(f, 'unit')} has lost faults: there was no room for them`,
  'iommu:page-request-refused': (f) =>
    `cannot have page ${of(f, 'page')} for ${of(f, 'rid')}, PASID ${of(f, 'pasid')}: ${of(f, 'why')}${whose(f)}`,
  'iommu:page-response': (f) =>
    `answers page group ${of(f, 'group')} of ${of(f, 'rid')}, PASID ${of(f, 'pasid')}: ${of(f, 'response')}`,

  'dsa:accept': (f) =>
    `${of(f, 'queue')} takes ${of(f, 'job')} (${of(f, 'operation')}), PASID ${of(f, 'pasid')}`,
  'dsa:refuse': (f) => `${of(f, 'queue')} does not take ${of(f, 'job')}`,
  'dsa:complete': (f) => `${of(f, 'job')} is done: ${of(f, 'status')}`,
  'dma:read': (f) =>
    `reads ${of(f, 'bytes')} bytes at ${of(f, 'address')} for ${of(f, 'job')}, from frame ${of(f, 'frame')}`,
  'dma:write': (f) =>
    `writes ${of(f, 'bytes')} bytes at ${of(f, 'address')} for ${of(f, 'job')}, to frame ${of(f, 'frame')}`,
  'pri:request': (f) =>
    `asks for page ${of(f, 'page')} (${of(f, 'access')}), PASID ${of(f, 'pasid')}, group ${of(f, 'group')}`,
  'pri:response': (f) => `is answered group ${of(f, 'group')}: ${RESPONSES[of(f, 'code')] ?? of(f, 'code')}`,
  'ats:invalidate': (f) => `forgets translations of PASID ${of(f, 'pasid')}: ${of(f, 'pages')}`,
};

/** Page group responses (PCIe 6.0, 10.4.2). */
const RESPONSES: Readonly<Record<string, string>> = { 0: 'success', 1: 'invalid request', 15: 'failure' };

function plural(fields: Fields, name: string, noun: string): string {
  const count = Number(fields[name]);
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

const spidText = (fields: Fields): string =>
  fields['spid'] === undefined ? '' : `, PASID ${of(fields, 'spid')} of its guest`;

const STEP_WIDTH = 6;
const ACTOR_WIDTH = 16;

/** One line, without its end. */
export function storyLine({ step, actor, kind, layer, fields }: Event, paint: Paint): string {
  const tell = TELL[kind];
  const what = tell === undefined ? `${kind} ${JSON.stringify(fields)}` : tell(fields);
  const who = actor.padEnd(ACTOR_WIDTH);
  const line = `${String(step).padStart(STEP_WIDTH)}  `;
  if (layer === 'rules') return paint.faint(line) + who + paint.bad(what);
  if (layer === 'machine') return paint.faint(line) + paint.accent(who) + paint.strong(what);
  return paint.faint(line) + who + what;
}
