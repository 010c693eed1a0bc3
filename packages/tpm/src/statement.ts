/** Checking a TPM's signed statements without a TPM: quotes, certifications, NV contents, times, audits (Part 1, section 31; Part 2, section 10.12). */
import { decode, WireError } from '@casemate/wire';
import { concat, equalBytes, hex, u16Bytes, u32Bytes } from './bytes.js';
import { TPMA_OBJECT } from './constants/attributes.js';
import { TPM_ST } from './constants/sessions.js';
import { TPM_GENERATED_VALUE } from './constants/specification.js';
import type { TpmCrypto, TpmHashes } from './crypto.js';
import { defaultCrypto, defaultHashes } from './default-crypto.js';
import { nameOf } from './name.js';
import { HIERARCHIES, type Hierarchy } from './object.js';
import { bankOf, type PcrValues, selectedIndexes } from './pcr.js';
import { TpmError } from './response-code.js';
import { signatureParts, verifySignature } from './signature.js';
import { TpmsAttest } from './structures/attestation.js';
import type { TpmlPcrSelection } from './structures/lists.js';
import type { TpmtPublic } from './structures/public.js';
import { TpmtSignature } from './structures/signatures.js';

/** Why a statement is not believed. */
export type StatementProblem =
  /** The bytes are no statement, or no signature. */
  | 'malformed'
  /** The signature is not the key's, or not under its scheme. */
  | 'signature'
  /** The mark of the TPM is missing, so that anybody may have chosen the signed bytes. */
  | 'magic'
  /** The key is not restricted to signing what its TPM made, or the qualified Name of the signer is another one. */
  | 'signer'
  /** It is another kind of statement. */
  | 'type'
  /** The nonce is another one. */
  | 'nonce'
  /** The PCRs are others than those that were given. */
  | 'pcr-selection'
  /** The values of the PCRs are others than those that were given. */
  | 'pcr-digest'
  /** The firmware is another version. */
  | 'firmware'
  /** The TPM was reset or restarted, its clock is behind, or it may have run backwards. */
  | 'clock'
  /** It is about another object or index. */
  | 'name'
  /** It says another digest, or other contents, than were expected. */
  | 'contents';

/** A statement that is believed, or why it is not. */
export type StatementCheck<S = TpmsAttest> =
  | { readonly ok: true; readonly statement: S }
  | { readonly ok: false; readonly problem: StatementProblem; readonly message: string };

/** What a TPM signed, and what must be true of it whatever it says. */
export interface StatementInput {
  /** The signer's public area, which the caller must know to be a genuine TPM's: by a certificate or a credential. */
  readonly signer: TpmtPublic;
  /** The TPMS_ATTEST. */
  readonly attest: Uint8Array;
  /** The TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  /** The nonce that the verifier chose. */
  readonly nonce: Uint8Array;
  /** The qualified Name that the signer must have; see {@link qualifiedNameOf}. Default: not looked at. */
  readonly qualifiedSigner?: Uint8Array;
  /** The firmware version that it must have. TPMs obfuscate it for keys outside the endorsement and platform hierarchies. */
  readonly firmwareVersion?: bigint;
  /** What must be true of clock and counters; the counters are obfuscated like the firmware version. */
  readonly clock?: {
    /** Number of resets, exactly. */
    readonly resetCount?: number;
    /** Number of restarts since the last reset, exactly. */
    readonly restartCount?: number;
    /** Least value of the clock in milliseconds. */
    readonly notBefore?: bigint;
    /** The clock must be known never to have run backwards. */
    readonly safe?: true;
  };
  /** Believe a key that signs anything, which can sign a forged statement if whoever uses it wants that. Default false. */
  readonly insecureAllowUnrestricted?: boolean;
}

/** One kind of statement. */
export type StatementOf<T extends TpmsAttest['type']> = Extract<TpmsAttest, { readonly type: T }>;

