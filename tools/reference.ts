/**
 * Writes `docs/reference/layouts.md`: every layout and register that `spec` exports, from its declaration.
 *
 *     node build/tools/reference.js          writes the page
 *     node build/tools/reference.js --check  fails (exit 1) if the committed page is not what would be written
 *
 * A new layout needs nothing here: it is found among the exports, and stands under the document that its
 * source names.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { hex } from '#src/base/index.js';
import type { Field, LayoutInfo, Register } from '#src/spec/index.js';
import * as spec from '#src/spec/index.js';

const PAGE = fileURLToPath(new URL('../../docs/reference/layouts.md', import.meta.url));

/** As many names of values stand in a field's row; more get a table of their own. */
const INLINE_VALUES = 10;

/** A layout and the name it is exported by. */
interface Entry {
  readonly name: string;
  readonly layout: LayoutInfo;
}

/** A register, and where it is, if that is not fixed. */
interface Placed {
  readonly register: Register;
  readonly where: string;
}

/** The registers whose place a capability tells. */
const MOVABLE: readonly Placed[] = [
  { register: spec.iotlbRegisters(0).IVA, where: 'ECAP.IRO * 16' },
  { register: spec.iotlbRegisters(0).IOTLB, where: 'ECAP.IRO * 16 + 8' },
  ...spec.faultRegisters(0, 1).map((register) => ({
    register: { ...register, name: 'FRCD0 and on' },
    where: 'CAP.FRO * 16',
  })),
];

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
const isLayout = (value: unknown): value is LayoutInfo =>
  isObject(value) && 'fields' in value && 'reserved' in value && 'source' in value;
const isRegister = (value: unknown): value is Register =>
  isObject(value) && 'offset' in value && 'layout' in value && 'reset' in value;

/** The part of a source that names the document. */
const documentOf = ({ source }: LayoutInfo): string => source.split(',')[0] ?? source;

/** Orders `9.10` after `9.2`. */
const bySource = new Intl.Collator('en', { numeric: true });

function layouts(): Entry[] {
  return Object.entries(spec)
    .flatMap(([name, value]) => (isLayout(value) ? [{ name, layout: value }] : []))
    .toSorted((a, b) => bySource.compare(a.layout.source, b.layout.source));
}

function registers(): Placed[] {
  const found = Object.values(spec)
    .filter(isObject)
    .flatMap((value): unknown[] => (isLayout(value) ? [] : Object.values(value)))
    .filter(isRegister)
    .toSorted((a, b) => a.offset - b.offset)
    .map((register) => ({ register, where: `0x${register.offset.toString(16).padStart(3, '0')}` }));
  return [...found, ...MOVABLE];
}

/** The anchor that GitHub gives a heading. */
const anchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^a-z0-9 _-]/g, '')
    .replaceAll(' ', '-');

const link = (heading: string): string => `[${heading}](#${anchor(heading)})`;
const cell = (text: string): string => text.replaceAll('|', '\\|');

/** A table, its columns padded: as the formatter leaves it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const lines = [head, ...rows].map((row) => row.map(cell));
  const widths = head.map((_, i) => Math.max(3, ...lines.map((line) => line[i]?.length ?? 0)));
  const row = (cells: readonly string[]): string =>
    `| ${cells.map((text, i) => text.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  const [first = [], ...others] = lines;
  return [row(first), row(widths.map((width) => '-'.repeat(width))), ...others.map(row)];
}

const bits = (high: number, low: number): string => (high === low ? `${high}` : `${high}:${low}`);

function valuesOf({ values }: Field): string {
  const names = Object.entries(values);
  if (names.length > INLINE_VALUES) return 'see below';
  return names.map(([value, name]) => `${hex(Number(value))} ${name}`).join(', ');
}

/** The rows of a layout: its fields and, between them, the ranges that are reserved. */
function fieldRows(layout: LayoutInfo): string[][] {
  const rows: string[][] = [];
  let next = 0;
  const reserved = (end: number) => {
    if (end > next) rows.push([bits(end - 1, next), '', 'reserved', '']);
  };
  for (const field of layout.fields) {
    reserved(field.low);
    const meaning = field.kind === 'address' ? `${field.meaning} (address)` : field.meaning;
    rows.push([bits(field.high, field.low), `\`${field.name}\``, meaning, valuesOf(field)]);
    next = field.high + 1;
  }
  reserved(layout.bytes * 8);
  return rows;
}

