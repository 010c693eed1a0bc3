/** Quotes, and their check without a TPM. TPM 1.2 Main Part 2, clause 11; Part 3, clauses 16.3 and 16.5. */
import { decode, encode, WireError } from '@casemate/wire';
import { concat, equalBytes } from '../bytes.js';
import { TpmError } from '../response-code.js';
import type { ExecuteOptions12, Tpm12 } from './client.js';
import { Quote, Quote2 } from './commands/pcr.js';
import { TPM_TAG } from './constants.js';
import { nobleCrypto12, sha1, type Tpm12Crypto, verifySha1 } from './crypto.js';
import { type KeyHandle12, rsaPublicKey } from './key.js';
import { compositeHash, type PcrValues12, pcrSelection12, readPcrs12, selectedPcrs12 } from './pcr.js';
import { VERSION_1_1 } from './structures/base.js';
import { TpmCapVersionInfo } from './structures/capability.js';
import type { TpmPubkey } from './structures/key.js';
import { TpmPcrComposite, type TpmPcrInfoShort } from './structures/pcr.js';
import { TpmQuoteInfo, TpmQuoteInfo2 } from './structures/quote.js';

/** The result of TPM_Quote: everything that a verifier needs but the key and the nonce. */
export interface Quote12 {
  /** The PCRs and their values. */
  readonly pcrData: TpmPcrComposite;
  /** The signature. */
  readonly signature: Uint8Array;
}

/** The result of TPM_Quote2. */
export interface Quote212 {
  /** The PCRs, the locality as bits of `TPM_LOC`, and the digest of the values. */
  readonly pcrData: TpmPcrInfoShort;
  /** The encoded TPM_CAP_VERSION_INFO; empty where it was not asked for. */
  readonly versionInfo: Uint8Array;
  /** The values whose digest is in `pcrData`. They are not signed, the digest is. */
  readonly values: PcrValues12;
  /** The signature. */
  readonly signature: Uint8Array;
}

/** What a verified quote says. */
export type QuoteClaims12 =
  | {
      /** The signature is the key's, and it is about this nonce and these PCRs. */
      readonly ok: true;
      /** The values of the quoted PCRs. */
      readonly pcrs: PcrValues12;
      /** The locality that asked, as bits of `TPM_LOC`; of a Quote2 alone. */
      readonly locality?: number;
      /** What the TPM is, where a Quote2 covers it. */
      readonly version?: TpmCapVersionInfo;
    }
  | {
      /** The quote proves nothing. */
      readonly ok: false;
      /** Why not. */
      readonly problem: 'signature' | 'pcr-values' | 'version';
    };

/** What is asked for. */
export interface QuoteOptions12 extends ExecuteOptions12 {
  /** 20 bytes of the verifier's: random, or a digest of more. */
  readonly nonce: Uint8Array;
  /** The PCR indexes. */
  readonly pcrs: readonly number[];
}

/** Has PCRs signed together with a nonce by an identity or signing key. */
export async function quote12(tpm: Tpm12, key: KeyHandle12, options: QuoteOptions12): Promise<Quote12> {
  const targetPCR = pcrSelection12(options.pcrs);
  const request = { keyHandle: key.handle, externalData: options.nonce, targetPCR, privAuth: key.secret };
  const { pcrData, sig } = await tpm.execute(Quote, request, options);
  return { pcrData, signature: sig };
}

/**
 * Has PCRs and locality signed together with a nonce, and the TPM's version with `version`. Where a PCR changes while its
 * value is read, both are done again.
 */
export async function quote212(
  tpm: Tpm12,
  key: KeyHandle12,
  options: QuoteOptions12 & { readonly version?: boolean },
): Promise<Quote212> {
  const targetPCR = pcrSelection12(options.pcrs);
  const wanted = { externalData: options.nonce, targetPCR, addVersion: options.version ?? false };
  const request = { keyHandle: key.handle, ...wanted, privAuth: key.secret };
  for (let attempt = 0; attempt < 10; attempt++) {
    const values = await readPcrs12(tpm, options.pcrs, options);
    const { pcrData, versionInfo, sig } = await tpm.execute(Quote2, request, options);
    const digest = compositeHash(pcrData.pcrSelection, values, tpm.crypto);
    if (equalBytes(digest, pcrData.digestAtRelease)) return { pcrData, versionInfo, values, signature: sig };
  }
  throw new TpmError('integrity', 'quote: expected the digest of the PCRs, got another one in each of 10 attempts');
}

/**
 * Checks a quote offline. It proves something only where `key` is known to be an identity key of a genuine TPM.
 * Whoever sent the quote controls every byte of it.
 */
export function verifyQuote12(
  key: TpmPubkey,
  quote: Quote12,
  nonce: Uint8Array,
  crypto: Tpm12Crypto = nobleCrypto12,
): QuoteClaims12 {
  const { select, pcrValue } = quote.pcrData;
  const indexes = selectedPcrs12(select);
  if (indexes.length !== pcrValue.length) return { ok: false, problem: 'pcr-values' };
  const digestValue = sha1(crypto, encode(TpmPcrComposite, quote.pcrData));
  const info = { version: VERSION_1_1, fixed: 'QUOT', digestValue, externalData: nonce } as const;
  const signed = encode(TpmQuoteInfo, info);
  if (!verifySha1(crypto, rsaPublicKey(key), quote.signature, signed)) return { ok: false, problem: 'signature' };
  return { ok: true, pcrs: valuesByIndex(indexes, pcrValue) };
}

/** Checks a Quote2 offline, as {@link verifyQuote12} does. */
export function verifyQuote212(
  key: TpmPubkey,
  quote: Quote212,
  nonce: Uint8Array,
  crypto: Tpm12Crypto = nobleCrypto12,
): QuoteClaims12 {
  const { pcrData, versionInfo, values } = quote;
  const tag = TPM_TAG.QUOTE_INFO2;
  const info = encode(TpmQuoteInfo2, { tag, fixed: 'QUT2', externalData: nonce, infoShort: pcrData });
  const signed = concat(info, versionInfo);
  if (!verifySha1(crypto, rsaPublicKey(key), quote.signature, signed)) return { ok: false, problem: 'signature' };
  const indexes = selectedPcrs12(pcrData.pcrSelection);
  const pcrs = indexes.flatMap((index) => values[index] ?? []);
  if (pcrs.length !== indexes.length) return { ok: false, problem: 'pcr-values' };
  const digest = compositeHash(pcrData.pcrSelection, values, crypto);
  if (!equalBytes(digest, pcrData.digestAtRelease)) return { ok: false, problem: 'pcr-values' };
  const version = parseVersion(versionInfo);
  if (version === 'malformed') return { ok: false, problem: 'version' };
  const claims = { ok: true, pcrs: valuesByIndex(indexes, pcrs), locality: pcrData.localityAtRelease } as const;
  return version === undefined ? claims : { ...claims, version };
}

function parseVersion(bytes: Uint8Array): TpmCapVersionInfo | 'malformed' | undefined {
  if (bytes.length === 0) return undefined;
  try {
    return decode(TpmCapVersionInfo, bytes);
  } catch (error) {
    if (error instanceof WireError) return 'malformed';
    throw error;
  }
}

function valuesByIndex(indexes: readonly number[], values: readonly Uint8Array[]): PcrValues12 {
  return Object.fromEntries(indexes.map((index, i) => [index, values[i] ?? new Uint8Array(0)]));
}
