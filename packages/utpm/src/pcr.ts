/** Reading, extending and resetting PCRs: Part 1, clause 17; Part 3, clause 22. */
import { TPM_ALG, TPM_RC, type TpmsPcrSelection } from '@casemate/tpm';
import { isHash } from './implementation.js';
import { isAllowedFrom, isSelected, PCR_ATTRIBUTES, PCR_COUNT, type PcrBank } from './pcr-bank.js';
import { refuse, refuseParameter } from './refusal.js';
import { markDirty, type Tpm } from './tpm.js';

/** One bank's registers: TPMS_PCR_SELECTION. */
export type PcrSelection = TpmsPcrSelection;

const SELECT_SIZE = PCR_COUNT / 8;
const MAX_SELECTIONS = 4;

/** Refuses more selections than there are banks, and banks that this TPM does not have; blames parameter `index`. */
export function assertSelections(selections: readonly PcrSelection[], index: number): void {
  if (selections.length > MAX_SELECTIONS) refuseParameter(TPM_RC.SIZE, index);
  for (const { hash } of selections) if (!isHash(hash)) refuseParameter(TPM_RC.HASH, index);
}

/** Refuses a parameter that is a list of selections with bitmaps of another size than this TPM's; blames parameter `index`. */
export function assertSelectionSizes(parameter: unknown, index: number): void {
  if (!Array.isArray(parameter)) return;
  for (const { pcrSelect } of parameter) {
    if (pcrSelect instanceof Uint8Array && pcrSelect.length !== SELECT_SIZE) refuseParameter(TPM_RC.VALUE, index);
  }
}

/** The selections without the registers of banks that are not allocated. */
function implemented(tpm: Tpm, selections: readonly PcrSelection[]): readonly PcrSelection[] {
  const isBank = ({ hash }: PcrSelection): boolean => bankOf(tpm, hash) !== undefined;
  if (selections.every(isBank)) return selections;
  return selections.map((selection) =>
    isBank(selection) ? selection : { ...selection, pcrSelect: new Uint8Array(SELECT_SIZE) },
  );
}

/** The bank of a hash algorithm, if it is allocated. */
function bankOf(tpm: Tpm, alg: number): PcrBank | undefined {
  for (const bank of tpm.volatile.banks) if (bank.alg === alg) return bank;
  return undefined;
}

/** The digest, under `alg`, of the selected registers in the order of the selections, and the selections as they count. */
export function pcrDigest(
  tpm: Tpm,
  alg: number,
  selections: readonly PcrSelection[],
): { readonly pcrs: readonly PcrSelection[]; readonly digest: Uint8Array } {
  const pcrs = implemented(tpm, selections);
  const values = valuesOf(tpm, pcrs);
  const { banks } = tpm.volatile;
  const last = digests.get(banks);
  if (last?.alg === alg && isSame(last.values, values)) return { pcrs, digest: last.digest };
  const digest = tpm.crypto.hash(alg, ...values);
  digests.set(banks, { alg, values, digest });
  return { pcrs, digest };
}

// What was digested last: registers are looked at much more often than they change, and then their values are replaced.
const digests = new WeakMap<
  readonly PcrBank[],
  { readonly alg: number; readonly values: readonly Uint8Array[]; readonly digest: Uint8Array }
>();

function isSame(some: readonly Uint8Array[], others: readonly Uint8Array[]): boolean {
  return some.length === others.length && some.every((value, i) => value === others[i]);
}

function valuesOf(tpm: Tpm, selections: readonly PcrSelection[]): readonly Uint8Array[] {
  const values: Uint8Array[] = [];
  for (const { hash, pcrSelect } of selections) {
    const registers = bankOf(tpm, hash)?.values ?? [];
    for (let index = 0; index < registers.length; index++) {
      const value = registers[index];
      if (value !== undefined && isSelected(pcrSelect, index)) values.push(value);
    }
  }
  return values;
}

