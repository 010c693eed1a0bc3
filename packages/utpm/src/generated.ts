/** Which data could pass for a structure of the TPM's own: Part 1, clause 31.3. */
import { TPM_GENERATED_VALUE } from '@casemate/tpm';
import { readU32 } from './bytes.js';

/** May the data start as an attestation of a TPM does? Data too short to tell may. */
export function isGenerated(data: Uint8Array): boolean {
  return data.length < 4 || readU32(data, 0) === TPM_GENERATED_VALUE;
}
