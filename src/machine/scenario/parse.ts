/**
 * From a scenario's text to a {@link Scenario}, or to all that is wrong with it: YAML first, then the shape of each
 * part, then what parts say of each other ({@link crossCheck}).
 */
import { crossCheck } from './cross-check.js';
import { faultsOf } from './issue-text.js';
import { ACTION_NAMES, type Scenario, STEP_KEYS, type Step, scenarioSchema, stepSchema } from './schema.js';
import { fieldName, readYaml, type ScenarioFault, type YamlText } from './yaml.js';

/** The value, or the faults in the order of their lines. */
export function parseScenario(text: string): Scenario | ScenarioFault[] {
  const yaml = readYaml(text);
  if (Array.isArray(yaml)) return yaml;
  const faults = new Faults(yaml);
  const { value } = yaml;
  const rawSteps = isRecord(value) && Array.isArray(value['steps']) ? value['steps'] : undefined;
  // Steps are checked one by one, each as what its action says; the schema's union could only say that none fits.
  const head = scenarioSchema.safeParse(rawSteps === undefined ? value : { ...Object(value), steps: [] });
  for (const issue of head.error?.issues ?? []) {
    for (const { path, isKey, what } of faultsOf(issue, value)) faults.add(path, what, isKey);
  }
  const steps = (rawSteps ?? []).map((raw: unknown, i) => parseStep(raw, i, faults));
  if (!head.success || faults.found.length > 0) return faults.sorted();
  const scenario: Scenario = { ...head.data, steps: steps.filter((step) => step !== undefined) };
  crossCheck(scenario, (path, what) => faults.add(path, what));
  return faults.found.length > 0 ? faults.sorted() : scenario;
}

function parseStep(raw: unknown, index: number, faults: Faults): Step | undefined {
  const place = ['steps', index];
  const hint = `one of ${ACTION_NAMES.join(', ')}`;
  if (!isRecord(raw)) {
    faults.add(place, 'a step has keys and values: by, and an action');
    return undefined;
  }
  const [action, ...others] = ACTION_NAMES.filter((name) => name in raw);
  if (action === undefined) {
    const stranger = Object.keys(raw).find((key) => !STEP_KEYS.includes(key));
    if (stranger === undefined) faults.add(place, `has no action: ${hint}`);
    else faults.add([...place, stranger], `no such action: ${stranger}; ${hint}`, true);
    return undefined;
  }
  if (others.length > 0) {
    faults.add(place, `does one thing at a time, not ${[action, ...others].join(' and ')}`);
    return undefined;
  }
  const parsed = stepSchema(action).safeParse(raw);
  for (const issue of parsed.error?.issues ?? []) {
    for (const { path, isKey, what } of faultsOf(issue, raw)) faults.add([...place, ...path], what, isKey);
  }
  // The schema of one action is what the type says of that action; the compiler does not see through the key.
  return parsed.success ? (parsed.data as unknown as Step) : undefined;
}

class Faults {
  readonly found: ScenarioFault[] = [];
  readonly #yaml: YamlText;

  constructor(yaml: YamlText) {
    this.#yaml = yaml;
  }

  add(path: readonly PropertyKey[], what: string, isKey = false): void {
    this.found.push({ line: this.#yaml.lineOf(path, isKey), field: fieldName(path), what });
  }

  sorted(): ScenarioFault[] {
    return this.found.toSorted((a, b) => a.line - b.line);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
