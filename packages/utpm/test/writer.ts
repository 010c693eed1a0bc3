/** A program that increments a counter and writes an index in a state directory, and prints each value that the TPM has answered. */
import { nvDefine, nvIncrement, nvWrite, Tpm } from '@casemate/tpm';
import { openUtpm } from '../src/index-node.js';
import { directoryState } from '../src/node.js';

const [, , path = ''] = process.argv;
const tpm = new Tpm(await openUtpm({ state: directoryState(path), startup: true }));
const counter = await nvDefine(tpm, { index: 0x01800001, type: 'counter' });
const index = await nvDefine(tpm, { index: 0x01800002, size: 8 });
for (let value = 1n; ; value++) {
  await nvIncrement(tpm, counter);
  const data = new Uint8Array(8);
  new DataView(data.buffer).setBigUint64(0, value);
  await nvWrite(tpm, index, data);
  process.stdout.write(`${value}\n`);
}
