/** Sequence objects: hashes, MACs and events whose data come in several commands. Part 1, clause 32; Part 3, clause 17. */
import { TPM_ALG, TPM_RH, TPMA_OBJECT, type TpmtPublicOrNull, type TpmtSensitive } from '@casemate/tpm';
import { array, decode, encode, type Infer, sizedBytes, struct, u8, u16 } from '@casemate/wire';
import { EMPTY, trimAuth } from './bytes.js';
import { resumedCmac } from './cmac.js';
import type { UtpmCrypto } from './crypto.js';
import { isGenerated } from './generated.js';
import type { TpmObject } from './object.js';
import { type Running, resumedHmac, runningHash } from './running-hash.js';

/** What a sequence is of. */
export type SequenceKind = 'hash' | 'mac' | 'event';

/** A sequence under way. */
export interface Sequence {
  /** A hash with a ticket, a MAC, or an event for all banks. */
  readonly kind: SequenceKind;
  /** The hash or MAC; for an event one hash for each bank. */
  readonly parts: readonly Running[];
  /** Has data come? */
  hasStarted: boolean;
  /** Can the data not be one of the TPM's own structures? Only the first block tells. */
  isTicketSafe: boolean;
}

/** A sequence to which nothing has been added. */
export function newSequence(kind: SequenceKind, parts: readonly Running[]): Sequence {
  return { kind, parts, hasStarted: false, isTicketSafe: false };
}

/** Adds data. */
export function updateSequence(sequence: Sequence, data: Uint8Array): void {
  if (!sequence.hasStarted) sequence.isTicketSafe = !isGenerated(data);
  sequence.hasStarted = true;
  for (const part of sequence.parts) part.update(data);
}

// A sequence has no type, no name and no public area. Where code asks for these it is to find nothing that it could take for a key.
const PUBLIC = {
  type: TPM_ALG.NULL,
  nameAlg: TPM_ALG.NULL,
  objectAttributes: TPMA_OBJECT.noDA | TPMA_OBJECT.userWithAuth,
  authPolicy: EMPTY,
  parameters: {},
  unique: EMPTY,
} as unknown as TpmtPublicOrNull;

/** The sequence as a transient object, without a handle yet. */
export function sequenceObject(sequence: Sequence, auth: Uint8Array): Omit<TpmObject, 'handle'> {
  const sensitive = { sensitiveType: TPM_ALG.NULL, authValue: trimAuth(auth), seedValue: EMPTY, sensitive: EMPTY };
  return {
    public: PUBLIC,
    sensitive: sensitive as unknown as TpmtSensitive, // of no type, as the public area
    name: EMPTY,
    qualifiedName: EMPTY,
    hierarchy: TPM_RH.NULL,
    isPrimary: false,
    isExternal: false,
    isStClear: false,
    sequence,
  };
}

const Context = struct('sequence context', {
  // Where an object has the length of its public area.
  none: u16,
  kind: u8,
  flags: u8,
  auth: sizedBytes('auth', u16, { max: 64 }),
  parts: array('parts', u8, struct('part', { alg: u16, state: sizedBytes('state', u16, { max: 1024 }) }), { max: 8 }),
});

const KINDS: readonly SequenceKind[] = ['hash', 'mac', 'event'];

/** The plain context of a sequence object; it starts with two zeros, which that of no other object does. */
export function encodeSequence(sequence: Sequence, auth: Uint8Array): Uint8Array {
  return encode(Context, {
    none: 0,
    kind: KINDS.indexOf(sequence.kind),
    flags: Number(sequence.hasStarted) | (Number(sequence.isTicketSafe) << 1),
    auth,
    parts: sequence.parts.map((part) => ({ alg: part.alg, state: part.save() })),
  });
}

/** Is it the plain context of a sequence object? */
export function isSequenceContext(plain: Uint8Array): boolean {
  return plain[0] === 0 && plain[1] === 0;
}

/** The sequence object of a plain context, without a handle yet. */
export function decodeSequence(crypto: UtpmCrypto, plain: Uint8Array): Omit<TpmObject, 'handle'> {
  const { kind: number, flags, auth, parts } = decode(Context, plain);
  const kind = KINDS[number] ?? 'event';
  const resumed = parts.map((part) => resume(crypto, kind, part));
  return sequenceObject({ kind, parts: resumed, hasStarted: (flags & 1) !== 0, isTicketSafe: (flags & 2) !== 0 }, auth);
}

type Part = Infer<typeof Context>['parts'][number];

function resume(crypto: UtpmCrypto, kind: SequenceKind, { alg, state }: Part): Running {
  if (kind !== 'mac') return runningHash(alg, state);
  return alg === TPM_ALG.CMAC ? resumedCmac(crypto, state) : resumedHmac(alg, state);
}
