/** The thread of a large machine: it builds it, runs it once, and tells what has come of that. */
import { parentPort, workerData } from 'node:worker_threads';
import { seededChooser, World } from '../../machine/index.js';
import { placed } from '../seeds/one.js';
import type { LargeRun, Told } from './apart.js';

const { named, seed } = workerData as LargeRun;
const tell = (told: Told): void => parentPort?.postMessage(told);
const progress = (what: string): void => tell({ say: what });

const result = placed(`${named.name} --seed ${seed}`, () => {
  return new World(named.scenario, { progress, isForOneRun: true }).run(seededChooser(seed));
});
tell({ result });
