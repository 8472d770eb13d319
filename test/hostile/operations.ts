/** What an attacker does: sense, nonsense, and sense with one thing wrong, to all that a guest can reach. */
import type { Task } from '../../src/base/index.js';
import { enqcmd, enqcmds, movdir64b } from '../../src/hardware/index.js';
import {
  CONTEXT_CACHE_INVALIDATION,
  DSA_BATCH,
  DSA_CMD_REG,
  DSA_COMMAND,
  DSA_COMPARE,
  DSA_DEVICE_STATE,
  DSA_DRAIN,
  DSA_FLAG,
  DSA_GENSTS_REG,
  DSA_MEMFILL,
  DSA_MEMMOVE,
  DSA_MSIXPERM,
  DSA_NOOP,
  DSA_OPCODE,
  DSA_STRIDE,
  DSA_TABLE,
  DSA_WQCFG,
  encode,
  HOT_PLUG_BYTES,
  INVALIDATION_WAIT,
  IOTLB_INVALIDATION,
  PAGE_GROUP_RESPONSE,
  PAGE_REQUEST_DESCRIPTOR,
  PASID_CACHE_INVALIDATION,
  PASID_DEVICE_TLB_INVALIDATION,
  PASID_IOTLB_INVALIDATION,
  VTD_REGISTER as VTD,
} from '../../src/spec/index.js';
import { BAR0, BAR2, FRAME, FRAMES, type HostileGuest, SLOTS, UNIT } from './guest.js';

/** What takes steps is a task. */
type Act = (guest: HostileGuest) => unknown;

const isTask = (of: unknown): of is Task<unknown> => typeof of === 'object' && of !== null && 'next' in of;

const PAGE = 4096;
const COMMAND = 0xa0;
const STATE = 0x90;
/** Of a WQCFG. */
const PASID_WORD = DSA_WQCFG.PASID.low >> 5;
const VALID = 2 ** 31;
const UNIT_REGISTERS = [...Object.values(VTD).map(({ offset }) => offset), 0x100, 0x108, 0x220, 0x22c];
/** Addresses that a descriptor may name: its own memory, where there is none, other people's, and no addresses. */
const ADDRESSES = [
  ...[FRAME.DATA * PAGE, FRAME.DATA * PAGE + 0x1000, FRAME.DATA * PAGE + 0x7ff8],
  ...[FRAME.PML4 * PAGE, FRAME.PASIDS * PAGE, FRAME.QUEUE * PAGE, 0x30_0000, 0x3f_f000],
  ...[BAR0, BAR2 + 0x1000, 0x7f00_0000_0000, 0xfee0_0000, 0x1000, 0],
];
/** Of configuration space: bus mastering, PASIDs, page requests, ATS; where, and on and off. */
const SWITCHES = [
  [0x004, 6, 2],
  [0x106, 1, 0],
  [0x124, 1, 0],
  [0x116, 0x8000, 0],
] as const;
/** FSTS: IQE and ITE. */
const QUEUE_ERRORS = 0x50;
const OPCODES = Object.values(DSA_OPCODE);

const address = (guest: HostileGuest): number => {
  if (guest.below(10) === 0) return guest.below(2 ** 20) * 2 ** 32 + (guest.random.next() >>> 0);
  return guest.pick(ADDRESSES) + (guest.below(4) === 0 ? guest.below(PAGE) : guest.below(64) * 32);
};