/**
 * Verifies a quote: signature, mark, nonce, and that it is about exactly these PCRs with exactly these values.
 * Never throws for what the prover sent.
 */
export function verifyQuote(
  input: StatementInput & { readonly pcrs: PcrValues },
  crypto: TpmCrypto = defaultCrypto,
): StatementCheck<StatementOf<typeof TPM_ST.ATTEST_QUOTE>> {
  const checked = verifyStatement(input, TPM_ST.ATTEST_QUOTE, crypto);
  if (!checked.ok) return checked;
  const { pcrSelect, pcrDigest } = checked.statement.attested;
  const values = valuesIn(pcrSelect, input.pcrs);
  if (!values) return refuse('pcr-selection', 'the quote covers other PCRs than those that were given');
  const digest = crypto.hash(hashOf(input.signature), ...values);
  if (equalBytes(digest, pcrDigest)) return checked;
  return refuse('pcr-digest', `expected the digest ${hex(digest)} of the PCR values, got ${hex(pcrDigest)}`);
}

/** Verifies that a TPM has an object with this Name loaded (TPM2_Certify). Never throws for what the prover sent. */
export function verifyCertify(
  input: StatementInput & { readonly name: Uint8Array; readonly qualifiedName?: Uint8Array },
  crypto: TpmCrypto = defaultCrypto,
): StatementCheck<StatementOf<typeof TPM_ST.ATTEST_CERTIFY>> {
  const checked = verifyStatement(input, TPM_ST.ATTEST_CERTIFY, crypto);
  if (!checked.ok) return checked;
  const { name, qualifiedName } = checked.statement.attested;
  if (!equalBytes(name, input.name)) return otherName(input.name, name);
  if (input.qualifiedName && !equalBytes(qualifiedName, input.qualifiedName)) {
    return otherName(input.qualifiedName, qualifiedName);
  }
  return checked;
}

/**
 * Verifies that a TPM made the object with this Name under the circumstances of `creationData`, an encoded
 * TPMS_CREATION_DATA (TPM2_CertifyCreation). Never throws for what the prover sent.
 */
export function verifyCreation(
  input: StatementInput & { readonly name: Uint8Array; readonly creationData: Uint8Array },
  crypto: TpmCrypto = defaultCrypto,
): StatementCheck<StatementOf<typeof TPM_ST.ATTEST_CREATION>> {
  const checked = verifyStatement(input, TPM_ST.ATTEST_CREATION, crypto);
  if (!checked.ok) return checked;
  const { objectName, creationHash } = checked.statement.attested;
  if (!equalBytes(objectName, input.name)) return otherName(input.name, objectName);
  const nameAlg = ((input.name[0] ?? 0) << 8) | (input.name[1] ?? 0);
  return compareContents(checked, crypto.hash(nameAlg, input.creationData), creationHash);
}

/** Verifies what an NV index held (TPM2_NV_Certify), or the digest of it. Never throws for what the prover sent. */
export function verifyNvCertify(
  input: StatementInput & {
    /** The index's Name, see {@link nvNameOf}. */
    readonly name: Uint8Array;
    /** The contents that are expected. */
    readonly contents: Uint8Array;
    /** Where they start in the index. Default 0. */
    readonly offset?: number;
  },
  crypto: TpmCrypto = defaultCrypto,
): StatementCheck<StatementOf<typeof TPM_ST.ATTEST_NV> | StatementOf<typeof TPM_ST.ATTEST_NV_DIGEST>> {
  const checked = verifyStatement(input, undefined, crypto);
  if (!checked.ok) return checked;
  const { statement } = checked;
  if (statement.type !== TPM_ST.ATTEST_NV && statement.type !== TPM_ST.ATTEST_NV_DIGEST) {
    return refuse('type', `expected a statement about NV contents, got 0x${statement.type.toString(16)}`);
  }
  const { indexName } = statement.attested;
  if (!equalBytes(indexName, input.name)) return otherName(input.name, indexName);
  if (statement.type === TPM_ST.ATTEST_NV_DIGEST) {
    const digest = crypto.hash(hashOf(input.signature), input.contents);
    return compareContents({ ok: true, statement }, digest, statement.attested.nvDigest);
  }
  const { offset, nvContents } = statement.attested;
  if (offset !== (input.offset ?? 0)) return refuse('contents', `expected offset ${input.offset ?? 0}, got ${offset}`);
  return compareContents({ ok: true, statement }, input.contents, nvContents);
}

