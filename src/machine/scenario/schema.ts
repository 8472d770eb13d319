/**
 * A scenario, as it is written in YAML: what machine to build, who runs on it, what they do, and what is expected
 * of it. One declaration gives the types, the checks with their messages, and the published JSON Schema.
 */
import { z } from 'zod';
import { ERRNOS, type Errno } from '../../base/index.js';
import { RULE_IDS } from '../../rules/index.js';
import { vtd } from './iommu.js';

const name = z
  .string()
  .regex(/^[a-z][a-z0-9-]*$/, 'a name is small letters, digits and dashes, beginning with a letter')
  .describe('a name: small letters, digits and dashes');

const size = z
  .string()
  .regex(/^[1-9][0-9]* (B|KiB|MiB|GiB)$/, 'a size is a number and a unit, as 64 MiB')
  .describe('a size, as 64 MiB');

const prose = z.string().min(1);

/** What the scenario is about: a verdict holds for that, and for nothing else. */
const models = z.strictObject({
  shows: prose.describe('what it models'),
  'leaves-out': prose.describe('what it does not model'),
  claims: prose.describe('what a pass means'),
});

const queue = z.strictObject({
  mode: z.enum(['shared', 'dedicated']),
  size: z.int().min(1).max(128).default(4).describe('descriptors it holds'),
  threshold: z.int().min(1).max(128).optional().describe('shared: how many its limited portal may fill'),
  'block-on-fault': z.boolean().default(true).describe('whether descriptors may ask to wait for a page'),
  group: z.int().min(0).max(3).default(0).describe('its group, which has engines of its own'),
  priority: z.int().min(1).max(15).default(1).describe('among the queues of its group'),
});

const rid = z
  .string()
  .regex(/^[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/, 'a function is bus:device.function in hexadecimal, as 00:04.0')
  .describe('bus:device.function');

const dsa = z.strictObject({
  kind: z.literal('dsa').describe('Intel Data Streaming Accelerator'),
  at: rid,
  engines: z.int().min(1).max(4).default(1),
  'device-tlb': z.int().min(2).max(4096).default(4).describe('entries of its address translation cache'),
  queues: z.record(name, queue).describe('its work queues, by name'),
});

/** As Linux's `iommu=pt` and `iommu=nopt`, with a third: nothing. */
const kernelDma = z
  .enum(['blocked', 'identity', 'dma'])
  .default('blocked')
  .describe(
    'what requests without a PASID meet: nothing, all memory as it is, or what the kernel maps for each device',
  );

const machine = z.strictObject({
  memory: size.default('64 MiB'),
  cpus: z.int().min(1).max(64).default(2),
  'virtual-addresses': z
    .enum(['48-bit', '57-bit'])
    .default('48-bit')
    .describe("the CPUs': page tables have four levels or five"),
  iommu: vtd.prefault({ kind: 'vtd' }),
  'kernel-dma': kernelDma,
  devices: z.record(name, dsa).default({}),
});

const queueName = z
  .string()
  .regex(/^[a-z][a-z0-9-]*\/[a-z][a-z0-9-]*$/, 'a queue is device/queue, as dsa0/shared')
  .describe('device/queue, as dsa0/shared');

const pasidNumber = z.int().min(1).max(0xfffff);

const virtualIommu = z
  .strictObject({
    'caching-mode': z
      .boolean()
      .default(true)
      .describe('whether the guest has to tell of new entries too (CAP.CM)'),
    'pasid-bits': z.int().min(6).max(20).default(10).describe('how wide its PASIDs are'),
    'page-requests': z.boolean().default(true),
  })
  .describe('the VT-d unit that the guest finds');

const partName = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]*(\/[a-z][a-z0-9-]*)?$/,
    'a part is device/queue, as dsa0/shared; a whole function is device',
  )
  .describe('device/queue, as dsa0/shared; or device, as dsa0');

