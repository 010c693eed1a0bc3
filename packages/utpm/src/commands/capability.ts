/** Capabilities: Part 3, clause 30; Part 2, 6.12 to 6.15 and 10.10. */
import {
  type AnyCommand,
  GetCapability,
  TestParms,
  TPM_ALG,
  TPM_CAP,
  TPM_CC,
  TPM_HT,
  TPM_PT,
  TPM_PT_PCR,
  TPM_RC,
  TPM_RH,
  TPM_RS,
  TPMA_ALGORITHM,
  type TpmsCapabilityData,
  type TpmtHaOrNull,
} from '@casemate/tpm';
import { CURVES } from '../curve.js';
import { isInLockout } from '../dictionary-attack.js';
import { entityPolicy, nvKind } from '../entity.js';
import { handler } from '../handler.js';
import { HASHES, IMPLEMENTATION } from '../implementation.js';
import { ORDERLY_COUNTER_SIZE, orderlySpace } from '../nv-space.js';
import { isAuthorizedPcr, PCR_COUNT, type PcrAttributes, selectionOf } from '../pcr-bank.js';
import type { AuthPolicy } from '../permanent.js';
import { assertSupported } from '../public-area.js';
import { blameParameter, refuseParameter } from '../refusal.js';
import type { Tpm } from '../tpm.js';
import { FIRMWARE_VERSION, MANUFACTURER, VENDOR_STRINGS } from '../version.js';

// Part 2, 10.8: what fits a TPMS_CAPABILITY_DATA of 1 kB.
const MAX = { algorithms: 169, handles: 254, commands: 254, properties: 127, curves: 508, policies: 14 } as const;

/** TPM2_GetCapability (30.2). */
export const getCapability = /* @__PURE__ */ handler(GetCapability, (tpm, { capability, property, propertyCount }) => {
  const list = listOf(tpm, capability, property, propertyCount);
  return { moreData: list.moreData, capabilityData: list.capabilityData };
});

interface List {
  readonly moreData: boolean;
  readonly capabilityData: TpmsCapabilityData;
}