/** Verifies a TPM's word about its time and clock (TPM2_GetTime). Never throws for what the prover sent. */
export function verifyTime(
  input: StatementInput,
  crypto: TpmCrypto = defaultCrypto,
): StatementCheck<StatementOf<typeof TPM_ST.ATTEST_TIME>> {
  return verifyStatement(input, TPM_ST.ATTEST_TIME, crypto);
}

/** Verifies the audit digest of a session; see {@link extendAudit}. Never throws for what the prover sent. */
export function verifySessionAudit(
  input: StatementInput & { readonly digest: Uint8Array; readonly exclusive?: boolean },
  crypto: TpmCrypto = defaultCrypto,
): StatementCheck<StatementOf<typeof TPM_ST.ATTEST_SESSION_AUDIT>> {
  const checked = verifyStatement(input, TPM_ST.ATTEST_SESSION_AUDIT, crypto);
  if (!checked.ok) return checked;
  const { exclusiveSession, sessionDigest } = checked.statement.attested;
  if (input.exclusive === true && !exclusiveSession) {
    return refuse('contents', 'expected an exclusive session, got one with other commands in between');
  }
  return compareContents(checked, input.digest, sessionDigest);
}

/** Verifies the digest of the audited commands; see {@link extendAudit}. Never throws for what the prover sent. */
export function verifyCommandAudit(
  input: StatementInput & { readonly digest: Uint8Array },
  crypto: TpmCrypto = defaultCrypto,
): StatementCheck<StatementOf<typeof TPM_ST.ATTEST_COMMAND_AUDIT>> {
  const checked = verifyStatement(input, TPM_ST.ATTEST_COMMAND_AUDIT, crypto);
  return checked.ok ? compareContents(checked, input.digest, checked.statement.attested.auditDigest) : checked;
}

/**
 * The qualified Name of an object: its Name together with those of all its parents up to the hierarchy (Part 1, section
 * 16.5). `parent` is the hierarchy of a primary object, or the qualified Name of the parent.
 */
export function qualifiedNameOf(
  parent: Hierarchy | Uint8Array,
  publicArea: TpmtPublic,
  hashes: Pick<TpmHashes, 'hash'> = defaultHashes,
): Uint8Array {
  const above = typeof parent === 'string' ? u32Bytes(HIERARCHIES[parent]) : parent;
  const digest = hashes.hash(publicArea.nameAlg, above, nameOf(publicArea, hashes));
  return concat(u16Bytes(publicArea.nameAlg), digest);
}

/** Checks everything that does not depend on the kind of statement. */
function verifyStatement<T extends TpmsAttest['type']>(
  input: StatementInput,
  type: T | undefined,
  crypto: TpmCrypto,
): StatementCheck<StatementOf<T>> {
  const { signer, attest, signature } = input;
  if (!isRestricted(signer) && input.insecureAllowUnrestricted !== true) {
    return refuse('signer', 'expected a restricted signing key, got one that signs anything');
  }
  try {
    if (!verifySignature(signer, attest, signature, crypto)) return refuse('signature', 'the key did not sign this');
    if (!hasMagic(attest)) return refuse('magic', 'expected the mark of the TPM at the start');
    const statement = decode(TpmsAttest, attest);
    const problem = problemOf(input, statement);
    if (problem) return problem;
    if (type === undefined || isOf(statement, type)) return { ok: true, statement: statement as StatementOf<T> }; // checked here
    return refuse('type', `expected statement 0x${type.toString(16)}, got 0x${statement.type.toString(16)}`);
  } catch (error) {
    if (error instanceof WireError || error instanceof TpmError) return refuse('malformed', error.message);
    throw error;
  }
}