/** A descriptor of the invalidation queue that is well-formed, or nearly. */
function invalidation(guest: HostileGuest): Int32Array {
  const PASID = guest.pasid();
  const G = guest.below(4);
  const DID = guest.below(5);
  const AM = guest.below(20);
  const SID = guest.below(8) === 0 ? guest.below(0x1_0000) : guest.device().rid;
  switch (guest.below(7)) {
    case 0:
      return encode(PASID_CACHE_INVALIDATION, { TYPE: 7, G, DID, PASID });
    case 1:
      return encode(CONTEXT_CACHE_INVALIDATION, { TYPE: 1, G, SID, FM: G });
    case 2:
      return encode(IOTLB_INVALIDATION, { TYPE: 2, G, DID, AM, ADDR: guest.below(2 ** 20) });
    case 3:
      return encode(PASID_IOTLB_INVALIDATION, { TYPE: 6, G, DID, PASID, AM, ADDR: guest.below(2 ** 20) });
    case 4:
      return encode(PASID_DEVICE_TLB_INVALIDATION, { TYPE: 8, SID, PASID, G: guest.below(2) });
    case 5:
      return encode(PAGE_GROUP_RESPONSE, {
        ...{ TYPE: 9, RID: SID, PP: guest.below(4) === 0 ? 0 : 1, PASID, PRGI: guest.below(512) },
        RC: guest.below(16),
      });
    default:
      return encode(INVALIDATION_WAIT, {
        ...{ TYPE: 5, SW: guest.below(2), IF: guest.below(2), STATUS_DATA: 1 },
        STATUS_ADDR: (FRAME.STATUS * PAGE) / 4,
      });
  }
}

/** Answers a page request that stands in its queue, as it should be or not. */
function answer(guest: HostileGuest): void {
  const at = FRAME.REQUESTS * PAGE + guest.below(32) * 32;
  const words = Int32Array.from({ length: 8 }, (_, i) => guest.platform.memory.load32(at + i * 4));
  const r = PAGE_REQUEST_DESCRIPTOR;
  if (r.TYPE.get(words, 0) !== 1) return;
  guest.write64(VTD.PQH, guest.read(VTD.PQT));
  guest.submit(
    encode(PAGE_GROUP_RESPONSE, {
      ...{ TYPE: 9, RID: r.RID.get(words, 0), PP: 1, PASID: r.PASID.get(words, 0) },
      ...{ PRGI: r.PRGI.get(words, 0), RC: guest.pick([0, 0, 1, 15]) },
    }),
  );
}

/** Goes on behind a descriptor that has stopped its queue: one error would be the end of all invalidations. */
function mendQueue(guest: HostileGuest): void {
  const { platform } = guest;
  if ((guest.read(VTD.FSTS) & QUEUE_ERRORS) === 0) return;
  const head = guest.read(VTD.IQH);
  const wait = encode(INVALIDATION_WAIT, { TYPE: 5 });
  for (let i = 0; i < 8; i++) platform.memory.store32(FRAME.QUEUE * PAGE + head + i * 4, wait[i] ?? 0);
  guest.write(VTD.FSTS, -1);
}

/** A descriptor of the accelerator's: of a known operation, or anything. */
function work(guest: HostileGuest): Int32Array {
  const RECORD = BigInt(address(guest));
  const asks = guest.below(3) === 0;
  const flags = DSA_FLAG.CRAV | DSA_FLAG.RCR | (guest.below(2) === 0 ? DSA_FLAG.BOF : 0);
  const FLAGS = guest.below(6) === 0 ? guest.below(2 ** 20) : flags | (asks ? DSA_FLAG.RCI : 0);
  const head = { RECORD, FLAGS, HANDLE: asks ? guest.below(8) : 0 };
  const XFER_SIZE = guest.below(6) === 0 ? guest.random.next() >>> 0 : guest.below(9000);
  const [one, two] = [BigInt(address(guest)), BigInt(address(guest))];
  switch (guest.below(7)) {
    case 0:
      return encode(DSA_MEMFILL, {
        ...head,
        OPCODE: DSA_OPCODE.MEMFILL,
        DST: one,
        XFER_SIZE,
        PATTERN: -1n & two,
      });
    case 1:
      return encode(DSA_MEMMOVE, { ...head, OPCODE: DSA_OPCODE.MEMMOVE, SRC: one, DST: two, XFER_SIZE });
    case 2:
      return encode(DSA_COMPARE, { ...head, OPCODE: DSA_OPCODE.COMPARE, SRC1: one, SRC2: two, XFER_SIZE });
    case 3:
      return encode(DSA_BATCH, { ...head, OPCODE: DSA_OPCODE.BATCH, LIST: one, COUNT: guest.below(20) });
    case 4:
      return encode(DSA_DRAIN, { ...head, OPCODE: DSA_OPCODE.DRAIN });
    case 5:
      return encode(DSA_NOOP, { ...head, OPCODE: guest.pick(OPCODES) });
    default:
      return Int32Array.from({ length: 16 }, (_, i) => (i === 0 ? 0 : guest.word()));
  }
}

