/** Start and end, self-test, random numbers, and what the TPM tells of itself: Part 3, clauses 9, 10, 16 and 30. */
import { concat, u16Bytes, u32Bytes } from '../bytes.js';
import { PCR_COUNT } from '../pcr-bank.js';
import { FIRMWARE_VERSION, MANUFACTURER } from '../version.js';
import { type Answer, answer, type Call, type Command } from './command.js';
import { NIST_P256, TPM_ALG, TPM_CAP, TPM_CC, TPM_HT, TPM_RC, TPM_RH } from './constants.js';
import { MAX_OBJECTS, MAX_SESSIONS } from './entity.js';
import { refuseParameter, sized } from './octets.js';
import { encodeSelection } from './pcr.js';
import { clockOf, type Micro, markDirty } from './state.js';

// TPM_SU_CLEAR alone: no state is saved to be gone on with.
function startup(tpm: Micro, { input, locality }: Call): Answer {
  input.parameter().expect(input.u16(), 0, TPM_RC.VALUE);
  input.end();
  const { permanent } = tpm;
  if (!permanent.isOrderly && permanent.isTried) permanent.failedTries++;
  permanent.isTried = false;
  permanent.resetCount = (permanent.resetCount + 1) >>> 0;
  const first = new Uint8Array(32);
  first[31] = locality;
  tpm.pcrs[0] = first;
  tpm.isStarted = true;
  markDirty(tpm);
  return answer();
}

/** TPM2_Shutdown: the clock is written, and nothing is lost. */
export function shutDown(tpm: Micro): void {
  tpm.permanent.clock = clockOf(tpm);
  tpm.permanent.isOrderly = true;
  markDirty(tpm);
}

function getCapability(tpm: Micro, { input }: Call): Answer {
  const capability = input.parameter().u32();
  const property = input.parameter().u32();
  const count = input.parameter().u32();
  input.end();
  if (capability === TPM_CAP.PCRS) {
    const all = encodeSelection([new Uint8Array(PCR_COUNT / 8).fill(0xff)]);
    return answer(Uint8Array.of(0), u32Bytes(capability), all);
  }
  const from = LISTS[capability]?.(tpm, property) ?? refuseParameter(TPM_RC.VALUE, 1);
  const found = from.filter(([tag]) => tag >= property);
  const told = found.slice(0, Math.min(count, 64)).map(([, entry]) => entry);
  const more = Number(found.length > told.length);
  return answer(Uint8Array.of(more), u32Bytes(capability), u32Bytes(told.length), ...told);
}

type Listed = readonly [tag: number, entry: Uint8Array];

const LISTS: Readonly<Record<number, (tpm: Micro, property: number) => readonly Listed[]>> = {
  [TPM_CAP.ALGS]: () => ALGORITHMS.map(([alg, use]) => [alg, concat(u16Bytes(alg), u32Bytes(use))]),
  [TPM_CAP.HANDLES]: (tpm, property) => handlesOf(tpm, property >>> 24).map((handle) => [handle, u32Bytes(handle)]),
  [TPM_CAP.COMMANDS]: (tpm) =>
    Object.values(TPM_CC)
      .sort((a, b) => a - b)
      .map((code) => [code, u32Bytes(attributesOf(tpm, code))]),
  [TPM_CAP.TPM_PROPERTIES]: (tpm) =>
    propertiesOf(tpm).map(([tag, value]) => [tag, concat(u32Bytes(tag), u32Bytes(value))]),
  [TPM_CAP.ECC_CURVES]: () => [[NIST_P256, u16Bytes(NIST_P256)]],
};

// TPMA_ALGORITHM: bit 0 asymmetric, 1 symmetric, 2 hash, 3 object, 8 signing, 9 encrypting.
const ALGORITHMS: readonly (readonly [alg: number, use: number])[] = [
  [TPM_ALG.AES, 0x2],
  [TPM_ALG.KEYEDHASH, 0x8],
  [TPM_ALG.SHA256, 0x4],
  [TPM_ALG.ECDSA, 0x101],
  [TPM_ALG.ECC, 0x9],
  [TPM_ALG.CFB, 0x202],
];

