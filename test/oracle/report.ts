/** Cases, differences and quirks in words. */
import type { Case, Operation } from './case.js';
import type { Difference } from './judge.js';
import { DEVICES } from './machine.js';

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** A case with what differs in it, to be read and to be done again by hand. */
export function reportOf(each: Case, differences: readonly Difference[]): string {
  return [
    'memory:',
    ...each.words.map(([address, word]) => `  ${hex(address)}: ${hex(word)}`),
    'operations:',
    ...each.operations.map((operation, index) => `  ${index}. ${operationText(operation)}`),
    'differences:',
    ...differences.map(differenceText),
  ].join('\n');
}

function operationText(operation: Operation): string {
  switch (operation.do) {
    case 'dma': {
      const { kind, rid = 0 } = DEVICES[operation.device] ?? {};
      return `${hex(rid)} ${kind === 'edu' ? 'reads' : 'writes'} page ${hex(operation.page)}`;
    }
    case 'store':
      return `store ${operation.words.map(hex).join(' ')} at ${hex(operation.address)} (${operation.entry.of})`;
    case 'invalidate':
    case 'mistake':
      return `${operation.do} ${operation.words.map(hex).join(' ')}`;
    default:
      return operation.do;
  }
}

function differenceText({ operation, what, allowed, ours, theirs }: Difference): string {
  const where = operation === undefined ? 'at the end' : `operation ${operation}`;
  const may = allowed.length === 0 ? '' : `\n    allowed: ${allowed.join('\n             ')}`;
  return `  ${where}, ${what}\n    model:   ${ours}\n    QEMU:    ${theirs}${may}`;
}
