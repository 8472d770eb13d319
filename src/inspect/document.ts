/**
 * The findings as one JSON document, after `schema/inspect.schema.json`. Addresses and sizes are hexadecimal
 * text (`0x…`); what does not apply is left out.
 */
import { hex } from '../base/index.js';
import { accessText, isPrivileged } from './access.js';
import { bdf } from './bdf.js';
import { pageHex } from './page-hex.js';
import type { Queues, RingEntry } from './queues.js';
import type { MappedRange, PasidSurvey, Problem, Survey } from './survey-types.js';
import type { TranslationResult } from './translate.js';
import type { NamedValue, Unit } from './unit.js';

/** The version of the document: raised when a reader of the old one would misread the new one. */
export const DOCUMENT_VERSION = 1;

/** JSON, as TypeScript sees it. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** What a document is made of. */
export interface Findings {
  readonly source: string;
  readonly unit: Unit;
  readonly survey: Survey;
  readonly queues: Queues;
  /** Tables that changed while they were read, by frame. */
  readonly changed?: readonly number[] | undefined;
}

/** All that is broken. */
export const problemsOf = ({ survey, queues }: Pick<Findings, 'survey' | 'queues'>): readonly Problem[] => [
  ...survey.problems,
  ...queues.problems,
];

/** The whole document. */
export function document({ source, unit, survey, queues, changed }: Findings): {
  readonly [key: string]: Json;
} {
  return {
    version: DOCUMENT_VERSION,
    source,
    unit: unitJson(unit),
    devices: survey.devices.map((device) => ({
      bdf: bdf(device.rid),
      pasids: device.pasids.map(pasidJson),
    })),
    problems: problemsOf({ survey, queues }).map(({ where, what }) => ({ where, what })),
    queues: queuesJson(queues),
    ...(changed === undefined
      ? {}
      : {
          changed: changed.map((frame) => ({
            address: hex(frame * 4096),
            table: survey.tables.get(frame) ?? 'a queue',
          })),
        }),
  };
}

/** The answer to `--translate`. */
export function translationJson({ physical, fault, steps }: TranslationResult): {
  readonly [key: string]: Json;
} {
  const outcome: { readonly [key: string]: Json } =
    fault === undefined
      ? { physical: hex(physical ?? 0n) }
      : { fault: { code: fault.code, name: fault.name, text: fault.text } };
  return {
    ...outcome,
    steps: steps.map(({ stage, level, address, raw, text }) => ({
      stage,
      ...(level === undefined ? {} : { level }),
      address: hex(address),
      raw: raw.map(hex),
      text,
    })),
  };
}

function unitJson(unit: Unit): Json {
  const list = (values: readonly NamedValue[]): Json =>
    Object.fromEntries(values.map(({ name, text, meaning }) => [name, { value: text, meaning }]));
  return {
    version: unit.version,
    mode: unit.mode,
    translating: unit.isTranslating,
    root: hex(unit.root * 4096),
    capabilities: list(unit.capabilities),
    extendedCapabilities: list(unit.extendedCapabilities),
    status: list(unit.status),
  };
}

function pasidJson(pasid: PasidSurvey): Json {
  return {
    pasid: pasid.pasid,
    translation: pasid.translation,
    domain: pasid.domain,
    ...(pasid.root === undefined ? {} : { root: hex(pasid.root * 4096) }),
    ...(pasid.secondRoot === undefined ? {} : { secondStageRoot: hex(pasid.secondRoot * 4096) }),
    ranges: pasid.ranges.map((range) => rangeJson(range, pasid.canExecute)),
  };
}

function rangeJson({ page, frame, pages, rights }: MappedRange, canExecute: boolean): Json {
  return {
    iova: pageHex(page),
    physical: pageHex(frame),
    size: pageHex(pages),
    access: accessText(rights, canExecute),
    ...(isPrivileged(rights) ? { privileged: true } : {}),
  };
}

function queuesJson({ invalidations, pageRequests, faults, faultStatus }: Queues): Json {
  const entry = ({ address, raw, name, text }: RingEntry) => ({
    address: hex(address),
    raw: raw.map(hex),
    name,
    text,
  });
  return {
    ...(invalidations === undefined
      ? {}
      : { invalidations: invalidations.map((each) => ({ ...entry(each), pending: each.isPending })) }),
    pageRequests: pageRequests.map(entry),
    ...(faults === undefined
      ? {}
      : {
          faults: faults.map(({ index, pasid, address, code, name, text, ...rest }) => ({
            index,
            bdf: rest.bdf,
            ...(pasid === undefined ? {} : { pasid }),
            address: hex(address),
            code,
            name,
            text,
            fields: rest.fields,
          })),
        }),
    faultStatus,
  };
}
