/** Is a quote authentic: signed by this key, made by a TPM, for this challenge, over these PCR values. TPM 2.0 Part 1, section 18.6.4. */

import { bankById, type PcrBanks } from '@casemate/firmware';
import {
  TPM_ST,
  TPMA_OBJECT,
  type TpmCrypto,
  TpmError,
  TpmsAttest,
  TpmtPublic,
  TpmtSignature,
  verifyAttestSignature,
} from '@casemate/tpm';
import { decode, WireError } from '@casemate/wire';
import { concatBytes } from '@noble/hashes/utils.js';
import type { QuoteClaims } from './claims.js';
import type { QuoteEvidence } from './evidence.js';
import { equalBytes, hex } from './octets.js';

/** What a quote is expected to be. */
export interface QuoteExpectation {
  /** TPMT_PUBLIC of the key that is believed to have signed. */
  readonly key: Uint8Array;
  /** What the quote must have been made for. */
  readonly qualifyingData: Uint8Array;
  /** Who computes; `defaultCrypto` of `@casemate/tpm` without it. */
  readonly crypto: TpmCrypto | undefined;
}

/** A quote that verified, or the first thing that was wrong with it. */
export type QuoteResult =
  | { readonly ok: true; readonly claims: QuoteClaims }
  | { readonly ok: false; readonly problem: string };

type QuoteAttest = Extract<TpmsAttest, { readonly type: typeof TPM_ST.ATTEST_QUOTE }>;

const REQUIRED = ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'restricted', 'sign'] as const;

/** Verifies a quote against its key and what it was asked for. The key itself must have been established before. */
export function verifyQuote(quote: QuoteEvidence, expected: QuoteExpectation): QuoteResult {
  try {
    const key = decode(TpmtPublic, expected.key);
    const attest = decode(TpmsAttest, quote.quoted);
    const hashAlg = digestAlgorithm(decode(TpmtSignature, quote.signature));
    const problem =
      keyProblem(key) ??
      (verifyAttestSignature(key, quote.quoted, quote.signature, expected.crypto)
        ? undefined
        : 'the signature does not verify');
    if (problem !== undefined) return { ok: false, problem };
    if (attest.type !== TPM_ST.ATTEST_QUOTE) return { ok: false, problem: 'it is another attestation, not a quote' };
    return judge(attest, quote.pcrs, hashAlg, expected.qualifyingData);
  } catch (error) {
    if (error instanceof WireError || error instanceof TpmError) return { ok: false, problem: error.message };
    throw error;
  }
}

/**
 * Only a restricted key proves something: it signs no data from outside that looks like a TPM's own structure, so the attestation
 * was made inside. TPM 2.0 Part 1, section 25.1.4.
 */
function keyProblem(key: TpmtPublic): string | undefined {
  const lacking = REQUIRED.filter((name) => (key.objectAttributes & TPMA_OBJECT[name]) === 0);
  if (lacking.length > 0) return `the key lacks ${lacking.join(', ')}`;
  return key.objectAttributes & TPMA_OBJECT.decrypt ? 'the key decrypts as well' : undefined;
}

function judge(attest: QuoteAttest, pcrs: PcrBanks, hashAlg: number, qualifyingData: Uint8Array): QuoteResult {
  if (!equalBytes(attest.extraData, qualifyingData)) {
    const problem = `expected it to be made for ${hex(qualifyingData)}, got ${hex(attest.extraData)}`;
    return { ok: false, problem };
  }
  const selected = selectedValues(attest, pcrs);
  if (typeof selected === 'string') return { ok: false, problem: selected };
  const digest = bankById(hashAlg)?.hash(concatBytes(...selected));
  if (!digest || !equalBytes(digest, attest.attested.pcrDigest)) {
    return { ok: false, problem: 'the PCR values are not those that were signed' };
  }
  const { clockInfo, qualifiedSigner, firmwareVersion } = attest;
  const { clock, resetCount, restartCount, safe } = clockInfo;
  const claims = { pcrs, qualifiedSigner, clock, resetCount, restartCount, safe: Boolean(safe), firmwareVersion };
  return { ok: true, claims };
}

/**
 * The given values in the order in which the TPM hashed them; a text where they are not exactly the selected ones. A TPM signs a
 * selection that names a PCR twice, and a digest does not say where one value ends; so each is counted once and has its bank's length.
 */
function selectedValues(attest: QuoteAttest, pcrs: PcrBanks): readonly Uint8Array[] | string {
  const selected = attest.attested.pcrSelect.flatMap(({ hash, pcrSelect }) =>
    selectedIndexes(pcrSelect).map((index) => ({ bank: bankById(hash), index })),
  );
  const values = new Map<string, Uint8Array>();
  for (const { bank, index } of selected) {
    const what = `PCR ${index} of ${bank?.name ?? 'an unknown bank'}`;
    const value = bank && pcrs[bank.name]?.[index];
    if (!value) return `${what} was quoted, but its value is not given`;
    if (values.has(what)) return `${what} was quoted twice`;
    if (value.length !== bank.size) return `${what}: expected a value of ${bank.size} bytes, got ${value.length}`;
    values.set(what, value);
  }
  const given = Object.values(pcrs).reduce((count, bank) => count + Object.keys(bank ?? {}).length, 0);
  return given === values.size ? [...values.values()] : `expected the values of ${values.size} PCRs, got ${given}`;
}

function selectedIndexes(pcrSelect: Uint8Array): readonly number[] {
  return [...pcrSelect].flatMap((octet, i) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => (octet >> bit) & 1).map((bit) => 8 * i + bit),
  );
}

function digestAlgorithm(signature: TpmtSignature): number {
  return 'hash' in signature.signature ? signature.signature.hash : signature.signature.hashAlg;
}
