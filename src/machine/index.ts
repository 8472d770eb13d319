/**
 * Scenarios and the machines that they describe.
 *
 * @module
 */
export { parseScenario } from './scenario/parse.js';
export { type Scenario, type Step, scenarioJsonSchema } from './scenario/schema.js';
export type { ScenarioFault } from './scenario/yaml.js';
export type { EntryRow, PasidRow } from './world/pasid-table.js';
export { type Access, type AccessSink, RecordedPlatform } from './world/recording.js';
export { type RecordedRun, recordedRun, replayDifference } from './world/replay.js';
export { Scheduler } from './world/scheduler.js';
export { MOODS, type Mood, moodOf, seededChooser } from './world/seeded-chooser.js';
export { type RunResult, World } from './world/world.js';
