/** Certificates of endorsement keys in NV memory (TCG EK Credential Profile 2.5, section 2.2.1). */
import { TPM_RC } from './constants/responses.js';
import { nvRead, openNv } from './nv.js';
import { TpmError } from './response-code.js';
import type { EkKind } from './templates.js';
import type { Tpm } from './tpm.js';

/**
 * Reads the certificate that the manufacturer put in for an endorsement key: DER, or `undefined` where there is none.
 * Throws what {@link Tpm.execute} throws, and `TpmError` `decode` for contents that are no DER sequence.
 */
export async function readEkCertificate(tpm: Tpm, kind: EkKind): Promise<Uint8Array | undefined> {
  const index = await openNv(tpm, INDEXES[kind]).catch(noneWhereAbsent);
  return index && derElement(await nvRead(tpm, index));
}

function noneWhereAbsent(error: unknown): undefined {
  if (error instanceof TpmError && error.response?.number === TPM_RC.HANDLE) return undefined;
  throw error;
}

/** An index may be longer than its certificate. The TPM's maker wrote the bytes; the length is checked against them. */
function derElement(bytes: Uint8Array): Uint8Array {
  const [tag, first, second, third] = bytes;
  let end = 0;
  if (first === 0x81) end = 3 + (second ?? 0);
  else if (first === 0x82) end = 4 + (((second ?? 0) << 8) | (third ?? 0));
  if (tag === 0x30 && end > 0 && end <= bytes.length) return bytes.slice(0, end);
  throw new TpmError('decode', 'read EK certificate: expected a DER sequence of 128 to 65535 bytes');
}

const INDEXES: Readonly<Record<EkKind, number>> = {
  'rsa-2048': 0x01c00002,
  'ecc-p256': 0x01c0000a,
  'rsa-2048-high': 0x01c00012,
  'ecc-p256-high': 0x01c00014,
  'ecc-p384-high': 0x01c00016,
  'ecc-p521-high': 0x01c00018,
  'rsa-3072-high': 0x01c0001c,
  'rsa-4096-high': 0x01c0001e,
};