function listOf(tpm: Tpm, capability: number, property: number, count: number): List {
  switch (capability) {
    case TPM_CAP.ALGS: {
      const { data, moreData } = cut(
        algorithmsOf(tpm),
        ({ alg }) => alg,
        property & 0xffff,
        Math.min(count, MAX.algorithms),
      );
      return { moreData, capabilityData: { capability, data } };
    }
    case TPM_CAP.HANDLES: {
      const { data, moreData } = cut(
        handlesOf(tpm, property),
        (handle) => handle,
        property,
        Math.min(count, MAX.handles),
      );
      return { moreData, capabilityData: { capability, data } };
    }
    case TPM_CAP.COMMANDS: {
      const commands = [...tpm.commands.values()].sort((a, b) => a.code - b.code);
      const { data, moreData } = cut(commands, ({ code }) => code, property, Math.min(count, MAX.commands));
      return { moreData, capabilityData: { capability, data: data.map(commandAttributes) } };
    }
    case TPM_CAP.PP_COMMANDS: {
      const codes = listed(tpm, [TPM_CC.PP_Commands, ...tpm.permanent.presenceCommands]);
      const { data, moreData } = cut(codes, (code) => code, property, Math.min(count, MAX.commands));
      return { moreData, capabilityData: { capability, data } };
    }
    case TPM_CAP.AUDIT_COMMANDS: {
      const codes = listed(tpm, tpm.permanent.audit.commands);
      const { data, moreData } = cut(codes, (code) => code, property, Math.min(count, MAX.commands));
      return { moreData, capabilityData: { capability, data } };
    }
    case TPM_CAP.PCRS: {
      if (property !== 0) refuseParameter(TPM_RC.VALUE, 2);
      const allocated = new Set<number>(tpm.volatile.banks.map(({ alg }) => alg));
      const banks = HASHES.map((alg) => ({ hash: alg, pcrSelect: selectionOf(() => allocated.has(alg)) }));
      // It is all or nothing, so that the count only matters where it is 0.
      const data = count === 0 ? [] : banks;
      // The banks are hash algorithms that the type lists.
      return { moreData: data.length < banks.length, capabilityData: { capability, data } as TpmsCapabilityData };
    }
    case TPM_CAP.TPM_PROPERTIES: {
      // One answer tells properties of one group; the first group starts where the fixed properties do.
      const isFixed = property < VARIABLE_PROPERTIES;
      const isVariable = !isFixed && property < VARIABLE_PROPERTIES + PROPERTY_GROUP;
      const all = isFixed ? fixedProperties(tpm) : isVariable ? tagged(variableProperties(tpm)) : [];
      const { data, moreData } = cut(all, (entry) => entry.property, property, Math.min(count, MAX.properties));
      return { moreData, capabilityData: { capability, data } };
    }
    case TPM_CAP.PCR_PROPERTIES: {
      const { data, moreData } = cut(PCR_PROPERTIES, ({ tag }) => tag, property, Math.min(count, MAX.properties));
      return { moreData, capabilityData: { capability, data } };
    }
    case TPM_CAP.ECC_CURVES: {
      const { data, moreData } = cut(CURVES, ({ id }) => id, property & 0xffff, Math.min(count, MAX.curves));
      return { moreData, capabilityData: { capability, data: data.map(({ id }) => id) } };
    }
    case TPM_CAP.ACT:
      if (property >>> 24 !== TPM_HT.PERMANENT) refuseParameter(TPM_RC.VALUE, 2);
      return { moreData: false, capabilityData: { capability, data: [] } };
    case TPM_CAP.AUTH_POLICIES:
      return policiesOf(tpm, property, count);
    default:
      return refuseParameter(TPM_RC.VALUE, 1);
  }
}

/** Those of the command codes that the TPM has, ascending. */
function listed(tpm: Tpm, codes: Iterable<number>): number[] {
  return [...codes].filter((code) => tpm.commands.has(code)).sort((a, b) => a - b);
}

/** At most `count` elements of a sorted list from the first whose key is at least `from`. */
function cut<T>(
  list: readonly T[],
  key: (element: T) => number,
  from: number,
  count: number,
): { readonly data: readonly T[]; readonly moreData: boolean } {
  let start = 0;
  for (const element of list) {
    if (key(element) >= from) break;
    start++;
  }
  const end = start + count;
  const isAll = start === 0 && end >= list.length;
  return { data: isAll ? list : list.slice(start, end), moreData: list.length > end };
}

const PROPERTY_GROUP = 0x100;
const VARIABLE_PROPERTIES = 0x200;

const { asymmetric, symmetric, hash, object, signing, encrypting, method } = TPMA_ALGORITHM;

