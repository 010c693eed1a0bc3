/** CMAC (SP 800-38B) by the cipher-block chaining of the provider, over data that come in parts. */
import { TPM_ALG } from '@casemate/tpm';
import { blockSize } from './block-cipher.js';
import { concat, EMPTY, u16Bytes } from './bytes.js';
import type { UtpmCrypto } from './crypto.js';
import type { Running } from './running-hash.js';

/** Starts a CMAC with a block cipher's key. */
export function runningCmac(crypto: UtpmCrypto, algorithm: number, key: Uint8Array): Running {
  return cmacFrom(crypto, algorithm, key.slice(), new Uint8Array(blockSize(algorithm)), EMPTY);
}

/** Goes on with a CMAC from what `save` gave. */
export function resumedCmac(crypto: UtpmCrypto, saved: Uint8Array): Running {
  const view = new DataView(saved.buffer, saved.byteOffset, saved.byteLength);
  const [algorithm, keyLength] = [view.getUint16(0), view.getUint16(2)];
  const chainAt = 4 + keyLength;
  const openAt = chainAt + blockSize(algorithm);
  return cmacFrom(crypto, algorithm, saved.slice(4, chainAt), saved.slice(chainAt, openAt), saved.slice(openAt));
}

// `open` is what has not been chained yet: the last block, whole or in part, is treated apart.
function cmacFrom(
  crypto: UtpmCrypto,
  algorithm: number,
  key: Uint8Array,
  chain: Uint8Array,
  open: Uint8Array,
): Running {
  const size = blockSize(algorithm);
  const cbc = (iv: Uint8Array, data: Uint8Array): Uint8Array =>
    crypto.cipher({ algorithm, mode: TPM_ALG.CBC, direction: 'encrypt', key, iv, data });
  return {
    alg: TPM_ALG.CMAC,
    update(data) {
      const all = concat(open, data);
      const ready = Math.max(0, Math.ceil(all.length / size) - 1) * size;
      if (ready > 0) chain = cbc(chain, all.slice(0, ready)).slice(-size);
      open = all.slice(ready);
    },
    digest() {
      const once = doubled(cbc(new Uint8Array(size), new Uint8Array(size)));
      const isWhole = open.length === size;
      const last = isWhole ? once : doubled(once);
      open.forEach((byte, i) => {
        last[i] = (last[i] ?? 0) ^ byte;
      });
      if (!isWhole) last[open.length] = (last[open.length] ?? 0) ^ 0x80;
      return cbc(chain, last);
    },
    save: () => concat(u16Bytes(algorithm), u16Bytes(key.length), key, chain, open),
  };
}

/** Times x in the field of the cipher's block (SP 800-38B, 5.3). */
function doubled(block: Uint8Array): Uint8Array {
  const polynomial = block.length === 8 ? 0x1b : 0x87;
  const out = block.map((byte, i) => (byte << 1) | ((block[i + 1] ?? 0) >> 7));
  const end = out.length - 1;
  out[end] = (out[end] ?? 0) ^ (polynomial & -((block[0] ?? 0) >> 7));
  return out;
}
