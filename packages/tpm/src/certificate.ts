/** X.509 certificates that a TPM signs for what it holds: TPM2_CertifyX509 (Part 3, section 18.8; RFC 5280, section 4.1). */
import { equalBytes, u32Bytes } from './bytes.js';
import { CertifyX509 } from './commands/attestation.js';
import { defaultHashes } from './default-crypto.js';
import {
  derBitString,
  derBoolean,
  derExplicit,
  derInteger,
  derNamedBits,
  derObject,
  derOctetString,
  derSequence,
  derSet,
  derTime,
  derUtf8,
} from './der.js';
import { DER_TAG, DerReader } from './der-reader.js';
import type { TpmObject } from './object.js';
import { publicKeySpki } from './public-key.js';
import { TpmError } from './response-code.js';
import { encodeSignature, signatureToDer, verifySignature } from './signature.js';
import { planSigning, type SignOptions } from './signer.js';
import type { Tpm } from './tpm.js';

/** What a certified key may be used for (RFC 5280, section 4.2.1.3). */
export type KeyUsage = keyof typeof KEY_USAGES;

/** What a certificate is to say. */
export interface CertifyX509Options extends SignOptions {
  /** The object; its administrator authorises. A TPM certifies RSA and elliptic-curve keys. */
  readonly object: TpmObject;
  /** The key that signs. It may be one with `x509sign`, which signs nothing else. */
  readonly signer: TpmObject;
  /** A common name, or a whole DER Name. */
  readonly issuer: string | Uint8Array;
  /** A common name, or a whole DER Name. */
  readonly subject: string | Uint8Array;
  /** From when it is valid, to the second. */
  readonly notBefore: Date;
  /** Until when it is valid, to the second. */
  readonly notAfter: Date;
  /**
   * What the key may be used for, at least one. A TPM refuses what the object's attributes do not allow: signing uses need `sign`,
   * encryption uses `decrypt`, `nonRepudiation` needs `fixedTPM`, and `keyAgreement` `restricted`.
   */
  readonly keyUsage: readonly KeyUsage[];
  /** Further extensions, each a DER Extension. */
  readonly extensions?: readonly Uint8Array[];
  /** Have the TPM confirm the object's attributes in an extension (`tcg-tpmaObject`). Default true. */
  readonly attributes?: boolean;
}

/**
 * Has the TPM make and sign a certificate for an object that it holds; it chooses the serial number. Gives the certificate, DER. Throws
 * `TpmError` `usage` for names and extensions that together are too long (1024 bytes), `integrity` where the TPM has signed something
 * else, and what {@link Tpm.execute} throws.
 */
export async function certifyX509(tpm: Tpm, options: CertifyX509Options): Promise<Uint8Array> {
  const { object, signer } = options;
  const plan = planSigning(signer.public, options);
  const parts = partsOf(options);
  const partialCertificate = derSequence(...parts.names, parts.extensions);
  if (partialCertificate.length > MAX_PARTIAL) {
    throw new TpmError(
      'usage',
      `certify X.509: expected at most ${MAX_PARTIAL} bytes, got ${partialCertificate.length}`,
    );
  }
  const inScheme = { scheme: plan.scheme, details: { hashAlg: plan.hash } };
  const request = { objectHandle: object, signHandle: signer, reserved: NONE, inScheme, partialCertificate };
  const answer = await tpm.execute(CertifyX509, request, options);
  const { algorithm, certificate } = complete(parts, answer.addedToCertificate, publicKeySpki(object.public));
  const signature = encodeSignature(answer.signature);
  const digest = (tpm.crypto ?? defaultHashes).hash(plan.hash, certificate);
  const isSigned = verifySignature(signer.public, certificate, signature, tpm.crypto);
  if (!equalBytes(digest, answer.tbsDigest) || !isSigned) throw otherThanAsked('signature');
  return derSequence(certificate, algorithm, derBitString(signatureToDer(signature)));
}

interface Parts {
  /** Issuer, validity, subject. */
  readonly names: readonly [Uint8Array, Uint8Array, Uint8Array];
  readonly extensions: Uint8Array;
}

function partsOf(options: CertifyX509Options): Parts {
  const { issuer, subject, notBefore, notAfter, keyUsage, extensions = [], attributes = true, object } = options;
  const usage = keyUsage.reduce((bits, name) => bits | KEY_USAGES[name], 0);
  const own = [extension(KEY_USAGE_ID, true, derNamedBits(usage))];
  const stated = derBitString(u32Bytes(object.public.objectAttributes));
  if (attributes) own.push(extension(TPMA_OBJECT_ID, false, stated));
  const validity = derSequence(derTime(notBefore), derTime(notAfter));
  return {
    names: [nameOf(issuer), validity, nameOf(subject)],
    extensions: derExplicit(3, derSequence(...own, ...extensions)),
  };
}

/** The TBSCertificate out of what was sent and what the TPM says that it has added. */
function complete(parts: Parts, added: Uint8Array, expectedKey: Uint8Array) {
  const reader = new DerReader(added, 'addedToCertificate');
  const fields = reader.sequence('addedToCertificate');
  reader.finish();
  const version = fields.explicit(0, 'version')?.number('version');
  const serial = derInteger(fields.unsigned('serialNumber'));
  const algorithm = derSequence(fields.take(DER_TAG.SEQUENCE, 'signature'));
  const key = derSequence(fields.take(DER_TAG.SEQUENCE, 'subjectPublicKeyInfo'));
  fields.finish();
  if (version !== VERSION_3) throw otherThanAsked('version');
  if (!equalBytes(key, expectedKey)) throw otherThanAsked('public key');
  const { names, extensions } = parts;
  const start = [derExplicit(0, derInteger(Uint8Array.of(VERSION_3))), serial, algorithm];
  return { algorithm, certificate: derSequence(...start, ...names, key, extensions) };
}

function otherThanAsked(what: string): TpmError {
  return new TpmError('integrity', `certify X.509: expected a certificate of the object, got one with another ${what}`);
}

function nameOf(name: string | Uint8Array): Uint8Array {
  if (typeof name !== 'string') return name;
  return derSequence(derSet(derSequence(COMMON_NAME, derUtf8(name))));
}

function extension(id: Uint8Array, isCritical: boolean, value: Uint8Array): Uint8Array {
  return derSequence(id, ...(isCritical ? [derBoolean(true)] : []), derOctetString(value));
}

const NONE = new Uint8Array(0);
/** Every TPM takes this many bytes at a time. */
const MAX_PARTIAL = 1024;
/** Version 3 is the number 2. */
const VERSION_3 = 2;
/** id-at-commonName. */
const COMMON_NAME = /* @__PURE__ */ derObject(0x55, 4, 3);
/** id-ce-keyUsage. */
const KEY_USAGE_ID = /* @__PURE__ */ derObject(0x55, 0x1d, 15);
/** tcg-tpmaObject, 2.23.133.10.1.1.1. */
const TPMA_OBJECT_ID = /* @__PURE__ */ derObject(0x67, 0x81, 5, 10, 1, 1, 1);
/** The bits of KeyUsage, the first of them the highest of 32. */
const KEY_USAGES = {
  digitalSignature: 0x80000000,
  nonRepudiation: 0x40000000,
  keyEncipherment: 0x20000000,
  dataEncipherment: 0x10000000,
  keyAgreement: 0x08000000,
  keyCertSign: 0x04000000,
  cRLSign: 0x02000000,
  encipherOnly: 0x01000000,
  decipherOnly: 0x00800000,
} as const;
