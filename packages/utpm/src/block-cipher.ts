/** Block ciphers and their modes: Part 1, annex on symmetric encryption; Part 2, 11.1; Part 3, 15.2. */
import { TPM_ALG } from '@casemate/tpm';
import type { CipherRequest, UtpmCrypto } from './crypto.js';

/** The modes that encrypt; CMAC is a mode of the type but makes a MAC. */
export const CIPHER_MODES: readonly number[] = [TPM_ALG.CTR, TPM_ALG.OFB, TPM_ALG.CBC, TPM_ALG.CFB, TPM_ALG.ECB];

/** The length of a block in bytes. */
export function blockSize(algorithm: number): number {
  return algorithm === TPM_ALG.TDES ? 8 : 16;
}

const KEY_BITS: Readonly<Record<number, readonly number[]>> = {
  [TPM_ALG.AES]: [128, 192, 256],
  [TPM_ALG.CAMELLIA]: [128, 256],
  [TPM_ALG.TDES]: [128, 192],
};

/** The key sizes in bits that the TPM has of a cipher; none where it does not have the cipher. */
export function cipherKeyBits(algorithm: number): readonly number[] {
  return KEY_BITS[algorithm] ?? [];
}

/** What a mode gives: the data, and the initial vector with which the next part would go on. */
export interface CipherResult {
  readonly data: Uint8Array;
  readonly iv: Uint8Array;
}

/** Runs a mode; data for CBC and ECB are whole blocks, and ECB has no initial vector. */
export function runCipher(crypto: UtpmCrypto, request: CipherRequest): CipherResult {
  if (request.data.length === 0) return { data: request.data, iv: request.iv };
  return { data: crypto.cipher(request), iv: nextIv(crypto, request) };
}

// What OpenSSL leaves in its context. After a part of a block CFB keeps what is left of the key stream behind the cipher text.
function nextIv(crypto: UtpmCrypto, request: CipherRequest): Uint8Array {
  const { algorithm, mode, data, iv } = request;
  const size = blockSize(algorithm);
  const blocks = Math.ceil(data.length / size);
  switch (mode) {
    case TPM_ALG.ECB:
      return request.iv;
    case TPM_ALG.CTR:
      return addTo(iv, blocks);
    case TPM_ALG.OFB:
      return crypto.cipher({ ...request, direction: 'encrypt', data: new Uint8Array(blocks * size) }).slice(-size);
    default: {
      const padded = new Uint8Array(blocks * size);
      padded.set(data);
      const isEncrypted = request.direction === 'decrypt';
      const whole = isEncrypted ? padded : crypto.cipher({ ...request, data: padded });
      const last = whole.slice(-size);
      const rest = data.length % size;
      if (rest === 0 || !isEncrypted) return last;
      // Decrypting zeros gives the key stream of the bytes that are not there.
      last.set(
        crypto
          .cipher({ ...request, data: padded })
          .slice(-size)
          .subarray(rest),
        rest,
      );
      return last;
    }
  }
}

function addTo(counter: Uint8Array, blocks: number): Uint8Array {
  const sum = counter.slice();
  let carry = blocks;
  for (let i = sum.length - 1; i >= 0 && carry > 0; i--) {
    carry += sum[i] ?? 0;
    sum[i] = carry & 0xff;
    carry >>>= 8;
  }
  return sum;
}

/** Full-block CFB, the mode in which the TPM protects what is its own; `iv` is a block. */
export function cfb(
  crypto: UtpmCrypto,
  direction: CipherRequest['direction'],
  algorithm: number,
  key: Uint8Array,
  iv: Uint8Array,
  data: Uint8Array,
): Uint8Array {
  return crypto.cipher({ algorithm, mode: TPM_ALG.CFB, direction, key, iv, data });
}

/** An initial vector of zeros, for keys that are used once. */
export function zeroIv(algorithm: number): Uint8Array {
  return new Uint8Array(blockSize(algorithm));
}
