/** The messages between application and isolate: one frame format, requests both ways, bounded everywhere. */
import { MAX_IMAGE_BYTES, PalParameter } from '@casemate/pal-linker';
import {
  array,
  bytes,
  empty,
  flags,
  type Infer,
  oneOf,
  sizedBytes,
  struct,
  text,
  u8,
  u16,
  u32,
  u64,
  union,
} from '@casemate/wire';

/** Both ends must speak this version. */
export const PROTOCOL_VERSION = 3;

/** The largest input, output and state of a PAL, in bytes. */
export const MAX_DATA = 1024 * 1024;

/** What one call may be lent where the bytes go along with it, both ways, in bytes. */
export const MAX_CARRIED = 16 * 1024 * 1024;

/** The largest frame behind its u32 length, in bytes: that of an image, or of a call with what it is lent. */
export const MAX_FRAME = MAX_IMAGE_BYTES + MAX_DATA + 4096;

/** The longest time limit of a call, in milliseconds. */
export const MAX_TIME_LIMIT = 3_600_000;

/** Bytes in a page. */
export const PAGE = 4096;

/** All shared memory of one Trustvisor, and what one call may be lent, in bytes. */
export const MAX_ARENA = 256 * 1024 * 1024;

/** How many lanes (lane.ts) an isolate starts with: one for each PAL that can be registered at the same time. */
export const LANES = 100;
/** The isolate's descriptor of the first. */
export const FIRST_LANE = 5;
/** How many socket pairs for the services of PALs in machines it starts with; their descriptors are behind the lanes'. */
export const PAIRS = 100;
/** The isolate's descriptor of the first end of the first. */
export const FIRST_PAIR = FIRST_LANE + LANES;
/** In place of a lane's number: no lane leads to the PAL any more. */
export const NO_LANE = 255;

/** How many ranges of memory one call may be lent. */
export const MAX_LENT = 16;

/** The largest blob of the store, in bytes: a snapshot of state and last output. */
export const MAX_BLOB = 3 * MAX_DATA;

/** The largest TPM command or response, in bytes. */
const MAX_TPM = 65536;

/** Message types. 1 to 8 go to the isolate, 16 to 21 to the application, 32 and up answer either. */
export const MESSAGE = {
  OPEN: 1,
  REGISTER: 2,
  INVOKE: 3,
  QUOTE: 4,
  UNREGISTER: 5,
  CLOSE: 6,
  ABORT: 7,
  STOP: 8,
  TPM: 16,
  STORE_GET: 17,
  STORE_PUT: 18,
  STORE_DELETE: 19,
  PRINT: 20,
  LANE: 21,
  OPENED: 32,
  REGISTERED: 33,
  INVOKED: 34,
  QUOTED: 35,
  DONE: 36,
  CONTENT: 37,
  FAILED: 38,
} as const;

/** `engine` in OPEN. */
export const ENGINE = { wasm: 1, kvm: 2 } as const;

/** Bits of `flags` in OPEN. */
export const OPEN_FLAGS = { tpm: 1, allowEphemeral: 2, allowAnyPlatformState: 4 } as const;

/** `identityPcr` in OPEN where the TrustVisor key is not to be extended into a PCR. */
export const NO_PCR = 255;

/** Bits of `flags` in REGISTER. */
export const REGISTER_FLAGS = { rsaIdentity: 1, sharedIdentity: 2, mustBeSigned: 4, checkpoints: 8 } as const;

const blobName = text('BLOB_NAME', u8, { max: 128 });
const blob = sizedBytes('BLOB', u32, { max: MAX_BLOB });
const data = (name: string) => sizedBytes(name, u32, { max: MAX_DATA });

const Open = struct('OPEN', {
  protocol: u16,
  flags: flags('OPEN_FLAGS', u8, 7),
  engine: u8,
  pcrs: array('PCRS', u8, u8, { max: 24 }),
  identityPcr: u8,
  nvBase: u32,
  memoryLimit: u32,
  ownerAuth: sizedBytes('OWNER_AUTH', u8, { max: 64 }),
  storageKeyName: sizedBytes('STORAGE_KEY_NAME', u8, { max: 66 }),
});

/** A range of lent memory: of the arena from `at` on, or, where there is no arena, the bytes themselves. */
const Lent = struct('LENT', {
  access: oneOf('ACCESS', u8, [1, 2, 3]),
  at: u32,
  length: u32,
  content: array('CONTENTS', u8, sizedBytes('LENT_BYTES', u32, { max: MAX_FRAME }), { max: 1 }),
});

