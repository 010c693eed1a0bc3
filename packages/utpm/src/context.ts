/** The plain form of saved contexts: Part 1, 30.3.2. Only this TPM reads it. */
import { TpmtPublicOrNull, TpmtSensitive } from '@casemate/tpm';
import {
  decode,
  encode,
  type Infer,
  optionalSized,
  sized,
  sizedBytes,
  struct,
  u8,
  u16,
  u32,
  u64,
} from '@casemate/wire';
import { nameOfPublic, type TpmObject } from './object.js';
import { decodeSequence, encodeSequence, isSequenceContext } from './sequence.js';
import type { PolicyState, Session, SessionCipher, SessionType } from './session.js';
import type { Tpm } from './tpm.js';

const bytes16 = sizedBytes('bytes', u16, { max: 256 });

const ObjectContext = struct('object context', {
  public: sized('public', u16, TpmtPublicOrNull),
  sensitive: optionalSized('sensitive', u16, TpmtSensitive),
  qualifiedName: bytes16,
  flags: u8,
});

const PRIMARY = 1;
const EXTERNAL = 2;
const ST_CLEAR = 4;

/** The plain context of an object. */
export function encodeObject(object: TpmObject): Uint8Array {
  const { public: area, sensitive, qualifiedName, sequence } = object;
  if (sequence !== undefined) return encodeSequence(sequence, sensitive?.authValue ?? new Uint8Array(0));
  const flags =
    (object.isPrimary ? PRIMARY : 0) | (object.isExternal ? EXTERNAL : 0) | (object.isStClear ? ST_CLEAR : 0);
  return encode(ObjectContext, { public: area, ...(sensitive && { sensitive }), qualifiedName, flags });
}

/** The object of a plain context, without a handle yet. */
export function decodeObject(
  tpm: Pick<Tpm, 'crypto'>,
  hierarchy: number,
  plain: Uint8Array,
): Omit<TpmObject, 'handle'> {
  if (isSequenceContext(plain)) return decodeSequence(tpm.crypto, plain);
  const context = decode(ObjectContext, plain);
  return {
    public: context.public,
    sensitive: context.sensitive,
    name: nameOfPublic(tpm.crypto, context.public),
    qualifiedName: context.qualifiedName,
    hierarchy,
    isPrimary: (context.flags & PRIMARY) !== 0,
    isExternal: (context.flags & EXTERNAL) !== 0,
    isStClear: (context.flags & ST_CLEAR) !== 0,
  };
}

const Policy = struct('policy', {
  digest: bytes16,
  commandCode: u32,
  boundKind: u8,
  boundDigest: bytes16,
  locality: u8,
  timeout: u64,
  pcrCounter: u64,
  flags: u8,
});

const SessionContext = struct('session context', {
  type: u8,
  authHash: u16,
  cipherKind: u8,
  cipherAlg: u16,
  cipherBits: u16,
  key: bytes16,
  nonceTpm: bytes16,
  boundTo: bytes16,
  flags: u8,
  policy: Policy,
  auditDigest: bytes16,
  startTime: u64,
  epoch: u64,
});

const TYPES: readonly SessionType[] = ['hmac', 'policy', 'trial'];
const BOUND = ['cpHash', 'nameHash', 'template'] as const;
const NO_COUNTER = 0xffff_ffff_ffff_ffffn;

/** The plain context of a session. */
export function encodeSession(session: Session): Uint8Array {
  const flags =
    Number(session.isDaBound) |
    (Number(session.isLockoutBound) << 1) |
    (Number(session.boundTo !== undefined) << 2) |
    (Number(session.auditDigest !== undefined) << 3);
  return encode(SessionContext, {
    type: TYPES.indexOf(session.type),
    authHash: session.authHash,
    ...encodeCipher(session.cipher),
    key: session.key,
    nonceTpm: session.nonceTpm,
    boundTo: session.boundTo ?? new Uint8Array(0),
    flags,
    policy: encodePolicy(session.policy),
    auditDigest: session.auditDigest ?? new Uint8Array(0),
    startTime: session.startTime,
    epoch: session.epoch,
  });
}

type CipherFields = Pick<Infer<typeof SessionContext>, 'cipherKind' | 'cipherAlg' | 'cipherBits'>;

function encodeCipher(cipher: SessionCipher): CipherFields {
  if (cipher.kind === 'none') return { cipherKind: 0, cipherAlg: 0, cipherBits: 0 };
  return cipher.kind === 'xor'
    ? { cipherKind: 1, cipherAlg: cipher.hash, cipherBits: 0 }
    : { cipherKind: 2, cipherAlg: cipher.algorithm, cipherBits: cipher.bits };
}

function decodeCipher({ cipherKind, cipherAlg, cipherBits }: CipherFields): SessionCipher {
  if (cipherKind === 0) return { kind: 'none' };
  return cipherKind === 1
    ? { kind: 'xor', hash: cipherAlg }
    : { kind: 'block', algorithm: cipherAlg, bits: cipherBits };
}

function encodePolicy(policy: PolicyState): Infer<typeof Policy> {
  const written = policy.nvWritten === undefined ? 0 : 8 | (Number(policy.nvWritten) << 4);
  return {
    digest: policy.digest,
    commandCode: policy.commandCode,
    boundKind: policy.bound === undefined ? 0 : 1 + BOUND.indexOf(policy.bound.kind),
    boundDigest: policy.bound?.digest ?? new Uint8Array(0),
    locality: policy.locality,
    timeout: policy.timeout,
    pcrCounter: policy.pcrCounter === undefined ? NO_COUNTER : BigInt(policy.pcrCounter),
    flags:
      Number(policy.needsAuthValue) |
      (Number(policy.needsPassword) << 1) |
      (Number(policy.needsPresence) << 2) |
      written,
  };
}

function decodePolicy(stored: Infer<typeof Policy>): PolicyState {
  const kind = BOUND[stored.boundKind - 1];
  const { flags } = stored;
  return {
    digest: stored.digest,
    commandCode: stored.commandCode,
    bound: kind === undefined ? undefined : { kind, digest: stored.boundDigest },
    locality: stored.locality,
    timeout: stored.timeout,
    pcrCounter: stored.pcrCounter === NO_COUNTER ? undefined : Number(stored.pcrCounter),
    needsAuthValue: (flags & 1) !== 0,
    needsPassword: (flags & 2) !== 0,
    needsPresence: (flags & 4) !== 0,
    nvWritten: (flags & 8) === 0 ? undefined : (flags & 16) !== 0,
  };
}

/** The session of a plain context. */
export function decodeSession(handle: number, plain: Uint8Array): Session {
  const context = decode(SessionContext, plain);
  return {
    handle,
    type: TYPES[context.type] ?? 'trial',
    authHash: context.authHash,
    cipher: decodeCipher(context),
    key: context.key,
    nonceTpm: context.nonceTpm,
    boundTo: (context.flags & 4) !== 0 ? context.boundTo : undefined,
    isDaBound: (context.flags & 1) !== 0,
    isLockoutBound: (context.flags & 2) !== 0,
    policy: decodePolicy(context.policy),
    auditDigest: (context.flags & 8) !== 0 ? context.auditDigest : undefined,
    startTime: context.startTime,
    epoch: context.epoch,
  };
}
