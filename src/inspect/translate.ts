/**
 * One request translated, step by step: each entry that the unit would read, with its raw words, and then the
 * physical address or the fault. The walk itself is the unit's own.
 */
import { u64 } from '../base/index.js';
import {
  ABSENT,
  DeviceTables,
  FRAME_BYTES,
  type FrameReader,
  NO_PASID,
  RIGHT,
  Walk,
  type WalkStage,
} from '../hardware/index.js';
import {
  CONTEXT_ENTRY,
  decode,
  FAULT,
  FAULT_REASONS,
  FIRST_STAGE_ENTRY,
  FIRST_STAGE_LEAF_1G,
  FIRST_STAGE_LEAF_2M,
  FIRST_STAGE_LEAF_4K,
  format,
  type LayoutInfo,
  PASID_DIRECTORY_ENTRY,
  PASID_TABLE_ENTRY,
  ROOT_ENTRY,
  SCALABLE_CONTEXT_ENTRY,
  SCALABLE_ROOT_ENTRY,
  SECOND_STAGE_ENTRY,
  SECOND_STAGE_LEAF_1G,
  SECOND_STAGE_LEAF_2M,
} from '../spec/index.js';
import type { Unit } from './unit.js';

/** What is asked for: one byte, by a device, without privilege. */
export interface TranslationRequest {
  readonly rid: number;
  /**
   * Undefined for a request without one. A number names the address space that a survey lists under it: that of
   * RID_PASID, or of a legacy context (0), is reached without a PASID where requests with one are not allowed.
   */
  readonly pasid: number | undefined;
  readonly address: bigint;
  readonly access: 'r' | 'w' | 'x';
}

/** One entry that was read on the way. */
export interface TranslationStep {
  readonly stage: WalkStage;
  /** Of a paging structure. */
  readonly level: number | undefined;
  readonly address: number;
  /** Its 64-bit words; none where there is no memory. */
  readonly raw: readonly bigint[];
  /** Its fields on one line. */
  readonly text: string;
}

/** Where a request leads. */
export interface TranslationResult {
  readonly steps: readonly TranslationStep[];
  /** The physical address, if the request is granted. */
  readonly physical: bigint | undefined;
  /** The reason, if it is not. */
  readonly fault: { readonly code: number; readonly name: string; readonly text: string } | undefined;
}

const RIGHTS = {
  r: RIGHT.READ | RIGHT.USER,
  w: RIGHT.WRITE | RIGHT.USER,
  x: RIGHT.EXECUTE | RIGHT.READ | RIGHT.USER,
};

/** Translates one request; while translation is off, every address leads to itself. */
export function translate(unit: Unit, memory: FrameReader, request: TranslationRequest): TranslationResult {
  if (!unit.isTranslating) return { steps: [], physical: request.address, fault: undefined };
  if (unit.mode === 'abort-dma') return faulted([], FAULT.ABORT_DMA_MODE);
  if (unit.mode === 'reserved') return faulted([], FAULT.ROOT_TABLE_ADDRESS_INVALID);
  const tables = new DeviceTables(unit.format, unit.mode === 'scalable');
  const walk = new Walk(memory, unit.root, tables);
  const steps = walkAll(walk, memory, request);
  const isOfRid = request.pasid === (tables.isScalable ? tables.context.ridPasid : 0);
  const isForbidden = walk.fault === FAULT.PASIDE_CLEAR || walk.fault === FAULT.PASID_IN_LEGACY_MODE;
  if (isOfRid && isForbidden) return translate(unit, memory, { ...request, pasid: undefined });
  if (walk.stage === 'done') {
    // A request without a PASID can't ask to execute, and the walk takes it for a read.
    const isRefused = request.access === 'x' && (walk.rights & RIGHT.EXECUTE) === 0;
    if (isRefused) return faulted(steps, tables.isScalable ? FAULT.ERE_CLEAR : FAULT.READ_DENIED);
    const physical = (BigInt(walk.target) << 12n) | (request.address & 0xfffn);
    return { steps, physical, fault: undefined };
  }
  return faulted(steps, walk.fault);
}

function faulted(steps: readonly TranslationStep[], code: number): TranslationResult {
  const { name = 'unknown', text = 'unknown reason' } = FAULT_REASONS[code] ?? {};
  return { steps, physical: undefined, fault: { code, name, text } };
}

/** Walks to the end; what was read on the way. */
function walkAll(walk: Walk, memory: FrameReader, request: TranslationRequest): TranslationStep[] {
  const steps: TranslationStep[] = [];
  walk.begin({
    rid: request.rid,
    pasid: request.pasid ?? NO_PASID,
    page: Number(request.address >> 12n),
    rights: RIGHTS[request.access],
  });
  while (walk.stage !== 'done' && walk.stage !== 'fault') {
    steps.push(describe(walk, memory, layoutOf(walk, memory)));
    walk.step();
  }
  return steps;
}

function describe(walk: Walk, memory: FrameReader, layout: LayoutInfo): TranslationStep {
  const at = memory.at(walk.frame, walk.word);
  const isPaging = walk.stage === 'first-stage' || walk.stage === 'second-stage';
  const step = {
    stage: walk.stage,
    level: isPaging ? walk.level : undefined,
    address: walk.frame * FRAME_BYTES + walk.word * 4,
  };
  if (at === ABSENT) return { ...step, raw: [], text: 'outside of memory' };
  const words = memory.words.subarray(at, at + layout.bytes / 4);
  const raw = Array.from({ length: words.length / 2 }, (_, i) =>
    u64(words[i * 2] ?? 0, words[i * 2 + 1] ?? 0),
  );
  return { ...step, raw, text: format(decode(layout, words)) || 'zero' };
}

/** The layout of the entry that a walk is about to read. */
function layoutOf(walk: Walk, memory: FrameReader): LayoutInfo {
  const { isScalable } = walk.tables;
  switch (walk.stage) {
    case 'root':
      return isScalable ? SCALABLE_ROOT_ENTRY : ROOT_ENTRY;
    case 'context':
      return isScalable ? SCALABLE_CONTEXT_ENTRY : CONTEXT_ENTRY;
    case 'pasid-directory':
      return PASID_DIRECTORY_ENTRY;
    case 'pasid-table':
      return PASID_TABLE_ENTRY;
    default:
      return pagingLayout(walk, memory);
  }
}

function pagingLayout({ stage, level, frame, word }: Walk, memory: FrameReader): LayoutInfo {
  const at = memory.at(frame, word);
  const isFirst = stage === 'first-stage';
  const common = isFirst ? FIRST_STAGE_ENTRY : SECOND_STAGE_ENTRY;
  if (level === 1) return isFirst ? FIRST_STAGE_LEAF_4K : common;
  const isLeaf = at !== ABSENT && common.PS.get(memory.words, at) === 1;
  if (!isLeaf || level > 3) return common;
  if (level === 2) return isFirst ? FIRST_STAGE_LEAF_2M : SECOND_STAGE_LEAF_2M;
  return isFirst ? FIRST_STAGE_LEAF_1G : SECOND_STAGE_LEAF_1G;
}
