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
@external('trustvisor', 'counter_read')
declare function counter_read(value: usize): u32;
@external('trustvisor', 'counter_increment')
declare function counter_increment(value: usize): u32;
@external('trustvisor', 'tpmnvram_getsize')
declare function tpmnvram_getsize(size: usize): u32;
@external('trustvisor', 'tpmnvram_readall')
declare function tpmnvram_readall(data: usize): u32;
@external('trustvisor', 'tpmnvram_writeall')
declare function tpmnvram_writeall(data: usize): u32;
@external('trustvisor', 'seal_data')
declare function seal_data(
  policy: usize,
  data: usize,
  length: u32,
  extra: usize,
  extraLength: u32,
  blob: usize,
  blobLength: usize,
): u32;
@external('trustvisor', 'unseal_data')
declare function unseal_data(
  blob: usize,
  length: u32,
  extra: usize,
  extraLength: u32,
  data: usize,
  dataLength: usize,
  info: usize,
): u32;
@external('trustvisor', 'tv_pcr_read')
declare function tv_pcr_read(index: u32, digest: usize): u32;
@external('trustvisor', 'tv_pcr_extend')
declare function tv_pcr_extend(index: u32, digest: usize): u32;
@external('trustvisor', 'tv_seal')
declare function tv_seal(data: usize, length: u32, info: usize, infoLength: u32, blob: usize, blobLength: usize): u32;
@external('trustvisor', 'tv_unseal')
declare function tv_unseal(blob: usize, length: u32, data: usize, dataLength: usize, creation: usize): u32;
@external('trustvisor', 'tv_quote')
declare function tv_quote(
  selection: usize,
  selectionLength: u32,
  nonce: usize,
  signature: usize,
  signatureLength: usize,
  composite: usize,
  compositeLength: usize,
): u32;
@external('trustvisor', 'tv_id_getpub')
declare function tv_id_getpub(out: usize, length: usize): u32;

/** What a service returns when it has done its work. */
export const SVC_STATUS_SUCCESS: u32 = 0;
/** A parameter is out of range. */
export const SVC_STATUS_BAD_PARAM: u32 = 1;
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
  if (digest.length != 32) return SVC_STATUS_BAD_PARAM;
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

/** The PAL's own counter, which only grows and outlives everything but the TPM; -1 where there is none. */
export function readCounter(): i64 {
  const value = new StaticArray<i64>(1);
  svc_last_status = counter_read(changetype<usize>(value));
  return svc_last_status == SVC_STATUS_SUCCESS ? value[0] : -1;
}

/** Adds one to the PAL's own counter and returns it; -1 where there is none. */
export function incrementCounter(): i64 {
  const value = new StaticArray<i64>(1);
  svc_last_status = counter_increment(changetype<usize>(value));
  return svc_last_status == SVC_STATUS_SUCCESS ? value[0] : -1;
}

/** Bytes of the PAL's own protected memory in the TPM; 0 where there is none. */
export function svc_tpmnvram_getsize(): u32 {
  const size = new StaticArray<u32>(1);
  svc_last_status = tpmnvram_getsize(changetype<usize>(size));
  return svc_last_status == SVC_STATUS_SUCCESS ? size[0] : 0;
}

/** The PAL's own protected memory in the TPM, 32 bytes; `null` on failure. */
export function svc_tpmnvram_readall(): Uint8Array | null {
  const data = new Uint8Array(32);
  return orNull(data, tpmnvram_readall(data.dataStart));
}

/** Replaces the PAL's own protected memory by 32 bytes; returns a status. */
export function svc_tpmnvram_writeall(data: Uint8Array): u32 {
  return data.length == 32 ? tpmnvram_writeall(data.dataStart) : SVC_STATUS_BAD_PARAM;
}

/** To whom data is sealed; made by its static functions. */
export class SealPolicy {
  /** The policy as the service takes it, 80 bytes. */
  readonly bytes: Uint8Array;

  private constructor(kind: u32, mask: u32, version: u32, label: string, digest: Uint8Array | null) {
    this.bytes = new Uint8Array(80);
    const at = this.bytes.dataStart;
    store<u32>(at, kind);
    store<u32>(at, mask, 4);
    store<u32>(at, version, 8);
    const name = String.UTF8.encode(label);
    memory.copy(at + 16, changetype<usize>(name), min<usize>(name.byteLength, 32));
    if (digest !== null) memory.copy(at + 48, digest.dataStart, min<usize>(digest.length, 32));
  }

  /** This PAL alone, in this very build. `label` (at most 32 bytes) and `version` are the PAL's own, and come back at unsealing. */
  static thisPal(label: string = '', version: u32 = 0): SealPolicy {
    return new SealPolicy(0, 0, version, label, null);
  }

  /** The uPCRs of `mask` at the values that they have now. */
  static pcrs(mask: u32, label: string = '', version: u32 = 0): SealPolicy {
    return new SealPolicy(1, mask, version, label, null);
  }

  /** The uPCRs of `mask` where the SHA-256 of their values is `digest`. */
  static pcrsAt(mask: u32, digest: Uint8Array, label: string = '', version: u32 = 0): SealPolicy {
    return new SealPolicy(2, mask, version, label, digest);
  }

  /** The PAL whose measurement is `measurement`. */
  static pal(measurement: Uint8Array, label: string = '', version: u32 = 0): SealPolicy {
    return new SealPolicy(3, 0, version, label, measurement);
  }

  /** Any PAL by this one's signer, of its name, with at least its security version: how state outlives an update. */
  static signer(label: string = '', version: u32 = 0): SealPolicy {
    return new SealPolicy(4, 0, version, label, null);
  }
}