function layoutSection({ name, layout }: Entry): string[] {
  const long = layout.fields.filter(({ values }) => Object.keys(values).length > INLINE_VALUES);
  return [
    `### ${layout.name}`,
    '',
    `\`${name}\`, ${layout.bytes} bytes. ${layout.source}.`,
    '',
    ...table(['Bits', 'Field', 'Meaning', 'Values'], fieldRows(layout)),
    '',
    ...long.flatMap((field) => [
      `Values of \`${field.name}\`:`,
      '',
      ...table(
        ['Value', 'Meaning'],
        Object.entries(field.values).map(([value, meaning]) => [hex(Number(value)), meaning]),
      ),
      '',
    ]),
  ];
}

/** What software may do to a register, in words. */
function accessOf({ layout, readOnly, writeOneToClear, writeOnly }: Register): string {
  const names = (fields: readonly Field[]): string => fields.map(({ name }) => `\`${name}\``).join(', ');
  const clear = writeOneToClear.length > 0 ? `; write 1 to clear: ${names(writeOneToClear)}` : '';
  const fixed = readOnly.length + writeOneToClear.length;
  if (readOnly.length === layout.fields.length) return 'read-only';
  if (writeOnly.length === layout.fields.length) return 'write-only';
  if (fixed === layout.fields.length) return `read-only${clear}`;
  const hidden = writeOnly.length > 0 ? `; write-only: ${names(writeOnly)}` : '';
  return `read/write${readOnly.length > 0 ? `; read-only: ${names(readOnly)}` : ''}${hidden}${clear}`;
}

function registerSection(document: string, placed: readonly Placed[]): string[] {
  if (placed.length === 0) return [];
  return [
    `### ${document}: registers`,
    '',
    ...table(
      ['Offset', 'Register', 'Bytes', 'Layout', 'After reset', 'Software'],
      placed.map(({ register, where }) => [
        where,
        register.name,
        `${register.layout.bytes}`,
        link(register.layout.name),
        /apability/.test(register.layout.name) ? 'what the unit can do' : hex(register.reset),
        accessOf(register),
      ]),
    ),
    '',
  ];
}

function page(): string {
  const documents = [...new Set(layouts().map(({ layout }) => documentOf(layout)))].map((document) => ({
    document,
    entries: layouts().filter(({ layout }) => documentOf(layout) === document),
    placed: registers().filter(({ register }) => documentOf(register.layout) === document),
  }));
  return [
    '# Layouts',
    '',
    'Generated from the declarations in `src/spec` by `tools/reference.ts`: `npm run docs` writes it anew.',
    'Bits are counted from the first bit of the structure, bit 0 of its first byte; all structures are',
    "little-endian. An address field holds the address's own bits: its low bits, below the field, are zero.",
    'Reserved are the bits that no field covers; those that depend on a capability or on the width of',
    'addresses are named in the meaning of their fields.',
    '',
    ...documents.flatMap(({ document, entries, placed }) => [
      `- ${link(document)}`,
      ...(placed.length > 0 ? [`  - ${link(`${document}: registers`)}`] : []),
      ...entries.map(({ layout }) => `  - ${link(layout.name)}`),
    ]),
    '',
    ...documents.flatMap(({ document, entries, placed }) => [
      `## ${document}`,
      '',
      ...registerSection(document, placed),
      ...entries.flatMap(layoutSection),
    ]),
  ]
    .join('\n')
    .replace(/\n*$/, '\n');
}

function committed(): string {
  try {
    return readFileSync(PAGE, 'utf8');
  } catch {
    return '';
  }
}

if (process.argv.includes('--check')) {
  if (committed() !== page()) {
    process.stderr.write('docs/reference/layouts.md is stale: run node build/tools/reference.js\n');
    process.exitCode = 1;
  }
} else {
  writeFileSync(`${PAGE}.new`, page());
  renameSync(`${PAGE}.new`, PAGE);
}
