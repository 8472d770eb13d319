/** Sentences of hardware: accelerators, page requests, device TLBs. */
import { forJob, of, pasidOf, type Tell } from './words.js';

/** Page group responses (PCIe 6.0, 10.4.2). */
const RESPONSES: Readonly<Record<string, string>> = { 0: 'success', 1: 'invalid request', 15: 'failure' };

export const HARDWARE_TELLS: Readonly<Record<string, Tell>> = {
  'dsa:accept': (f) => `${of(f, 'queue')} takes ${of(f, 'job')} (${of(f, 'operation')}), ${pasidOf(f)}`,
  'dsa:refuse': (f) => `${of(f, 'queue')} does not take ${of(f, 'job')}`,
  'dsa:complete': (f) =>
    f['status'] === 'success'
      ? `${of(f, 'job')} is done, ${pasidOf(f)}`
      : `${of(f, 'job')} in ${of(f, 'queue')} ends: ${of(f, 'status')}${f['page'] === undefined ? '' : ` at ${of(f, 'page')}`}, ${pasidOf(f)}`,
  'dma:read': (f) =>
    `reads ${of(f, 'bytes')} bytes at ${of(f, 'address')} for ${of(f, 'job')}, from frame ${of(f, 'frame')}`,
  'dma:write': (f) =>
    `writes ${of(f, 'bytes')} bytes at ${of(f, 'address')} for ${of(f, 'job')}, to frame ${of(f, 'frame')}`,
  'pri:request': (f) =>
    `asks for page ${of(f, 'page')} (${of(f, 'access')}), group ${of(f, 'group')}, ${pasidOf(f)}${forJob(f)}`,
  'pri:response': (f) =>
    `is answered group ${of(f, 'group')}: ${RESPONSES[of(f, 'code')] ?? of(f, 'code')}${forJob(f)}`,
  'ats:invalidate': (f) => {
    const isOfNone = f['pasid'] === undefined && f['guestPasid'] === undefined;
    return `forgets translations of ${isOfNone ? 'requests without a PASID' : pasidOf(f)}: ${of(f, 'pages')}`;
  },
};