const ALGORITHMS: readonly { readonly alg: number; readonly algProperties: number }[] = [
  { alg: TPM_ALG.RSA, algProperties: asymmetric | object },
  { alg: TPM_ALG.TDES, algProperties: symmetric },
  { alg: TPM_ALG.SHA1, algProperties: hash },
  { alg: TPM_ALG.HMAC, algProperties: hash | signing },
  { alg: TPM_ALG.AES, algProperties: symmetric },
  { alg: TPM_ALG.MGF1, algProperties: hash | method },
  { alg: TPM_ALG.KEYEDHASH, algProperties: hash | encrypting | signing | object },
  { alg: TPM_ALG.XOR, algProperties: hash | symmetric },
  { alg: TPM_ALG.SHA256, algProperties: hash },
  { alg: TPM_ALG.SHA384, algProperties: hash },
  { alg: TPM_ALG.SHA512, algProperties: hash },
  { alg: TPM_ALG.RSASSA, algProperties: asymmetric | signing },
  { alg: TPM_ALG.RSAES, algProperties: asymmetric | encrypting },
  { alg: TPM_ALG.RSAPSS, algProperties: asymmetric | signing },
  { alg: TPM_ALG.OAEP, algProperties: asymmetric | encrypting },
  { alg: TPM_ALG.ECDSA, algProperties: asymmetric | signing },
  { alg: TPM_ALG.ECDH, algProperties: asymmetric | method },
  { alg: TPM_ALG.ECDAA, algProperties: asymmetric | signing },
  { alg: TPM_ALG.SM2, algProperties: asymmetric | signing | method },
  { alg: TPM_ALG.ECSCHNORR, algProperties: asymmetric | signing },
  { alg: TPM_ALG.ECMQV, algProperties: asymmetric | method },
  { alg: TPM_ALG.KDF1_SP800_56A, algProperties: hash | method },
  { alg: TPM_ALG.KDF2, algProperties: hash | method },
  { alg: TPM_ALG.KDF1_SP800_108, algProperties: hash | method },
  { alg: TPM_ALG.ECC, algProperties: asymmetric | object },
  { alg: TPM_ALG.SYMCIPHER, algProperties: object },
  { alg: TPM_ALG.CAMELLIA, algProperties: symmetric },
  { alg: TPM_ALG.CMAC, algProperties: symmetric | signing },
  { alg: TPM_ALG.CTR, algProperties: symmetric | encrypting },
  { alg: TPM_ALG.OFB, algProperties: symmetric | encrypting },
  { alg: TPM_ALG.CBC, algProperties: symmetric | encrypting },
  { alg: TPM_ALG.CFB, algProperties: symmetric | encrypting },
  { alg: TPM_ALG.ECB, algProperties: symmetric | encrypting },
];

const CIPHERS: readonly number[] = [TPM_ALG.TDES, TPM_ALG.AES, TPM_ALG.CAMELLIA];

// Which block ciphers there are is the provider's.
function algorithmsOf(tpm: Tpm): typeof ALGORITHMS {
  return ALGORITHMS.filter(({ alg }) => !CIPHERS.includes(alg) || tpm.crypto.ciphers.includes(alg));
}

/** Has the TPM this algorithm? */
export function isAlgorithm(tpm: Tpm, alg: number): boolean {
  return algorithmsOf(tpm).some((entry) => entry.alg === alg);
}

/** TPMA_CC of a command. */
function commandAttributes({ code, effects, handles, responseHandles }: AnyCommand): number {
  const bits =
    (code & 0xffff) |
    (Number(effects.nv) << 22) |
    (Number(effects.extensive) << 23) |
    (Number(effects.flushed) << 24) |
    (handles.length << 25) |
    (responseHandles.length << 28);
  return bits >>> 0;
}

function handlesOf(tpm: Tpm, property: number): readonly number[] {
  const { volatile, permanent } = tpm;
  const sorted = (handles: Iterable<number>): number[] => [...handles].sort((a, b) => a - b);
  switch (property >>> 24) {
    case TPM_HT.PCR:
      return Array.from({ length: PCR_COUNT }, (_, index) => index);
    case TPM_HT.NV_INDEX:
      return sorted(permanent.nv.keys());
    case TPM_HT.LOADED_SESSION:
      return sorted(volatile.sessions.keys());
    case TPM_HT.SAVED_SESSION:
      return sorted(
        [...volatile.savedSessions.keys()].map((handle) => (handle & 0xffffff) | (TPM_HT.SAVED_SESSION << 24)),
      );
    case TPM_HT.PERMANENT:
      return PERMANENT_HANDLES;
    case TPM_HT.TRANSIENT:
      return sorted(volatile.objects.keys());
    case TPM_HT.PERSISTENT:
      return sorted(permanent.objects.keys());
    default:
      return refuseParameter(TPM_RC.HANDLE, 2);
  }
}