function* submitWork(guest: HostileGuest): Task {
  const source =
    guest.below(10) === 0 ? guest.below(0x30_0000) * 4 : FRAME.SOURCE * PAGE + guest.below(32) * 64;
  const command = work(guest);
  if (guest.below(16) === 0) command[guest.below(16)] = guest.word();
  guest.put(Math.floor(source / PAGE), (source % PAGE) / 4 > 1008 ? 1008 : (source % PAGE) / 4, command);
  const device = guest.device();
  const portal = device.bar2 + device.portal + guest.below(64) * 64;
  const destination = guest.below(8) === 0 ? address(guest) : portal;
  const { cpu } = guest;
  if (guest.below(8) === 0 ? !device.isDedicated : device.isDedicated) {
    guest.tellSubmission(source, device);
    movdir64b(cpu, { destination, source });
    return;
  }
  cpu.writePasidMsr((guest.below(16) === 0 ? 0 : VALID) | guest.pasid());
  // Mostly reserved bits: #GP, and nothing is written.
  if (guest.below(16) === 0) cpu.writePasidMsr(guest.word());
  const isKernel = guest.below(4) === 0;
  // ENQCMDS names the PASID in its first word.
  if (isKernel) guest.put(FRAME.SOURCE, 0, [guest.pasid()]);
  cpu.cpl = isKernel ? 0 : 3;
  const submission = { destination, source: isKernel ? FRAME.SOURCE * PAGE : source };
  guest.tellSubmission(submission.source, device);
  const instruction = isKernel ? enqcmds(cpu, submission) : enqcmd(cpu, submission);
  const slowness = guest.below(6) === 0 ? guest.below(300) : 0;
  for (let step = instruction.next(); step.done !== true; step = instruction.next()) {
    yield step.value;
    // The bus may take its time, while others go on.
    for (let i = 0; i < slowness; i++) yield 'mischief under way';
  }
  cpu.cpl = 0;
}

/** An offset below `bytes`, mostly one that an access of this size may have: the others do nothing. */
const place = (guest: HostileGuest, bytes: number, size: number): number =>
  guest.below(16) === 0 ? guest.below(bytes) : guest.below(bytes / size) * size;

/** An access of a CPU's anywhere. */
function access(guest: HostileGuest): void {
  const { cpu } = guest;
  const bytes = new Uint8Array(guest.pick([4, 8, 64, 5000]));
  bytes.fill(guest.below(256));
  if (guest.below(2) === 0) cpu.load(address(guest), bytes);
  else cpu.store(guest.pick([BAR2, BAR2 + 0x1000, BAR0, 0x30_0000]) + guest.below(PAGE), bytes);
}

const RARE_COMMANDS = [0, 1 << 26, -(2 ** 31), -(2 ** 31) + 2 ** 26, 1 << 30, (1 << 30) | (1 << 26), 1 << 27];

