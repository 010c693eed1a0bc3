/**
 * Attestation objects of `device-attest-01` (draft-ietf-acme-device-attest): WebAuthn's format `tpm` (WebAuthn level 3, section 8.3),
 * where the key authorization of the challenge takes the place of what an authenticator signs.
 */
import {
  nameOf,
  publicKeySpki,
  TPM_ALG,
  TPM_ST,
  TPMA_OBJECT,
  TpmsAttest,
  TpmtPublic,
  TpmtSignature,
} from '@casemate/tpm';
import { decode, WireError } from '@casemate/wire';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import type { SignatureScheme } from '../algorithm.js';
import { equalBytes, toHex } from '../bytes.js';
import { type Certificate, type CertificateInput, parseCertificate } from '../certificate.js';
import type { Crl } from '../crl.js';
import { integer, sequence } from '../der.js';
import { parseDeviceName } from '../device-name.js';
import { decodeMessage } from '../enrolment-message.js';
import { malformed, PkiError } from '../error.js';
import { validatePath } from '../path.js';
import { verifySignature } from '../signature.js';
import { type Cbor, encodeCbor, parseCbor } from './cbor.js';

/** An attestation statement of format `tpm` as it was read; nothing in it has been verified. */
export interface TpmStatement {
  /** COSE algorithm identifier of the signature. */
  readonly algorithm: number;
  /** The AK certificate and those above it, DER. */
  readonly chain: readonly Uint8Array[];
  /** The signature over `certInfo`. */
  readonly signature: Uint8Array;
  /** TPMS_ATTEST. */
  readonly certInfo: Uint8Array;
  /** TPMT_PUBLIC of the attested key. */
  readonly publicArea: Uint8Array;
}

/** Reads an attestation object of at most 64 KiB. Throws {@link PkiError} `malformed`, or `unsupported` for other formats. */
export function parseAttestationObject(bytes: Uint8Array): TpmStatement {
  if (bytes.length > 1 << 16)
    throw malformed('attestation object', `expected at most 65536 bytes, got ${bytes.length}`);
  const map = asMap(parseCbor(bytes));
  const format = map.get('fmt');
  if (format !== 'tpm')
    throw new PkiError('unsupported', `decode attestation object: expected the format tpm, got ${String(format)}`);
  const statement = asMap(map.get('attStmt') ?? null);
  if (statement.get('ver') !== '2.0')
    throw new PkiError('unsupported', 'decode attestation object: expected version 2.0');
  const x5c = statement.get('x5c');
  const algorithm = statement.get('alg');
  if (!Array.isArray(x5c) || x5c.length === 0 || x5c.length > 8)
    throw malformed('attestation object', 'expected 1 to 8 certificates');
  if (typeof algorithm !== 'number') throw malformed('attestation object', 'expected a number as algorithm');
  return {
    algorithm,
    chain: x5c.map(asBytes),
    signature: asBytes(statement.get('sig')),
    certInfo: asBytes(statement.get('certInfo')),
    publicArea: asBytes(statement.get('pubArea')),
  };
}

function asMap(value: Cbor): ReadonlyMap<string, Cbor> {
  if (value instanceof Map) return value;
  throw malformed('attestation object', 'expected a map');
}

function asBytes(value: Cbor | undefined): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw malformed('attestation object', 'expected bytes');
}

/** Builds an attestation object. */
export function encodeAttestationObject(statement: TpmStatement): Uint8Array {
  const fields: readonly (readonly [string, Cbor])[] = [
    ['ver', '2.0'],
    ['alg', statement.algorithm],
    ['x5c', statement.chain],
    ['sig', statement.signature],
    ['certInfo', statement.certInfo],
    ['pubArea', statement.publicArea],
  ];
  return encodeCbor(
    new Map<string, Cbor>([
      ['fmt', 'tpm'],
      ['attStmt', new Map(fields)],
    ]),
  );
}

/** What is believed of AK certificates. */
export interface AttestationTrust {
  /** Roots of attestation CAs. */
  readonly anchors: readonly CertificateInput[];
  /** Further certificates for building paths. */
  readonly intermediates?: readonly CertificateInput[];
  /** CRLs of the attestation CAs. */
  readonly crls?: readonly (Uint8Array | Crl)[];
}

/** What a verified statement says. */
export interface AttestedKey {
  /** The key, SubjectPublicKeyInfo DER. */
  readonly publicKey: Uint8Array;
  /** The AK certificate. */
  readonly akCertificate: Certificate;
  /** The permanent identifiers that the AK certificate has: otherNames, URIs. */
  readonly permanentIdentifiers: readonly string[];
  /** The hardware modules that the AK certificate has, `OID/hexadecimal`. */
  readonly hardwareModules: readonly string[];
}

/**
 * Verifies a statement: a path from the AK certificate to an attestation CA, the AK's signature, the key authorization in it, and that
 * the key lives in that TPM. Throws {@link PkiError} `untrusted`, `bad-signature`, `key-mismatch`, `not-allowed`, `malformed`.
 */