function handlesOf(tpm: Micro, type: number): readonly number[] {
  switch (type) {
    case TPM_HT.PCR:
      return Array.from({ length: PCR_COUNT }, (_, index) => index);
    case TPM_HT.NV_INDEX:
      return [...tpm.permanent.nv.keys()].sort((a, b) => a - b);
    case TPM_HT.HMAC_SESSION:
      return [...tpm.sessions.keys()].sort((a, b) => a - b);
    case TPM_HT.PERMANENT:
      return Object.values(TPM_RH);
    case TPM_HT.TRANSIENT:
      return [...tpm.objects.keys()].sort((a, b) => a - b);
    default:
      return [];
  }
}

// TPMA_CC: bit 22 writes NV, 25 to 27 how many handles, 28 a handle in the response.
function attributesOf(tpm: Micro, code: number): number {
  const { handles = [], makesHandle, isHarmless } = tpm.commands.get(code) ?? {};
  return (code | (isHarmless ? 0 : 1 << 22) | (handles.length << 25) | (makesHandle ? 1 << 28 : 0)) >>> 0;
}

// Part 2, 6.13: TPM_PT_FAMILY_INDICATOR, manufacturer, firmware, limits; and how many there are of what.
function propertiesOf(tpm: Micro): readonly (readonly [tag: number, value: number])[] {
  const letters = (text: string): number => [...text].reduce((sum, letter) => sum * 256 + letter.charCodeAt(0), 0);
  const commands = Object.keys(TPM_CC).length;
  return [
    ...([
      [0x100, letters('2.0\0')],
      [0x105, letters(MANUFACTURER)],
      [0x106, letters('uTPM')],
    ] as const),
    ...([
      [0x10b, Number(FIRMWARE_VERSION >> 32n)],
      [0x10c, Number(FIRMWARE_VERSION & 0xffffffffn)],
    ] as const),
    ...([
      [0x10d, 1024],
      [0x10e, MAX_OBJECTS],
      [0x110, MAX_SESSIONS],
      [0x111, MAX_SESSIONS],
    ] as const),
    ...([
      [0x112, PCR_COUNT],
      [0x113, PCR_COUNT / 8],
      [0x117, 2048],
      [0x11e, 4096],
      [0x11f, 4096],
    ] as const),
    ...([
      [0x120, 32],
      [0x129, commands],
      [0x12a, commands],
      [0x12c, 1024],
    ] as const),
    ...([
      [0x202, tpm.permanent.nv.size],
      [0x203, tpm.sessions.size],
      [0x20e, tpm.permanent.failedTries],
    ] as const),
  ];
}

const FREE = { handles: [], roles: [] } as const;

/** The commands of the platform and of everybody. */
export const PLATFORM_COMMANDS: readonly Command[] = [
  { code: TPM_CC.Startup, ...FREE, isBare: true, isHarmless: true, run: startup },
  {
    code: TPM_CC.Shutdown,
    ...FREE,
    isHarmless: true,
    run: (tpm, { input }) => {
      // Both kinds are taken; a start goes on with neither.
      if (input.parameter().u16() > 1) input.refuse(TPM_RC.VALUE);
      input.end();
      shutDown(tpm);
      return answer();
    },
  },
  {
    code: TPM_CC.SelfTest,
    ...FREE,
    isHarmless: true,
    run: (_, { input }) => {
      if (input.parameter().u8() > 1) input.refuse(TPM_RC.VALUE);
      input.end();
      return answer();
    },
  },
  {
    code: TPM_CC.GetTestResult,
    ...FREE,
    canEncrypt: true,
    isHarmless: true,
    run: (tpm, { input }) => {
      input.end();
      return answer(sized(), u32Bytes(tpm.hasFailed ? TPM_RC.FAILURE : TPM_RC.SUCCESS));
    },
  },
  {
    code: TPM_CC.GetRandom,
    ...FREE,
    canEncrypt: true,
    isHarmless: true,
    run: (tpm, { input }) => {
      const count = input.parameter().u16();
      input.end();
      return answer(sized(tpm.crypto.random(Math.min(count, 64))));
    },
  },
  { code: TPM_CC.GetCapability, ...FREE, isHarmless: true, run: getCapability },
];