/** With how often each is done, of all of them. */
export const OPERATIONS: readonly (readonly [weight: number, name: string, act: Act])[] = [
  [16, 'queues an invalidation', (guest) => guest.submit(invalidation(guest))],
  [3, 'queues anything', (guest) => guest.submit(Int32Array.from({ length: 8 }, () => guest.word()))],
  [
    4,
    'writes a register',
    (guest) => guest.platform.mmio.write32(UNIT + guest.pick(UNIT_REGISTERS), guest.word()),
  ],
  [
    2,
    'writes anywhere in the unit',
    (guest) => guest.platform.mmio.write64(UNIT + place(guest, 0x1100, 8), guest.word(), guest.word()),
  ],
  [2, 'reads a register', (guest) => void guest.platform.mmio.read32(UNIT + place(guest, 0x1100, 4))],
  [3, 'commands the unit', (guest) => guest.write(VTD.GCMD, guest.pick(RARE_COMMANDS))],
  [
    2,
    'invalidates by register',
    (guest) =>
      guest.platform.mmio.write64(UNIT + guest.pick([0x28, 0x100, 0x108]), guest.word(), guest.word()),
  ],
  [6, 'is given a PASID', (guest) => guest.write64(VTD.VCMD, 1)],
  [2, 'gives a PASID back', (guest) => guest.write64(VTD.VCMD, 2 | (guest.pasid() << 16), 0)],
  [1, 'sends any virtual command', (guest) => guest.write64(VTD.VCMD, guest.word(), guest.word())],
  [
    6,
    'writes an entry',
    (guest) => guest.setEntry(guest.pasid(), { root: guest.below(3) === 0 ? undefined : FRAME.PML4 }),
  ],
  [
    4,
    'writes to its tables',
    (guest) =>
      guest.put(guest.pick(FRAMES), guest.below(4) === 0 ? guest.below(1024) : guest.below(64), [
        guest.word(),
      ]),
  ],
  [1, 'writes anywhere', (guest) => guest.put(guest.below(0x400), guest.below(1024), [guest.word()])],
  [
    3,
    'writes a register of a device',
    (guest) => guest.platform.mmio.write32(guest.device().bar0 + guest.below(0x4000) * 4, guest.word()),
  ],
  [6, 'commands a device', (guest) => command(guest, guest.below(24))],
  [6, 'brings a device up, or its queue', bringUp],
  [
    5,
    'names a PASID for a queue',
    (guest) => {
      // A virtual device has the mode and the priority fixed; of a whole function they are in the same word.
      const fixed = { MODE: guest.below(8) === 0 ? 0 : 1, PRIORITY: 1, BOF: 1 };
      const PASID_EN = guest.below(8) === 0 ? 0 : 1;
      const words = encode(DSA_WQCFG, { ...fixed, PASID: guest.pasid(), PASID_EN });
      const at = guest.device().bar0 + DSA_TABLE.WQCFG;
      guest.platform.mmio.write32(at + PASID_WORD * 4, words[PASID_WORD] ?? 0);
    },
  ],
  [
    5,
    'names a PASID for a vector',
    (guest) => {
      const fields = { PASID: guest.pasid(), PASID_EN: guest.below(8) === 0 ? 0 : 1, IGNORE: guest.below(2) };
      const at = guest.device().bar0 + DSA_TABLE.MSIXPERM + guest.below(6) * DSA_STRIDE.MSIXPERM;
      guest.platform.mmio.write32(at, encode(DSA_MSIXPERM, fields)[0] ?? 0);
    },
  ],
  [
    1,
    'writes to the configuration of groups and queues',
    (guest) => {
      const at = guest.device().bar0 + guest.pick([DSA_TABLE.GRPCFG, DSA_TABLE.WQCFG, 0x80, 0xe0]);
      guest.platform.mmio.write64(at + guest.below(8) * 8, guest.word(), guest.word());
    },
  ],
  [
    1,
    'writes its vectors',
    (guest) =>
      guest.platform.mmio.write32(guest.device().bar0 + DSA_TABLE.MSIX + guest.below(64) * 4, guest.word()),
  ],
  [
    1,
    'writes to a second BAR',
    (guest) => guest.platform.mmio.write64(guest.device().bar2 + guest.below(0x800) * 8, -1, -1),
  ],
  [
    2,
    'writes configuration space',
    (guest) => {
      const { rid } = guest.device();
      guest.platform.pci.write(rid, guest.below(0x440), guest.pick([1, 2, 4]), guest.word() >>> 0);
    },
  ],
  [
    1,
    'moves its portal',
    (guest) =>
      guest.platform.pci.write(
        ...([guest.device().rid, 0x18, 4] as const),
        guest.pick([BAR2, 0xd000_0000, 0x10_0000, 0xfed9_0000]),
      ),
  ],
  [
    1,
    'switches off what a device needs to be enabled',
    (guest) => {
      const [at, , off] = guest.pick(SWITCHES);
      guest.platform.pci.write(guest.device().rid, at, 2, off);
    },
  ],
  [
    1,
    'speaks to the hot-plug controller',
    (guest) => {
      guest.platform.mmio.write32(SLOTS + guest.below(HOT_PLUG_BYTES / 4) * 4, guest.word());
      guest.platform.mmio.read32(SLOTS + place(guest, HOT_PLUG_BYTES, 4));
    },
  ],
  [3, 'has its BARs and capabilities back', (guest) => setUpFunctions(guest)],
  [12, 'mends its queue', mendQueue],
  [6, 'answers a page request', answer],
  [24, 'submits work', submitWork],
  [2, 'uses its CPU', access],
  [
    2,
    'writes CR3',
    (guest) => guest.cpu.setPageTable(guest.below(2) === 0 ? FRAME.PML4 : guest.below(0x400)),
  ],
  [6, 'sets all up', (guest) => guest.enable()],
  [1, 'latches its root', (guest) => guest.latch()],
];

