/** The services of the isolate, with the names of the TEE-SDK's svcapi.h; what each import takes is written in @casemate/pal-linker. */

@external('trustvisor', 'utpm_pcr_read')
declare function utpm_pcr_read(index: u32, digest: usize): u32;
@external('trustvisor', 'utpm_pcr_extend')
declare function utpm_pcr_extend(index: u32, digest: usize): u32;
@external('trustvisor', 'utpm_seal')
declare function utpm_seal(data: usize, length: u32, policy: usize, policyLength: u32, blob: usize, blobLength: usize): u32;
@external('trustvisor', 'utpm_unseal')
declare function utpm_unseal(blob: usize, length: u32, data: usize, dataLength: usize, creation: usize): u32;
@external('trustvisor', 'utpm_quote')
declare function utpm_quote(
  nonce: usize,
  length: u32,
  mask: u32,
  attest: usize,
  attestLength: usize,
  signature: usize,
  signatureLength: usize,
): u32;
@external('trustvisor', 'utpm_rand')
declare function utpm_rand(out: usize, length: u32): u32;
@external('trustvisor', 'utpm_id_getpub')
declare function utpm_id_getpub(out: usize, length: usize): u32;
@external('trustvisor', 'time_elapsed')
declare function time_elapsed(epoch: usize, micros: usize): u32;
@external('trustvisor', 'print')
declare function print_(text: usize, length: u32): u32;
@external('trustvisor', 'state_read')
declare function state_read(out: usize, length: usize): u32;
@external('trustvisor', 'state_write')
declare function state_write(data: usize, length: u32): u32;

/** What a service returns when it has done its work. */
export const SVC_STATUS_SUCCESS: u32 = 0;
/** The output did not fit. */
export const SVC_STATUS_SHORT_BUFFER: u32 = 5;
/** A blob is not authentic, or its policy is not satisfied. */
export const SVC_STATUS_REFUSED: u32 = 6;
/** This PAL has no such service. */
export const SVC_STATUS_UNAVAILABLE: u32 = 7;

/** The longest output that the wrappers below make room for, in bytes. */
const MAX_OUTPUT: u32 = 65536;
const FIRST_OUTPUT: u32 = 1024;

/** A quote: TPMS_ATTEST and TPMT_SIGNATURE, as bytes. */
export class Quote {
  constructor(
    public attest: Uint8Array,
    public signature: Uint8Array,
  ) {}
}

/** The status of the last call of a service that returned `null`. */
export let svc_last_status: u32 = 0;

/** The 32 bytes of uPCR `index`, or `null`. */
export function svc_utpm_pcr_read(index: u32): Uint8Array | null {
  const digest = new Uint8Array(32);
  return orNull(digest, utpm_pcr_read(index, digest.dataStart));
}

/** Extends uPCR `index` by a SHA-256 digest; returns a status. */
export function svc_utpm_pcr_extend(index: u32, digest: Uint8Array): u32 {
  if (digest.length != 32) return 1;
  return utpm_pcr_extend(index, digest.dataStart);
}

/** Seals `data` to this PAL (`pcrMask` 0) or to the uPCRs of the mask as they are now; `null` on failure. */
export function svc_utpm_seal(data: Uint8Array, pcrMask: u32 = 0): Uint8Array | null {
  const policy = new StaticArray<u32>(1);
  policy[0] = pcrMask;
  const length = new StaticArray<u32>(1);
  const policyLength: u32 = pcrMask == 0 ? 0 : 4;
  const at = changetype<usize>(length);
  let blob = new Uint8Array(data.length + FIRST_OUTPUT);
  length[0] = blob.length;
  let status = utpm_seal(data.dataStart, data.length, changetype<usize>(policy), policyLength, blob.dataStart, at);
  if (status == SVC_STATUS_SHORT_BUFFER && length[0] <= MAX_OUTPUT) {
    blob = new Uint8Array(length[0]);
    status = utpm_seal(data.dataStart, data.length, changetype<usize>(policy), policyLength, blob.dataStart, at);
  }
  return cut(blob, length[0], status);
}

