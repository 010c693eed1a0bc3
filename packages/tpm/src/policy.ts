/** Policies: their digests computed without a TPM, and the same elements replayed in a session (Part 1, section 19.7; Part 3, chapter 23). */
import { decode, encode } from '@casemate/wire';
import type { Entity } from './authorization.js';
import { concat, equalBytes, u16Bytes, u32Bytes } from './bytes.js';
import type { CommandResponse } from './command.js';
import {
  PolicyAuthorize,
  PolicyAuthorizeNv,
  PolicyAuthValue,
  PolicyCommandCode,
  PolicyCounterTimer,
  PolicyCpHash,
  PolicyDuplicationSelect,
  PolicyLocality,
  PolicyNameHash,
  PolicyNv,
  PolicyNvWritten,
  PolicyOr,
  PolicyPassword,
  PolicyPcr,
  PolicyPhysicalPresence,
  PolicySecret,
  PolicySigned,
  PolicyTemplate,
  PolicyTicket,
} from './commands/enhanced-authorization.js';
import { VerifySignature } from './commands/signing.js';
import { TPM_CC } from './constants/commands.js';
import { type TPM_EO, TPM_ST } from './constants/sessions.js';
import type { TpmHashes } from './crypto.js';
import { defaultHashes } from './default-crypto.js';
import { hashSize } from './hashes.js';
import { entityName, nameOf } from './name.js';
import { loadPublic } from './object.js';
import {
  orderedPcrValues,
  PCR_BANKS,
  type PcrBank,
  type PcrIndexes,
  type PcrValues,
  pcrIndexesOf,
  pcrSelection,
  readPcrs,
} from './pcr.js';
import { TpmError } from './response-code.js';
import type { Session } from './session.js';
import { TpmlPcrSelection } from './structures/lists.js';
import type { TpmtPublic } from './structures/public.js';
import { TpmtSignature } from './structures/signatures.js';
import type { TpmtTkAuth } from './structures/tickets.js';
import type { Tpm } from './tpm.js';

/** Conditions that must all hold, in this order. */
export type Policy = readonly PolicyElement[];

/** A comparison of bytes in the TPM with `operand`; `operation` is a member of `TPM_EO`. */
export interface PolicyComparison {
  /** What to compare with. */
  readonly operand: Uint8Array;
  /** Where the bytes start that are compared. Default 0. */
  readonly offset?: number;
  /** How to compare, a member of `TPM_EO`. */
  readonly operation: (typeof TPM_EO)[keyof typeof TPM_EO];
}

/** What a proof by a secret or a signature covers. Only `policyRef` goes into the policy's digest. */
export interface PolicyProof {
  /** Bytes that tell this use of the authority from others. Default none. */
  readonly policyRef?: Uint8Array;
  /** Only a command with this cpHash, `commandParameterHash`. Default: any command. */
  readonly cpHash?: Uint8Array;
  /** Seconds from the session's start that the proof holds, or negative for a ticket that holds as long. Default 0: no limit. */
  readonly expiration?: number;
}

/** What the TPM gave for a proof with a negative `expiration`: it stands for that proof until it expires or the TPM is reset. */
export interface IssuedTicket {
  /** When it expires, in the TPM's own form. */
  readonly timeout: Uint8Array;
  /** The cpHash of the proof; empty for any command. */
  readonly cpHash: Uint8Array;
  /** The policyRef of the proof. */
  readonly policyRef: Uint8Array;
  /** The Name of the authority. */
  readonly authName: Uint8Array;
  /** The ticket itself. */
  readonly ticket: TpmtTkAuth;
}

