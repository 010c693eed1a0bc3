/** Real commands to start from: one of each that swtpm answered, out of the recordings of `@casemate/tpm`. */
import { readFileSync } from 'node:fs';
import { TPM_CC } from '@casemate/tpm';

// A key of RSA takes seconds now and then; whether the codec holds is seen with the others.
const SLOW: readonly number[] = [TPM_CC.Create, TPM_CC.CreatePrimary, TPM_CC.CreateLoaded];
const RSA = '00010000';

/** The commands. */
export function realCommands(): readonly Uint8Array[] {
  const file = readFileSync(new URL('../../tpm/test/vectors/swtpm-traffic.json', import.meta.url), 'utf8');
  const exchanges: readonly { readonly command: string }[] = JSON.parse(file);
  return exchanges
    .filter(({ command }) => !SLOW.includes(Number.parseInt(command.slice(12, 20), 16)) || !command.includes(RSA))
    .map(({ command }) => new Uint8Array(Buffer.from(command, 'hex')));
}

/** Throws unless `response` is one: its tag, its size, and a response code that is not that of a TPM which has failed. */
export function assertResponse(response: Uint8Array): number {
  const view = new DataView(response.buffer, response.byteOffset, response.byteLength);
  if (response.length < 10) throw new Error(`expected a response, got ${response.length} bytes`);
  const [tag, size, code] = [view.getUint16(0), view.getUint32(2), view.getUint32(6)];
  const isTagged = tag === 0x8001 || (tag === 0x8002 && code === 0) || (tag === 0xc4 && code === 0x1e);
  if (!isTagged) throw new Error(`expected the tag of a response, got ${tag.toString(16)}, code ${code.toString(16)}`);
  if (size !== response.length) throw new Error(`expected ${size} bytes, got ${response.length}`);
  if (code !== 0 && response.length !== 10) throw new Error(`expected 10 bytes with ${code.toString(16)}`);
  if (code === 0x101) throw new Error('the TPM has failed');
  return code;
}
