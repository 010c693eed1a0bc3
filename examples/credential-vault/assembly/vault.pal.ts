/**
 * The vault. A credential that was put in comes out against a receipt alone: the audit service that the vault was set up with has logged
 * exactly this release, for this request's nonce. Each receipt is good once.
 */
import {
  dispatch,
  readState,
  svc_utpm_rand,
  TZ_COMMAND_CLOSE,
  TZ_COMMAND_OPEN,
  TZ_ERROR_ACCESS_DENIED,
  TZ_ERROR_BUSY,
  TZ_ERROR_GENERIC,
  TZ_ERROR_ILLEGAL_ARGUMENT,
  TZ_ERROR_ILLEGAL_STATE,
  TZ_ERROR_NOT_IMPLEMENTED,
  TZ_ERROR_SECURITY,
  TZ_SUCCESS,
  TZIDecodeArraySpace,
  TZIEncodeArray,
  tzi_encode_buffer_t,
  unsealData,
  writeState,
} from '@casemate/tz/assembly';

const SET_UP: u32 = 1;
const PUT: u32 = 2;
const REQUEST: u32 = 3;
const RELEASE: u32 = 4;
const LIST: u32 = 5;

const DIGEST: i32 = 32;
const MAX_NAME: i32 = 255;
const MAX_SECRET: i32 = 4096;
const MAX_ENTRY: i32 = 1024;
const MAX_STATE: i32 = 60000;
const RECEIPT_LABEL = 'audit receipt';

/** What is kept: whose receipts count, the request under way (nonce and entry, or neither), the credentials. */
class Vault {
  auditor: Uint8Array = new Uint8Array(0);
  nonce: Uint8Array = new Uint8Array(0);
  entry: Uint8Array = new Uint8Array(0);
  wanted: Uint8Array = new Uint8Array(0);
  names: Uint8Array[] = [];
  secrets: Uint8Array[] = [];

  find(name: Uint8Array): i32 {
    for (let i = 0; i < this.names.length; i++) {
      if (same(this.names[i], name)) return i;
    }
    return -1;
  }
}

/** The entry. */
export function pal(command: u32, input: usize, output: usize, returnValue: usize): void {
  dispatch(handle, command, input, output, returnValue);
}

function handle(command: u32, input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  switch (command) {
    case TZ_COMMAND_OPEN:
    case TZ_COMMAND_CLOSE:
      return TZ_SUCCESS;
    case SET_UP:
      return setUp(input);
    case PUT:
      return put(input);
    case REQUEST:
      return request(input, output);
    case RELEASE:
      return release(input, output);
    case LIST:
      return list(output);
    default:
      return TZ_ERROR_NOT_IMPLEMENTED;
  }
}

/** In: who the audit service is, the SHA-256 of its uPCR 0. Nobody sets up another afterwards; the same again changes nothing. */
function setUp(input: tzi_encode_buffer_t): u32 {
  const auditor = TZIDecodeArraySpace(input);
  if (auditor === null || auditor.length != DIGEST) return TZ_ERROR_ILLEGAL_ARGUMENT;
  const vault = open();
  if (vault === null) return TZ_ERROR_SECURITY;
  if (vault.auditor.length != 0) return same(vault.auditor, auditor) ? TZ_SUCCESS : TZ_ERROR_ILLEGAL_STATE;
  vault.auditor = auditor;
  return keep(vault);
}

/** In: name, credential. A name that is there already keeps what it has. */
function put(input: tzi_encode_buffer_t): u32 {
  const name = TZIDecodeArraySpace(input);
  const secret = TZIDecodeArraySpace(input);
  if (name === null || secret === null) return TZ_ERROR_ILLEGAL_ARGUMENT;
  if (name.length == 0 || name.length > MAX_NAME || secret.length > MAX_SECRET) return TZ_ERROR_ILLEGAL_ARGUMENT;
  const vault = open();
  if (vault === null) return TZ_ERROR_SECURITY;
  if (vault.auditor.length == 0) return TZ_ERROR_ILLEGAL_STATE;
  if (vault.find(name) >= 0) return TZ_ERROR_BUSY;
  vault.names.push(name);
  vault.secrets.push(secret);
  return keep(vault);
}

