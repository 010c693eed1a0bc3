/** The place that `@casemate/pki/ml-dsa` fills in: ML-DSA (FIPS 204) weighs too much for those who do not ask for it. */
import { PkiError } from './error.js';
import type { SoftwareKey } from './key.js';

/** The parameter sets of ML-DSA (FIPS 204 table 1). */
export type MlDsaSet = 44 | 65 | 87;

/** What this package needs of ML-DSA. Public keys and signatures are raw, as FIPS 204 encodes them. */
export interface MlDsaProvider {
  /** A fresh key. */
  generate(set: MlDsaSet): SoftwareKey;
  /** A key from PKCS#8 DER. Throws {@link PkiError} `malformed`. */
  importKey(set: MlDsaSet, pkcs8: Uint8Array): SoftwareKey;
  /** Whether a signature over `data` with an empty context verifies. */
  verify(set: MlDsaSet, publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean;
}

let provider: MlDsaProvider | undefined;

/** Fills the place. */
export function provideMlDsa(given: MlDsaProvider): void {
  provider = given;
}

/** What fills the place. Throws {@link PkiError} `unsupported` where nobody asked for ML-DSA. */
export function mlDsa(): MlDsaProvider {
  if (provider !== undefined) return provider;
  throw new PkiError(
    'unsupported',
    'use ML-DSA: expected enableMlDsa() of @casemate/pki/ml-dsa to be called, got no call',
  );
}
