/**
 * The audit service. It keeps one number and one digest: how many entries there are, and the head of their chain. An entry is appended, and only
 * then is there a receipt: a message that nobody but the PAL that asked can read, and that nobody but this service can write.
 */
import {
  dispatch,
  readState,
  SealPolicy,
  sealData,
  svc_utpm_pcr_extend,
  svc_utpm_pcr_read,
  TZ_COMMAND_CLOSE,
  TZ_COMMAND_OPEN,
  TZ_ERROR_GENERIC,
  TZ_ERROR_ILLEGAL_ARGUMENT,
  TZ_ERROR_NOT_IMPLEMENTED,
  TZ_ERROR_SECURITY,
  TZ_SUCCESS,
  TZIDecodeArraySpace,
  TZIEncodeArray,
  TZIEncodeUint32,
  tzi_encode_buffer_t,
  writeState,
} from '@casemate/tz/assembly';

const APPEND: u32 = 1;
const HEAD: u32 = 2;

const DIGEST: i32 = 32;
const MAX_ENTRY: i32 = 4096;
/** Number of entries (u64), head of the chain. */
const STATE: i32 = 8 + DIGEST;
/** The uPCR that the chain is computed in; it is new at each call. */
const CHAIN: u32 = 7;

/** The entry. */
export function pal(command: u32, input: usize, output: usize, returnValue: usize): void {
  dispatch(handle, command, input, output, returnValue);
}

function handle(command: u32, input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  switch (command) {
    case TZ_COMMAND_OPEN:
    case TZ_COMMAND_CLOSE:
      return TZ_SUCCESS;
    case APPEND:
      return append(input, output);
    case HEAD:
      return tellHead(output);
    default:
      return TZ_ERROR_NOT_IMPLEMENTED;
  }
}

/** In: a nonce of 32 bytes, the entry, the measurement of the PAL that the receipt is for. Out: its number, the new head, the receipt. */
function append(input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  const nonce = TZIDecodeArraySpace(input);
  const entry = TZIDecodeArraySpace(input);
  const reader = TZIDecodeArraySpace(input);
  if (nonce === null || entry === null || reader === null) return TZ_ERROR_ILLEGAL_ARGUMENT;
  if (nonce.length != DIGEST || reader.length != DIGEST || entry.length > MAX_ENTRY) return TZ_ERROR_ILLEGAL_ARGUMENT;
  const state = stateOrNew();
  if (state === null) return TZ_ERROR_SECURITY;
  if (!extendBy(state.slice(8)) || !extendBy(framed(entry))) return TZ_ERROR_GENERIC;
  const head = svc_utpm_pcr_read(CHAIN);
  if (head === null) return TZ_ERROR_GENERIC;
  const count = load<u64>(state.dataStart) + 1;
  store<u64>(state.dataStart, count);
  put(state, 8, head);
  if (writeState(state) != 0) return TZ_ERROR_SECURITY;
  const receipt = new Uint8Array(2 * DIGEST + entry.length);
  put(receipt, 0, nonce);
  put(receipt, DIGEST, head);
  put(receipt, 2 * DIGEST, entry);
  const sealed = sealData(SealPolicy.pal(reader, 'audit receipt', 1), receipt);
  if (sealed === null) return TZ_ERROR_GENERIC;
  TZIEncodeUint32(output, <u32>count);
  TZIEncodeArray(output, head);
  TZIEncodeArray(output, sealed);
  return TZ_SUCCESS;
}

/**
 * Out: number and head. They are left in the uPCR too, so that a quote which the application asks for next is a signature by this service's key over
 * them: a PAL whose requests can be repeated makes none itself.
 */
function tellHead(output: tzi_encode_buffer_t): u32 {
  const state = stateOrNew();
  if (state === null) return TZ_ERROR_SECURITY;
  if (!extendBy(framed(state))) return TZ_ERROR_GENERIC;
  TZIEncodeUint32(output, load<u32>(state.dataStart));
  TZIEncodeArray(output, state.slice(8));
  return TZ_SUCCESS;
}

function stateOrNew(): Uint8Array | null {
  const state = readState();
  return state !== null && state.length == 0 ? new Uint8Array(STATE) : state;
}

/** Its length, itself, zeros: so that no two entries are the same sequence of blocks. */
function framed(bytes: Uint8Array): Uint8Array {
  const blocks = (4 + bytes.length + DIGEST - 1) / DIGEST;
  const out = new Uint8Array(blocks * DIGEST);
  store<u32>(out.dataStart, bytes.length);
  put(out, 4, bytes);
  return out;
}

/** The micro-TPM is the hash: extending by a block is SHA-256 of what the uPCR holds and the block. */
function extendBy(blocks: Uint8Array): bool {
  for (let at = 0; at < blocks.length; at += DIGEST) {
    if (svc_utpm_pcr_extend(CHAIN, blocks.slice(at, at + DIGEST)) != 0) return false;
  }
  return true;
}

function put(into: Uint8Array, at: i32, bytes: Uint8Array): void {
  memory.copy(into.dataStart + at, bytes.dataStart, bytes.length);
}