/** In: name, what is to be logged. Out: a nonce. A request that was under way is void. */
function request(input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  const name = TZIDecodeArraySpace(input);
  const entry = TZIDecodeArraySpace(input);
  if (name === null || entry === null || entry.length > MAX_ENTRY) return TZ_ERROR_ILLEGAL_ARGUMENT;
  // The log must say which credential it was: the entry begins with the name and a zero.
  if (entry.length <= name.length || !same(entry.subarray(0, name.length), name) || entry[name.length] != 0)
    return TZ_ERROR_ILLEGAL_ARGUMENT;
  const vault = open();
  if (vault === null) return TZ_ERROR_SECURITY;
  if (vault.find(name) < 0) return TZ_ERROR_ACCESS_DENIED;
  const nonce = svc_utpm_rand(DIGEST);
  if (nonce === null) return TZ_ERROR_GENERIC;
  vault.nonce = nonce;
  vault.entry = entry;
  vault.wanted = name;
  const status = keep(vault);
  if (status == TZ_SUCCESS) TZIEncodeArray(output, nonce);
  return status;
}

/** In: a receipt. Out: the credential, once. */
function release(input: tzi_encode_buffer_t, output: tzi_encode_buffer_t): u32 {
  const blob = TZIDecodeArraySpace(input);
  if (blob === null) return TZ_ERROR_ILLEGAL_ARGUMENT;
  const vault = open();
  if (vault === null) return TZ_ERROR_SECURITY;
  const place = vault.find(vault.wanted);
  if (vault.nonce.length == 0 || place < 0 || !isReceipt(vault, blob)) return TZ_ERROR_ACCESS_DENIED;
  vault.nonce = new Uint8Array(0);
  vault.entry = new Uint8Array(0);
  vault.wanted = new Uint8Array(0);
  const status = keep(vault);
  if (status == TZ_SUCCESS) TZIEncodeArray(output, vault.secrets[place]);
  return status;
}

/** Sealed to this PAL, by the audit service, as a receipt, for the request under way, over exactly its entry. */
function isReceipt(vault: Vault, blob: Uint8Array): bool {
  const receipt = unsealData(blob);
  if (receipt === null || !same(receipt.creation, vault.auditor) || !isLabelled(receipt.label)) return false;
  const data = receipt.data;
  if (data.length != 2 * DIGEST + vault.entry.length) return false;
  return same(data.subarray(0, DIGEST), vault.nonce) && same(data.subarray(2 * DIGEST), vault.entry);
}

function isLabelled(label: Uint8Array): bool {
  const expected = new Uint8Array(DIGEST);
  expected.set(Uint8Array.wrap(String.UTF8.encode(RECEIPT_LABEL)));
  return same(label, expected);
}

/** Out: the names. */
function list(output: tzi_encode_buffer_t): u32 {
  const vault = open();
  if (vault === null) return TZ_ERROR_SECURITY;
  for (let i = 0; i < vault.names.length; i++) TZIEncodeArray(output, vault.names[i]);
  return TZ_SUCCESS;
}

// The state: each part with its length in front.

function open(): Vault | null {
  const state = readState();
  if (state === null) return null;
  const vault = new Vault();
  if (state.length == 0) return vault;
  const reader = new Reader(state);
  vault.auditor = reader.next();
  vault.nonce = reader.next();
  vault.entry = reader.next();
  vault.wanted = reader.next();
  while (reader.at < state.length) {
    vault.names.push(reader.next());
    vault.secrets.push(reader.next());
  }
  return vault;
}

function keep(vault: Vault): u32 {
  const parts: Uint8Array[] = [vault.auditor, vault.nonce, vault.entry, vault.wanted];
  for (let i = 0; i < vault.names.length; i++) {
    parts.push(vault.names[i]);
    parts.push(vault.secrets[i]);
  }
  let length = 0;
  for (let i = 0; i < parts.length; i++) length += 4 + parts[i].length;
  if (length > MAX_STATE) return TZ_ERROR_ILLEGAL_ARGUMENT;
  const state = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < parts.length; i++) {
    store<u32>(state.dataStart + at, parts[i].length);
    state.set(parts[i], at + 4);
    at += 4 + parts[i].length;
  }
  return writeState(state) == 0 ? TZ_SUCCESS : TZ_ERROR_SECURITY;
}

/** The state is this PAL's own and authentic, so its lengths are right. */
class Reader {
  at: i32 = 0;
  constructor(readonly bytes: Uint8Array) {}

  next(): Uint8Array {
    const length = <i32>load<u32>(this.bytes.dataStart + this.at);
    const part = this.bytes.slice(this.at + 4, this.at + 4 + length);
    this.at += 4 + length;
    return part;
  }
}

/** In a time that tells only the lengths. */
function same(a: Uint8Array, b: Uint8Array): bool {
  if (a.length != b.length) return false;
  let difference: u8 = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i] ^ b[i];
  return difference == 0;
}
