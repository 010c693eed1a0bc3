/** What a TPM adds to an X.509 certificate: RFC 5280, section 4.1; RFC 3279, 4055, 5480 and 5758 for keys and algorithms. */
import { TPM_ALG, TPM_ECC_CURVE, type TpmtPublicOrNull } from '@casemate/tpm';
import { concat, EMPTY, u32Bytes } from './bytes.js';
import { curveOf, padPoint } from './curve.js';
import { digestSize } from './implementation.js';
import type { Scheme } from './signing.js';

/** SEQUENCE. */
export function sequence(...members: readonly Uint8Array[]): Uint8Array {
  return element(0x30, ...members);
}

/** What an explicit tag wraps. */
export function explicit(tag: number, ...members: readonly Uint8Array[]): Uint8Array {
  return element(0xa0 | tag, ...members);
}

/** INTEGER from an unsigned number in big-endian bytes. */
export function integer(unsigned: Uint8Array): Uint8Array {
  const start = unsigned.findIndex((octet) => octet !== 0);
  const digits = start === -1 ? Uint8Array.of(0) : unsigned.subarray(start);
  return element(0x02, (digits[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : EMPTY, digits);
}

/** SubjectPublicKeyInfo, or undefined where X.509 has no form for the key. */
export function subjectPublicKey(area: TpmtPublicOrNull): Uint8Array | undefined {
  switch (area.type) {
    case TPM_ALG.RSA: {
      const { exponent } = area.parameters;
      const numbers = sequence(integer(area.unique), integer(u32Bytes(exponent === 0 ? 65537 : exponent)));
      return sequence(sequence(RSA_ENCRYPTION, NULL), bitString(numbers));
    }
    case TPM_ALG.ECC: {
      const [curve, name] = [curveOf(area.parameters.curveID), CURVE_NAMES[area.parameters.curveID]];
      if (curve === undefined || name === undefined) return undefined;
      const { x, y } = padPoint(curve, area.unique);
      return sequence(sequence(EC_PUBLIC_KEY, object(name)), bitString(concat(Uint8Array.of(4), x, y)));
    }
    default:
      return undefined;
  }
}

/** AlgorithmIdentifier of signatures by `area` with a scheme, or undefined where X.509 has none. */
export function signatureAlgorithm(area: TpmtPublicOrNull, { scheme, hash }: Scheme): Uint8Array | undefined {
  const hashes = HASH_NAMES[hash];
  if (hashes === undefined) return undefined;
  switch (scheme) {
    case TPM_ALG.RSASSA:
      return sequence(object(hashes.rsassa), NULL);
    case TPM_ALG.RSAPSS:
      return area.type === TPM_ALG.RSA ? pss(object(hashes.hash), hash, area.unique.length) : undefined;
    case TPM_ALG.ECDSA:
      return sequence(object(hashes.ecdsa));
    default:
      return undefined;
  }
}

// RFC 4055, 3.1: what is as by default, with SHA-1, is left out.
function pss(hashName: Uint8Array, hash: number, keySize: number): Uint8Array {
  if (hash === TPM_ALG.SHA1) return sequence(RSASSA_PSS, sequence());
  const algorithm = sequence(hashName, NULL);
  const saltSize = Math.min(digestSize(hash), keySize - digestSize(hash) - 2);
  const salt = explicit(2, integer(u32Bytes(saltSize)));
  return sequence(RSASSA_PSS, sequence(explicit(0, algorithm), explicit(1, sequence(MGF1, algorithm)), salt));
}

function bitString(contents: Uint8Array): Uint8Array {
  return element(0x03, Uint8Array.of(0), contents);
}

function object(hex: string): Uint8Array {
  return element(
    0x06,
    Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)),
  );
}

function element(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const contents = concat(...parts);
  const { length } = contents;
  if (length < 0x80) return concat(Uint8Array.of(tag, length), contents);
  if (length < 0x100) return concat(Uint8Array.of(tag, 0x81, length), contents);
  return concat(Uint8Array.of(tag, 0x82, length >>> 8, length), contents);
}

const NULL = Uint8Array.of(0x05, 0x00);
const RSA_ENCRYPTION = object('2a864886f70d010101');
const RSASSA_PSS = object('2a864886f70d01010a');
const MGF1 = object('2a864886f70d010108');
const EC_PUBLIC_KEY = object('2a8648ce3d0201');

const CURVE_NAMES: Readonly<Record<number, string>> = {
  [TPM_ECC_CURVE.NIST_P192]: '2a8648ce3d030101',
  [TPM_ECC_CURVE.NIST_P224]: '2b81040021',
  [TPM_ECC_CURVE.NIST_P256]: '2a8648ce3d030107',
  [TPM_ECC_CURVE.NIST_P384]: '2b81040022',
  [TPM_ECC_CURVE.NIST_P521]: '2b81040023',
  [TPM_ECC_CURVE.SM2_P256]: '2a811ccf5501822d',
};

const HASH_NAMES: Readonly<Record<number, { readonly hash: string; readonly rsassa: string; readonly ecdsa: string }>> =
  {
    [TPM_ALG.SHA1]: { hash: '2b0e03021a', rsassa: '2a864886f70d010105', ecdsa: '2a8648ce3d0401' },
    [TPM_ALG.SHA256]: { hash: '608648016503040201', rsassa: '2a864886f70d01010b', ecdsa: '2a8648ce3d040302' },
    [TPM_ALG.SHA384]: { hash: '608648016503040202', rsassa: '2a864886f70d01010c', ecdsa: '2a8648ce3d040303' },
    [TPM_ALG.SHA512]: { hash: '608648016503040203', rsassa: '2a864886f70d01010d', ecdsa: '2a8648ce3d040304' },
  };
