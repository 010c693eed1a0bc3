/** HMAC_DRBG without prediction resistance: SP 800-90A revision 1, section 10.1.2. */

/** HMAC over the concatenation of `parts`; the provider's, with the hash algorithm fixed. */
export type Hmac = (key: Uint8Array, ...parts: readonly Uint8Array[]) => Uint8Array;

/** A deterministic stream of bytes; the same seed gives the same stream. */
export interface Drbg {
  /** The next `length` bytes. */
  generate(length: number): Uint8Array;
  /** Overwrites the inner state; no `generate` may follow. */
  wipe(): void;
}

/** Instantiates over `seedMaterial` (entropy, nonce and personalization string, one after another); `digestLength` is of `hmac`, in bytes. */
export function openDrbg(hmac: Hmac, digestLength: number, ...seedMaterial: readonly Uint8Array[]): Drbg {
  let key: Uint8Array = new Uint8Array(digestLength);
  let value: Uint8Array = new Uint8Array(digestLength).fill(1);
  const update = (provided: readonly Uint8Array[]): void => {
    const rounds = provided.some((part) => part.length > 0) ? [0, 1] : [0];
    for (const round of rounds) {
      key = hmac(key, value, Uint8Array.of(round), ...provided);
      value = hmac(key, value);
    }
  };
  update(seedMaterial);
  return {
    generate(length) {
      const out = new Uint8Array(length);
      for (let at = 0; at < length; at += digestLength) {
        value = hmac(key, value);
        out.set(value.subarray(0, Math.min(digestLength, length - at)), at);
      }
      update([]);
      return out;
    },
    wipe() {
      key.fill(0);
      value.fill(0);
    },
  };
}
