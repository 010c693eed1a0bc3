/** Secrets that are committed in one command and used in a later one: Part 1, C.2.2 and C.6.4; Part 3, clause 19. */
import { kdfA } from '@casemate/tpm';
import { EMPTY, u64Bytes } from './bytes.js';
import type { Curve } from './curve.js';
import { IMPLEMENTATION } from './implementation.js';
import type { CommitState } from './permanent.js';
import { scalarFrom } from './scalar.js';
import type { Tpm } from './tpm.js';

/** As many commitments as can be open at a time. */
const OPEN = 128n;

function stateOf(tpm: Tpm): CommitState {
  const known = tpm.volatile.commits;
  if (known !== undefined && known.nonce.length > 0) return known;
  const fresh = { nonce: tpm.crypto.random(IMPLEMENTATION.SEED_SIZE), counter: 0n, open: new Uint8Array(16) };
  tpm.volatile.commits = fresh;
  return fresh;
}

/** The secret of the commitment that comes next; it counts only when `commit` is called. `name` ties it to a key. */
export function nextCommitSecret(tpm: Tpm, curve: Curve, name: Uint8Array = EMPTY): Uint8Array {
  return secretOf(tpm, curve, name, stateOf(tpm).counter);
}

// Nothing but this TPM derives it, so that its form is free: KDFa as a stream, reduced without bias.
function secretOf(tpm: Tpm, curve: Curve, contextU: Uint8Array, counter: bigint): Uint8Array {
  const { nonce: key } = stateOf(tpm);
  const contextV = u64Bytes(counter);
  const hash = IMPLEMENTATION.CONTEXT_HASH;
  return scalarFrom(
    (length) => kdfA({ hash, key, label: 'ECDAA Commit', contextU, contextV, bits: 8 * length }, tpm.crypto),
    curve,
  );
}

/** Opens the commitment; returns the number by which it is used. */
export function commit(tpm: Tpm): number {
  const state = stateOf(tpm);
  const open = state.open.slice();
  const slot = Number(state.counter % OPEN);
  open[slot >> 3] = (open[slot >> 3] ?? 0) | (1 << (slot & 7));
  tpm.volatile.commits = { ...state, counter: state.counter + 1n, open };
  return Number(state.counter & 0xffffn);
}

/** The secret of an open commitment, or undefined where there is none of this number. */
export function committedSecret(
  tpm: Tpm,
  count: number,
  curve: Curve,
  name: Uint8Array = EMPTY,
): Uint8Array | undefined {
  const { counter, open } = stateOf(tpm);
  const slot = BigInt(count) % OPEN;
  if ((((open[Number(slot) >> 3] ?? 0) >> (Number(slot) & 7)) & 1) === 0) return undefined;
  // The last counter value that had this slot.
  const latest = counter - 1n - ((counter - 1n - slot) % OPEN);
  return Number(latest & 0xffffn) === count ? secretOf(tpm, curve, name, latest) : undefined;
}

/** Closes a commitment: a secret is used once. */
export function endCommit(tpm: Tpm, count: number): void {
  const state = stateOf(tpm);
  const open = state.open.slice();
  const slot = count % Number(OPEN);
  open[slot >> 3] = (open[slot >> 3] ?? 0) & ~(1 << (slot & 7));
  tpm.volatile.commits = { ...state, open };
}
