/** A process that generates a hierarchy in the store named by its argument, to be killed at any moment. */
import { deviceMakerTemplate } from '../src/index.js';
import { openStore } from '../src/node.js';

const [, , path = ''] = process.argv;
const template = { ...deviceMakerTemplate({ organizationName: 'Maker' }), algorithm: 'rsassa-2048-sha256' as const };
const store = await openStore(path);
process.stdout.write('started\n');
await store.generate(template);
process.stdout.write('done\n');