const virtualDevice = z.strictObject({
  from: partName.describe(
    "the queue of the host's that it is a part of, where a dedicated one is its alone; or a function that it is, whole",
  ),
  at: rid,
  plugged: z
    .enum(['boot', 'late'])
    .default('boot')
    .describe('when it is there: late is when the host says plug'),
  'shared-queues': z
    .enum(['refused', 'both-numbers', 'one-number'])
    .optional()
    .describe(
      "a whole function: what becomes of its shared queues, which ENQCMD sends the host's PASIDs to: the guest cannot " +
        'have them; the function knows its address spaces by both numbers; or, to show what happens, nothing is done',
    ),
});

const numbers = z
  .strictObject({ guest: pasidNumber, host: pasidNumber })
  .describe('a number of the guest and the one behind it');

const virtualPasids = z.strictObject({
  quota: z.int().min(1).max(0xfffff).default(64).describe('how many of the host it may have'),
  numbers: z.array(numbers).default([]).describe('what its allocations are given, one after the other'),
  policy: z
    .enum(['lowest', 'scattered', 'identity'])
    .default('scattered')
    .describe("the guest's numbers after these: the lowest free one, any, or the host's own"),
});

const members = z
  .int()
  .min(1)
  .max(100_000)
  .optional()
  .describe('so many of them, each alike: name1, name2, ...');

const guestProcess = z.strictObject({ count: members });

const destination = z
  .strictObject({
    devices: z
      .record(name, queueName)
      .describe("by the virtual devices' names: the queue of the host's that each is a part of there"),
    pasids: virtualPasids.prefault({}).describe('what backs its PASIDs there'),
  })
  .describe('another VMM of the same host, which the virtual machine can go to');

const vm = z
  .strictObject({
    count: members,
    memory: size.default('4 MiB'),
    cpus: z.int().min(1).max(16).default(1),
    iommu: z
      .union([z.literal('none').describe('its devices reach all of its memory as it is'), virtualIommu])
      .prefault({}),
    'kernel-dma': kernelDma,
    devices: z.record(name, virtualDevice).default({}).describe('virtual devices, by name'),
    pasids: virtualPasids.prefault({}),
    destinations: z.record(name, destination).default({}).describe('where it can go, by name'),
    silent: z.boolean().default(false).describe('its guest takes page requests, and never answers one'),
    kvm: z
      .enum(['boot', 'late'])
      .default('boot')
      .describe('when KVM learns of its PASIDs: late is when the host says register-kvm'),
    processes: z.record(name, guestProcess).default({}).describe('what runs in it from the start'),
  })
  .describe('a virtual machine: its memory, its virtual IOMMU and devices, and what runs in it');

/** What a region, or a piece of it, holds: text over and over, or one byte. */
const content = z.union([z.string().min(1), z.int().min(0).max(255)]).describe('text, repeated; or one byte');

const actorName = z
  .string()
  .regex(/^[a-z][a-z0-9-]*(\/[a-z][a-z0-9-]*)?$/, 'an actor is a process, or vm/process, or vm/kernel')
  .describe('a process, vm/process, vm/kernel');

const map = z.strictObject({
  name,
  pages: z.int().min(1).max(4096).default(1),
  at: z
    .int()
    .min(0x1000)
    .max(2 ** 53 - 4096)
    .multipleOf(4096)
    .optional()
    .describe('its virtual address'),
  holds: content.optional().describe('written by the process; a region that holds nothing has no pages yet'),
});

const bytes = z
  .int()
  .min(1)
  .max(2 ** 31 - 1)
  .optional()
  .describe('the smaller of the regions, if left out');

const operation = z.enum(['noop', 'memmove', 'fill', 'compare', 'drain']);

