/** `ioasis inspect`: who can reach what on a machine that nobody here built. */
import { once } from 'node:events';
import process from 'node:process';
import { createInterface } from 'node:readline/promises';
import { Command, InvalidArgumentError } from 'commander';
import { isRefusal } from '../base/index.js';
import {
  type AgainstReport,
  againstJson,
  bdf,
  describeUnit,
  document,
  type Findings,
  InputError,
  type LiveSource,
  openImage,
  openQemu,
  pageHex,
  parseBdf,
  problemsOf,
  readQueues,
  type Source,
  settle,
  surveyUnit,
  type TranslationRequest,
  translate,
  translationJson,
  type Unit,
} from '../inspect/index.js';
import { EXIT, EXIT_CODES } from './exit.js';
import { holdAgainst, type Reading, readLog } from './inspect-against.js';
import { againstText, findingsText, translationText } from './inspect-text.js';
import { paintFor, withProgress } from './terminal.js';

interface Options {
  readonly memory?: string;
  readonly registers?: string;
  readonly running?: boolean;
  readonly device?: number;
  readonly pasid?: number;
  readonly translate?: bigint | '-';
  readonly access?: 'r' | 'w' | 'x';
  readonly against?: string;
  readonly hostAddressWidth?: number;
  readonly all?: boolean;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  a memory image that ships with ioasis
    $ ioasis inspect --memory examples/linux-7.2-vtd/memory.raw.gz \\
                     --registers examples/linux-7.2-vtd/registers.json
  a live QEMU, started with -qmp unix:/tmp/vm.qmp,server=on,wait=off
    $ ioasis inspect qmp:/tmp/vm.qmp
  where a device's write to an IOVA lands, step by step
    $ ioasis inspect qmp:/tmp/vm.qmp --device 00:03.0 --translate 0xffef9000 --access w
  many translations: lines "BDF PASID|- ADDR r|w|x" in, one JSON line each out
    $ echo '00:03.0 - 0xffef9000 w' | ioasis inspect qmp:/tmp/vm.qmp --translate -
  do the tables hold what the kernel's trace says was mapped?
    $ ioasis inspect qmp:/tmp/vm.qmp --against console.log

${EXIT_CODES}`;

/** The command; `done` is told the exit code. */
export function inspectCommand(done: (code: number) => void): Command {
  return new Command('inspect')
    .description('Shows which device and PASID can reach which memory: from a memory image, or a live QEMU.')
    .argument('[source]', "qmp:PATH, a live QEMU's QMP socket")
    .option('--memory <file>', 'a memory image, raw or gzip, from physical address 0')
    .option('--registers <file>', "the unit's registers at that moment: JSON, by their VT-d names")
    .option('--running', 'leave a live guest running, and tell which tables changed under the reading')
    .option('--device <bdf>', 'only this requester: bus:device.function, as 00:1f.3', bdfOption)
    .option('--pasid <n>', 'only this PASID, as the report lists it', numberOption('a PASID', 0, 0xfffff))
    .option(
      '--translate <addr>',
      'walk one address of --device, or - for lines on standard input',
      addressOption,
    )
    .option('--access <r|w|x>', 'what --translate asks for (default: r)', accessOption)
    .option('--against <log>', "replay the kernel's iommu:map and unmap events, and compare")
    .option(
      '--host-address-width <bits>',
      'as the DMAR table says, where it is not CAP.MGAW + 1',
      numberOption('a width', 32, 52),
    )
    .option('--all', 'show every mapped range, not the first few of each PASID')
    .option('--json', 'one JSON document, after schema/inspect.schema.json')
    .addHelpText('after', EXAMPLES)
    .action(async (source: string | undefined, options: Options) => {
      done(await inspect(source, options));
    });
}

async function inspect(name: string | undefined, options: Options): Promise<number> {
  checkOptions(options);
  const source = await withProgress('reading', () => open(name, options));
  try {
    const unit = describeUnit(source.registers, options.hostAddressWidth);
    if (options.translate === '-') return await translateLines(source, unit);
    if (options.translate !== undefined) return await translateOne(source, unit, options);
    return await survey(source, unit, options);
  } finally {
    await source.close();
  }
}

/** The error of a command line that asks for what does not go together. */
const usage = (what: string): InputError => new InputError('command line', what);

function checkOptions({ translate: address, device, against, pasid, access, all }: Options): void {
  if (access !== undefined && typeof address !== 'bigint') throw usage('--access goes with --translate ADDR');
  if (all === true && address !== undefined) throw usage('--all goes without --translate');
  if (typeof address === 'bigint' && device === undefined) throw usage('--translate needs --device');
  if (address === '-' && (device !== undefined || pasid !== undefined)) {
    throw usage('--translate - takes device and PASID from each line, not from --device and --pasid');
  }
  if (against !== undefined && (address !== undefined || device !== undefined || pasid !== undefined)) {
    throw usage('--against compares all tables: it goes without --translate, --device and --pasid');
  }
}

function open(
  name: string | undefined,
  { memory, registers, running = false }: Options,
): Promise<Source | LiveSource> {
  if (name === undefined) {
    if (memory === undefined || registers === undefined) {
      throw usage('give a source: qmp:PATH, or --memory FILE and --registers FILE.json');
    }
    if (running) throw usage('--running goes with qmp:PATH: an image does not run');
    return openImage({ memory, registers });
  }
  if (memory !== undefined || registers !== undefined) {
    throw usage('either qmp:PATH, or --memory and --registers, not both');
  }
  const path = /^qmp:(.+)$/s.exec(name)?.[1];
  if (path === undefined) throw usage(`${JSON.stringify(name)} is no source: qmp:PATH`);
  return openQemu(path, { running });
}

async function survey(source: Source | LiveSource, unit: Unit, options: Options): Promise<number> {
  const { against } = options;
  const { found, report } = await withProgress('walking the tables', async () => {
    if (against === undefined) return { found: await findings(source, unit, options), report: undefined };
    const anew = 'readAgain' in source ? () => readAnew(source, against, options) : undefined;
    return holdAgainst(against, await readBoth(source, against, options), anew);
  });
  await source.close();
  print(found, report, options);
  const isClean = problemsOf(found).length === 0 && (report === undefined || report.verdict === 'pass');
  return isClean ? EXIT.FINE : EXIT.FINDING;
}

/** A machine's findings, and what its log said before it went on. */
async function readBoth(source: Source | LiveSource, against: string, options: Options): Promise<Reading> {
  try {
    const log = readLog(against);
    const unit = describeUnit(source.registers, options.hostAddressWidth);
    return { log, found: await findings(source, unit, options) };
  } finally {
    await source.close();
  }
}

/** A live machine's, once more from the beginning. */
async function readAnew({ name }: Source, against: string, options: Options): Promise<Reading> {
  return readBoth(await open(name, options), against, options);
}

async function findings(source: Source | LiveSource, unit: Unit, options: Options): Promise<Findings> {
  const { device: rid, pasid } = options;
  const found = await settle(source, () => ({
    source: source.name,
    unit,
    survey: surveyUnit(unit, source.memory, { rid, pasid }),
    queues: readQueues(unit, source.memory, 8),
  }));
  return options.running === true && 'readAgain' in source
    ? { ...found, changed: await source.readAgain() }
    : found;
}

function print(found: Findings, report: AgainstReport | undefined, options: Options): void {
  if (options.json === true) {
    const json = { ...document(found), ...(report === undefined ? {} : { against: againstJson(report) }) };
    process.stdout.write(`${JSON.stringify(json, undefined, 1)}\n`);
    return;
  }
  const paint = paintFor();
  const limit = options.all === true || options.device !== undefined ? Number.POSITIVE_INFINITY : 8;
  process.stdout.write(findingsText(found, { paint, limit, filter: filterText(options) }));
  if (report !== undefined) process.stdout.write(againstText(report, paint));
}

/** What the report was restricted to; empty if it was not. */
function filterText({ device, pasid }: Options): string {
  const parts = [
    ...(device === undefined ? [] : [bdf(device)]),
    ...(pasid === undefined ? [] : [`PASID ${pasid}`]),
  ];
  return parts.join(' ');
}

async function translateOne(source: Source | LiveSource, unit: Unit, options: Options): Promise<number> {
  const { device: rid, translate: address, pasid, access = 'r' } = options;
  if (rid === undefined || typeof address !== 'bigint') throw usage('--translate needs --device');
  const request = { rid, pasid, address, access };
  const result = await settle(source, () => translate(unit, source.memory, request));
  const changed = options.running === true && 'readAgain' in source ? await source.readAgain() : [];
  await source.close();
  if (options.json === true)
    process.stdout.write(`${JSON.stringify(translationJson(result), undefined, 1)}\n`);
  else process.stdout.write(translationText(request, result, paintFor()));
  for (const frame of changed) process.stderr.write(`ioasis: ${pageHex(frame)} changed under the reading\n`);
  return EXIT.FINE;
}

/** All tables are read first, so that a live guest does not stand still while lines come in. */
async function translateLines(source: Source, unit: Unit): Promise<number> {
  await settle(source, () => surveyUnit(unit, source.memory));
  await source.close();
  let line = 0;
  const input = createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY });
  for await (const text of input) {
    line++;
    if (text.trim() === '') continue;
    const answer = translationJson(translate(unit, source.memory, parseRequest(text, line)));
    if (source.memory.missing.size > 0) {
      throw new InputError(
        `standard input, line ${line}`,
        'leads to tables past the bounds of what was read',
      );
    }
    // A reader that is slower than this must not make it keep all answers.
    if (!process.stdout.write(`${JSON.stringify(answer)}\n`)) await once(process.stdout, 'drain');
  }
  return EXIT.FINE;
}

/** What somebody wrote, in quotes, and of something long its beginning. */
const shown = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);

/** `BDF PASID|- ADDR r|w|x`. */
function parseRequest(text: string, line: number): TranslationRequest {
  const place = `standard input, line ${line}`;
  const [device = '', pasid = '', address = '', access = '', ...rest] = text.trim().split(/\s+/);
  if (access === '' || rest.length > 0) {
    throw new InputError(place, `${shown(text)} is not "BDF PASID|- ADDR r|w|x"`);
  }
  const field = <T>(name: string, parse: () => T): T => {
    try {
      return parse();
    } catch (error) {
      if (error instanceof InvalidArgumentError) throw new InputError(`${place}, ${name}`, error.message);
      throw error;
    }
  };
  return {
    rid: field('BDF', () => bdfOption(device)),
    pasid: pasid === '-' ? undefined : field('PASID', () => numberOption('a PASID', 0, 0xfffff)(pasid)),
    address: field('ADDR', () => addressValue(address)),
    access: field('access', () => accessOption(access)),
  };
}

function bdfOption(text: string): number {
  const rid = parseBdf(text);
  if (isRefusal(rid)) throw new InvalidArgumentError(rid.why);
  return rid;
}

function numberOption(what: string, first: number, last: number): (text: string) => number {
  return (text) => {
    const value = /^(0x[0-9a-f]+|[0-9]+)$/i.test(text) ? Number(text) : Number.NaN;
    if (!(value >= first && value <= last)) {
      throw new InvalidArgumentError(`${shown(text)} is not ${what} from ${first} to ${last}`);
    }
    return value;
  };
}

const addressOption = (text: string): bigint | '-' => (text === '-' ? '-' : addressValue(text));

function addressValue(text: string): bigint {
  const value = /^(0x[0-9a-f]+|[0-9]+)$/i.test(text) ? BigInt(text) : -1n;
  if (value < 0n || value >> 64n !== 0n) {
    throw new InvalidArgumentError(`${shown(text)} is not an address of 64 bits, as 0xffef9000`);
  }
  return value;
}

function accessOption(text: string): 'r' | 'w' | 'x' {
  if (text !== 'r' && text !== 'w' && text !== 'x') {
    throw new InvalidArgumentError(`${shown(text)} is not r, w or x`);
  }
  return text;
}
