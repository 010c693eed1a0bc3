/** The services that a PAL may import, with their types and result codes: TrustVisor's hypercalls, as imports of `trustvisor`. */

/** The module name from which a PAL imports its services. */
export const PAL_SERVICE_MODULE = 'trustvisor';

/**
 * The name of a service. All parameters and results are `i32`. A pointer is an offset into the PAL's memory; `length*`
 * points to a little-endian u32 that holds the capacity before the call and the true length after it, also when the
 * buffer was too short (`SHORT_BUFFER`, nothing else written). Every service returns a {@link PAL_STATUS}.
 *
 * - `utpm_pcr_read(index, digest)`: writes the 32 bytes of a uPCR (SHA-256); `index` 0 to 7
 * - `utpm_pcr_extend(index, digest)`: uPCR = SHA-256(uPCR || 32 bytes)
 * - `utpm_seal(data, dataLength, policy, policyLength, blob, length*)`: `policyLength` 0: this PAL alone (uPCR 0 now);
 *   4: u32 mask of uPCRs at their values now; 36: that mask and the SHA-256 of the selected uPCRs at release
 * - `utpm_unseal(blob, blobLength, data, length*, creation)`: `creation` is 0 or takes the 32 bytes SHA-256(uPCR 0) of the
 *   PAL that sealed
 * - `utpm_quote(nonce, nonceLength, mask, attest, length*, signature, length*)`: TPMS_ATTEST and TPMT_SIGNATURE
 * - `utpm_rand(out, length)`: at most 4096 bytes
 * - `utpm_id_getpub(out, length*)`: the TPMT_PUBLIC of the key that signs quotes
 * - `time_elapsed(epoch, micros)`: `epoch` is 0 or takes 8 bytes that name this start of the clock; a u64 of microseconds
 * - `print(text, length)`: UTF-8, at most 4096 bytes
 * - `state_read(out, length*)`, `state_write(data, length)`: the replay-protected state
 */
export type PalServiceName =
  | 'utpm_pcr_read'
  | 'utpm_pcr_extend'
  | 'utpm_seal'
  | 'utpm_unseal'
  | 'utpm_quote'
  | 'utpm_rand'
  | 'utpm_id_getpub'
  | 'time_elapsed'
  | 'print'
  | 'state_read'
  | 'state_write';

/** How many `i32` parameters each service takes; each returns one `i32`. See {@link PalServiceName} for what they mean. */
export const PAL_SERVICES: Readonly<Record<PalServiceName, number>> = {
  utpm_pcr_read: 2,
  utpm_pcr_extend: 2,
  utpm_seal: 6,
  utpm_unseal: 5,
  utpm_quote: 7,
  utpm_rand: 2,
  utpm_id_getpub: 2,
  time_elapsed: 2,
  print: 2,
  state_read: 2,
  state_write: 2,
};

/** What a service returns to the PAL. 0 to 4 are the numbers of TrustVisor's own micro-TPM. */
export const PAL_STATUS = {
  /** Done. */
  SUCCESS: 0,
  /** A pointer, length or other argument is out of range. */
  BAD_PARAM: 1,
  /** There is no uPCR of that index. */
  PCR_OUT_OF_RANGE: 2,
  /** No randomness could be had. */
  INSUFFICIENT_ENTROPY: 3,
  /** The service failed inside. */
  ERR: 4,
  /** The output does not fit; the length needed was written. */
  SHORT_BUFFER: 5,
  /** The blob is not authentic, or its policy is not satisfied by the uPCRs. */
  REFUSED: 6,
  /** This PAL has no such service: time in a replay-protected PAL, state in another. */
  UNAVAILABLE: 7,
} as const;

/** A value of {@link PAL_STATUS}. */
export type PalStatus = (typeof PAL_STATUS)[keyof typeof PAL_STATUS];

/** Whether `name` is one of {@link PAL_SERVICES}. */
export function isPalService(name: string): name is PalServiceName {
  return Object.hasOwn(PAL_SERVICES, name);
}