/** What {@link unsealData} gives. */
export class Unsealed {
  constructor(
    /** What was sealed. */
    public data: Uint8Array,
    /** The version that the policy had. */
    public version: u32,
    /** The security version of the PAL that sealed. */
    public securityVersion: u32,
    /** 32 bytes: the label that the policy had, then zeros. */
    public label: Uint8Array,
    /** 32 bytes: SHA-256 of uPCR 0 of the PAL that sealed. */
    public creation: Uint8Array,
  ) {}
}

/** Seals `data` under `policy`; `extra` is authenticated and must be given again at unsealing. `null` on failure. */
export function sealData(policy: SealPolicy, data: Uint8Array, extra: Uint8Array | null = null): Uint8Array | null {
  const length = new StaticArray<u32>(1);
  const at = changetype<usize>(length);
  const with_ = extra === null ? new Uint8Array(0) : extra;
  const from = policy.bytes.dataStart;
  let blob = new Uint8Array(data.length + FIRST_OUTPUT);
  length[0] = blob.length;
  let status = seal_data(from, data.dataStart, data.length, with_.dataStart, with_.length, blob.dataStart, at);
  if (status == SVC_STATUS_SHORT_BUFFER && length[0] <= MAX_OUTPUT) {
    blob = new Uint8Array(length[0]);
    status = seal_data(from, data.dataStart, data.length, with_.dataStart, with_.length, blob.dataStart, at);
  }
  return cut(blob, length[0], status);
}

/** Opens a blob of {@link sealData}; `null` where it is not authentic, or not for this PAL as it is now. */
export function unsealData(blob: Uint8Array, extra: Uint8Array | null = null): Unsealed | null {
  const length = new StaticArray<u32>(1);
  const with_ = extra === null ? new Uint8Array(0) : extra;
  const data = new Uint8Array(blob.length);
  const info = new Uint8Array(80);
  length[0] = blob.length;
  const at = changetype<usize>(length);
  const status = unseal_data(blob.dataStart, blob.length, with_.dataStart, with_.length, data.dataStart, at, info.dataStart);
  const unsealed = cut(data, length[0], status);
  if (unsealed === null) return null;
  const from = info.dataStart;
  return new Unsealed(unsealed, load<u32>(from, 8), load<u32>(from, 12), info.slice(16, 48), info.slice(48, 80));
}

/** TrustVisor's own quote: the RSASSA-PKCS1-v1_5 signature over TPM_QUOTE_INFO, and the TPM_PCR_COMPOSITE. */
export class ClassicQuote {
  constructor(
    public signature: Uint8Array,
    public composite: Uint8Array,
  ) {}
}

/** The 20 bytes of TrustVisor's uPCR `index` (SHA-1), or `null`. */
export function classicPcrRead(index: u32): Uint8Array | null {
  const digest = new Uint8Array(20);
  return orNull(digest, tv_pcr_read(index, digest.dataStart));
}

/** Extends TrustVisor's uPCR `index` by 20 bytes; returns a status. */
export function classicPcrExtend(index: u32, digest: Uint8Array): u32 {
  return digest.length == 20 ? tv_pcr_extend(index, digest.dataStart) : SVC_STATUS_BAD_PARAM;
}

/** Seals under a TPM_PCR_INFO of 43 bytes, or to this PAL alone; `null` on failure. */
export function classicSeal(data: Uint8Array, pcrInfo: Uint8Array | null = null): Uint8Array | null {
  const length = new StaticArray<u32>(1);
  const info = pcrInfo === null ? new Uint8Array(0) : pcrInfo;
  const blob = new Uint8Array(data.length + FIRST_OUTPUT);
  length[0] = blob.length;
  const at = changetype<usize>(length);
  const status = tv_seal(data.dataStart, data.length, info.dataStart, info.length, blob.dataStart, at);
  return cut(blob, length[0], status);
}

/** Opens a blob of {@link classicSeal}; `null` on failure. */
export function classicUnseal(blob: Uint8Array): Uint8Array | null {
  const length = new StaticArray<u32>(1);
  const data = new Uint8Array(blob.length);
  length[0] = blob.length;
  return cut(data, length[0], tv_unseal(blob.dataStart, blob.length, data.dataStart, changetype<usize>(length), 0));
}

/** A quote over a TPM_PCR_SELECTION of 3 bytes with a nonce of 20; `null` on failure. */
export function classicQuote(selection: Uint8Array, nonce: Uint8Array): ClassicQuote | null {
  if (nonce.length != 20) return null;
  const lengths = new StaticArray<u32>(2);
  const signature = new Uint8Array(FIRST_OUTPUT);
  const composite = new Uint8Array(FIRST_OUTPUT);
  lengths[0] = FIRST_OUTPUT;
  lengths[1] = FIRST_OUTPUT;
  const at = changetype<usize>(lengths);
  const status = tv_quote(
    selection.dataStart,
    selection.length,
    nonce.dataStart,
    signature.dataStart,
    at,
    composite.dataStart,
    at + 4,
  );
  const signed = cut(signature, lengths[0], status);
  const quoted = cut(composite, lengths[1], status);
  return signed === null || quoted === null ? null : new ClassicQuote(signed, quoted);
}

/** The DER RSAPublicKey that signs {@link classicQuote}; `null` on failure. */
export function classicIdGetpub(): Uint8Array | null {
  const length = new StaticArray<u32>(1);
  const out = new Uint8Array(FIRST_OUTPUT);
  length[0] = FIRST_OUTPUT;
  return cut(out, length[0], tv_id_getpub(out.dataStart, changetype<usize>(length)));
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
