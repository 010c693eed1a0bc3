/** Verification: is evidence authentic. Every check is made and reported, none stops the others. */

import type { TpmCrypto } from '@casemate/tpm';
import { evidenceNonce } from './binding.js';
import { type Check, failed, notMade, passed } from './check.js';
import type { Claims, PalClaims, QuoteClaims } from './claims.js';
import type { Evidence } from './evidence.js';
import type { Measurement } from './measurements.js';
import { equalBytes, hex } from './octets.js';
import { GUESTOS_PCR, PAL_PCR, QUOTED_BANK } from './statement.js';
import { verifyCertificates } from './verify-certificates.js';
import { verifyGuestOses } from './verify-guest-os.js';
import { verifyLogs } from './verify-log.js';
import { trustvisorKeyOf, verifyPal } from './verify-pal.js';
import { verifyQuote } from './verify-quote.js';

/** The certificates that a verifier starts from, DER, by what they vouch for. One root may stand in several lists. */
export interface Anchors {
  /** Roots of attestation keys (EKU 2.23.133.8.3). */
  readonly attestation: readonly Uint8Array[];
  /** Roots of device certificates (EKU client authentication). */
  readonly device: readonly Uint8Array[];
  /** Roots of those who sign GuestOS configurations (EKU code signing). */
  readonly software: readonly Uint8Array[];
}

/** What a verifier must read from a GuestOS configuration. */
export interface GuestOsConfiguration {
  /** Name of the GuestOS. */
  readonly name: string;
  /** Version, a whole number. */
  readonly version: number;
  /** The digest by which the configuration names the image, 32 bytes. */
  readonly imageDigest: Uint8Array;
}

/** What a verifier knows before it sees the evidence. */
export interface VerifyOptions {
  /** Whom it trusts. */
  readonly anchors: Anchors;
  /** The challenge that it sent; fresh and random for each evidence. */
  readonly nonce: Uint8Array;
  /** Now. */
  readonly time: Date;
  /** Reads a configuration whose bytes are not trusted yet; throws where it is none. */
  readonly readConfiguration: (configuration: Uint8Array) => GuestOsConfiguration;
  /** CRLs, DER; where there is one of an issuer in a chain, it decides. */
  readonly crls?: readonly Uint8Array[];
  /** Who verifies the quotes; `defaultCrypto` of `@casemate/tpm` without it, which is OpenSSL on Node and @noble elsewhere. */
  readonly crypto?: TpmCrypto;
}

/** What verification found. */
export interface Verification {
  /** Every check that was made, in the order in which they were made. */
  readonly checks: readonly Check[];
  /** What the evidence claims, as far as its checks held. */
  readonly claims: Claims;
}

/**
 * Verifies evidence: certificate chains to the anchors, the TPM's quote for this nonce, the logs against the quoted PCRs, each
 * GuestOS against its signed configuration, each PAL's quote against its measurement in the log or in a certificate by the TrustVisor key
 * of the log, and what the device reports of itself. No key is believed because it came with the evidence. Give the checks, with those of `validateEvidence`, to `verdict`.
 *
 * A failed check is a result, not an error. Throws only what `readConfiguration` or the crypto below throws for reasons of its own.
 */
export async function verifyEvidence(evidence: Evidence, options: VerifyOptions): Promise<Verification> {
  const keys = await verifyCertificates(evidence, options);
  const quote = checkQuote(evidence, options);
  const log = checkLog(evidence);
  const guestOses = await verifyGuestOses(evidence, log.measurements, options);
  const pals = checkPals(evidence, log.measurements, options);
  const reported = checkReport(evidence, options.nonce);
  return {
    checks: [...keys.checks, ...quote.checks, ...log.checks, ...guestOses.checks, ...pals.checks, ...reported],
    claims: {
      verifiedAt: options.time.getTime(),
      attestationKey: keys.attestationKey,
      device: keys.device,
      quote: quote.claims,
      report: quote.claims && reportOf(evidence),
      measurements: log.measurements,
      trustvisorKey: pals.trustvisorKey,
      guestOses: guestOses.guestOses,
      pals: pals.claims,
    },
  };
}