export async function verifyTpmStatement(
  statement: TpmStatement,
  keyAuthorization: string,
  trust: AttestationTrust,
  time: Date,
): Promise<AttestedKey> {
  const akCertificate = await trustedAk(statement, trust, time);
  const attest = decodeMessage(TpmsAttest, statement.certInfo);
  const { hash, scheme } = algorithmOf(statement.algorithm);
  const publicArea = decodeMessage(TpmtPublic, statement.publicArea);
  const signature = bareSignature(statement.signature);
  if (!(await verifySignature(akCertificate.publicKey, scheme, statement.certInfo, signature))) {
    throw new PkiError('bad-signature', 'verify attestation: expected a signature of the attestation key, got another');
  }
  if (
    attest.type !== TPM_ST.ATTEST_CERTIFY ||
    !equalBytes(attest.extraData, hash(new TextEncoder().encode(keyAuthorization)))
  ) {
    throw new PkiError(
      'key-mismatch',
      'verify attestation: expected a statement for this challenge, got one for another',
    );
  }
  if (!equalBytes(attest.attested.name, nameOf(publicArea))) {
    throw new PkiError(
      'key-mismatch',
      'verify attestation: expected a statement about this key, got one about another',
    );
  }
  assertDeviceKey(publicArea);
  return { publicKey: publicKeySpki(publicArea), akCertificate, ...identifiersOf(akCertificate) };
}

async function trustedAk(statement: TpmStatement, trust: AttestationTrust, time: Date): Promise<Certificate> {
  const [own, ...rest] = statement.chain;
  const certificate = parseCertificate(own ?? new Uint8Array());
  const { anchors, intermediates = [], crls = [] } = trust;
  const result = await validatePath(certificate, [...rest, ...intermediates], anchors, {
    purpose: 'tpm-ak',
    time,
    crls,
  });
  if (result.ok) return certificate;
  throw new PkiError('untrusted', `verify attestation: ${result.problem.message}`);
}

interface CoseAlgorithm {
  readonly scheme: SignatureScheme;
  readonly hash: (bytes: Uint8Array) => Uint8Array;
}

/** COSE: ES256, ES384, ES512, RS256, RS384, RS512 (RFC 9053, RFC 8812). */
const ALGORITHMS: Readonly<Partial<Record<number, CoseAlgorithm>>> = {
  [-7]: { scheme: { kind: 'ecdsa', hash: 'sha256' }, hash: sha256 },
  [-35]: { scheme: { kind: 'ecdsa', hash: 'sha384' }, hash: sha384 },
  [-36]: { scheme: { kind: 'ecdsa', hash: 'sha512' }, hash: sha512 },
  [-257]: { scheme: { kind: 'rsassa', hash: 'sha256' }, hash: sha256 },
  [-258]: { scheme: { kind: 'rsassa', hash: 'sha384' }, hash: sha384 },
  [-259]: { scheme: { kind: 'rsassa', hash: 'sha512' }, hash: sha512 },
};

function algorithmOf(identifier: number): CoseAlgorithm {
  const found = ALGORITHMS[identifier];
  if (found !== undefined) return found;
  throw new PkiError('unsupported', `verify attestation: expected a signature algorithm with SHA-2, got ${identifier}`);
}

/** WebAuthn writes the TPM's own TPMT_SIGNATURE; some clients send the bare signature instead. Both are verified the same way. */
function bareSignature(signature: Uint8Array): Uint8Array {
  try {
    const read = decode(TpmtSignature, signature);
    if (read.sigAlg === TPM_ALG.RSASSA) return read.signature.sig;
    if (read.sigAlg !== TPM_ALG.ECDSA) return signature;
    const { signatureR, signatureS } = read.signature;
    const number = (bytes: Uint8Array) => integer(BigInt(`0x0${toHex(bytes)}`));
    return sequence(number(signatureR), number(signatureS));
  } catch (error) {
    if (error instanceof WireError) return signature;
    throw error;
  }
}

const RESIDENT = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent | TPMA_OBJECT.sensitiveDataOrigin | TPMA_OBJECT.sign;

/** Made in the TPM, never to leave it, for signing what its owner says. */
function assertDeviceKey({ objectAttributes: attributes, type }: TpmtPublic): void {
  const isResident = (attributes & RESIDENT) === RESIDENT;
  const isOther = (attributes & (TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt)) !== 0;
  if (isResident && !isOther && (type === TPM_ALG.RSA || type === TPM_ALG.ECC)) return;
  throw new PkiError(
    'not-allowed',
    `verify attestation: expected a resident, unrestricted signing key, got attributes 0x${attributes.toString(16)}`,
  );
}

/** What an AK certificate says of its device: otherNames, and the URIs by which our own device certificates name it. */
function identifiersOf({
  subjectAltName = [],
}: Certificate): Pick<AttestedKey, 'permanentIdentifiers' | 'hardwareModules'> {
  const devices = subjectAltName.map(parseDeviceName);
  const uris = subjectAltName.flatMap((each) => (each.type === 'uri' ? [each.value] : []));
  const valuesOf = (type: 'permanentIdentifier' | 'hardwareModule') =>
    devices.flatMap((each) => (each?.type === type ? [each.value] : []));
  return {
    permanentIdentifiers: [...valuesOf('permanentIdentifier'), ...uris],
    hardwareModules: valuesOf('hardwareModule'),
  };
}
