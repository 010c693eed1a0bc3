/** Issuing certificate revocation lists, complete and delta (RFC 5280 section 5). */
import { signatureIdentifier } from './algorithm.js';
import { asCertificate, type Certificate } from './certificate.js';
import { CRL_REASONS, type CrlReason } from './crl-entries.js';
import { issuingDistributionPoint } from './crl-scope.js';
import {
  bitString,
  constructed,
  enumerated,
  generalizedTime,
  integer,
  sequence,
  TAG,
  time,
  tlv,
  tlvOf,
} from './der.js';
import { PkiError } from './error.js';
import { authorityKeyIdentifier, crlDistributionPointValue, type Extension, encodeExtension } from './extension.js';
import { type Issuer, keyIdentifier } from './issue.js';
import { assertSignerOf, signChecked, signerScheme } from './key.js';
import { nameText } from './name.js';
import { EXTENSION } from './oid.js';

/** A certificate to put on a CRL. */
export interface RevokedCertificate {
  /** The certificate's serial number. */
  readonly serialNumber: bigint;
  /** Since when. */
  readonly revocationDate: Date;
  /** Why; `unspecified` is written as no reason at all, as RFC 5280 5.3.1 asks. `removeFromCRL` only in a delta CRL. */
  readonly reason?: CrlReason;
  /** When the key is known or suspected to have become bad. */
  readonly invalidityDate?: Date;
}

/** What {@link createCrl} makes a list from. */
export interface CrlRequest {
  /** Who signs: a CA whose key usage has `cRLSign`, with its certificate. */
  readonly issuer: Issuer;
  /** The number of the list; greater than that of every list of this issuer before it. At most 20 bytes. */
  readonly number: bigint;
  /** The certificates, each once. */
  readonly revoked: Iterable<RevokedCertificate>;
  /** When the list is made; now without it. */
  readonly thisUpdate?: Date;
  /** When the next one will be there at the latest. */
  readonly nextUpdate: Date;
  /** Makes a delta CRL: the number of the complete list whose changes these are. */
  readonly baseNumber?: bigint;
  /** Where this list is published; it then covers only the certificates that name this place. */
  readonly distributionPoint?: string;
  /** Covers only end entities, or only CAs. */
  readonly only?: 'user' | 'ca';
  /** Where the delta CRLs to this complete list are published. */
  readonly freshestCrlUri?: string;
}

/**
 * Builds and signs a CRL, DER.
 * Throws {@link PkiError}: `bad-input` for a request that contradicts itself, `not-allowed` where the issuer may not sign CRLs,
 * `key-mismatch` where the signer is not the issuer's, `bad-signature` where the signer fails.
 */
export async function createCrl(request: CrlRequest): Promise<Uint8Array> {
  const certificate = crlIssuer(request.issuer);
  const thisUpdate = request.thisUpdate ?? new Date();
  assertRequest(request, thisUpdate);
  const entries = encodeEntries(request);
  const algorithm = signatureIdentifier(signerScheme(request.issuer.signer));
  const tbs = sequence(
    integer(1),
    algorithm,
    certificate.subject.der,
    time(thisUpdate),
    time(request.nextUpdate),
    // RFC 5280 5.1.2.6: without entries there is no list either.
    ...(entries.length === 0 ? [] : [tlvOf(TAG.SEQUENCE, entries)]),
    tlv(constructed(0), sequence(...listExtensions(request, certificate).map(encodeExtension))),
  );
  const what = `CRL ${request.number} of ${nameText(certificate.subject)}`;
  return sequence(tbs, algorithm, bitString(await signChecked(request.issuer.signer, tbs, what)));
}

function crlIssuer(issuer: Issuer): Certificate {
  if (issuer.certificate === undefined) {
    throw new PkiError('bad-input', "create CRL: expected the issuer's certificate, got none");
  }
  const certificate = asCertificate(issuer.certificate);
  assertSignerOf(issuer.signer, certificate.publicKey, nameText(certificate.subject));
  if (certificate.basicConstraints?.ca === true && certificate.keyUsage?.has('cRLSign') === true) return certificate;
  throw new PkiError(
    'not-allowed',
    `create CRL: expected an issuer that may sign CRLs, got ${nameText(certificate.subject)}`,
  );
}

