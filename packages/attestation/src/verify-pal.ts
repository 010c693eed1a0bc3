/** Did this PAL say this: its quote, by the key and over the code that the platform measured when it registered the PAL. */
import type { PcrBanks } from '@casemate/firmware';
import type { TpmCrypto } from '@casemate/tpm';
import { sha256 } from '@noble/hashes/sha2.js';
import { concatBytes } from '@noble/hashes/utils.js';
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

/** What a PAL's quote is expected to answer. */
export interface PalExpectation {
  /** The verifier's challenge. */
  readonly nonce: Uint8Array;
  /** Who computes; `defaultCrypto` of `@casemate/tpm` without it. */
  readonly crypto: TpmCrypto | undefined;
}

/**
 * Verifies one PAL. Its identity key is believed because the platform's log, which the platform's quote covers, says that it was
 * made inside the isolate that runs the code with the stated measurement; the PAL's own quote must show that measurement in PCR 0.
 */
export function verifyPal(
  pal: PalEvidence,
  measurements: readonly Measurement[],
  { nonce, crypto }: PalExpectation,
): PalResult {
  const statement = registrationOf(pal, measurements);
  if (typeof statement === 'string') return { ok: false, problem: statement };
  const quote = { quoted: pal.quoted, signature: pal.signature, pcrs: palPcrs(statement.measurement, pal) };
  const result = verifyQuote(quote, { key: pal.identityKey, qualifyingData: palNonce(nonce, pal.output), crypto });
  if (!result.ok) return { ok: false, problem: `${statement.name}: ${result.problem}` };
  const { name, version, measurement, identityKey } = statement;
  return { ok: true, claims: { name, version, measurement, identityKey, output: pal.output, outputBy: pal.outputBy } };
}

/**
 * The PCRs of a micro-TPM that was started and extended once, with the measurement of its PAL; where the PAL vouches for its output,
 * it has extended PCR 1 once with the digest of that.
 */
function palPcrs(measurement: Uint8Array, { output, outputBy }: PalEvidence): PcrBanks {
  const first = extended(measurement);
  return { sha256: outputBy === 'pal' ? { 0: first, 1: extended(sha256(output)) } : { 0: first } };
}

function extended(digest: Uint8Array): Uint8Array {
  return sha256(concatBytes(new Uint8Array(32), digest));
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