/** One condition of a policy. Its digest needs only what identifies it; what a replay needs besides may be left out before. */
export type PolicyElement =
  /** PCRs have these values (PolicyPCR). */
  | { readonly type: 'pcr'; readonly values: PcrValues }
  /** PCRs have values with this digest, by the hash of the policy; the values themselves need not be known (PolicyPCR). */
  | { readonly type: 'pcr-digest'; readonly pcrs: PcrIndexes; readonly digest: Uint8Array }
  /** The object's authorization value is proved by the session's HMAC (PolicyAuthValue). */
  | { readonly type: 'auth-value' }
  /** The object's authorization value is sent in the clear (PolicyPassword); the digest is that of `auth-value`. */
  | { readonly type: 'password' }
  /** Only this command, a member of `TPM_CC` (PolicyCommandCode). */
  | { readonly type: 'command-code'; readonly code: number }
  /** The authorization of another entity is proved (PolicySecret). */
  | ({ readonly type: 'secret'; readonly authority: Entity } & PolicyProof)
  /**
   * A key signs for this session (PolicySigned). `sign` gets nonceTPM, expiration, cpHashA and policyRef one after another,
   * hashes and signs that, and gives a TPMT_SIGNATURE.
   */
  | ({
      readonly type: 'signed';
      readonly authority: TpmtPublic;
      readonly sign?: (message: Uint8Array) => Promise<Uint8Array>;
    } & PolicyProof)
  /** An earlier proof of a `secret` or a `signed`, whose digest this has (PolicyTicket). */
  | ({ readonly type: 'ticket' } & IssuedTicket)
  /**
   * A policy that a key has approved (PolicyAuthorize), so that it can be chosen after the digest is fixed. `signature` is a
   * TPMT_SIGNATURE of {@link policyApproval}.
   */
  | {
      readonly type: 'authorize';
      readonly authority: TpmtPublic;
      readonly policyRef?: Uint8Array;
      readonly approved?: { readonly policy: Policy; readonly signature: Uint8Array };
    }
  /** One of two to eight policies (PolicyOR). */
  | { readonly type: 'or'; readonly branches: readonly Policy[] }
  /** The NV index that is authorised has been written, or has not (PolicyNvWritten). */
  | { readonly type: 'nv-written'; readonly written: boolean }
  /** Only a command with this cpHash, `commandParameterHash` (PolicyCpHash). */
  | { readonly type: 'cp-hash'; readonly cpHash: Uint8Array }
  /** Only handles with this hash of their Names, {@link nameHash} (PolicyNameHash). */
  | { readonly type: 'name-hash'; readonly nameHash: Uint8Array }
  /** Only creation from a template with this hash (PolicyTemplate). */
  | { readonly type: 'template'; readonly templateHash: Uint8Array }
  /** Only at these localities, bits of `TPMA_LOCALITY` (PolicyLocality). */
  | { readonly type: 'locality'; readonly locality: number }
  /** Physical presence is asserted (PolicyPhysicalPresence). */
  | { readonly type: 'physical-presence' }
  /**
   * Only duplication to this parent, of this object where `includeObject` (PolicyDuplicationSelect). A replay needs the
   * Name of the object either way.
   */
  | {
      readonly type: 'duplication-select';
      readonly objectName: Uint8Array;
      readonly newParentName: Uint8Array;
      readonly includeObject: boolean;
    }
  /** NV contents compare so; `by` authorises the read, default the index itself (PolicyNV). */
  | ({ readonly type: 'nv'; readonly index: Entity; readonly by?: Entity } & PolicyComparison)
  /** TPMS_TIME_INFO compares so (PolicyCounterTimer). */
  | ({ readonly type: 'counter-timer' } & PolicyComparison)
  /** The policy is the one whose digest is in an NV index (PolicyAuthorizeNV). */
  | {
      readonly type: 'authorize-nv';
      readonly index: Entity;
      readonly by?: Entity;
      readonly approved?: Policy;
    };

/** How a policy is replayed. */
export interface SatisfyOptions {
  /** Which branch of an OR to take. Default: the first whose PCR conditions hold now. */
  readonly choose?: (branches: readonly Policy[]) => number | Promise<number>;
  /** Takes the tickets that proofs with a negative `expiration` give, to use them later as `{ type: 'ticket', ...ticket }`. */
  readonly onTicket?: (ticket: IssuedTicket) => void;
}

