/** The WebCrypto of the platform, OpenSSL in Node and BoringSSL in Chromium: an implementation that is not ours to test against. */

/** Hexadecimal digits to bytes. */
export function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** Bytes to hexadecimal digits. */
export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** base64url, as JSON Web Keys have it, to bytes. */
export function fromBase64url(text: string | undefined): Uint8Array<ArrayBuffer> {
  const binary = atob((text ?? '').replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

const CURVES: Readonly<Record<string, { readonly name: string; readonly size: number }>> = {
  p256: { name: 'P-256', size: 32 },
  p384: { name: 'P-384', size: 48 },
  p521: { name: 'P-521', size: 66 },
};

/** Does WebCrypto verify a signature by the key in `spki`? `algorithm` is as `tpmSigner` has it, such as `ecdsa-p256-sha256`. */
export async function isSignature(
  spki: Uint8Array,
  algorithm: string,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const [scheme, kind = '', hashName = ''] = algorithm.split('-');
  const hash = `SHA-${hashName.slice(3)}`;
  const curve = CURVES[kind];
  if (scheme === 'ecdsa' && curve) {
    const key = await importSpki(spki, { name: 'ECDSA', namedCurve: curve.name });
    return crypto.subtle.verify({ name: 'ECDSA', hash }, key, rawSignature(signature, curve.size), copy(data));
  }
  const key = await importSpki(spki, { name: 'RSASSA-PKCS1-v1_5', hash });
  return crypto.subtle.verify('RSASSA-PKCS1-v1_5', key, copy(signature), copy(data));
}

type KeyAlgorithm =
  | { readonly name: string; readonly namedCurve: string }
  | { readonly name: string; readonly hash: string };

function importSpki(spki: Uint8Array, algorithm: KeyAlgorithm): ReturnType<typeof crypto.subtle.importKey> {
  return crypto.subtle.importKey('spki', copy(spki), algorithm, true, ['verify']);
}

// WebCrypto takes both halves one after another; the DER is a SEQUENCE of two INTEGERs.
function rawSignature(der: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const raw = new Uint8Array(2 * size);
  let at = (der[1] ?? 0) > 0x80 ? 3 : 2;
  for (const end of [size, 2 * size]) {
    const length = der[at + 1] ?? 0;
    const integer = der.slice(at + 2, at + 2 + length);
    const value = integer.subarray(integer[0] === 0 ? 1 : 0);
    raw.set(value, end - value.length);
    at += 2 + length;
  }
  return raw;
}

/** A copy in memory of its own, which is what WebCrypto's types ask for. */
export function copy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
