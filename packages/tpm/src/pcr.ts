/** PCRs: selections, values, reading and extending (Part 1, section 17; Part 3, chapter 22). */
import { GetCapability } from './commands/capability.js';
import { PcrExtend, PcrRead } from './commands/integrity.js';
import { TPM_ALG } from './constants/algorithms.js';
import { TPM_CAP } from './constants/capabilities.js';
import { TpmError } from './response-code.js';
import type { TpmlPcrSelection } from './structures/lists.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/** A bank of PCRs by its hash. */
export type PcrBank = 'sha1' | 'sha256' | 'sha384' | 'sha512';

/** PCR indexes by bank: `{ sha256: [0, 7] }`. */
export type PcrIndexes = { readonly [B in PcrBank]?: readonly number[] };

/** PCR values by bank and index: `{ sha256: { 0: bytes, 7: bytes } }`. */
export type PcrValues = { readonly [B in PcrBank]?: Readonly<Record<number, Uint8Array>> };

/** One digest for each bank. */
export type PcrDigests = { readonly [B in PcrBank]?: Uint8Array };

/** The TPM algorithm identifier of each bank. */
export const PCR_BANKS: Readonly<Record<PcrBank, 0x0004 | 0x000b | 0x000c | 0x000d>> = {
  sha1: TPM_ALG.SHA1,
  sha256: TPM_ALG.SHA256,
  sha384: TPM_ALG.SHA384,
  sha512: TPM_ALG.SHA512,
};

/** A selection in the TPM's form: three bytes of bits for each bank, banks in the order given. Throws `TpmError` `usage`. */
export function pcrSelection(indexes: PcrIndexes): TpmlPcrSelection {
  return bankNames(indexes).map((bank) => {
    const pcrSelect = new Uint8Array(3);
    for (const index of indexes[bank] ?? []) {
      if (!Number.isInteger(index) || index < 0 || index > 23) {
        throw new TpmError('usage', `select PCRs: expected indexes from 0 to 23, got ${index}`);
      }
      const byte = index >>> 3;
      pcrSelect[byte] = (pcrSelect[byte] ?? 0) | (1 << (index & 7));
    }
    return { hash: PCR_BANKS[bank], pcrSelect };
  });
}

/** The values in the order of `pcrSelection`, as the digest of a policy or a quote takes them. */
export function orderedPcrValues(values: PcrValues): readonly Uint8Array[] {
  return bankNames(values).flatMap((bank) => {
    const ofBank = values[bank] ?? {};
    return indexesOf(ofBank).flatMap((index) => ofBank[index] ?? []);
  });
}

/** The indexes that have values. */
export function pcrIndexesOf(values: PcrValues): PcrIndexes {
  return Object.fromEntries(bankNames(values).map((bank) => [bank, indexesOf(values[bank] ?? {})]));
}

/**
 * Reads PCRs, all at one moment: where one changes while they are read, all are read again.
 * Throws `TpmError` `usage` where the TPM lacks a bank or index, and what {@link Tpm.execute} throws.
 */
export async function readPcrs(tpm: Tpm, indexes: PcrIndexes, options: ExecuteOptions = {}): Promise<PcrValues> {
  for (let attempt = 0; attempt < 10; attempt++) {
    const values = await readOnce(tpm, indexes, options);
    if (values) return values;
  }
  throw new TpmError('usage', 'read PCRs: expected them to stand still, but they changed in each of 10 attempts');
}

/** Extends one PCR by a digest for each of the given banks. */
export async function extendPcr(
  tpm: Tpm,
  index: number,
  digests: PcrDigests,
  options: ExecuteOptions = {},
): Promise<void> {
  const values = bankNames(digests).map((bank) => ({ hashAlg: PCR_BANKS[bank], digest: digests[bank] ?? NONE }));
  await tpm.execute(PcrExtend, { pcrHandle: index, digests: values }, options);
}