function checkQuote(
  evidence: Evidence,
  { crypto }: VerifyOptions,
): {
  readonly checks: readonly Check[];
  readonly claims: QuoteClaims | undefined;
} {
  const { quote, attestationKey, nonce } = evidence;
  const result = verifyQuote(quote, { key: attestationKey, qualifyingData: evidenceNonce(nonce, evidence), crypto });
  if (!result.ok) return { checks: [failed('quote', result.problem)], claims: undefined };
  const missing = [GUESTOS_PCR, PAL_PCR].filter((index) => !quote.pcrs[QUOTED_BANK]?.[index]);
  if (missing.length > 0) {
    return {
      checks: [failed('quote', `it does not cover PCR ${missing.join(', ')} of ${QUOTED_BANK}`)],
      claims: undefined,
    };
  }
  const detail = `signed by the attestation key, clock ${result.claims.clock} ms, reset count ${result.claims.resetCount}`;
  return { checks: [passed('quote', detail)], claims: result.claims };
}

function checkLog(evidence: Evidence): {
  readonly checks: readonly Check[];
  readonly measurements: readonly Measurement[] | undefined;
} {
  const result = verifyLogs(evidence);
  if (!result.ok) return { checks: [failed('event-log', result.problem)], measurements: undefined };
  const detail = `${result.measurements.length} measurements replay to the ${result.pcrs} quoted PCR values`;
  return { checks: [passed('event-log', detail)], measurements: result.measurements };
}

function checkPals(
  evidence: Evidence,
  measurements: readonly Measurement[] | undefined,
  { crypto }: VerifyOptions,
): {
  readonly checks: readonly Check[];
  readonly claims: readonly PalClaims[] | undefined;
  readonly trustvisorKey: Uint8Array | undefined;
} {
  if (!measurements) {
    return {
      checks: [notMade('pal', ['event-log'], 'the event log does not say which PALs were measured')],
      claims: undefined,
      trustvisorKey: undefined,
    };
  }
  const trustvisor = trustvisorKeyOf(measurements);
  if (!trustvisor.ok)
    return { checks: [failed('pal', trustvisor.problem)], claims: undefined, trustvisorKey: undefined };
  const expected = { nonce: evidence.nonce, crypto, trustvisorKey: trustvisor.key };
  const results = evidence.pals.map((pal) => verifyPal(pal, measurements, expected));
  const { trustvisorKey } = expected;
  if (results.length === 0) return { checks: [passed('pal', 'no PAL quoted itself')], claims: [], trustvisorKey };
  const checks = results.map((result) =>
    result.ok
      ? passed(
          'pal',
          `${result.claims.name} ${result.claims.version} quoted the measurement that ${witness(result.claims)}`,
        )
      : failed('pal', result.problem),
  );
  const claims = results.flatMap((result) => (result.ok ? [result.claims] : []));
  return { checks, claims: claims.length === results.length ? claims : undefined, trustvisorKey };
}

function witness({ certified }: PalClaims): string {
  return certified ? 'the TrustVisor key certified' : 'the platform logged';
}

function checkReport(evidence: Evidence, nonce: Uint8Array): readonly Check[] {
  const answered = equalBytes(evidence.nonce, nonce)
    ? passed('replay', 'the evidence answers this challenge')
    : failed('replay', `expected an answer to ${hex(nonce)}, got one to ${hex(evidence.nonce)}`);
  const reported = evidence.failures.map(({ name, detail }) => failed(name, `reported by the device: ${detail}`));
  const sealed = evidence.failures.some(({ name }) => name === 'sealed-state')
    ? []
    : [passed('sealed-state', 'the device reports no failure')];
  return [answered, ...sealed, ...reported];
}

function reportOf({ collectedAt, runRecord, failures, passed: checked }: Evidence): Claims['report'] {
  return { collectedAt, runRecord, failures, passed: checked };
}
