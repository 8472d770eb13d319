/**
 * Scenarios and the machines that they describe.
 *
 * @module
 */
export { parseScenario } from './scenario/parse.js';
export { type Scenario, type Step, scenarioJsonSchema } from './scenario/schema.js';
export type { ScenarioFault } from './scenario/yaml.js';
