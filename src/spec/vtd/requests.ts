/**
 * What hardware puts into the page request queue, after VT-d 4.1, 7.4.1. The private data of revisions before
 * 4.0 is left out: its bits are reserved here.
 */
import { address, layout } from '../layout.js';

/** Type of an entry of the page request queue. */
export const PAGE_REQUEST_TYPE = 1;

/** Bytes of one entry of the page request queue. */
export const PAGE_REQUEST_BYTES = 32;

export const PAGE_REQUEST_DESCRIPTOR = layout('Page request descriptor', 32, 'VT-d 4.1, 7.4.1', {
  TYPE: [7, 0, 'descriptor type', { 1: 'page request' }],
  PP: [8, 'PASID present'],
  RID: [31, 16, 'requester'],
  PASID: [51, 32, 'PASID, if present'],
  EXR: [52, 'execute requested'],
  PMR: [53, 'privileged mode requested'],
  RD: [64, 'read requested'],
  WR: [65, 'write requested'],
  LPIG: [66, 'last page in group'],
  PRGI: [75, 67, 'page request group index'],
  ADDR: address(127, 76, 'page'),
});
