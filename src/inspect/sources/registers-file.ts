/**
 * A unit's registers in a file: a JSON object from names as the VT-d specification prints them (`CAP`, `RTADDR`,
 * …) to values, hexadecimal in quotes. `FRCD` is a list of the fault recording registers, from the first on. A
 * file may leave out what was not recorded, but not the registers without which no table can be read.
 */
import { createReadStream } from 'node:fs';
import {
  CAP_REG,
  ECCAP,
  FAULT_RECORD,
  iotlbRegisters,
  MTRR_FIX,
  MTRR_PHYS,
  type Register,
  VIRTUAL_COMMAND_REGISTER_3_2,
  VTD_REGISTER,
  wordsOf,
} from '../../spec/index.js';
import { InputError, reasonOf } from '../errors.js';
import { type Json, parseJson } from './json.js';
import { nearest } from './nearest.js';
import type { UnitRegisters } from './source.js';

/** Without these nothing can be said of a unit's tables. */
const NEEDED = ['CAP', 'ECAP', 'GSTS', 'RTADDR'] as const;

/** The list of fault recording registers, which have no names of their own. */
const RECORDS = 'FRCD';

/** More bytes than this no file of registers has; what is read may have no end. */
const FILE_LIMIT = 1 << 20;

const RECORD_BITS = FAULT_RECORD.bytes * 8;

/** Width in bits by name: of every register that some unit has. */
const WIDTH: ReadonlyMap<string, number> = new Map(
  [
    ...Object.values<Register>(VTD_REGISTER),
    ...Object.values<Register>(VIRTUAL_COMMAND_REGISTER_3_2),
    ...Object.values<Register>(iotlbRegisters(0)),
    ...[...MTRR_FIX, ...MTRR_PHYS, ...ECCAP],
  ].map((register) => [register.name, register.layout.bytes * 8]),
);

/** Reads a register file. On failure: an {@link InputError} with file, line and register. */
export async function readRegisters(file: string): Promise<UnitRegisters> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of createReadStream(file, { end: FILE_LIMIT })) chunks.push(chunk);
  } catch (error) {
    throw new InputError(file, reasonOf(error));
  }
  const bytes = Buffer.concat(chunks);
  if (bytes.length > FILE_LIMIT)
    throw new InputError(file, `over ${FILE_LIMIT} bytes: this is no register file`);
  return parseRegisters(file, bytes.toString());
}

/** Reads a register file's text; `file` is its name in messages. */
export function parseRegisters(file: string, text: string): UnitRegisters {
  if (text.trim() === '') throw new InputError(file, 'the file is empty');
  const top = parseJson(file, text.replace(/^\ufeff/, ''));
  if (top.kind !== 'object')
    throw new InputError(`${file}:${top.line}`, 'this is no JSON object of registers');
  const values = new Map<string, bigint>();
  for (const [name, { line, value }] of top.members) {
    if (name === RECORDS) continue;
    const width = WIDTH.get(name);
    if (width === undefined) throw new InputError(`${file}:${line}`, unknown(name));
    values.set(name, fieldOf(value, { place: `${file}:${value.line}`, name, width }));
  }
  const missing = NEEDED.filter((name) => !values.has(name));
  if (missing.length > 0) throw new InputError(file, `${missing.join(', ')} is missing, and is needed`);
  const records = top.members.get(RECORDS)?.value;
  const cap = values.get('CAP') ?? 0n;
  return { values, faultRecords: records === undefined ? undefined : recordsOf(file, records, cap) };
}

function recordsOf(file: string, from: Json, cap: bigint): readonly bigint[] {
  const place = `${file}:${from.line}`;
  if (from.kind !== 'array') throw new InputError(place, `${RECORDS}: this is no list of fault records`);
  const count = CAP_REG.NFR.get(wordsOf(cap), 0) + 1;
  if (from.items.length > count) {
    throw new InputError(
      place,
      `${RECORDS}: ${from.items.length} records, and by CAP.NFR there are ${count}`,
    );
  }
  return from.items.map((item, i) =>
    fieldOf(item, { place: `${file}:${item.line}`, name: `${RECORDS}[${i}]`, width: RECORD_BITS }),
  );
}

function fieldOf(from: Json, at: { place: string; name: string; width: number }): bigint {
  const { place, name, width } = at;
  const value = numberOf(from);
  if (value === undefined) {
    const found =
      'text' in from ? (from.kind === 'string' ? `"${from.text}"` : from.text) : `an ${from.kind}`;
    throw new InputError(place, `${name}: ${found.slice(0, 60)} is no value such as "0x1f"`);
  }
  if (value >> BigInt(width) !== 0n) {
    throw new InputError(place, `${name}: 0x${value.toString(16)} is wider than its ${width} bits`);
  }
  return value;
}

/** A plain number is taken where nothing that wrote it can have rounded it. */
function numberOf(from: Json): bigint | undefined {
  if (from.kind === 'string' && /^0x[0-9a-f]{1,64}$/i.test(from.text)) return BigInt(from.text);
  if (from.kind !== 'number' || !/^\d{1,16}$/.test(from.text)) return undefined;
  const value = Number(from.text);
  return Number.isSafeInteger(value) ? BigInt(value) : undefined;
}

function unknown(name: string): string {
  const meant = nearest(name, [...WIDTH.keys(), RECORDS]);
  const hint = meant === undefined ? '' : `; is ${meant} meant?`;
  return `${name.slice(0, 60)} is no register of VT-d${hint}`;
}
