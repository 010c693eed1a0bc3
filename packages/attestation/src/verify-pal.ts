/** Did this PAL say this: its quote, by the key and over the code that the platform measured when it registered the PAL. */
import { bankByName, type PcrBanks } from '@casemate/firmware';
import { palNonce } from './binding.js';
import type { PalClaims } from './claims.js';
import type { PalEvidence } from './evidence.js';
import type { Measurement } from './measurements.js';
import { equalBytes, hex } from './octets.js';
import type { PalStatement } from './statement.js';
import { verifyQuote } from './verify-quote.js';

/** A PAL that verified, or the first thing that was wrong. */
export type PalResult =
  | { readonly ok: true; readonly claims: PalClaims }
  | { readonly ok: false; readonly problem: string };

/**
 * Verifies one PAL. Its identity key is believed because the platform's log, which the platform's quote covers, says that it was
 * made inside the isolate that runs the code with the stated measurement; the PAL's own quote must show that measurement in PCR 0.
 */
export function verifyPal(pal: PalEvidence, measurements: readonly Measurement[], nonce: Uint8Array): PalResult {
  const statement = registrationOf(pal, measurements);
  if (typeof statement === 'string') return { ok: false, problem: statement };
  const quote = { quoted: pal.quoted, signature: pal.signature, pcrs: palPcrs(statement.measurement) };
  const result = verifyQuote(quote, { key: pal.identityKey, qualifyingData: palNonce(nonce, pal.output) });
  if (!result.ok) return { ok: false, problem: `${statement.name}: ${result.problem}` };
  const { name, version, measurement, identityKey } = statement;
  return { ok: true, claims: { name, version, measurement, identityKey, output: pal.output } };
}

/** The value of PCR 0 of a micro-TPM that was started and extended once, with the measurement of its PAL. */
function palPcrs(measurement: Uint8Array): PcrBanks {
  const sha256 = bankByName('sha256');
  return sha256 ? { sha256: { 0: sha256.hash(new Uint8Array(sha256.size), measurement) } } : {};
}

/** A key that stands for two codes could speak for either, so it speaks for none. */
function registrationOf(pal: PalEvidence, measurements: readonly Measurement[]): PalStatement | string {
  const statements = measurements.flatMap(({ statement }) =>
    statement.type === 'pal' && equalBytes(statement.identityKey, pal.identityKey) ? [statement] : [],
  );
  const last = statements.at(-1);
  if (!last) return `no measured PAL has the identity key ${hex(pal.identityKey).slice(0, 32)}…`;
  const same = statements.every(({ measurement }) => equalBytes(measurement, last.measurement));
  return same ? last : `${last.name}: its identity key was measured with two different codes`;
}