const submit = z.strictObject({
  to: queueName,
  operation,
  from: name.optional().describe('the source region'),
  into: name.optional().describe('the destination region; for compare, the second source'),
  bytes,
  pattern: z.int().min(0).max(255).optional().describe('fill: the byte'),
  'block-on-fault': z.boolean().default(false),
  interrupt: z
    .boolean()
    .default(false)
    .describe('asks for a completion interrupt, where interrupts were asked for before'),
  as: name.describe('names the job'),
  retries: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(10_000)
    .describe('how often a full shared queue is tried again'),
});

const outcome = z
  .enum(['success', 'different', 'page-fault', 'invalid-request', 'error', 'any'])
  .describe('different: a compare that found a difference; invalid-request: a page that the kernel refused');

const vmDevice = z
  .string()
  .regex(/^[a-z][a-z0-9-]*\/[a-z][a-z0-9-]*$/, 'a device of a virtual machine is vm/device, as vm1/vdsa0')
  .describe('vm/device, as vm1/vdsa0');

const actions = {
  map: map.describe('maps a region of anonymous memory'),
  write: z.strictObject({ to: name, holds: content }).describe('the process writes to a region'),
  unmap: name.describe('unmaps a region'),
  open: queueName.describe(
    "opens a work queue: binds the process's address space, maps a portal; or has it for the kernel, without PASIDs",
  ),
  interrupts: queueName.describe('asks for completion interrupts of an open queue'),
  submit: submit.describe('submits a descriptor'),
  wait: z
    .strictObject({
      for: name,
      outcome: outcome.default('success'),
      interrupt: z.boolean().default(false).describe('sleeps until its interrupt, and does not poll'),
    })
    .describe('waits for the completion record of a job'),
  check: z
    .strictObject({ region: name, holds: content.optional(), equals: name.optional(), bytes })
    .describe('the process compares what a region holds'),
  close: queueName.describe('closes a work queue'),
  fork: z.strictObject({ as: name }).describe('forks: the child begins its own steps'),
  exit: z.literal(true).describe('the process ends, with whatever it has in flight'),
  kill: actorName.describe('host: ends a process of its own, or a virtual machine, where it stands'),
  plug: vmDevice.describe('host: plugs in a device that is plugged: late; returns when the guest has it'),
  unplug: vmDevice.describe('host: asks the guest for a device; returns when it is out'),
  'pull-out': vmDevice.describe(
    'host: takes a device out without a word; returns when it is out, and its guest has noticed',
  ),
  pause: name.describe('host: has a virtual machine stand still, with nothing under way in its devices'),
  resume: name.describe('host: has it go on'),
  migrate: z
    .string()
    .regex(/^[a-z][a-z0-9-]*\/[a-z][a-z0-9-]*$/, 'a destination is vm/destination, as vm1/there')
    .describe(
      'host: takes a virtual machine to a destination of its; returns when nothing is left where it was',
    ),
  reset: name.describe('host: resets a virtual machine; nothing runs in it from then on'),
  'register-kvm': name.describe('host: KVM learns of the PASIDs of a virtual machine only now'),
  flush: z
    .enum(['global', 'root', 'off-on'])
    .describe(
      "a guest's kernel: invalidates all its unit has cached, sets the root pointer anew, or turns it off and on",
    ),
  'reset-device': name.describe("a guest's kernel: resets a device, and has it again as it was"),
  copy: z
    .strictObject({ on: queueName, from: name, into: name, as: name.describe('names the job') })
    .describe("a guest's kernel: has a queue that it has open begin to copy a buffer, without a PASID"),
  meet: name.describe('waits until all whose steps name this meeting have come to it'),
} as const;

/** What a step may do. */
export type ActionName = keyof typeof actions;
export const ACTION_NAMES = Object.keys(actions) as readonly ActionName[];

/** What a step says beside its action. */
export const STEP_KEYS: readonly string[] = ['by', 'refused', 'dies'];

