/** The chain of the audit log, as assembly/audit.pal.ts computes it in a uPCR; and what a quote of the service says of it. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { TPM_ST, TpmsAttest, TpmtPublic, verifyAttestSignature } from '@casemate/tpm';
import { decode } from '@casemate/wire';

/** The head after `entry` was appended to a chain with the head `head`. */
export function appended(head: Uint8Array, entry: Uint8Array): Uint8Array {
  return extendedBy(extendedBy(ZEROS, head), framed(entry));
}

/** The head of the chain of all `entries`. */
export function headOf(entries: readonly Uint8Array[]): Uint8Array {
  return entries.reduce(appended, ZEROS);
}

/** What the audit service says of its log. */
export interface SignedHead {
  /** How many entries there are. */
  readonly count: number;
  /** The head of their chain. */
  readonly head: Uint8Array;
  /** TPMS_ATTEST. */
  readonly quoted: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
}

/** The service whose word counts. */
export interface Auditor {
  /** TPMT_PUBLIC of its key. */
  readonly identity: Uint8Array;
  /** Its measurement. */
  readonly measurement: Uint8Array;
}

/** Whether the auditor signed this number and this head, with this nonce. Every byte of `signed` may be an attacker's. */
export function isSignedBy(
  auditor: Auditor,
  nonce: Uint8Array,
  { count, head, quoted, signature }: SignedHead,
): boolean {
  if (!verifyAttestSignature(decode(TpmtPublic, auditor.identity), quoted, signature)) return false;
  const attest = decode(TpmsAttest, quoted);
  if (attest.type !== TPM_ST.ATTEST_QUOTE) return false;
  const state = Buffer.alloc(40);
  state.writeBigUInt64LE(BigInt(count));
  state.set(head, 8);
  const pcrs = [extendedBy(ZEROS, auditor.measurement), extendedBy(ZEROS, framed(state))];
  const { pcrSelect, pcrDigest } = attest.attested;
  const isBoth = pcrSelect.length === 1 && pcrSelect[0]?.pcrSelect[0] === 0b1000_0001;
  return isBoth && isSame(attest.extraData, nonce) && isSame(pcrDigest, sha256(...pcrs));
}

/** The SHA-256 of the uPCR 0 of a PAL: how another PAL knows who sealed something. */
export function creationOf(measurement: Uint8Array): Uint8Array {
  return sha256(extendedBy(ZEROS, measurement));
}

function framed(bytes: Uint8Array): Uint8Array {
  const out = Buffer.alloc(Math.ceil((4 + bytes.length) / 32) * 32);
  out.writeUInt32LE(bytes.length);
  out.set(bytes, 4);
  return out;
}

function extendedBy(pcr: Uint8Array, blocks: Uint8Array): Uint8Array {
  let value = pcr;
  for (let at = 0; at < blocks.length; at += 32) value = sha256(value, blocks.subarray(at, at + 32));
  return value;
}

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** Whether both are the same bytes. */
export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

const ZEROS = new Uint8Array(32);