const Last = struct('LAST_REQUEST', {
  sequence: u64,
  command: u32,
  inputDigest: bytes('INPUT_DIGEST', 32),
  outcome: oneOf('OUTCOME', u8, [0, 1]),
  returnCode: u32,
  output: data('OUTPUT'),
  rolledForward: oneOf('ROLLED_FORWARD', u8, [0, 1]),
});

function attestation(name: string) {
  return sizedBytes(name, u16, { max: 4096 });
}

/** A signer (SHA-256 of SubjectPublicKeyInfo) and a security version. */
const Signed = struct('SIGNED', { signer: bytes('SIGNER', 32), securityVersion: u32 });

const Registered = struct('REGISTERED', {
  pal: u32,
  name: text('PAL_NAME', u8, { max: 64 }),
  version: text('PAL_VERSION', u8, { max: 64 }),
  measurement: bytes('MEASUREMENT', 32),
  identity: sizedBytes('IDENTITY', u16, { max: 1024 }),
  certificate: struct('CERTIFICATE', {
    statement: sizedBytes('STATEMENT', u16, { max: 4096 }),
    ...{ quoted: attestation('QUOTED'), signature: attestation('SIGNATURE') },
  }),
  signed: array('SIGNATURES', u8, Signed, { max: 1 }),
  isMarshalled: oneOf('IS_MARSHALLED', u8, [0, 1]),
  parameters: array('PARAMETERS', u8, PalParameter, { max: 10 }),
  last: array('LAST_REQUESTS', u8, Last, { max: 1 }),
});

/** One message. `id` is the requester's number for it; a reply carries the number of its request. */
export const Message = struct('MESSAGE', {
  type: oneOf('MESSAGE_TYPE', u8, [1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 18, 19, 20, 21, 32, 33, 34, 35, 36, 37, 38]),
  id: u32,
  body: union('type', {
    1: Open,
    2: struct('REGISTER', {
      timeLimit: u32,
      flags: flags('REGISTER_FLAGS', u8, 15),
      checkpointAfter: u32,
      signers: array('SIGNERS', u8, bytes('SIGNER', 32), { max: 64 }),
      image: sizedBytes('IMAGE', u32, { max: MAX_IMAGE_BYTES }),
    }),
    3: struct('INVOKE', {
      ...{ pal: u32, command: u32, timeLimit: u32, input: data('INPUT') },
      lent: array('LENT', u8, Lent, { max: MAX_LENT }),
    }),
    4: struct('QUOTE', { pal: u32, mask: u8, nonce: sizedBytes('NONCE', u8, { max: 64 }) }),
    5: struct('UNREGISTER', { pal: u32 }),
    6: empty,
    7: struct('ABORT', { request: u32 }),
    8: struct('STOP', { pal: u32 }),
    16: struct('TPM', { command: sizedBytes('TPM_COMMAND', u32, { max: MAX_TPM }) }),
    17: struct('STORE_GET', { name: blobName }),
    18: struct('STORE_PUT', { name: blobName, content: blob }),
    19: struct('STORE_DELETE', { name: blobName }),
    20: struct('PRINT', { pal: u32, text: text('PRINT_TEXT', u16, { max: 16384 }) }),
    21: struct('LANE', { pal: u32, lane: u8, inputCapacity: u32 }),
    32: struct('OPENED', {
      ephemeral: oneOf('EPHEMERAL', u8, [0, 1]),
      identity: sizedBytes('IDENTITY', u16, { max: 1024 }),
    }),
    33: Registered,
    34: struct('INVOKED', {
      ...{ returnCode: u32, output: data('OUTPUT') },
      written: array('WRITTEN', u8, sizedBytes('WRITTEN_BYTES', u32, { max: MAX_FRAME }), { max: MAX_LENT }),
    }),
    35: struct('QUOTED', { quoted: attestation('QUOTED'), signature: attestation('SIGNATURE') }),
    36: empty,
    37: struct('CONTENT', { content: array('CONTENTS', u8, blob, { max: 1 }) }),
    38: struct('FAILED', { code: u8, fault: u8, message: text('FAILURE', u16, { max: 16384 }) }),
  }),
});
/** The value of the codec of the same name. */
export type Message = Infer<typeof Message>;

/** A message of one type. */
export type MessageOf<T extends Message['type']> = Extract<Message, { readonly type: T }>;

/** The body of one type of message. */
export type Body<T extends Message['type']> = MessageOf<T>['body'];