const PERMANENT_HANDLES = [
  TPM_RH.OWNER,
  TPM_RH.NULL,
  TPM_RS.PW,
  TPM_RH.LOCKOUT,
  TPM_RH.ENDORSEMENT,
  TPM_RH.PLATFORM,
  TPM_RH.PLATFORM_NV,
];

const POLICY_HANDLES = [TPM_RH.OWNER, TPM_RH.LOCKOUT, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM];

type Property = readonly [tag: number, value: number];

type TaggedProperties = readonly { readonly property: number; readonly value: number }[];

/** What was told last, by the commands of a TPM: it changes with the size of its command buffer alone. */
const toldProperties = new WeakMap<
  Tpm['commands'],
  { readonly commandSize: number; readonly list: TaggedProperties }
>();

function fixedProperties(tpm: Tpm): TaggedProperties {
  const told = toldProperties.get(tpm.commands);
  if (told?.commandSize === tpm.commandSize) return told.list;
  const list = tagged(listFixedProperties(tpm));
  toldProperties.set(tpm.commands, { commandSize: tpm.commandSize, list });
  return list;
}

function tagged(properties: readonly Property[]): TaggedProperties {
  return properties.map(([property, value]) => ({ property, value: value >>> 0 }));
}

function listFixedProperties(tpm: Tpm): Property[] {
  const total = tpm.commands.size;
  return [
    [TPM_PT.FAMILY_INDICATOR, letters('2.0\0')],
    [TPM_PT.LEVEL, 0],
    [TPM_PT.REVISION, 164],
    [TPM_PT.DAY_OF_YEAR, 75],
    [TPM_PT.YEAR, 2021],
    [TPM_PT.MANUFACTURER, letters(MANUFACTURER)],
    [TPM_PT.VENDOR_STRING_1, letters(VENDOR_STRINGS[0])],
    [TPM_PT.VENDOR_STRING_2, letters(VENDOR_STRINGS[1])],
    [TPM_PT.VENDOR_STRING_3, letters(VENDOR_STRINGS[2])],
    [TPM_PT.VENDOR_STRING_4, letters(VENDOR_STRINGS[3])],
    [TPM_PT.VENDOR_TPM_TYPE, 1],
    [TPM_PT.FIRMWARE_VERSION_1, Number(FIRMWARE_VERSION >> 32n)],
    [TPM_PT.FIRMWARE_VERSION_2, Number(FIRMWARE_VERSION & 0xffff_ffffn)],
    [TPM_PT.INPUT_BUFFER, IMPLEMENTATION.MAX_BUFFER],
    [TPM_PT.HR_TRANSIENT_MIN, IMPLEMENTATION.MAX_LOADED_OBJECTS],
    [TPM_PT.HR_PERSISTENT_MIN, IMPLEMENTATION.MIN_EVICT_OBJECTS],
    [TPM_PT.HR_LOADED_MIN, IMPLEMENTATION.MAX_LOADED_SESSIONS],
    [TPM_PT.ACTIVE_SESSIONS_MAX, IMPLEMENTATION.MAX_ACTIVE_SESSIONS],
    [TPM_PT.PCR_COUNT, PCR_COUNT],
    [TPM_PT.PCR_SELECT_MIN, PCR_COUNT / 8],
    [TPM_PT.CONTEXT_GAP_MAX, 0xffff],
    [TPM_PT.NV_COUNTERS_MAX, 0],
    [TPM_PT.NV_INDEX_MAX, IMPLEMENTATION.MAX_NV_INDEX_SIZE],
    [TPM_PT.MEMORY, 6],
    [TPM_PT.CLOCK_UPDATE, Number(IMPLEMENTATION.CLOCK_UPDATE)],
    [TPM_PT.CONTEXT_HASH, IMPLEMENTATION.CONTEXT_HASH],
    [TPM_PT.CONTEXT_SYM, TPM_ALG.AES],
    [TPM_PT.CONTEXT_SYM_SIZE, 256],
    [TPM_PT.ORDERLY_COUNT, IMPLEMENTATION.MAX_ORDERLY_COUNT],
    [TPM_PT.MAX_COMMAND_SIZE, tpm.commandSize],
    [TPM_PT.MAX_RESPONSE_SIZE, tpm.commandSize],
    [TPM_PT.MAX_DIGEST, IMPLEMENTATION.MAX_DIGEST],
    [TPM_PT.MAX_OBJECT_CONTEXT, IMPLEMENTATION.MAX_OBJECT_CONTEXT],
    [TPM_PT.MAX_SESSION_CONTEXT, 0x194],
    [TPM_PT.PS_FAMILY_INDICATOR, letters('2.0\0')],
    [TPM_PT.PS_LEVEL, 0],
    [TPM_PT.PS_REVISION, 164],
    [TPM_PT.PS_DAY_OF_YEAR, 75],
    [TPM_PT.PS_YEAR, 2021],
    [TPM_PT.SPLIT_MAX, 0x80],
    [TPM_PT.TOTAL_COMMANDS, total],
    [TPM_PT.LIBRARY_COMMANDS, total],
    [TPM_PT.VENDOR_COMMANDS, 0],
    [TPM_PT.NV_BUFFER_MAX, IMPLEMENTATION.MAX_BUFFER],
    [TPM_PT.MODES, 0],
    [TPM_PT.MAX_CAP_BUFFER, IMPLEMENTATION.MAX_BUFFER],
  ];
}

