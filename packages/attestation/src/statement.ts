/** What a platform measures about the software that it is about to run: statements, in one deterministic binary form of ours. */
import {
  bytes,
  type Codec,
  constant,
  decode,
  encode,
  type Infer,
  mapped,
  sizedBytes,
  struct,
  text,
  u8,
  u16,
  u64,
  union,
  WireError,
} from '@casemate/wire';
import { AttestationError } from './error.js';

/** PCR that GuestOS statements go to. */
export const GUESTOS_PCR = 11;
/** PCR that statements of PALs and of the TrustVisor that runs them go to. */
export const PAL_PCR = 12;
/** The bank of which every quote must cover both. */
export const QUOTED_BANK = 'sha256';

/** "This GuestOS is about to be started." */
export interface GuestOsStatement {
  /** Tells the kinds of statements apart. */
  readonly type: 'guestos';
  /** Name from the signed configuration, at most 255 bytes of UTF-8. */
  readonly name: string;
  /** Version from the signed configuration, 0 to 2^53-1. */
  readonly version: number;
  /** SHA-256 of the signed configuration, byte for byte. */
  readonly configDigest: Uint8Array;
  /** SHA-256 digest of the image, as the configuration names it and as it was recomputed before the start. */
  readonly imageDigest: Uint8Array;
}

/** "This PAL is registered, in an isolate of its own whose micro-TPM has this identity key." */
export interface PalStatement {
  /** Tells the kinds of statements apart. */
  readonly type: 'pal';
  /** Name from the PAL image, at most 255 bytes of UTF-8. */
  readonly name: string;
  /** Version from the PAL image, at most 64 bytes of UTF-8. */
  readonly version: string;
  /** SHA-256 measurement of the PAL image. */
  readonly measurement: Uint8Array;
  /** The identity key of the PAL's micro-TPM: TPMT_PUBLIC, at most 1024 bytes. */
  readonly identityKey: Uint8Array;
}

/** "This is the key by which the TrustVisor of this platform certifies its PALs." */
export interface TrustvisorStatement {
  /** Tells the kinds of statements apart. */
  readonly type: 'trustvisor';
  /** The TrustVisor key: TPMT_PUBLIC, at most 1024 bytes. */
  readonly identityKey: Uint8Array;
}

/** A statement, told apart by `type`. */
export type Statement = GuestOsStatement | PalStatement | TrustvisorStatement;

const KIND = { guestos: 1, pal: 2, trustvisor: 3 } as const;
const DIGEST = 32;

const Name = text('name', u16, { max: 255 });
const Version: Codec<number> = mapped('version', u64, toSafe, (value) =>
  BigInt(Number.isSafeInteger(value) ? value : -1),
);

const IdentityKey = sizedBytes('identityKey', u16, { max: 1024 });

const GuestOsBody = struct('GUESTOS_STATEMENT', {
  name: Name,
  version: Version,
  configDigest: bytes('configDigest', DIGEST),
  imageDigest: bytes('imageDigest', DIGEST),
});
const PalBody = struct('PAL_STATEMENT', {
  name: Name,
  version: text('version', u16, { max: 64 }),
  measurement: bytes('measurement', DIGEST),
  identityKey: IdentityKey,
});
const TrustvisorBody = struct('TRUSTVISOR_STATEMENT', { identityKey: IdentityKey });
const Envelope = struct('STATEMENT', {
  format: constant('format', u8, 1),
  kind: u16,
  body: union('kind', { [KIND.guestos]: GuestOsBody, [KIND.pal]: PalBody, [KIND.trustvisor]: TrustvisorBody }),
});
type Envelope = Infer<typeof Envelope>;

/** The bytes of a statement; equal statements have equal bytes. Throws {@link AttestationError} `bad-input`. */
export function encodeStatement(statement: Statement): Uint8Array {
  try {
    return encode(Envelope, toEnvelope(statement));
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new AttestationError('bad-input', `encode statement: ${cause.message}`, { cause });
  }
}

/** The inverse of {@link encodeStatement}. Whoever wrote the log controls the input. Throws {@link AttestationError} `malformed`. */
export function parseStatement(data: Uint8Array): Statement {
  try {
    return fromEnvelope(decode(Envelope, data));
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new AttestationError('malformed', `parse statement: ${cause.message}`, { cause });
  }
}

/** The PCR that a statement belongs into. */
export function pcrOf(statement: Statement): number {
  return statement.type === 'guestos' ? GUESTOS_PCR : PAL_PCR;
}

function toEnvelope(statement: Statement): Envelope {
  const { type, ...body } = statement;
  // The discriminant that `type` was is now `kind`; TypeScript does not follow a destructured union.
  return { format: 1, kind: KIND[type], body } as Envelope;
}

function fromEnvelope(envelope: Envelope): Statement {
  switch (envelope.kind) {
    case KIND.guestos:
      return { type: 'guestos', ...envelope.body };
    case KIND.pal:
      return { type: 'pal', ...envelope.body };
    case KIND.trustvisor:
      return { type: 'trustvisor', ...envelope.body };
  }
}

function toSafe(value: bigint): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new WireError('bad-value', 'decode version', `expected at most 2^53-1, got ${value}`, 0);
}