/** Selections as they are hashed and sent: TPML_PCR_SELECTION. The bitmaps have the size of this TPM's. */
export function encodeSelections(selections: readonly PcrSelection[]): Uint8Array {
  const size = 3 + SELECT_SIZE;
  const bytes = new Uint8Array(4 + selections.length * size);
  bytes[3] = selections.length;
  let at = 4;
  for (const { hash, pcrSelect } of selections) {
    bytes[at] = hash >>> 8;
    bytes[at + 1] = hash;
    bytes[at + 2] = SELECT_SIZE;
    for (let i = 0; i < SELECT_SIZE; i++) bytes[at + 3 + i] = pcrSelect[i] ?? 0;
    at += size;
  }
  return bytes;
}

/** Extends a register of one bank; a bank that is not allocated is left out. */
export function extendPcr(tpm: Tpm, index: number, alg: number, digest: Uint8Array): void {
  const bank = bankOf(tpm, alg);
  const value = bank?.values[index];
  if (bank === undefined || value === undefined) return;
  bank.values[index] = tpm.crypto.hash(alg, value, digest);
  noteChange(tpm, index);
}

/** Sets a register of every bank to zero. */
export function resetPcr(tpm: Tpm, index: number): void {
  for (const bank of tpm.volatile.banks) bank.values[index] = new Uint8Array(bank.values[index]?.length ?? 0);
  noteChange(tpm, index);
}

function noteChange(tpm: Tpm, index: number): void {
  if (PCR_ATTRIBUTES[index]?.noIncrement) return;
  tpm.volatile.pcrCounter = (tpm.volatile.pcrCounter + 1) >>> 0;
}

/** Refuses where the locality may not extend the register. */
export function assertExtendable(index: number, locality: number): void {
  if (!isAllowedFrom(PCR_ATTRIBUTES[index]?.extend ?? 0, locality)) refuse(TPM_RC.LOCALITY);
}

/** Refuses where the locality may not reset the register. */
export function assertResettable(index: number, locality: number): void {
  if (!isAllowedFrom(PCR_ATTRIBUTES[index]?.reset ?? 0, locality)) refuse(TPM_RC.LOCALITY);
}

/** Reads up to `max` registers: which were read, and their values in that order. */
export function readPcrs(
  tpm: Tpm,
  selections: readonly PcrSelection[],
  max: number,
): { readonly selections: readonly PcrSelection[]; readonly values: readonly Uint8Array[] } {
  const values: Uint8Array[] = [];
  const read: PcrSelection[] = [];
  for (const { hash, pcrSelect } of selections) {
    const taken = new Uint8Array(SELECT_SIZE);
    const registers = bankOf(tpm, hash)?.values ?? [];
    for (let index = 0; index < registers.length && values.length < max; index++) {
      const value = registers[index];
      if (value === undefined || !isSelected(pcrSelect, index)) continue;
      values.push(value);
      taken[index >> 3] = (taken[index >> 3] ?? 0) | (1 << (index & 7));
    }
    read.push({ hash, pcrSelect: taken });
  }
  return { selections: read, values };
}

/**
 * Changes which banks are allocated from the next TPM2_Startup(CLEAR) on (TPM2_PCR_Allocate): a bank is all or nothing, and one must be
 * left. Banks that are not named stay as they are. The banks that there will be; refuses where that cannot be.
 */
export function allocateBanks(tpm: Tpm, selections: readonly PcrSelection[]): readonly number[] {
  const wanted = new Set(tpm.permanent.pcrBanks);
  for (const { hash, pcrSelect } of selections) {
    if (pcrSelect.some((byte) => byte !== 0)) wanted.add(hash);
    else wanted.delete(hash);
  }
  if (wanted.size === 0) refuse(TPM_RC.PCR);
  const order = [TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512];
  tpm.permanent.pcrBanks = order.filter((alg) => wanted.has(alg));
  markDirty(tpm);
  return tpm.permanent.pcrBanks;
}
