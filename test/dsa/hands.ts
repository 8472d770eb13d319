/** A driver's hands for an Intel DSA device: its configuration space, registers and portals. */
import type { DsaDevice } from '../../src/hardware/index.js';
import {
  DSA_CMD_REG,
  DSA_COMMAND,
  DSA_FLAG,
  DSA_GRPCFG,
  DSA_MEMMOVE,
  type DSA_NOOP,
  DSA_OPCODE,
  DSA_PORTAL,
  DSA_STRIDE,
  DSA_SWERROR_REG,
  DSA_TABLE,
  DSA_WQ_PORTAL_BYTES,
  DSA_WQCFG,
  EXTENDED_CAPABILITY,
  encode,
  type Field,
  type Layout,
  type LayoutInfo,
} from '../../src/spec/index.js';

export const PASID = 42;
/** Where completion records lie by default. */
export const RECORD_PAGE = 0x100;
export const RECORD = RECORD_PAGE * 4096;
const CAPABILITIES_AT = 0x100;

/** The names of a layout's fields. */
export type Names<L extends LayoutInfo> = Exclude<keyof L, keyof LayoutInfo> & string;
/** The fields that every descriptor has. */
type Head = Names<typeof DSA_NOOP>;
type Values<N extends string> = Partial<Readonly<Record<N, number | bigint>>>;

/** The parts of a WQCFG that a test wants otherwise. */
export type WqFields = Partial<Readonly<Record<Names<typeof DSA_WQCFG>, number>>>;

export const SHARED: WqFields = {
  SIZE: 16,
  THRESHOLD: 16,
  PRIORITY: 1,
  PASID_EN: 1,
  MAX_XFER_SHIFT: 21,
  BOF: 1,
};
export const DEDICATED: WqFields = { ...SHARED, MODE: 1, PASID };

export class Hands {
  readonly device: DsaDevice;

  constructor(device: DsaDevice) {
    this.device = device;
  }

  /** Turns on bus mastering, MSI-X, PASID (with privileged mode), page requests and ATS. */
  enablePci(parts: { ats?: boolean; pri?: boolean; privileged?: boolean } = {}): void {
    const { ats = true, pri = true, privileged = true } = parts;
    this.device.writeConfig(4, 2, 0x6);
    this.device.writeConfig(0x42, 2, 0x8000);
    this.device.writeConfig(this.capability(EXTENDED_CAPABILITY.PASID) + 6, 2, privileged ? 5 : 1);
    this.device.writeConfig(this.capability(EXTENDED_CAPABILITY.PRI) + 12, 4, 32);
    if (pri) this.device.writeConfig(this.capability(EXTENDED_CAPABILITY.PRI) + 4, 2, 1);
    if (ats) this.device.writeConfig(this.capability(EXTENDED_CAPABILITY.ATS) + 6, 2, 0x8000);
  }

  /** The offset of an extended capability. */
  capability(id: number): number {
    let at = CAPABILITIES_AT;
    while ((this.device.readConfig(at, 2) & 0xffff) !== id) at = this.device.readConfig(at + 2, 2) >>> 4;
    return at;
  }

  read(offset: number): number {
    return this.device.bars[0]?.read32(offset) ?? 0;
  }

  write(offset: number, value: number): void {
    this.device.bars[0]?.write32(offset, value);
  }

  /** Writes a whole table entry, word by word. */
  writeAll(offset: number, words: Int32Array): void {
    words.forEach((word, i) => {
      this.write(offset + i * 4, word);
    });
  }

  configureWq(index: number, fields: WqFields): void {
    const ops = { OPS0: (this.read(0x44) >>> 0) * 2 ** 32 + (this.read(0x40) >>> 0) };
    this.writeAll(DSA_TABLE.WQCFG + index * DSA_STRIDE.WQCFG, encode(DSA_WQCFG, { ...ops, ...fields }));
  }

  /** Puts queues and engines, a bit each, into a group. */
  configureGroup(index: number, wqs: number, engines: number): void {
    this.writeAll(
      DSA_TABLE.GRPCFG + index * DSA_STRIDE.GRPCFG,
      encode(DSA_GRPCFG, { WQS0: wqs, ENGINES: engines }),
    );
  }

  /** Enables the device with these queues, in one group with these engines. */
  start(wqs: readonly WqFields[] = [SHARED], engines = 1): void {
    this.enablePci();
    this.startDevice(wqs, engines);
  }

  startDevice(wqs: readonly WqFields[], engines = 1): void {
    wqs.forEach((fields, i) => {
      this.configureWq(i, fields);
    });
    this.configureGroup(0, 2 ** wqs.length - 1, 2 ** engines - 1);
    this.mustCommand(DSA_COMMAND.ENABLE_DEVICE);
    for (let i = 0; i < wqs.length; i++) this.mustCommand(DSA_COMMAND.ENABLE_WQ, i);
  }

  /** Writes CMD, and steps nothing. */
  submitCommand(command: number, operand = 0): void {
    this.write(0xa0, encode(DSA_CMD_REG, { CMD: command, OPERAND: operand })[0] ?? 0);
  }

  get commandIsActive(): boolean {
    return this.read(0xa8) < 0;
  }

  /** Runs a command to its end. @returns its error */
  command(command: number, operand = 0): number {
    this.submitCommand(command, operand);
    this.run();
    if (this.commandIsActive) throw new Error(`command ${command} does not end`);
    return this.read(0xa8) & 0xff;
  }

  mustCommand(command: number, operand = 0): void {
    const error = this.command(command, operand);
    if (error !== 0) throw new Error(`command ${command}, operand ${operand}: error 0x${error.toString(16)}`);
  }

  /** Submits to a portal, as ENQCMD does or, with `posted`, as MOVDIR64B. */
  submit(words: Int32Array, at: { wq?: number; portal?: number; posted?: boolean } = {}): boolean {
    const { wq = 0, portal = DSA_PORTAL.LIMITED, posted = false } = at;
    const offset = wq * DSA_WQ_PORTAL_BYTES + portal;
    const region = this.device.bars[1];
    if (!posted) return region?.enqueue(offset, words) ?? false;
    region?.write512(offset, words);
    return true;
  }

  /** Steps what is ready until nothing is. */
  run(): void {
    for (let i = 0; this.step(); i++) if (i > 100_000) throw new Error('it goes on and on');
  }

  /** One step of the first that is ready. */
  step(): boolean {
    const ready = this.device.running.find(({ isReady }) => isReady);
    ready?.step();
    return ready !== undefined;
  }

  /** A field of SWERROR. */
  softwareError(field: Field): bigint {
    return field.getBig(this.device.registers.words, this.device.table.SWERROR.at);
  }
  get softwareErrorCode(): number {
    return this.softwareError(DSA_SWERROR_REG.VALID) === 0n
      ? 0
      : Number(this.softwareError(DSA_SWERROR_REG.ERROR));
  }
}

/** A descriptor that reports to {@link RECORD}. */
export function descriptor<N extends string>(layout: Layout<N | Head>, fields: Values<N | Head>): Int32Array {
  const common = { PASID, FLAGS: DSA_FLAG.CRAV | DSA_FLAG.RCR, RECORD };
  return encode(layout, { ...common, ...fields } as Values<N | Head>);
}

/** A memory move. */
export const move = (fields: Values<Names<typeof DSA_MEMMOVE>>): Int32Array =>
  descriptor(DSA_MEMMOVE, { OPCODE: DSA_OPCODE.MEMMOVE, ...fields });
