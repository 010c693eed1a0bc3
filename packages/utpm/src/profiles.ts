/** The profiles of the entry points that have both. */
import { full } from './commands/full.js';
import { micro } from './commands/micro.js';
import type { Profiles } from './utpm.js';

/** `full` unless `micro` is asked for. */
export const PROFILES: Profiles = [
  ['full', full],
  ['micro', micro],
];
