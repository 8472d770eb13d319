/**
 * What the accelerator's path has to reach, without an IOMMU's walks: from ENQCMD through the CPU's page tables and a
 * shared queue to the completion record in memory, with every address translated by ATS (one to one here); and the
 * same from a guest, whose page tables are walked through an EPT, and whose PASID is translated by a table in memory.
 */
import { firstChooser } from '#src/base/index.js';
import {
  ALL_RIGHTS,
  Bus,
  COMPLETION,
  Cpu,
  DsaDevice,
  enqcmd,
  FRAME_BYTES,
  type Iommu,
  Memory,
  type MemoryRequest,
  RootComplex,
  type TranslationCompletion,
  Vmcs,
} from '#src/hardware/index.js';
import {
  DSA_CMD_REG,
  DSA_COMMAND,
  DSA_FLAG,
  DSA_GRPCFG,
  DSA_MEMMOVE,
  DSA_OPCODE,
  DSA_PORTAL,
  DSA_TABLE,
  DSA_WQCFG,
  EPT_ENTRY,
  EPT_POINTER,
  EXTENDED_CAPABILITY,
  encode,
  FIRST_STAGE_ENTRY,
  SECONDARY_CONTROL,
  VMCS_FIELD,
  VMX_PASID_DIRECTORY_ENTRY,
  VMX_PASID_TABLE_ENTRY,
} from '#src/spec/index.js';
import type { Rate, Suite } from './harness.js';

const FRAMES = 256;
const PORTALS = 0x1000_0000;
/** Pages, which are frames too: the descriptor, the buffers, the record; the page tables lie from 1 on. */
const SOURCE = 16;
const FROM = 32;
const TO = 48;
const RECORD = 64;
/** The EPT's four tables and one more for portals; the PASID directory and its table. */
const EPT = 80;
const DIRECTORY = 90;
const PASID = 42;
const BATCH = 2000;

/** Every address is what it is translated to. */
const oneToOne: Iommu = {
  remap({ page }: MemoryRequest, out: TranslationCompletion) {
    out.frame = page;
    return true;
  },
  translate({ page }: MemoryRequest, out: TranslationCompletion) {
    out.status = COMPLETION.SUCCESS;
    out.frame = page;
    out.pages = 1;
    out.rights = ALL_RIGHTS;
    out.isGlobal = false;
  },
  requestPage() {},
  invalidationDone() {},
  invalidationTimedOut() {},
};

/** A device with one shared queue and one engine, enabled. */
function startDevice(root: RootComplex): DsaDevice {
  const device = new DsaDevice({ rid: 0x100, upstream: root, chooser: firstChooser });
  root.addIommu(oneToOne);
  root.attach(device);
  device.writeConfig(4, 2, 6);
  for (let at = 0x100; at !== 0; at = device.readConfig(at + 2, 2) >>> 4) {
    const id = device.readConfig(at, 2);
    if (id === EXTENDED_CAPABILITY.PASID) device.writeConfig(at + 6, 2, 1);
    if (id === EXTENDED_CAPABILITY.ATS) device.writeConfig(at + 6, 2, 0x8000);
  }
  const [registers] = device.bars;
  const wq = { SIZE: 16, THRESHOLD: 16, PRIORITY: 1, PASID_EN: 1, MAX_XFER_SHIFT: 21, OPS0: 0xff };
  const put = (offset: number, words: Int32Array): void =>
    words.forEach((word, i) => {
      registers?.write32(offset + i * 4, word);
    });
  put(DSA_TABLE.WQCFG, encode(DSA_WQCFG, { ...wq, OPS0: 1 << DSA_OPCODE.MEMMOVE }));
  put(DSA_TABLE.GRPCFG, encode(DSA_GRPCFG, { WQS0: 1, ENGINES: 1 }));
  for (const CMD of [DSA_COMMAND.ENABLE_DEVICE, DSA_COMMAND.ENABLE_WQ]) {
    put(0xa0, encode(DSA_CMD_REG, { CMD }));
    device.running.at(-1)?.step();
    if (((registers?.read32(0xa8) ?? 1) & 0xff) !== 0) throw new Error(`command ${CMD} failed`);
  }
  return device;
}

/** A process's tables of one page each, which map its pages one to one, and the portal at its own address. */
function buildTables(memory: Memory): number {
  const put = (table: number, index: number, ADDR: number): void => {
    const words = encode(FIRST_STAGE_ENTRY, { P: 1, RW: 1, US: 1, ADDR });
    memory.write(table * FRAME_BYTES + index * 8, new Uint8Array(words.buffer));
  };
  put(1, 0, 2);
  put(2, 0, 3);
  put(3, 0, 4);
  put(3, PORTALS / 2 ** 21, 5);
  for (let page = 0; page < FRAMES; page++) put(4, page, page);
  put(5, DSA_PORTAL.LIMITED / FRAME_BYTES, PORTALS / FRAME_BYTES + DSA_PORTAL.LIMITED / FRAME_BYTES);
  return 1;
}

