/** All rules that are judged at every step, in the order in which verdicts are told. */
import { clean } from './clean.js';
import { count } from './count.js';
import { faults } from './faults.js';
import { isolation } from './isolation.js';
import { mapping } from './mapping.js';
import { order } from './order.js';
import { owner } from './owner.js';
import { progress } from './progress.js';
import type { Rule } from './rule.js';
import { torn } from './torn.js';
import { undone } from './undone.js';
import { unique } from './unique.js';

export const RULES: readonly Rule[] = [
  isolation,
  unique,
  mapping,
  owner,
  order,
  clean,
  count,
  progress,
  torn,
  faults,
  undone,
];

/** What REPLAY says, which is judged by running twice. */
export const REPLAY_CLAIM = 'the same choices give the same run';
