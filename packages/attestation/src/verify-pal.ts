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
import { type PalCertificateClaims, verifyPalCertificate } from './pal-certificate.js';
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
  /** TPMT_PUBLIC of the TrustVisor key that the platform measured, where there is one. */
  readonly trustvisorKey: Uint8Array | undefined;
}

/** The TrustVisor key of a platform; not ok where its log names two. */
export type TrustvisorKey =
  | { readonly ok: true; readonly key: Uint8Array | undefined }
  | { readonly ok: false; readonly problem: string };

/** What is known of the code behind an identity key. */
interface PalCode {
  readonly name: string;
  readonly version: string;
  readonly measurement: Uint8Array;
  readonly certified?: PalCertificateClaims;
}

/**
 * The one TrustVisor key that the platform measured. Whoever may extend the PCR could add a key of their own to the TrustVisor's, so
 * with two of them neither is believed. The same key twice is a TrustVisor that was started twice.
 */
export function trustvisorKeyOf(measurements: readonly Measurement[]): TrustvisorKey {
  const keys = measurements.flatMap(({ statement }) =>
    statement.type === 'trustvisor' ? [statement.identityKey] : [],
  );
  const [key] = keys;
  if (key === undefined || keys.every((other) => equalBytes(other, key))) return { ok: true, key };
  return { ok: false, problem: 'two different TrustVisor keys were measured' };
}

/**
 * Verifies one PAL. Its identity key is believed because the platform's log, which the platform's quote covers, says that it was
 * made inside the isolate that runs the code with the stated measurement, before any TrustVisor key stands there; or because a
 * certificate says so, by the TrustVisor key which that log names. The PAL's own quote must show that measurement in PCR 0.
 */
export function verifyPal(
  pal: PalEvidence,
  measurements: readonly Measurement[],
  { nonce, crypto, trustvisorKey }: PalExpectation,
): PalResult {
  const code = pal.certificate ? certifiedCode(pal, trustvisorKey, crypto) : registeredCode(pal, measurements);
  if (typeof code === 'string') return { ok: false, problem: code };
  const { name, version, measurement, certified } = code;
  const quote = { quoted: pal.quoted, signature: pal.signature, pcrs: palPcrs(measurement, pal) };
  const result = verifyQuote(quote, { key: pal.identityKey, qualifyingData: palNonce(nonce, pal.output), crypto });
  if (!result.ok) return { ok: false, problem: `${name}: ${result.problem}` };
  const { identityKey, output, outputBy } = pal;
  return { ok: true, claims: { name, version, measurement, identityKey, output, outputBy, certified } };
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

/** The code that the certificate names, if it is by the platform's TrustVisor key and for the key that quoted. */
function certifiedCode(
  { certificate, identityKey }: PalEvidence,
  trustvisorKey: Uint8Array | undefined,
  crypto: TpmCrypto | undefined,
): PalCode | string {
  if (!certificate || !trustvisorKey) return 'a PAL has a certificate, but no TrustVisor key was measured';
  const result = verifyPalCertificate(trustvisorKey, certificate, crypto);
  if (!result.ok) return `the certificate of a PAL: ${result.problem}`;
  const { name, version, measurement, identity } = result.claims;
  if (equalBytes(identity, identityKey)) return { name, version, measurement, certified: result.claims };
  return `${name}: its certificate is for another identity key`;
}

/**
 * A key that stands for two codes could speak for either, so it speaks for none. From the TrustVisor key on, that key says which keys are
 * those of PALs: whoever may extend the PCR afterwards could name one of their own.
 */
function registeredCode(pal: PalEvidence, measurements: readonly Measurement[]): PalCode | string {
  const statements = measurements.flatMap(({ statement }, at) =>
    statement.type === 'pal' && equalBytes(statement.identityKey, pal.identityKey) ? [{ ...statement, at }] : [],
  );
  const last = statements.at(-1);
  if (!last) return `no measured PAL has the identity key ${hex(pal.identityKey).slice(0, 32)}…`;
  const certifier = measurements.findIndex(({ statement }) => statement.type === 'trustvisor');
  if (certifier >= 0 && certifier < last.at)
    return `${last.name}: its identity key was measured after the TrustVisor key, and the TrustVisor key did not certify it`;
  const same = statements.every(({ measurement }) => equalBytes(measurement, last.measurement));
  return same ? last : `${last.name}: its identity key was measured with two different codes`;
}