/** Guest mode with an EPT that maps all frames and the portal one to one, and a table that translates the PASID. */
function buildGuest(memory: Memory): Vmcs {
  const put = (table: number, index: number, words: Int32Array): void => {
    memory.write(table * FRAME_BYTES + index * words.byteLength, new Uint8Array(words.buffer));
  };
  const entry = (ADDR: number, EMT = 0): Int32Array => encode(EPT_ENTRY, { R: 1, W: 1, X: 1, ADDR, EMT });
  for (const level of [0, 1, 2]) put(EPT + level, 0, entry(EPT + level + 1));
  put(EPT + 2, PORTALS / 2 ** 21, entry(EPT + 4));
  for (let frame = 0; frame < FRAMES; frame++) put(EPT + 3, frame, entry(frame, 6));
  const portal = DSA_PORTAL.LIMITED / FRAME_BYTES;
  put(EPT + 4, portal, entry(PORTALS / FRAME_BYTES + portal));
  put(DIRECTORY, 0, encode(VMX_PASID_DIRECTORY_ENTRY, { P: 1, ADDR: DIRECTORY + 1 }));
  put(DIRECTORY + 1, PASID, encode(VMX_PASID_TABLE_ENTRY, { VALID: 1, PASID: 777 }));
  const vmcs = new Vmcs();
  const pointer = encode(EPT_POINTER, { MT: 6, LEVELS: 3, ADDR: EPT });
  vmcs.write(VMCS_FIELD.EPT_POINTER, pointer[0] ?? 0, pointer[1] ?? 0);
  vmcs.write(VMCS_FIELD.LOW_PASID_DIRECTORY, DIRECTORY * FRAME_BYTES, 0);
  const { ENABLE_EPT, PASID_TRANSLATION } = SECONDARY_CONTROL;
  vmcs.write(VMCS_FIELD.SECONDARY_CONTROLS, ENABLE_EPT | PASID_TRANSLATION, 0);
  return vmcs;
}

function moves(bytes: number, { target, who }: { target: number; who: 'process' | 'guest' }): Rate {
  const memory = new Memory([{ first: 0, last: FRAMES - 1 }]);
  const device = startDevice(new RootComplex({ memory, interrupt: () => {} }));
  const bus = new Bus(memory, { mapped: [] });
  const portals = device.bars[1];
  if (portals !== undefined) bus.map(portals, PORTALS);
  const cpu = new Cpu({ index: 0, memory, bus });
  cpu.setPageTable(buildTables(memory));
  cpu.cpl = 3;
  cpu.writePasidMsr(0x8000_0000 | PASID);
  if (who === 'guest') cpu.vmcs = buildGuest(memory);
  const descriptor = encode(DSA_MEMMOVE, {
    ...{ FLAGS: DSA_FLAG.CRAV | DSA_FLAG.RCR, OPCODE: DSA_OPCODE.MEMMOVE, RECORD: RECORD * FRAME_BYTES },
    ...{ SRC: FROM * FRAME_BYTES, DST: TO * FRAME_BYTES, XFER_SIZE: bytes },
  });
  memory.write(SOURCE * FRAME_BYTES, new Uint8Array(descriptor.buffer));
  const submission = { source: SOURCE * FRAME_BYTES, destination: PORTALS + DSA_PORTAL.LIMITED };
  const [engine] = device.engines;
  let completed = 0;
  device.audit = {
    ...{ submitted: () => {}, refused: () => {}, requests: () => {} },
    completed: (_, status) => {
      completed += status;
    },
  };
  const run = (): void => {
    completed = 0;
    for (let i = 0; i < BATCH; i++) {
      const task = enqcmd(cpu, submission);
      while (task.next().done !== true);
      while (engine?.isReady === true) engine.step();
    }
    if (completed !== BATCH) throw new Error(`${completed} of ${BATCH} were completed with success`);
  };
  return { name: `ENQCMD of a ${who} to completion record, ${bytes} bytes`, batch: BATCH, run, target };
}

export const dsa: Suite = {
  name: 'dsa',
  *cases() {
    yield moves(64, { target: 500_000, who: 'process' });
    yield moves(4096, { target: 300_000, who: 'process' });
    yield moves(64, { target: 500_000, who: 'guest' });
    yield moves(4096, { target: 300_000, who: 'guest' });
  },
};