const actor = z.strictObject({
  by: actorName.describe('the process that does it, or host'),
  refused: z
    .enum(Object.keys(ERRNOS) as [Errno, ...Errno[]])
    .optional()
    .describe('the kernel is to refuse it, with this error'),
  dies: z.literal('SIGSEGV').optional().describe('the process is to be killed for it'),
});

interface Actor {
  readonly by: string;
  readonly refused?: Errno | undefined;
  readonly dies?: 'SIGSEGV' | undefined;
}

type StepOf<A extends ActionName> = Actor & {
  readonly [K in A]: z.infer<(typeof actions)[A]>;
};

/** One step: who, and one action. Steps of one actor come one after another; those of several run interleaved. */
export type Step = { [A in ActionName]: StepOf<A> }[ActionName];

/** The schema of the steps that do `action`. */
export const stepSchema = (action: ActionName) => actor.extend({ [action]: actions[action] });

const protection = z.boolean().default(true);

/** What the host's kernel keeps PASIDs of a virtual machine's devices apart by. */
const protections = z
  .strictObject({
    'domain-id-per-function': protection.describe(
      'each function that a virtual machine has something of has a domain id of its own',
    ),
    'bind-per-device': protection.describe(
      'what is bound for a device is in the table of its function, and of no other',
    ),
    'page-requests-by-rid': protection.describe(
      'a page request is for its RID and PASID, not for its PASID alone',
    ),
  })
  .describe('switched off to show what each is there for');

const choices = z.strictObject({
  seed: z.int().min(0).optional().describe('instead of the command line'),
  'allocation-failures': z.boolean().default(false).describe('whether the allocation of a frame may fail'),
  'at-once': z
    .int()
    .min(1)
    .default(16)
    .describe('of processes that have a count: how many act at once; the others wait for their turn'),
  recorded: z
    .boolean()
    .default(true)
    .describe('whether the run is told, and repeated for REPLAY; false for what is too large'),
  'step-limit': z.int().min(1).default(200_000).describe('a run that takes longer has the verdict unknown'),
});

const ruleId = z.enum(RULE_IDS);

const expectation = z.strictObject({
  breaks: ruleId.optional().describe('the one rule that is to break, where the run ends; none, if left out'),
  faults: z.array(z.string()).default([]).describe('fault reasons that the scenario earns, as SFS.2'),
});

/** The whole file. */
export const scenarioSchema = z
  .strictObject({
    version: z.literal(1),
    models,
    machine: machine.prefault({}),
    vms: z.record(name, vm).default({}).describe('virtual machines, by name'),
    processes: z
      .record(name, z.strictObject({}))
      .default({})
      .describe("the host's processes that run from the start"),
    steps: z
      .array(z.union(ACTION_NAMES.map(stepSchema)))
      .describe('what happens, actor by actor in this order'),
    protections: protections.prefault({}),
    choices: choices.prefault({}),
    expect: expectation.prefault({}),
  })
  .describe('What machine to build, who runs on it, what they do, and what is expected of it.');

/** A scenario, checked, with its defaults filled in. */
export type Scenario = Omit<z.infer<typeof scenarioSchema>, 'steps'> & { readonly steps: readonly Step[] };

export type MachineSpec = Scenario['machine'];
export type DeviceSpec = z.infer<typeof dsa>;
export type VmSpec = z.infer<typeof vm>;
export type DestinationSpec = z.infer<typeof destination>;
export type VirtualIommuSpec = z.infer<typeof virtualIommu>;
export type QueueSpec = z.infer<typeof queue>;
export type Submission = z.infer<typeof submit>;
export type Content = z.infer<typeof content>;
export type Outcome = z.infer<typeof outcome>;

/** What editors complete and check scenario files with: JSON Schema, draft 2020-12. */
export function scenarioJsonSchema(): object {
  const { $schema, ...rest } = z.toJSONSchema(scenarioSchema, { io: 'input', target: 'draft-2020-12' });
  return { $schema, title: 'A scenario of ioasis', ...rest };
}
