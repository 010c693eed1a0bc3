/** Command audit: Part 1, clause 17.7 (the digest of audited commands) and Part 3, clause 21. */
import { EMPTY, u32Bytes } from './bytes.js';
import { isShutDown } from './clock.js';
import { zeroDigest } from './implementation.js';
import { ORDERLY } from './permanent.js';
import { markDirty, type Tpm } from './tpm.js';

/** What was known of an audited command before it ran. */
export interface AuditedCommand {
  /** The hash algorithm of the audit. */
  readonly alg: number;
  /** cpHash under it. */
  readonly cpHash: Uint8Array;
}

/** Adds a command that has run to the audit digest; `rpHash` is of its response. */
export function auditCommand(tpm: Tpm, { alg, cpHash }: AuditedCommand, rpHash: (alg: number) => Uint8Array): void {
  const { audit } = tpm.permanent;
  // The command that changes the algorithm is in no digest: the old one has ended and the new one is not begun.
  if (audit.alg !== alg) return;
  // The digest that a TPM2_Shutdown has saved lacks this command.
  if (isShutDown(tpm)) {
    tpm.permanent.orderly = ORDERLY.NONE;
    markDirty(tpm);
  }
  if (tpm.volatile.auditDigest.length === 0) {
    tpm.permanent.audit = { ...audit, counter: audit.counter + 1n };
    markDirty(tpm);
  }
  const before = tpm.volatile.auditDigest.length === 0 ? zeroDigest(alg) : tpm.volatile.auditDigest;
  tpm.volatile.auditDigest = tpm.crypto.hash(alg, before, cpHash, rpHash(alg));
}

/** The digest over the codes of the audited commands, ascending. */
export function auditedCommandsDigest(tpm: Tpm): Uint8Array {
  const { alg, commands } = tpm.permanent.audit;
  return tpm.crypto.hash(alg, ...[...commands].sort((a, b) => a - b).map(u32Bytes));
}

/** Ends the audit digest, so that the next audited command starts a new one. */
export function resetAuditDigest(tpm: Tpm): void {
  tpm.volatile.auditDigest = EMPTY;
}
