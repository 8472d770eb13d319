/** Operations of several stages can be put back after any step, with another operation in between. */
import { expect, test } from 'vitest';
import { descriptor, move, PASID, RECORD_PAGE, Rig, SHARED } from '../../../test/dsa/rig.js';
import {
  DSA_APPLY_DELTA,
  DSA_BATCH,
  DSA_CRC,
  DSA_CREATE_DELTA,
  DSA_DIF_INSERT,
  DSA_FLAG as FLAG,
  DSA_OPCODE as OP,
  DSA_STATUS as STATUS,
} from '../../spec/index.js';
import { ALL_RIGHTS } from '../index.js';

const FIRST = 0x200;
const PAGES = 6;
const AT = FIRST * 4096;
const SRC = AT + 4096 - 64;
const OTHER = AT + 2 * 4096 - 64;
const DST = AT + 4 * 4096 - 16;
const LIST = AT + 5 * 4096;

function mapAll(rig: Rig): void {
  for (let i = 0; i < PAGES; i++) rig.iommu.map(PASID, FIRST + i, { frame: FIRST + i, rights: ALL_RIGHTS });
}

/** A device and buffers with something in them; two lie one page apart, and differ in some units. */
function ready(): Rig {
  const rig = new Rig();
  rig.start([{ ...SHARED, MAX_BATCH_SHIFT: 2 }]);
  const bytes = Uint8Array.from({ length: 4096 * 4 }, (_, i) => (i % 4096) ^ (i % 1024 === 7 ? i >> 12 : 0));
  rig.memory.write(AT, bytes);
  rig.memory.write(DST, Uint8Array.from([1, 0, 9, 9, 9, 9, 9, 9, 9, 9, 3, 0, 8, 8, 8, 8, 8, 8, 8, 8]));
  [move({ SRC, DST, XFER_SIZE: 64 }), move({ SRC: OTHER, DST, XFER_SIZE: 32 })].forEach((words, i) => {
    rig.memory.write(LIST + i * 64, new Uint8Array(words.buffer));
  });
  mapAll(rig);
  return rig;
}

const image = (rig: Rig): Buffer =>
  Buffer.concat([rig.bytes(AT, PAGES * 4096), rig.bytes(RECORD_PAGE * 4096, 64)]);

const { CRC_READ_SEED, CRAV, RCR } = FLAG;

test.each([
  {
    name: 'copy with CRC',
    words: descriptor(DSA_CRC, {
      ...{ OPCODE: OP.COPY_CRC, FLAGS: CRAV | RCR | CRC_READ_SEED, SEED_ADDR: AT },
      ...{ SRC, DST, XFER_SIZE: 5000 },
    }),
  },
  {
    name: 'create delta',
    words: descriptor(DSA_CREATE_DELTA, {
      ...{ OPCODE: OP.CREATE_DELTA, SRC1: SRC, SRC2: OTHER, DELTA: DST },
      ...{ XFER_SIZE: 3000, MAX_DELTA_SIZE: 100 },
    }),
  },
  {
    name: 'apply delta',
    words: descriptor(DSA_APPLY_DELTA, {
      ...{ OPCODE: OP.APPLY_DELTA, DELTA: DST, DST: SRC, XFER_SIZE: 64, DELTA_SIZE: 20 },
    }),
  },
  {
    name: 'DIF insert',
    words: descriptor(DSA_DIF_INSERT, { OPCODE: OP.DIF_INSERT, SRC, DST, XFER_SIZE: 1040, FLAGS_DIF: 1 }),
  },
  { name: 'a batch', words: descriptor(DSA_BATCH, { OPCODE: OP.BATCH, LIST, COUNT: 2 }) },
])('$name', ({ words }) => {
  const whole = ready();
  whole.submit(words);
  let steps = 0;
  while (whole.step()) steps++;
  expect(whole.status).toBe(STATUS.SUCCESS);
  expect(steps).toBeGreaterThan(6);
  for (let at = 0; at <= steps; at++) {
    const rig = ready();
    rig.submit(words);
    for (let i = 0; i < at; i++) rig.step();
    rig.mark();
    rig.run();
    rig.submit(move({ SRC, DST: OTHER, XFER_SIZE: 200 }));
    rig.run();
    rig.restore();
    mapAll(rig);
    rig.run();
    expect(Buffer.compare(image(rig), image(whole)), `after step ${at}`).toBe(0);
  }
});