function letters(text: string): number {
  return [...text].reduce((sum, letter) => sum * 256 + letter.charCodeAt(0), 0);
}

function variableProperties(tpm: Tpm): Property[] {
  const { permanent, volatile } = tpm;
  const { lockout } = permanent;
  const activeSessions = volatile.sessions.size + volatile.savedSessions.size;
  const counters = [...permanent.nv.values()].filter(({ attributes }) => nvKind(attributes) === 1).length;
  return [
    [TPM_PT.PERMANENT, permanentAttributes(tpm)],
    [TPM_PT.STARTUP_CLEAR, startupClearAttributes(tpm)],
    [TPM_PT.HR_NV_INDEX, permanent.nv.size],
    [TPM_PT.HR_LOADED, volatile.sessions.size],
    [TPM_PT.HR_LOADED_AVAIL, IMPLEMENTATION.MAX_LOADED_SESSIONS - volatile.sessions.size],
    [TPM_PT.HR_ACTIVE, activeSessions],
    [TPM_PT.HR_ACTIVE_AVAIL, IMPLEMENTATION.MAX_ACTIVE_SESSIONS - activeSessions],
    [TPM_PT.HR_TRANSIENT_AVAIL, IMPLEMENTATION.MAX_LOADED_OBJECTS - volatile.objects.size],
    [TPM_PT.HR_PERSISTENT, permanent.objects.size],
    [TPM_PT.HR_PERSISTENT_AVAIL, IMPLEMENTATION.MAX_EVICT_OBJECTS - permanent.objects.size],
    [TPM_PT.NV_COUNTERS, counters],
    [TPM_PT.NV_COUNTERS_AVAIL, Math.floor(orderlySpace(tpm) / ORDERLY_COUNTER_SIZE)],
    [TPM_PT.ALGORITHM_SET, permanent.algorithmSet],
    [TPM_PT.LOADED_CURVES, CURVES.length],
    [TPM_PT.LOCKOUT_COUNTER, lockout.failedTries],
    [TPM_PT.MAX_AUTH_FAIL, lockout.maxTries],
    [TPM_PT.LOCKOUT_INTERVAL, lockout.recoveryTime],
    [TPM_PT.LOCKOUT_RECOVERY, lockout.lockoutRecovery],
    [TPM_PT.NV_WRITE_RECOVERY, 0],
    [TPM_PT.AUDIT_COUNTER_0, Number(permanent.audit.counter >> 32n)],
    [TPM_PT.AUDIT_COUNTER_1, Number(permanent.audit.counter & 0xffff_ffffn)],
  ];
}

