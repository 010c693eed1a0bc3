/** What the operations by node:crypto share: OpenSSL itself, its names of curves, and bytes as it wants them. */
import { concat, padTo } from './bytes.js';
import { TPM_ECC_CURVE } from './constants/algorithms.js';
import type { EccPublicKey } from './crypto.js';
import { TpmError } from './response-code.js';

let loaded: typeof import('node:crypto') | undefined;

/** Loaded at the first operation: it takes as long as a third of this package, and who only decodes needs none of it. */
export function crypto(): typeof import('node:crypto') {
  loaded ??= process.getBuiltinModule('node:crypto');
  return loaded;
}

export function encodePoint(key: EccPublicKey, size: number): Uint8Array {
  const x = padTo(key.x, size);
  const y = padTo(key.y, size);
  if (!x || !y) throw new TpmError('usage', `use ECC point: expected at most ${size} bytes a coordinate`);
  return concat(Uint8Array.of(4), x, y);
}

export function curve(identifier: number): { readonly openssl: string; readonly jwk: string; readonly size: number } {
  switch (identifier) {
    case TPM_ECC_CURVE.NIST_P256:
      return { openssl: 'prime256v1', jwk: 'P-256', size: 32 };
    case TPM_ECC_CURVE.NIST_P384:
      return { openssl: 'secp384r1', jwk: 'P-384', size: 48 };
    case TPM_ECC_CURVE.NIST_P521:
      return { openssl: 'secp521r1', jwk: 'P-521', size: 66 };
    default:
      throw new TpmError(
        'usage',
        `use ECC key: expected curve P-256, P-384 or P-521, got TPM_ECC_CURVE 0x${identifier.toString(16)}`,
      );
  }
}

/** A Buffer as the Uint8Array that it is a view of, so that no Buffer method or type leaks. */
export function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

export function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}
