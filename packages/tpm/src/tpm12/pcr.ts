/** PCRs: reading, extending, and binding things to their values. TPM 1.2 Main Part 2, clause 8; Part 3, clause 16. */
import { encode } from '@casemate/wire';
import { TpmError } from '../response-code.js';
import type { ExecuteOptions12, Tpm12 } from './client.js';
import { Extend, PcrRead, PcrReset } from './commands/pcr.js';
import { TPM_LOC, TPM_TAG } from './constants.js';
import { nobleCrypto12, sha1, type Tpm12Crypto } from './crypto.js';
import { TpmPcrComposite, type TpmPcrInfo, type TpmPcrInfoLong, type TpmPcrInfoShort } from './structures/pcr.js';

/** Values of PCRs by their index, 20 bytes each. */
export type PcrValues12 = Readonly<Record<number, Uint8Array>>;

/** What the use of something is bound to. */
export interface Binding12 {
  /** PCR indexes, to be bound to the values that they have now, or values by index. Default: none. */
  readonly pcrs?: readonly number[] | PcrValues12 | undefined;
  /** The localities (0 to 4) from which it can be used. Default: all. */
  readonly localities?: readonly number[] | undefined;
}

/** The highest PCR index and one; TPMs of this family have 24. */
const PCR_COUNT = 24;

/** A TPM_PCR_SELECTION of these indexes, three bytes long as TPMs of this family have it. Throws `TpmError` `usage`. */
export function pcrSelection12(indexes: readonly number[]): Uint8Array {
  const selection = new Uint8Array(PCR_COUNT / 8);
  for (const index of indexes) {
    if (!Number.isInteger(index) || index < 0 || index >= PCR_COUNT) {
      throw new TpmError('usage', `select PCRs: expected an index from 0 to ${PCR_COUNT - 1}, got ${index}`);
    }
    selection[index >>> 3] = (selection[index >>> 3] ?? 0) | (1 << (index & 7));
  }
  return selection;
}

/** The indexes of a TPM_PCR_SELECTION in ascending order. */
export function selectedPcrs12(selection: Uint8Array): readonly number[] {
  return Array.from({ length: selection.length * 8 }, (_, i) => i).filter((i) => isSelected(selection, i));
}

function isSelected(selection: Uint8Array, index: number): boolean {
  return ((selection[index >>> 3] ?? 0) & (1 << (index & 7))) !== 0;
}

/** The TPM_COMPOSITE_HASH of the selected PCRs. Throws `TpmError` `usage` where a value is missing. */
export function compositeHash(
  selection: Uint8Array,
  values: PcrValues12,
  crypto: Pick<Tpm12Crypto, 'hash'> = nobleCrypto12,
): Uint8Array {
  const pcrValue = selectedPcrs12(selection).map((index) => {
    const value = values[index];
    if (value !== undefined) return value;
    throw new TpmError('usage', `hash PCRs: expected a value of PCR ${index}`);
  });
  return sha1(crypto, encode(TpmPcrComposite, { select: selection, pcrValue }));
}

/** Reads PCRs. */
export async function readPcrs12(
  tpm: Tpm12,
  indexes: readonly number[],
  options: ExecuteOptions12 = {},
): Promise<PcrValues12> {
  const values: Record<number, Uint8Array> = {};
  for (const pcrIndex of indexes) values[pcrIndex] = (await tpm.execute(PcrRead, { pcrIndex }, options)).outDigest;
  return values;
}

/** Extends a PCR by a digest and gives the new value. */
export async function extendPcr12(
  tpm: Tpm12,
  index: number,
  digest: Uint8Array,
  options: ExecuteOptions12 = {},
): Promise<Uint8Array> {
  return (await tpm.execute(Extend, { pcrNum: index, inDigest: digest }, options)).outDigest;
}

/** Resets PCRs; 16 and 23 can be reset from any locality, 17 to 22 from some. */
export async function resetPcrs12(
  tpm: Tpm12,
  indexes: readonly number[],
  options: ExecuteOptions12 = {},
): Promise<void> {
  await tpm.execute(PcrReset, { pcrSelection: pcrSelection12(indexes) }, options);
}

/** The TPM_PCR_INFO_SHORT of a binding, for NV indexes. PCRs without values are read from the TPM. */
export async function pcrInfoShort(
  tpm: Tpm12,
  binding: Binding12,
  options: ExecuteOptions12 = {},
): Promise<TpmPcrInfoShort> {
  const { selection, digest } = await bind(tpm, binding, options);
  return { pcrSelection: selection, localityAtRelease: localityBits(binding.localities), digestAtRelease: digest };
}

/**
 * The TPM_PCR_INFO of a binding, or the TPM_PCR_INFO_LONG where it names localities or a PCR above 15; `undefined` where
 * it binds to nothing. PCRs without values are read from the TPM.
 */
export async function pcrInfo(
  tpm: Tpm12,
  binding: Binding12,
  options: ExecuteOptions12 = {},
): Promise<TpmPcrInfo | TpmPcrInfoLong | undefined> {
  const { selection, digest, indexes } = await bind(tpm, binding, options);
  if (binding.localities === undefined && indexes.length === 0) return undefined;
  const unknown = new Uint8Array(20); // the TPM fills in what was at creation
  if (binding.localities === undefined && indexes.every((index) => index < 16)) {
    return { pcrSelection: selection, digestAtRelease: digest, digestAtCreation: unknown };
  }
  return {
    tag: TPM_TAG.PCR_INFO_LONG,
    localityAtCreation: TPM_LOC.ZERO,
    localityAtRelease: localityBits(binding.localities),
    creationPCRSelection: selection,
    releasePCRSelection: selection,
    digestAtCreation: unknown,
    digestAtRelease: digest,
  };
}

/** Localities as bits of `TPM_LOC`; all of them where none is named. */
function localityBits(localities: readonly number[] = [0, 1, 2, 3, 4]): number {
  return localities.reduce((bits, locality) => {
    if (Number.isInteger(locality) && locality >= 0 && locality <= 4) return bits | (1 << locality);
    throw new TpmError('usage', `bind to localities: expected one from 0 to 4, got ${locality}`);
  }, 0);
}

async function bind(tpm: Tpm12, binding: Binding12, options: ExecuteOptions12) {
  const { pcrs = [] } = binding;
  const indexes = Array.isArray(pcrs) ? (pcrs as readonly number[]) : Object.keys(pcrs).map(Number);
  const selection = pcrSelection12(indexes);
  if (indexes.length === 0) return { selection, indexes, digest: new Uint8Array(20) };
  const values = Array.isArray(pcrs) ? await readPcrs12(tpm, indexes, options) : (pcrs as PcrValues12);
  return { selection, indexes, digest: compositeHash(selection, values, tpm.crypto) };
}