/** Opens a blob of {@link svc_utpm_seal}; `null` where it is not authentic or its policy not satisfied. */
export function svc_utpm_unseal(blob: Uint8Array): Uint8Array | null {
  const length = new StaticArray<u32>(1);
  const data = new Uint8Array(blob.length);
  length[0] = blob.length;
  const status = utpm_unseal(blob.dataStart, blob.length, data.dataStart, changetype<usize>(length), 0);
  return cut(data, length[0], status);
}

/** A quote over the uPCRs of `mask` with `nonce`; `null` on failure. */
export function svc_utpm_quote(nonce: Uint8Array, mask: u32): Quote | null {
  const lengths = new StaticArray<u32>(2);
  const attest = new Uint8Array(FIRST_OUTPUT);
  const signature = new Uint8Array(FIRST_OUTPUT);
  lengths[0] = FIRST_OUTPUT;
  lengths[1] = FIRST_OUTPUT;
  const at = changetype<usize>(lengths);
  const status = utpm_quote(nonce.dataStart, nonce.length, mask, attest.dataStart, at, signature.dataStart, at + 4);
  const quoted = cut(attest, lengths[0], status);
  const signed = cut(signature, lengths[1], status);
  return quoted === null || signed === null ? null : new Quote(quoted, signed);
}

/** `length` random bytes, at most 4096; `null` on failure. */
export function svc_utpm_rand(length: u32): Uint8Array | null {
  const out = new Uint8Array(length);
  return orNull(out, utpm_rand(out.dataStart, length));
}

/** The TPMT_PUBLIC of the key that signs quotes; `null` on failure. */
export function svc_utpm_id_getpub(): Uint8Array | null {
  const length = new StaticArray<u32>(1);
  const out = new Uint8Array(FIRST_OUTPUT);
  length[0] = FIRST_OUTPUT;
  const status = utpm_id_getpub(out.dataStart, changetype<usize>(length));
  return cut(out, length[0], status);
}

/** Microseconds since the clock started; -1 where this PAL has no clock. */
export function svc_time_elapsed_us(): i64 {
  const micros = new StaticArray<i64>(1);
  svc_last_status = time_elapsed(0, changetype<usize>(micros));
  return svc_last_status == SVC_STATUS_SUCCESS ? micros[0] : -1;
}

/** The replay-protected state: empty before the first {@link writeState}, `null` on failure. */
export function readState(): Uint8Array | null {
  const length = new StaticArray<u32>(1);
  let out = new Uint8Array(FIRST_OUTPUT);
  length[0] = FIRST_OUTPUT;
  let status = state_read(out.dataStart, changetype<usize>(length));
  if (status == SVC_STATUS_SHORT_BUFFER && length[0] <= MAX_OUTPUT) {
    out = new Uint8Array(length[0]);
    status = state_read(out.dataStart, changetype<usize>(length));
  }
  return cut(out, length[0], status);
}

/** Replaces the replay-protected state; returns a status. */
export function writeState(data: Uint8Array): u32 {
  return state_write(data.dataStart, data.length);
}

/** Shows `text` to the developer; returns a status. */
export function print(text: string): u32 {
  const utf8 = String.UTF8.encode(text);
  return print_(changetype<usize>(utf8), utf8.byteLength);
}

function orNull(bytes: Uint8Array, status: u32): Uint8Array | null {
  svc_last_status = status;
  return status == SVC_STATUS_SUCCESS ? bytes : null;
}

function cut(bytes: Uint8Array, length: u32, status: u32): Uint8Array | null {
  svc_last_status = status;
  if (status != SVC_STATUS_SUCCESS || length > <u32>bytes.length) return null;
  return bytes.slice(0, length);
}
