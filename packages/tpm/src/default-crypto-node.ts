/**
 * Which crypto provider is used on Node where none was chosen: OpenSSL. @noble takes longer to load than the rest of the
 * package together, so it waits until somebody uses it.
 */
import type { TpmCrypto, TpmHashes } from './crypto.js';
import { nodeCrypto } from './node-provider.js';
import { TpmError } from './response-code.js';

export const defaultCrypto: TpmCrypto = nodeCrypto;
export const defaultHashes: TpmHashes = nodeCrypto;

export const nobleCrypto: TpmCrypto = {
  random: (length) => noble().random(length),
  hash: (algorithm, ...parts) => noble().hash(algorithm, ...parts),
  hmac: (algorithm, key, ...parts) => noble().hmac(algorithm, key, ...parts),
  aesCfbEncrypt: (key, iv, data) => noble().aesCfbEncrypt(key, iv, data),
  aesCfbDecrypt: (key, iv, data) => noble().aesCfbDecrypt(key, iv, data),
  rsaOaepEncrypt: (key, hash, label, message) => noble().rsaOaepEncrypt(key, hash, label, message),
  ecdh: (peer) => noble().ecdh(peer),
  verify: (key, signature, message) => noble().verify(key, signature, message),
};
export const nobleHashes: TpmHashes = nobleCrypto;

let loaded: TpmCrypto | undefined;

function noble(): TpmCrypto {
  loaded ??= load();
  return loaded;
}

function load(): TpmCrypto {
  try {
    // The file is our own, built from noble-crypto.ts.
    const { createRequire } = process.getBuiltinModule('node:module'); // an import would load it, and its source maps, always
    const file = createRequire(import.meta.url)('#noble-crypto') as { readonly nobleCrypto: TpmCrypto };
    return file.nobleCrypto;
  } catch (cause) {
    const hint = 'a bundle for Node leaves it out: use nodeCrypto there, or bundle for the condition "browser"';
    throw new TpmError('usage', `load nobleCrypto: expected its file beside the package, got none; ${hint}`, { cause });
  }
}