function problemOf(input: StatementInput, statement: TpmsAttest): ReturnType<typeof refuse> | undefined {
  if (!equalBytes(statement.extraData, input.nonce)) {
    return refuse('nonce', `expected nonce ${hex(input.nonce)}, got ${hex(statement.extraData)}`);
  }
  if (input.qualifiedSigner && !equalBytes(statement.qualifiedSigner, input.qualifiedSigner)) {
    return refuse('signer', `expected signer ${hex(input.qualifiedSigner)}, got ${hex(statement.qualifiedSigner)}`);
  }
  if (input.firmwareVersion !== undefined && statement.firmwareVersion !== input.firmwareVersion) {
    return refuse('firmware', `expected firmware ${input.firmwareVersion}, got ${statement.firmwareVersion}`);
  }
  return clockProblem(input.clock ?? {}, statement.clockInfo);
}

function clockProblem(expected: NonNullable<StatementInput['clock']>, got: TpmsAttest['clockInfo']) {
  const { resetCount = got.resetCount, restartCount = got.restartCount, notBefore = 0n, safe } = expected;
  if (got.resetCount !== resetCount) return refuse('clock', `expected reset ${resetCount}, got ${got.resetCount}`);
  if (got.restartCount !== restartCount) {
    return refuse('clock', `expected restart ${restartCount}, got ${got.restartCount}`);
  }
  if (got.clock < notBefore) return refuse('clock', `expected clock ${notBefore} or later, got ${got.clock}`);
  if (safe && !got.safe) return refuse('clock', 'the clock may have run backwards');
  return undefined;
}

/** The values in the order of the quote; `undefined` where the quote covers others, or not all of them. */
function valuesIn(selection: TpmlPcrSelection, given: PcrValues): readonly Uint8Array[] | undefined {
  const values: Uint8Array[] = [];
  for (const { hash, pcrSelect } of selection) {
    const bank = bankOf(hash);
    for (const index of selectedIndexes(pcrSelect)) {
      const value = bank && given[bank]?.[index];
      if (!value) return undefined;
      values.push(value);
    }
  }
  const count = Object.values(given).reduce((sum, bank) => sum + Object.keys(bank ?? {}).length, 0);
  return values.length === count ? values : undefined;
}

function compareContents<S>(
  checked: { readonly ok: true; readonly statement: S },
  expected: Uint8Array,
  got: Uint8Array,
): StatementCheck<S> {
  return equalBytes(expected, got) ? checked : refuse('contents', `expected ${hex(expected)}, got ${hex(got)}`);
}

function otherName(expected: Uint8Array, got: Uint8Array) {
  return refuse('name', `expected the Name ${hex(expected)}, got ${hex(got)}`);
}

function refuse(problem: StatementProblem, message: string) {
  return { ok: false, problem, message } as const;
}

function isRestricted({ objectAttributes }: TpmtPublic): boolean {
  return (objectAttributes & TPMA_OBJECT.restricted) !== 0 && (objectAttributes & TPMA_OBJECT.sign) !== 0;
}

function hasMagic(attest: Uint8Array): boolean {
  return attest.length >= 4 && new DataView(attest.buffer, attest.byteOffset).getUint32(0) === TPM_GENERATED_VALUE;
}

function isOf<T extends TpmsAttest['type']>(statement: TpmsAttest, type: T): statement is StatementOf<T> {
  return statement.type === type;
}

/** A quote's digest is made with the hash of its signature. */
function hashOf(signature: Uint8Array): number {
  return signatureParts(decode(TpmtSignature, signature)).hash;
}
