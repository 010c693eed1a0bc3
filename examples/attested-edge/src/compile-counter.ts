/** The last step of the build: compiles the counter PAL. */
import { writeFile } from 'node:fs/promises';
import { compileAssembly } from './build-pal.js';
import { COUNTER, COUNTER_MODULE } from './counter-pal.js';

await writeFile(COUNTER_MODULE, await compileAssembly(COUNTER.source));