/** The digest of a policy, to put into an object's `authPolicy`; `hash` is the object's name algorithm. */
export function policyDigest(
  policy: Policy,
  hash: PcrBank = 'sha256',
  hashes: Pick<TpmHashes, 'hash'> = defaultHashes,
): Uint8Array {
  const algorithm = PCR_BANKS[hash];
  return extendAll(policy, { algorithm, hashes, digest: new Uint8Array(hashSize(algorithm)) }).digest;
}

/** The hash of the Names of a command's handles, in their order, for a `name-hash` element; `hash` is the policy's. */
export function nameHash(
  handles: readonly Entity[],
  hash: PcrBank = 'sha256',
  hashes: Pick<TpmHashes, 'hash'> = defaultHashes,
): Uint8Array {
  return hashes.hash(PCR_BANKS[hash], ...handles.map(entityName));
}

/** The message that a key signs to approve a policy for an `authorize` element: policy digest and policyRef. */
export function policyApproval(
  policy: Policy,
  options: { readonly policyRef?: Uint8Array; readonly hash?: PcrBank } = {},
): Uint8Array {
  return concat(policyDigest(policy, options.hash), options.policyRef ?? NONE);
}

/**
 * Replays a policy in a policy or trial session, so that the session's digest becomes the policy's.
 * Throws `TpmError`: `response` where the TPM finds a condition not met, `usage` where an element lacks what a replay needs.
 */
export async function satisfyPolicy(
  tpm: Tpm,
  session: Session,
  policy: Policy,
  options: SatisfyOptions = {},
): Promise<void> {
  const hashes = tpm.crypto ?? defaultHashes;
  const digest = new Uint8Array(hashSize(session.hash));
  await replayAll(policy, { algorithm: session.hash, hashes, digest }, { tpm, session, options });
}

interface State {
  readonly algorithm: number;
  readonly hashes: Pick<TpmHashes, 'hash'>;
  readonly digest: Uint8Array;
}

interface Replay {
  readonly tpm: Tpm;
  readonly session: Session;
  readonly options: SatisfyOptions;
}

function extendAll(policy: Policy, state: State): State {
  return policy.reduce(extend, state);
}

async function replayAll(policy: Policy, state: State, replay: Replay): Promise<State> {
  let reached = state;
  for (const element of policy) {
    await replayOne(element, reached, replay);
    reached = extend(reached, element);
  }
  return reached;
}

/** How each element changes the policy digest (Part 3, "policyDigest update" of each command). */
function extend(state: State, element: PolicyElement): State {
  switch (element.type) {
    case 'pcr':
      return absorb(state, TPM_CC.PolicyPCR, encodedPcrs(element.values), pcrDigest(state, element.values));
    case 'pcr-digest':
      return absorb(state, TPM_CC.PolicyPCR, encode(TpmlPcrSelection, pcrSelection(element.pcrs)), element.digest);
    case 'auth-value':
    case 'password':
      return absorb(state, TPM_CC.PolicyAuthValue);
    case 'command-code':
      return absorb(state, TPM_CC.PolicyCommandCode, u32Bytes(element.code));
    case 'secret':
      return absorbName(state, TPM_CC.PolicySecret, entityName(element.authority), element.policyRef);
    case 'signed':
      return absorbName(state, TPM_CC.PolicySigned, nameOf(element.authority, state.hashes), element.policyRef);
    case 'ticket':
      return absorbName(state, TICKET_COMMANDS[element.ticket.tag], element.authName, element.policyRef);
    case 'authorize':
      return absorbName(
        reset(state),
        TPM_CC.PolicyAuthorize,
        nameOf(element.authority, state.hashes),
        element.policyRef,
      );
    case 'or':
      return absorb(reset(state), TPM_CC.PolicyOR, ...branchDigests(state, element.branches));
    case 'nv-written':
      return absorb(state, TPM_CC.PolicyNvWritten, Uint8Array.of(element.written ? 1 : 0));
    case 'cp-hash':
      return absorb(state, TPM_CC.PolicyCpHash, element.cpHash);
    case 'name-hash':
      return absorb(state, TPM_CC.PolicyNameHash, element.nameHash);
    case 'template':
      return absorb(state, TPM_CC.PolicyTemplate, element.templateHash);
    case 'locality':
      return absorb(state, TPM_CC.PolicyLocality, Uint8Array.of(element.locality));
    case 'physical-presence':
      return absorb(state, TPM_CC.PolicyPhysicalPresence);
    case 'duplication-select': {
      const objectName = element.includeObject ? element.objectName : NONE;
      const include = Uint8Array.of(element.includeObject ? 1 : 0);
      return absorb(state, TPM_CC.PolicyDuplicationSelect, objectName, element.newParentName, include);
    }
    case 'nv':
      return absorb(state, TPM_CC.PolicyNV, comparisonHash(state, element), entityName(element.index));
    case 'counter-timer':
      return absorb(state, TPM_CC.PolicyCounterTimer, comparisonHash(state, element));
    case 'authorize-nv':
      return absorb(reset(state), TPM_CC.PolicyAuthorizeNV, entityName(element.index));
  }
}

