/** Platform configuration registers: Part 1, clause 17; Part 3, clause 22. There is one bank, of SHA-256. */
import { EMPTY, u16Bytes, u32Bytes } from '../bytes.js';
import { isAllowedFrom, PCR_ATTRIBUTES, PCR_COUNT, selectedIndexes } from '../pcr-bank.js';
import { answer, type Command } from './command.js';
import { TPM_ALG, TPM_CC, TPM_HT, TPM_RC, TPM_RH } from './constants.js';
import { sha256 } from './crypto.js';
import { type Input, Output, refuse, sized } from './octets.js';
import type { Micro } from './state.js';

/** TPML_PCR_SELECTION: the bitmaps of SHA-256. */
export function readSelection(input: Input): readonly Uint8Array[] {
  return input.list(4, () => {
    input.expect(input.u16(), TPM_ALG.SHA256, TPM_RC.HASH);
    input.expect(input.u8(), PCR_COUNT / 8, TPM_RC.VALUE);
    return input.take(PCR_COUNT / 8).slice();
  });
}

/** TPML_PCR_SELECTION. */
export function encodeSelection(bitmaps: readonly Uint8Array[]): Uint8Array {
  const out = new Output(4 + bitmaps.length * (3 + PCR_COUNT / 8)).u32(bitmaps.length);
  for (const bitmap of bitmaps) out.u16(TPM_ALG.SHA256).u8(bitmap.length).put(bitmap);
  return out.bytes;
}

/** The digest of the selected registers. */
export function pcrDigest(tpm: Micro, bitmaps: readonly Uint8Array[]): Uint8Array {
  const values: Uint8Array[] = [];
  for (const bitmap of bitmaps) for (const index of selectedIndexes(bitmap)) values.push(tpm.pcrs[index] ?? EMPTY);
  return sha256(tpm.crypto, ...values);
}

function extend(tpm: Micro, index: number, digest: Uint8Array): void {
  set(tpm, index, sha256(tpm.crypto, tpm.pcrs[index] ?? new Uint8Array(32), digest));
}

function set(tpm: Micro, index: number, value: Uint8Array): void {
  tpm.pcrs[index] = value;
  if (PCR_ATTRIBUTES[index]?.noIncrement !== true) tpm.pcrCounter = (tpm.pcrCounter + 1) >>> 0;
}

function assertFrom(locality: number, index: number, what: 'extend' | 'reset'): void {
  if (!isAllowedFrom(PCR_ATTRIBUTES[index]?.[what] ?? 0, locality)) refuse(TPM_RC.LOCALITY);
}

const PCR = [TPM_HT.PCR, TPM_HT.PERMANENT];

/** The commands of clause 22. */
export const PCR_COMMANDS: readonly Command[] = [
  {
    code: TPM_CC.PCR_Extend,
    handles: [PCR],
    roles: ['user'],
    run: (tpm, { handles: [index = 0], input, locality }) => {
      const digests = input.parameter().list(4, () => {
        input.expect(input.u16(), TPM_ALG.SHA256, TPM_RC.HASH);
        return input.take(32).slice();
      });
      input.end();
      if (typeOfPcr(index) === 'none') return answer();
      assertFrom(locality, index, 'extend');
      for (const digest of digests) extend(tpm, index, digest);
      return answer();
    },
  },
  {
    code: TPM_CC.PCR_Event,
    handles: [PCR],
    roles: ['user'],
    canDecrypt: true,
    run: (tpm, { handles: [index = 0], input, locality }) => {
      const data = input.parameter().sized(1024);
      input.end();
      const digest = sha256(tpm.crypto, data);
      if (typeOfPcr(index) === 'register') {
        assertFrom(locality, index, 'extend');
        extend(tpm, index, digest);
      }
      return answer(u32Bytes(1), u16Bytes(TPM_ALG.SHA256), digest);
    },
  },
  {
    code: TPM_CC.PCR_Read,
    handles: [],
    roles: [],
    isHarmless: true,
    run: (tpm, { input }) => {
      const bitmaps = input.parameter() && readSelection(input);
      input.end();
      const values: Uint8Array[] = [];
      const read = bitmaps.map((bitmap) => {
        const told = new Uint8Array(bitmap.length);
        for (const index of selectedIndexes(bitmap)) {
          if (values.length === 8) break;
          values.push(sized(tpm.pcrs[index] ?? new Uint8Array()));
          told[index >> 3] = (told[index >> 3] ?? 0) | (1 << (index & 7));
        }
        return told;
      });
      return answer(u32Bytes(tpm.pcrCounter), encodeSelection(read), u32Bytes(values.length), ...values);
    },
  },
  {
    code: TPM_CC.PCR_Reset,
    handles: [[TPM_HT.PCR]],
    roles: ['user'],
    run: (tpm, { handles: [index = 0], input, locality }) => {
      input.end();
      assertFrom(locality, index, 'reset');
      set(tpm, index, new Uint8Array(32));
      return answer();
    },
  },
];

// TPM_RH_NULL stands for no register at all.
function typeOfPcr(handle: number): 'register' | 'none' {
  if (handle < PCR_COUNT) return 'register';
  return handle === TPM_RH.NULL ? 'none' : refuse(TPM_RC.VALUE);
}