/** The banks in which the TPM has PCRs allocated, leaving out those of other hashes. */
export async function pcrBanks(tpm: Tpm, options: ExecuteOptions = {}): Promise<readonly PcrBank[]> {
  const request = { capability: TPM_CAP.PCRS, property: 0, propertyCount: 1 };
  const { capabilityData } = await tpm.execute(GetCapability, request, options);
  if (capabilityData.capability !== TPM_CAP.PCRS)
    throw new TpmError('integrity', 'read PCR banks: got another capability');
  const allocated = capabilityData.data.filter(({ pcrSelect }) => pcrSelect.some((byte) => byte !== 0));
  return allocated.flatMap(({ hash }) => bankOf(hash) ?? []);
}

/** A TPM gives at most eight values at a time; `undefined` where they changed between two reads. */
async function readOnce(tpm: Tpm, indexes: PcrIndexes, options: ExecuteOptions): Promise<PcrValues | undefined> {
  const values: Partial<Record<PcrBank, Record<number, Uint8Array>>> = {};
  for (const bank of bankNames(indexes)) values[bank] = {};
  let left = indexes;
  let counter: number | undefined;
  while (bankNames(left).length > 0) {
    const part = await tpm.execute(PcrRead, { pcrSelectionIn: pcrSelection(left) }, options);
    counter ??= part.pcrUpdateCounter;
    if (part.pcrUpdateCounter !== counter) return undefined;
    if (part.pcrValues.length === 0) {
      throw new TpmError('usage', `read PCRs: the TPM has no ${describeIndexes(left)}`);
    }
    fill(values, left, part.pcrSelectionOut, part.pcrValues);
    left = missing(left, values);
  }
  return values;
}

function fill(
  values: Partial<Record<PcrBank, Record<number, Uint8Array>>>,
  asked: PcrIndexes,
  selection: TpmlPcrSelection,
  digests: readonly Uint8Array[],
): void {
  const given = [...digests];
  for (const { hash, pcrSelect } of selection) {
    const bank = bankOf(hash);
    for (const index of selectedIndexes(pcrSelect)) {
      const digest = given.shift();
      if (!digest || !bank || !asked[bank]?.includes(index)) {
        throw new TpmError('integrity', 'read PCRs: the TPM gave other PCRs than those that were asked for');
      }
      values[bank] = { ...values[bank], [index]: digest };
    }
  }
  if (given.length > 0) throw new TpmError('integrity', 'read PCRs: the TPM gave more values than it says');
}

function missing(asked: PcrIndexes, values: PcrValues): PcrIndexes {
  const left = bankNames(asked).map((bank) => [bank, asked[bank]?.filter((index) => !values[bank]?.[index]) ?? []]);
  return Object.fromEntries(left.filter(([, indexes]) => indexes?.length !== 0));
}

/** The indexes whose bits are set. */
export function selectedIndexes(pcrSelect: Uint8Array): readonly number[] {
  return [...pcrSelect].flatMap((byte, i) => BITS.filter((bit) => (byte >>> bit) & 1).map((bit) => 8 * i + bit));
}

function indexesOf(values: Readonly<Record<number, Uint8Array>>): readonly number[] {
  return Object.keys(values)
    .map(Number)
    .sort((a, b) => a - b);
}

function bankNames(banks: { readonly [B in PcrBank]?: unknown }): readonly PcrBank[] {
  return Object.keys(banks).map((name) => {
    if (Object.hasOwn(PCR_BANKS, name)) return name as PcrBank; // checked by this condition
    throw new TpmError('usage', `select PCRs: expected bank sha1, sha256, sha384 or sha512, got ${name}`);
  });
}

/** The bank of a hash (TPM algorithm identifier), where it is one that this package knows. */
export function bankOf(hash: number): PcrBank | undefined {
  return bankNames(PCR_BANKS).find((bank) => PCR_BANKS[bank] === hash);
}

function describeIndexes(indexes: PcrIndexes): string {
  return bankNames(indexes)
    .map((bank) => `${bank}:${indexes[bank]?.join(',')}`)
    .join(' ');
}

const BITS = [0, 1, 2, 3, 4, 5, 6, 7];
const NONE = new Uint8Array(0);
