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
 * - `memory_lent(index, info)`: where the memory lies that the caller lent as the call's reference `index` (0, 1, 2…): 24 bytes,
 *   u64 address, u64 length, u32 access (1 read, 2 write), u32 0; `BAD_PARAM` where there is no such reference
 *
 * In TrustVisor's own structures, with SHA-1 (tv_utpm.h); these have eight uPCRs of 20 bytes beside those of 32:
 * - `tv_pcr_read(index, digest)`, `tv_pcr_extend(index, digest)`: 20 bytes; uPCR 0 begins as SHA-1(20 zero bytes || SHA-1(image))
 * - `tv_seal(data, dataLength, info, infoLength, blob, length*)`: `info` is a TPM_PCR_INFO of 43 bytes, or of length 0: this PAL alone
 * - `tv_unseal(blob, blobLength, data, length*, creation)`: `creation` takes the 20 bytes of the digest at creation
 * - `tv_quote(selection, selectionLength, nonce, signature, length*, composite, length*)`: TPM_PCR_SELECTION of 3 bytes and 20 bytes of
 *   nonce; an RSASSA-PKCS1-v1_5 signature of SHA-1(TPM_QUOTE_INFO), and the TPM_PCR_COMPOSITE
 * - `tv_id_getpub(out, length*)`: the DER RSAPublicKey of the RSA-2048 key that signs these
 *
 * What outlives the PAL's registration and cannot be rolled back:
 * - `counter_read(value)`, `counter_increment(value)`: u64 of the PAL's own counter
 * - `tpmnvram_getsize(size)`: u32, 32; `tpmnvram_readall(data)`, `tpmnvram_writeall(data)`: the 32 bytes
 *
 * Sealing with a policy of 80 bytes (u32 kind, u32 mask of uPCRs, u32 version, u32 0, 32 bytes of label, 32 bytes of digest):
 * - `seal_data(policy, data, dataLength, extra, extraLength, blob, length*)`: kind 0 this PAL, 1 the uPCRs of the mask at their values
 *   now, 2 the same at the digest, 3 the PAL whose measurement is the digest, 4 any PAL by this one's signer, of its name, and with at
 *   least its security version. `extra` is authenticated and not stored
 * - `unseal_data(blob, blobLength, extra, extraLength, data, length*, info)`: `info` takes 80 bytes: kind, mask, version, the security
 *   version of the PAL that sealed, label, SHA-256(uPCR 0) of that PAL
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
  | 'state_write'
  | 'memory_lent'
  | 'tv_pcr_read'
  | 'tv_pcr_extend'
  | 'tv_seal'
  | 'tv_unseal'
  | 'tv_quote'
  | 'tv_id_getpub'
  | 'counter_read'
  | 'counter_increment'
  | 'tpmnvram_getsize'
  | 'tpmnvram_readall'
  | 'tpmnvram_writeall'
  | 'seal_data'
  | 'unseal_data';

/**
 * How many `i32` parameters each service takes; each returns one `i32`. See {@link PalServiceName} for what they mean. The position
 * is the service's number on the engine kvm, from 1 on: new ones come last.
 */
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
  memory_lent: 2,
  tv_pcr_read: 2,
  tv_pcr_extend: 2,
  tv_seal: 6,
  tv_unseal: 5,
  tv_quote: 7,
  tv_id_getpub: 2,
  counter_read: 1,
  counter_increment: 1,
  tpmnvram_getsize: 1,
  tpmnvram_readall: 1,
  tpmnvram_writeall: 1,
  seal_data: 7,
  unseal_data: 7,
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
  /** This PAL has no such service: time and quotes in a replay-protected PAL, state in another, a counter without a TPM. */
  UNAVAILABLE: 7,
} as const;

/** A value of {@link PAL_STATUS}. */
export type PalStatus = (typeof PAL_STATUS)[keyof typeof PAL_STATUS];

/** Whether `name` is one of {@link PAL_SERVICES}. */
export function isPalService(name: string): name is PalServiceName {
  return Object.hasOwn(PAL_SERVICES, name);
}
