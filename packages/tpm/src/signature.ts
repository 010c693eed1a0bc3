/** TPM signatures: their forms for others, and their verification without a TPM (Part 2, section 11.3). */
import { decode, encode } from '@casemate/wire';
import { concat, padTo } from './bytes.js';
import { TPM_ALG } from './constants/algorithms.js';
import { TPM_GENERATED_VALUE } from './constants/specification.js';
import type { TpmCrypto, TpmSignature } from './crypto.js';
import { defaultCrypto } from './default-crypto.js';
import { derInteger, derSequence } from './der.js';
import { curveSize, publicKeyOf } from './public-key.js';
import { TpmError } from './response-code.js';
import type { TpmtPublic } from './structures/public.js';
import { TpmtSignature } from './structures/signatures.js';

/** Scheme, hash and numbers of a signature. Throws `TpmError` `usage` for schemes other than RSASSA, RSAPSS and ECDSA. */
export function signatureParts(signature: TpmtSignature): TpmSignature {
  switch (signature.sigAlg) {
    case TPM_ALG.RSASSA:
      return { scheme: 'rsassa', hash: signature.signature.hash, signature: signature.signature.sig };
    case TPM_ALG.RSAPSS:
      return { scheme: 'rsapss', hash: signature.signature.hash, signature: signature.signature.sig };
    case TPM_ALG.ECDSA: {
      const { hash, signatureR, signatureS } = signature.signature;
      return { scheme: 'ecdsa', hash, r: signatureR, s: signatureS };
    }
    default:
      throw new TpmError(
        'usage',
        `read signature: expected RSASSA, RSAPSS or ECDSA, got TPM_ALG_ID 0x${signature.sigAlg.toString(16)}`,
      );
  }
}

/**
 * A TPMT_SIGNATURE in the form that X.509 and CMS take: DER ECDSA-Sig-Value (RFC 3279), or the bare RSA signature.
 * Throws `WireError` where the bytes are no signature, `TpmError` `usage` for another scheme.
 */
export function signatureToDer(signature: Uint8Array): Uint8Array {
  const parts = signatureParts(decode(TpmtSignature, signature));
  return parts.scheme === 'ecdsa' ? derSequence(derInteger(parts.r), derInteger(parts.s)) : parts.signature;
}

/**
 * A TPMT_SIGNATURE in the form that JOSE, COSE and WebCrypto take: r and s one after another, each as long as the curve's
 * order, or the bare RSA signature. Throws `WireError` where the bytes are no signature, `TpmError` `usage` for another
 * scheme, or numbers that are too long for the key's curve.
 */
export function signatureToRaw(publicArea: TpmtPublic, signature: Uint8Array): Uint8Array {
  const parts = signatureParts(decode(TpmtSignature, signature));
  if (parts.scheme !== 'ecdsa') return parts.signature;
  const key = publicKeyOf(publicArea);
  const size = key.type === 'ecc' ? curveSize(key.curve) : 0;
  const r = padTo(parts.r, size);
  const s = padTo(parts.s, size);
  if (r && s) return concat(r, s);
  throw new TpmError('usage', `read signature: expected numbers of at most ${size} bytes, as the key's curve has them`);
}

/**
 * Whether `signature` (TPMT_SIGNATURE) is the key's signature of `message`, under the scheme and hash that the key is
 * bound to, if it is bound to one. Throws `WireError` where the signature does not decode.
 */
export function verifySignature(
  publicArea: TpmtPublic,
  message: Uint8Array,
  signature: Uint8Array,
  crypto: TpmCrypto = defaultCrypto,
): boolean {
  const decoded = decode(TpmtSignature, signature);
  if (!isSchemeOf(publicArea, decoded)) return false;
  return crypto.verify(publicKeyOf(publicArea), signatureParts(decoded), message);
}

/**
 * Whether an attestation (TPMS_ATTEST) is signed by the key and marked as made inside a TPM.
 *
 * The mark is proof only where `akPublic` is a restricted signing key of a genuine TPM, which the caller must know from
 * a certificate or a credential. Throws `WireError` where the signature does not decode.
 */
export function verifyAttestSignature(
  akPublic: TpmtPublic,
  quoted: Uint8Array,
  signature: Uint8Array,
  crypto: TpmCrypto = defaultCrypto,
): boolean {
  const magic = quoted.length >= 4 ? new DataView(quoted.buffer, quoted.byteOffset).getUint32(0) : 0;
  return magic === TPM_GENERATED_VALUE && verifySignature(akPublic, quoted, signature, crypto);
}

/** Encodes the signature of a response; a TPM gives the null signature only where no signing key was named. */
export function encodeSignature(signature: { readonly sigAlg: number }): Uint8Array {
  if (signature.sigAlg === TPM_ALG.NULL)
    throw new TpmError('integrity', 'sign: expected a signature, got the null one');
  return encode(TpmtSignature, signature as TpmtSignature); // told from TPMT_SIGNATURE+ by the line above
}

function isSchemeOf(publicArea: TpmtPublic, signature: TpmtSignature): boolean {
  if (publicArea.type !== TPM_ALG.RSA && publicArea.type !== TPM_ALG.ECC) return false;
  const { scheme } = publicArea.parameters;
  if (scheme.scheme === TPM_ALG.NULL) return true;
  if (scheme.scheme !== signature.sigAlg || !scheme.details || !('hash' in signature.signature)) return false;
  return scheme.details.hashAlg === signature.signature.hash;
}
