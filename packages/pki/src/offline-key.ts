/** Keys that are known but not here: of roots that a ceremony keeps offline. */
import type { SignatureAlgorithm } from './algorithm.js';
import { PkiError } from './error.js';
import type { SoftwareKey } from './key.js';

const offline = new WeakSet<SoftwareKey>();

/** A key whose uses all fail with `key-store`. `name` is the authority's. */
export function offlineKey(name: string, publicKey: Uint8Array, algorithm: SignatureAlgorithm): SoftwareKey {
  const refuse = () =>
    Promise.reject(new PkiError('key-store', `use key: expected the key of ${name} here, got one that is offline`));
  const key = { algorithm, publicKey, sign: refuse, unsafeExportKey: refuse };
  offline.add(key);
  return key;
}

/** Whether a key is one of {@link offlineKey}. */
export function isOffline(key: SoftwareKey): boolean {
  return offline.has(key);
}