/** TPMA_PERMANENT. */
function permanentAttributes(tpm: Tpm): number {
  const { owner, endorsement, lockout, disableClear, isEpsGenerated } = tpm.permanent;
  return (
    Number(owner.auth.length > 0) |
    (Number(endorsement.auth.length > 0) << 1) |
    (Number(lockout.auth.length > 0) << 2) |
    (Number(disableClear) << 8) |
    (Number(isInLockout(tpm)) << 9) |
    (Number(isEpsGenerated) << 10)
  );
}

/** TPMA_STARTUP_CLEAR. */
function startupClearAttributes(tpm: Tpm): number {
  const { platform, owner, endorsement, platformNv } = tpm.volatile.enables;
  const isOrderly = tpm.volatile.wasOrderly ? 0x80000000 : 0;
  return (
    (Number(platform) | (Number(owner) << 1) | (Number(endorsement) << 2) | (Number(platformNv) << 3) | isOrderly) >>> 0
  );
}

const PCR_PROPERTIES: readonly { readonly tag: number; readonly pcrSelect: Uint8Array }[] = [
  pcrProperty(TPM_PT_PCR.SAVE, ({ stateSaved }) => stateSaved),
  ...[0, 1, 2, 3, 4].flatMap((locality) => [
    pcrProperty(TPM_PT_PCR.EXTEND_L0 + 2 * locality, ({ extend }) => ((extend >> locality) & 1) === 1),
    pcrProperty(TPM_PT_PCR.RESET_L0 + 2 * locality, ({ reset }) => ((reset >> locality) & 1) === 1),
  ]),
  pcrProperty(TPM_PT_PCR.NO_INCREMENT, ({ noIncrement }) => noIncrement),
  pcrProperty(TPM_PT_PCR.DRTM_RESET, ({ drtm }) => drtm),
  { tag: TPM_PT_PCR.POLICY, pcrSelect: selectionOf(isAuthorizedPcr) },
  { tag: TPM_PT_PCR.AUTH, pcrSelect: selectionOf(isAuthorizedPcr) },
];

function pcrProperty(
  tag: number,
  holds: (attributes: PcrAttributes) => boolean,
): { tag: number; pcrSelect: Uint8Array } {
  return { tag, pcrSelect: selectionOf((_, attributes) => holds(attributes)) };
}

function policiesOf(tpm: Tpm, property: number, count: number): List {
  if (property >>> 24 !== TPM_HT.PERMANENT) return refuseParameter(TPM_RC.VALUE, 2);
  const tagged = POLICY_HANDLES.map((handle) => ({ handle, policyHash: policyHash(entityPolicy(tpm, handle)) }));
  const { data, moreData } = cut(tagged, ({ handle }) => handle, property, Math.min(count, MAX.policies));
  return { moreData, capabilityData: { capability: TPM_CAP.AUTH_POLICIES, data } };
}

function policyHash({ alg, digest }: AuthPolicy): TpmtHaOrNull {
  if (alg === TPM_ALG.NULL) return { hashAlg: TPM_ALG.NULL, digest: undefined };
  return { hashAlg: alg, digest } as TpmtHaOrNull; // policies are set with a hash and a digest of its size only
}

/** TPM2_TestParms (30.3). */
export const testParms = /* @__PURE__ */ handler(TestParms, (tpm, { parameters }) => {
  const unique = new Uint8Array(0);
  const area = { ...parameters, nameAlg: TPM_ALG.SHA256, objectAttributes: 0, authPolicy: unique };
  blameParameter(1, () =>
    assertSupported(tpm.crypto, { ...area, unique: { x: unique, y: unique } } as Parameters<typeof assertSupported>[1]),
  );
  return {};
});