function setUpFunctions({ platform: { pci }, devices }: HostileGuest): void {
  for (const { rid, bar0, bar2 } of devices) {
    pci.write(rid, 0x10, 4, bar0);
    pci.write(rid, 0x14, 4, 0);
    pci.write(rid, 0x18, 4, bar2);
    pci.write(rid, 0x1c, 4, 0);
    for (const [at, on] of SWITCHES) pci.write(rid, at, 2, on);
  }
}

/** The operand is a PASID, a queue, a vector or a handle, of MSI-X or not. */
function command(guest: HostileGuest, of: number): void {
  const OPERAND = guest.pick([guest.pasid(), guest.below(4), guest.below(8), 2 ** 16 + guest.below(8)]);
  const [word = 0] = encode(DSA_CMD_REG, { CMD: of, OPERAND, INT: guest.below(2) });
  guest.platform.mmio.write32(guest.device().bar0 + COMMAND, word);
}

/** The next command on the way to a queue that works. */
function bringUp(guest: HostileGuest): void {
  const { mmio } = guest.platform;
  const { bar0 } = guest.device();
  const { DISABLED, HALTED } = DSA_DEVICE_STATE;
  const state = DSA_GENSTS_REG.STATE.get(Int32Array.of(mmio.read32(bar0 + STATE)), 0);
  const { RESET_DEVICE, ENABLE_DEVICE, ENABLE_WQ } = DSA_COMMAND;
  const next = state === HALTED ? RESET_DEVICE : state === DISABLED ? ENABLE_DEVICE : ENABLE_WQ;
  mmio.write32(bar0 + COMMAND, encode(DSA_CMD_REG, { CMD: next })[0] ?? 0);
}

const TOTAL = OPERATIONS.reduce((sum, [weight]) => sum + weight, 0);

/** One operation, whichever it is. */
export function* operate(guest: HostileGuest): Task {
  let at = guest.below(TOTAL);
  for (const [weight, , act] of OPERATIONS) {
    at -= weight;
    if (at >= 0) continue;
    const rest = act(guest);
    if (isTask(rest)) yield* rest;
    return;
  }
}
