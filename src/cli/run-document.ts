/** What `ioasis run --json` prints: one declaration for its type, and the published JSON Schema. */
import { z } from 'zod';
import type { Event } from '../base/index.js';
import { MOODS, type PasidRow, type RunResult, type Scenario } from '../machine/index.js';
import { RULE_IDS } from '../rules/index.js';
import type { Judgement } from './run-judge.js';

const rule = z.enum(RULE_IDS);

const finding = z.strictObject({
  rule,
  step: z.int().min(0),
  message: z.string().describe('what happened, by itself'),
});

const hexadecimal = z.string().regex(/^0x[0-9a-f]+$/);

const tableEntry = z.strictObject({
  device: z.string(),
  number: z
    .int()
    .min(0)
    .max(0xfffff)
    .optional()
    .describe('the PASID that it is found by, on a function that a virtual machine has whole'),
  translation: z.string().describe('as VT-d calls it: first-stage, nested'),
  firstStage: hexadecimal
    .optional()
    .describe("the root of the first stage; a guest's address in a guest's entry and in a nested one"),
  secondStage: hexadecimal.optional().describe('the root of the second stage, on the host'),
  address: hexadecimal.describe("where the entry lies; of a guest's table the guest's address"),
  words: z.string().describe('its 64-bit words, without the last ones that are zero'),
});

const pasidNumber = z.int().min(0).max(0xfffff);

const pasid = z.strictObject({
  pasid: z.int().min(1).max(0xfffff).describe("the host's number"),
  vm: z.string().optional().describe('the virtual machine that it backs a PASID of'),
  process: z.string(),
  guest: pasidNumber.optional().describe("the number that the virtual machine's guest has for it"),
  set: z.string().describe('the ioasid_set that it is of'),
  state: z.string().describe('as the IOASID core calls it'),
  holders: z.array(z.string()).describe('who holds a reference'),
  queues: z
    .array(z.strictObject({ queue: z.string(), via: z.string().describe('what the process calls it') }))
    .describe('what the process has open'),
  kvm: z
    .strictObject({
      address: hexadecimal,
      word: z.string(),
      pasid: pasidNumber.optional().describe('what ENQCMD is sent with; an exit if left out'),
    })
    .optional()
    .describe("the entry of KVM's PASID translation"),
  guestEntries: z.array(tableEntry).describe("what the guest's tables say"),
  hostEntries: z.array(tableEntry).describe("what the host's tables say"),
  frames: z.int().min(0).describe('page frames of its memory'),
  step: z.int().min(0).describe('when that was'),
});

const event = z.strictObject({
  step: z.int().min(0),
  actor: z.string(),
  layer: z.enum(['ioasid', 'hardware', 'kernel', 'vmm', 'machine', 'rules']),
  kind: z.string(),
  fields: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
});

const outcome = {
  end: z
    .enum(['ended', 'cut-off', 'stopped'])
    .describe(
      'cut-off: by the step limit; stopped: where the rule broke that is to break, or what was broken broke the modelled software',
    ),
  steps: z.int().min(0),
  passed: z.boolean().describe('whether it went as the scenario says'),
  verdicts: z.partialRecord(rule, z.enum(['pass', 'fail', 'unknown'])),
  findings: z.array(finding),
};

const scenario = z.strictObject({
  name: z.string(),
  models: z.strictObject({ shows: z.string(), 'leaves-out': z.string(), claims: z.string() }),
  breaks: rule.optional().describe('the rule that is to break'),
});

const one = z.strictObject({
  version: z.literal(1),
  scenario,
  seed: z.int().min(0),
  mood: z.enum(MOODS).describe('what the seed prefers'),
  ...outcome,
  pasids: z.array(pasid).describe('as they stood when the most were in use'),
  mostPasids: z.int().min(0).describe('how many were in use at once, at most'),
  events: z.array(event),
});

const many = z.strictObject({
  version: z.literal(1),
  scenario,
  seeds: z.strictObject({ first: z.int().min(0), last: z.int().min(0) }),
  passed: z.boolean(),
  failing: z.array(z.strictObject({ seed: z.int().min(0), ...outcome })).describe('the seeds that did not'),
});

/** One run, or those of many seeds. */
export const runDocumentSchema = z.union([one, many]);
export type RunDocument = z.infer<typeof runDocumentSchema>;

type Outcome = Pick<z.infer<typeof one>, keyof typeof outcome>;
type Head = Pick<z.infer<typeof one>, 'version' | 'scenario'>;

/** The part that all documents begin with. */
export function documentHead(name: string, { models, expect }: Scenario): Head {
  const breaks = expect.breaks === undefined ? {} : { breaks: expect.breaks };
  return { version: 1, scenario: { name, models, ...breaks } };
}

export function documentOutcome(
  { end, steps }: Pick<RunResult, 'end' | 'steps'>,
  { verdicts, findings, isGood }: Judgement,
): Outcome {
  return { end, steps, passed: isGood, verdicts: Object.fromEntries(verdicts), findings: [...findings] };
}

/** Events as JSON has them. */
export const documentEvents = (events: readonly Event[]): z.infer<typeof event>[] =>
  events.map((each) => ({ ...each, fields: { ...each.fields } }));

/** The map of PASIDs as JSON has it. */
export const documentPasids = (rows: readonly PasidRow[]): z.infer<typeof pasid>[] =>
  rows.map((row) => pasid.parse(JSON.parse(JSON.stringify(row))));

/** JSON Schema, draft 2020-12. */
export function runJsonSchema(): object {
  const { $schema, ...rest } = z.toJSONSchema(runDocumentSchema, { target: 'draft-2020-12' });
  return {
    $schema,
    title: 'ioasis run',
    description: 'What `ioasis run --json` prints, version 1.',
    ...rest,
  };
}