async function replayOne(element: PolicyElement, state: State, replay: Replay): Promise<void> {
  const { tpm, session: policySession } = replay;
  switch (element.type) {
    case 'pcr': {
      const pcrs = pcrSelection(pcrIndexesOf(element.values));
      await tpm.execute(PolicyPcr, { policySession, pcrDigest: pcrDigest(state, element.values), pcrs });
      return;
    }
    case 'pcr-digest': {
      const pcrs = pcrSelection(element.pcrs);
      await tpm.execute(PolicyPcr, { policySession, pcrDigest: element.digest, pcrs });
      return;
    }
    case 'auth-value':
      await tpm.execute(PolicyAuthValue, { policySession });
      return;
    case 'password':
      await tpm.execute(PolicyPassword, { policySession });
      return;
    case 'command-code':
      await tpm.execute(PolicyCommandCode, { policySession, code: element.code });
      return;
    case 'secret':
      return replaySecret(element, replay);
    case 'signed':
      return replaySigned(element, replay);
    case 'ticket': {
      const { timeout, cpHash: cpHashA, policyRef, authName, ticket } = element;
      await tpm.execute(PolicyTicket, { policySession, timeout, cpHashA, policyRef, authName, ticket });
      return;
    }
    case 'authorize':
      return replayAuthorize(element, state, replay);
    case 'or':
      return replayOr(element.branches, state, replay);
    case 'nv-written':
      await tpm.execute(PolicyNvWritten, { policySession, writtenSet: element.written });
      return;
    case 'cp-hash':
      await tpm.execute(PolicyCpHash, { policySession, cpHashA: element.cpHash });
      return;
    case 'name-hash':
      await tpm.execute(PolicyNameHash, { policySession, nameHash: element.nameHash });
      return;
    case 'template':
      await tpm.execute(PolicyTemplate, { policySession, templateHash: element.templateHash });
      return;
    case 'locality':
      await tpm.execute(PolicyLocality, { policySession, locality: element.locality });
      return;
    case 'physical-presence':
      await tpm.execute(PolicyPhysicalPresence, { policySession });
      return;
    case 'duplication-select': {
      const { objectName, newParentName, includeObject } = element;
      await tpm.execute(PolicyDuplicationSelect, { policySession, objectName, newParentName, includeObject });
      return;
    }
    case 'nv': {
      const authHandle = element.by ?? element.index;
      await tpm.execute(PolicyNv, { authHandle, nvIndex: element.index, policySession, ...comparison(element) });
      return;
    }
    case 'counter-timer':
      await tpm.execute(PolicyCounterTimer, { policySession, ...comparison(element) });
      return;
    case 'authorize-nv': {
      if (!element.approved) throw lacks(element.type, 'the approved policy');
      await replayAll(element.approved, state, replay);
      const authHandle = element.by ?? element.index;
      await tpm.execute(PolicyAuthorizeNv, { authHandle, nvIndex: element.index, policySession });
      return;
    }
  }
}