function assertRequest(request: CrlRequest, thisUpdate: Date): void {
  const { number, baseNumber, nextUpdate } = request;
  if (number < 0n || number >= 1n << 159n) {
    throw new PkiError('bad-input', `create CRL: expected a number of at most 20 bytes, got ${number}`);
  }
  if (baseNumber !== undefined && (baseNumber < 0n || baseNumber >= number)) {
    throw new PkiError('bad-input', `create CRL: expected a base from 0 and below ${number}, got ${baseNumber}`);
  }
  if (baseNumber !== undefined && request.freshestCrlUri !== undefined) {
    throw new PkiError('bad-input', 'create CRL: expected freshestCrlUri only in a complete list, got it in a delta');
  }
  if (!(nextUpdate > thisUpdate)) {
    throw new PkiError(
      'bad-input',
      `create CRL: expected nextUpdate after thisUpdate, got ${nextUpdate.toISOString()}`,
    );
  }
}

function encodeEntries(request: CrlRequest): readonly Uint8Array[] {
  const entries: Uint8Array[] = [];
  // As text: a set of bigints hashes only their lowest 64 bits.
  const seen = new Set<string>();
  const times = new Map<number, Uint8Array>();
  for (const each of request.revoked) {
    const { serialNumber } = each;
    if (serialNumber <= 0n || serialNumber >= 1n << 159n) {
      throw new PkiError('bad-input', `create CRL: expected serial numbers of 1 to 20 bytes, got ${serialNumber}`);
    }
    const text = serialNumber.toString(16);
    if (seen.has(text)) {
      throw new PkiError('bad-input', `create CRL: expected each certificate once, got ${text} twice`);
    }
    if (each.reason === 'removeFromCRL' && request.baseNumber === undefined) {
      throw new PkiError('bad-input', `create CRL: expected removeFromCRL only in a delta CRL, got ${serialNumber}`);
    }
    seen.add(text);
    entries.push(encodeEntry(each, times));
  }
  return entries;
}

/** `times` holds what was encoded already: the times of a list repeat. */
function encodeEntry(each: RevokedCertificate, times: Map<number, Uint8Array>): Uint8Array {
  const seconds = Math.floor(each.revocationDate.getTime() / 1000);
  const date = times.get(seconds) ?? time(each.revocationDate);
  if (times.size < 10_000) times.set(seconds, date);
  const extensions = [...reasonExtension(each.reason), ...invalidityExtension(each.invalidityDate)];
  const tail = extensions.length === 0 ? [] : [sequence(...extensions)];
  return sequence(integer(each.serialNumber), date, ...tail);
}

function reasonExtension(reason: CrlReason | undefined): readonly Uint8Array[] {
  if (reason === undefined || reason === 'unspecified') return [];
  const known = reasonExtensions.get(reason);
  if (known !== undefined) return [known];
  const number = CRL_REASONS.indexOf(reason);
  if (number < 0) throw new PkiError('bad-input', `create CRL: expected a reason of RFC 5280 5.3.1, got ${reason}`);
  const encoded = encodeExtension({ oid: EXTENSION.reasonCode, critical: false, value: enumerated(number) });
  reasonExtensions.set(reason, encoded);
  return [encoded];
}

function invalidityExtension(date: Date | undefined): readonly Uint8Array[] {
  if (date === undefined) return [];
  return [encodeExtension({ oid: EXTENSION.invalidityDate, critical: false, value: generalizedTime(date) })];
}

function listExtensions(request: CrlRequest, issuer: Certificate): readonly Extension[] {
  const { baseNumber, distributionPoint, only, freshestCrlUri } = request;
  const points = distributionPoint === undefined ? [] : [{ type: 'uri', value: distributionPoint } as const];
  return [
    authorityKeyIdentifier(issuer.subjectKeyIdentifier ?? keyIdentifier(issuer.publicKey)),
    { oid: EXTENSION.cRLNumber, critical: false, value: integer(request.number) },
    ...(baseNumber === undefined
      ? []
      : [{ oid: EXTENSION.deltaCRLIndicator, critical: true, value: integer(baseNumber) }]),
    ...(points.length === 0 && only === undefined ? [] : [issuingDistributionPoint(points, only)]),
    ...(freshestCrlUri === undefined
      ? []
      : [{ oid: EXTENSION.freshestCRL, critical: false, value: crlDistributionPointValue(freshestCrlUri) }]),
  ];
}

const reasonExtensions = new Map<CrlReason, Uint8Array>();
