/**
 * Random schedules: several engines, two PASIDs, batches, pages that come and go, a command in the middle. Whatever the
 * order, each descriptor ends once, nothing of a PASID moves after its drain or abort, and nothing reaches a frame
 * after the invalidation that named its page is complete.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { descriptor, move, PASID, RECORD_PAGE, Rig, SHARED } from '../../../test/dsa/rig.js';
import { Random } from '../../base/index.js';
import {
  DSA_COMMAND as CMD,
  DSA_BATCH,
  DSA_DRAIN,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
} from '../../spec/index.js';
import { ALL_RIGHTS, type MemoryRequest } from '../index.js';

const OTHER = 7;
const FIRST_PAGE = 0x200;
const PAGES = 6;
const STEPS = 400;
const MANY = 20_000;

/** Who answers the device's choices: the present run. */
let answers = new Random(0);
const rig = new Rig({}, { choose: (n) => answers.below(n) });
rig.start(
  [
    { ...SHARED, MAX_BATCH_SHIFT: 2 },
    { ...SHARED, PRIORITY: 3, MAX_BATCH_SHIFT: 2 },
  ],
  3,
);
/** A list of moves behind the completion records, whose PASIDs are nobody's. */
const LIST = RECORD_PAGE * 4096 + 2048;
for (let i = 0; i < 4; i++) {
  const FLAGS = FLAG.CRAV | FLAG.RCR | (i === 1 ? FLAG.BOF : 0) | (i === 3 ? FLAG.FENCE : 0);
  const at = (FIRST_PAGE + i) * 4096;
  const words = move({ PASID: 99, FLAGS, SRC: at + 4000, DST: at + 4096, XFER_SIZE: 99 });
  rig.memory.write(LIST + i * 64, new Uint8Array(words.buffer));
}
rig.mark();

/** One run. Throws where something happens that must not. */
class Run {
  readonly random: Random;
  /** Tags that are not done, with their PASIDs. */
  readonly open = new Map<number, number>();
  /** PASIDs that a command has ended, and frames that an invalidation has. */
  readonly ended = new Set<number>();
  readonly gone = new Set<string>();
  #command: number | undefined;
  #itag = 0;
  readonly #flushed = new Map<number, string>();

  constructor(seed: number) {
    this.random = new Random(seed);
    answers = new Random(seed);
    rig.restore();
    rig.iommu.map(OTHER, RECORD_PAGE, { frame: RECORD_PAGE, rights: ALL_RIGHTS });
    rig.device.audit = {
      submitted: (tag, _, words) => this.open.set(tag, (words[0] ?? 0) & 0xfffff),
      refused: () => {},
      requests: (tag, request) => this.#requests(tag, request),
      completed: (tag) => {
        if (!this.open.delete(tag)) throw new Error(`descriptor ${tag} ends twice`);
      },
    };
  }

  #requests(tag: number, { pasid, page, isTranslated }: MemoryRequest): void {
    if (this.open.get(tag) !== pasid) throw new Error(`a request of descriptor ${tag} with PASID ${pasid}`);
    if (this.ended.has(pasid)) throw new Error(`a request with PASID ${pasid} after its end`);
    if (isTranslated && this.gone.has(`${pasid}:${page}`))
      throw new Error(`frame ${page} after its invalidation`);
  }

  #page(): number {
    return FIRST_PAGE + this.random.below(PAGES);
  }

  submit(): void {
    const pasid = this.random.below(2) === 0 ? PASID : OTHER;
    if (this.#command !== undefined && pasid === PASID) return;
    const FLAGS = FLAG.CRAV | FLAG.RCR | (this.random.below(2) === 0 ? FLAG.BOF : 0);
    rig.submit(this.#descriptor(pasid, FLAGS), { wq: this.random.below(2) });
  }

  #descriptor(pasid: number, FLAGS: number): Int32Array {
    const kind = this.random.below(5);
    if (kind === 0) return descriptor(DSA_DRAIN, { OPCODE: OP.DRAIN, PASID: pasid });
    if (kind === 1) return descriptor(DSA_BATCH, { OPCODE: OP.BATCH, PASID: pasid, LIST, COUNT: 4 });
    const places = { SRC: this.#page() * 4096 + 4000, DST: this.#page() * 4096 + 4050 };
    return move({ PASID: pasid, FLAGS, ...places, XFER_SIZE: 99 });
  }

  /** Maps a page to a frame that was never used, or unmaps it and invalidates. */
  remap(): void {
    const page = this.#page();
    const key = `${PASID}:${page}`;
    const mapping = rig.iommu.mappings.get(key);
    if (mapping === undefined) {
      rig.iommu.map(PASID, page, { frame: 0x400 + ++this.#itag, rights: ALL_RIGHTS });
      return;
    }
    rig.iommu.unmap(PASID, page);
    const itag = ++this.#itag;
    this.#flushed.set(itag, `${PASID}:${mapping.frame}`);
    rig.device.invalidateDeviceTlb({
      rid: rig.device.rid,
      pasid: PASID,
      page,
      pages: 1,
      isGlobal: false,
      itag,
    });
  }

  answer(): void {
    const request = rig.iommu.pageRequests.shift();
    if (request === undefined) return;
    const code = this.random.below(3) === 0 ? 1 : 0;
    if (code === 0)
      rig.iommu.map(request.pasid, request.page, { frame: 0x400 + ++this.#itag, rights: ALL_RIGHTS });
    rig.device.pageGroupResponse({ ...request, code });
  }

  command(): void {
    if (this.#command !== undefined) return;
    this.#command = this.random.below(2) === 0 ? CMD.ABORT_PASID : CMD.DRAIN_PASID;
    rig.submitCommand(this.#command, PASID);
  }

  step(): void {
    const ready = rig.device.running.filter(({ isReady }) => isReady);
    ready[this.random.below(Math.max(ready.length, 1))]?.step();
    for (const itag of rig.iommu.invalidationsDone.splice(0)) this.gone.add(this.#flushed.get(itag) ?? '');
    if (this.#command !== undefined && !rig.commandIsActive) this.ended.add(PASID);
  }

  /** Lets everything come to its end: nobody can go on, nobody waits for an answer. */
  finish(): void {
    const isBusy = (): boolean => rig.device.running.some(({ isReady }) => isReady);
    for (let i = 0; isBusy() || rig.iommu.pageRequests.length > 0; i++) {
      if (i > MANY) throw new Error('it goes on and on');
      this.step();
      this.answer();
    }
  }
}

test('hold what must hold, in any order', () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const run = new Run(seed);
      for (let i = 0; i < STEPS; i++) {
        const what = run.random.below(20);
        if (what < 4) run.submit();
        else if (what < 6) run.remap();
        else if (what < 8) run.answer();
        else if (what === 8 && i > STEPS / 2) run.command();
        else run.step();
      }
      run.finish();
      expect([...run.open]).toEqual([]);
      expect(rig.commandIsActive).toBe(false);
      expect(rig.softwareErrorCode).toBe(0);
      expect(rig.device.parts.pageRequests.outstanding).toBe(0);
    }),
    { numRuns: 150 },
  );
});