async function replaySecret(element: Extract<PolicyElement, { type: 'secret' }>, replay: Replay): Promise<void> {
  const { authority, expiration = 0 } = element;
  // A time limit counts from the session's start, so it needs the session's nonce.
  const nonceTPM = expiration === 0 ? NONE : replay.session.nonceTpm;
  const proof = proofOf(element);
  const handles = { authHandle: authority, policySession: replay.session };
  const issued = await replay.tpm.execute(PolicySecret, { ...handles, nonceTPM, ...proof });
  noteTicket(issued, proof, entityName(authority), replay);
}

async function replaySigned(element: Extract<PolicyElement, { type: 'signed' }>, replay: Replay): Promise<void> {
  const { authority, sign } = element;
  if (!sign) throw lacks(element.type, 'a signer');
  const { tpm, session } = replay;
  const nonceTPM = session.nonceTpm;
  const proof = proofOf(element);
  const { expiration, cpHashA, policyRef } = proof;
  const auth = decode(TpmtSignature, await sign(concat(nonceTPM, u32Bytes(expiration >>> 0), cpHashA, policyRef)));
  // A ticket is one of the hierarchy that the key is in, and the null hierarchy gives none.
  await using key = await loadPublic(tpm, authority, { hierarchy: expiration < 0 ? 'owner' : 'null' });
  const issued = await tpm.execute(PolicySigned, { authObject: key, policySession: session, nonceTPM, ...proof, auth });
  noteTicket(issued, proof, key.name, replay);
}

function proofOf({ policyRef = NONE, cpHash: cpHashA = NONE, expiration = 0 }: PolicyProof) {
  return { policyRef, cpHashA, expiration };
}

function noteTicket(
  { timeout, policyTicket: ticket }: CommandResponse<typeof PolicySigned>,
  { policyRef, cpHashA: cpHash }: ReturnType<typeof proofOf>,
  authName: Uint8Array,
  replay: Replay,
): void {
  if (ticket.digest.length > 0) replay.options.onTicket?.({ timeout, cpHash, policyRef, authName, ticket });
}

async function replayAuthorize(
  element: Extract<PolicyElement, { type: 'authorize' }>,
  state: State,
  replay: Replay,
): Promise<void> {
  const { authority, policyRef = NONE, approved } = element;
  if (!approved) throw lacks(element.type, 'the approved policy and its signature');
  const { tpm, session } = replay;
  const { digest: approvedPolicy } = await replayAll(approved.policy, state, replay);
  // The null hierarchy gives no ticket, so the key is loaded into another one.
  await using key = await loadPublic(tpm, authority, { hierarchy: 'owner' });
  const digest = state.hashes.hash(authority.nameAlg, approvedPolicy, policyRef);
  const signature = decode(TpmtSignature, approved.signature);
  const { validation } = await tpm.execute(VerifySignature, { keyHandle: key, digest, signature });
  const request = { approvedPolicy, policyRef, keySign: key.name, checkTicket: validation };
  await tpm.execute(PolicyAuthorize, { policySession: session, ...request });
}

async function replayOr(branches: readonly Policy[], state: State, replay: Replay): Promise<void> {
  const choose = replay.options.choose ?? ((all) => firstOpen(replay.tpm, all, state.algorithm));
  const chosen = branches[await choose(branches)];
  if (!chosen) throw new TpmError('usage', 'satisfy policy: expected a branch of the OR, got none');
  await replayAll(chosen, state, replay);
  const pHashList = branchDigests(state, branches);
  await replay.tpm.execute(PolicyOr, { policySession: replay.session, pHashList });
}

/** The first branch whose PCR conditions hold; other conditions are for the TPM to decide. */
async function firstOpen(tpm: Tpm, branches: readonly Policy[], hash: number): Promise<number> {
  for (const [i, branch] of branches.entries()) {
    if (await isOpen(tpm, branch, hash)) return i;
  }
  throw new TpmError('usage', 'satisfy policy: the PCRs meet none of the branches of the OR');
}

async function isOpen(tpm: Tpm, policy: Policy, hash: number): Promise<boolean> {
  for (const element of policy) {
    if (element.type === 'pcr' && !(await pcrsAre(tpm, element.values))) return false;
    if (element.type === 'pcr-digest' && !(await pcrsHash(tpm, element, hash))) return false;
    if (element.type === 'or' && !(await isAnyOpen(tpm, element.branches, hash))) return false;
  }
  return true;
}

async function isAnyOpen(tpm: Tpm, branches: readonly Policy[], hash: number): Promise<boolean> {
  for (const branch of branches) {
    if (await isOpen(tpm, branch, hash)) return true;
  }
  return false;
}

async function pcrsHash(
  tpm: Tpm,
  element: Extract<PolicyElement, { type: 'pcr-digest' }>,
  hash: number,
): Promise<boolean> {
  const now = await readPcrs(tpm, element.pcrs);
  return equalBytes((tpm.crypto ?? defaultHashes).hash(hash, ...orderedPcrValues(now)), element.digest);
}

async function pcrsAre(tpm: Tpm, values: PcrValues): Promise<boolean> {
  const now = await readPcrs(tpm, pcrIndexesOf(values));
  return equalBytes(concat(...orderedPcrValues(now)), concat(...orderedPcrValues(values)));
}

function branchDigests(state: State, branches: readonly Policy[]): readonly Uint8Array[] {
  if (branches.length < 2 || branches.length > 8) {
    throw new TpmError('usage', `compute policy: expected 2 to 8 branches of an OR, got ${branches.length}`);
  }
  return branches.map((branch) => extendAll(branch, state).digest);
}

function absorb(state: State, code: number, ...parts: readonly Uint8Array[]): State {
  const { algorithm, hashes, digest } = state;
  return { ...state, digest: hashes.hash(algorithm, digest, u32Bytes(code), ...parts) };
}

/** PolicyUpdate() of Part 3, section 23.2.3: the Name first, then policyRef in a second round. */
function absorbName(state: State, code: number, name: Uint8Array, policyRef: Uint8Array = NONE): State {
  const named = absorb(state, code, name);
  return { ...named, digest: state.hashes.hash(state.algorithm, named.digest, policyRef) };
}

function reset(state: State): State {
  return { ...state, digest: new Uint8Array(state.digest.length) };
}

function pcrDigest(state: State, values: PcrValues): Uint8Array {
  return state.hashes.hash(state.algorithm, ...orderedPcrValues(values));
}

function encodedPcrs(values: PcrValues): Uint8Array {
  return encode(TpmlPcrSelection, pcrSelection(pcrIndexesOf(values)));
}

function comparison({ operand, offset = 0, operation }: PolicyComparison) {
  return { operandB: operand, offset, operation };
}

function comparisonHash(state: State, { operand, offset = 0, operation }: PolicyComparison): Uint8Array {
  return state.hashes.hash(state.algorithm, operand, u16Bytes(offset), u16Bytes(operation));
}

function lacks(type: PolicyElement['type'], what: string): TpmError {
  return new TpmError('usage', `satisfy policy: the element ${type} lacks ${what}`);
}

/** A ticket stands for the command that gave it. */
const TICKET_COMMANDS = {
  [TPM_ST.AUTH_SECRET]: TPM_CC.PolicySecret,
  [TPM_ST.AUTH_SIGNED]: TPM_CC.PolicySigned,
} as const;
const NONE = new Uint8Array(0);
