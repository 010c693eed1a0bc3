/** TPM 2.0: commands as values, sessions, Names and policies, over any transport. */
// Begin: constants, structures, commands and frames of the specification.

export {
  type AnyCommand,
  type AnyStruct,
  type AuthHandleName,
  type AuthRole,
  admin,
  type Command,
  type CommandDescription,
  type CommandEffects,
  type CommandRequest,
  type CommandResponse,
  command,
  dup,
  type HandleField,
  type HandleName,
  isFirstParameterSized,
  plain,
  type RequestHandles,
  type RequestParameters,
  type ResponseHandleField,
  type ResponseHandles,
  type ResponseParameters,
  returned,
  user,
} from './command.js';
export { TPM_ALG, TPM_ECC_CURVE } from './constants/algorithms.js';
export { TPM_AE, TPM_AT } from './constants/attached-component.js';
export {
  TPMA_ACT,
  TPMA_ALGORITHM,
  TPMA_CC,
  TPMA_LOCALITY,
  TPMA_MEMORY,
  TPMA_MODES,
  TPMA_OBJECT,
  TPMA_PERMANENT,
  TPMA_SESSION,
  TPMA_STARTUP_CLEAR,
  TPMA_X509_KEY_USAGE,
} from './constants/attributes.js';
export { TPM_CAP, TPM_PS, TPM_PT, TPM_PT_PCR } from './constants/capabilities.js';
export { TPM_CC } from './constants/commands.js';
export { TPM_HC, TPM_HT, TPM_RH, TPM_RS } from './constants/handles.js';
export { TPM_NT, TPM_NV_INDEX, TPMA_NV } from './constants/nv.js';
export { TPM_RC, TPM_RC_PART } from './constants/responses.js';
export { TPM_CLOCK_ADJUST, TPM_EO, TPM_SE, TPM_ST, TPM_SU } from './constants/sessions.js';
export { TPM_GENERATED_VALUE, TPM_SPEC } from './constants/specification.js';
export {
  type CommandFrame,
  type CommandLookup,
  decodeCommand,
  decodeResponse,
  encodeCommand,
  encodeResponse,
  type FrameLimits,
  type ResponseFrame,
  type ResponseShape,
} from './framing.js';
export {
  describeResponseCode,
  encodeResponseCode,
  parseResponseCode,
  type ResponseCode,
  type ResponseOrigin,
  TpmError,
  type TpmErrorCode,
  type TpmErrorDetails,
} from './response-code.js';
export {
  TpmiAesKeyBits,
  TpmiAlgAsym,
  TpmiAlgAsymOrNull,
  TpmiAlgAsymScheme,
  TpmiAlgAsymSchemeOrNull,
  TpmiAlgCipherMode,
  TpmiAlgCipherModeOrNull,
  TpmiAlgEccScheme,
  TpmiAlgEccSchemeOrNull,
  TpmiAlgHash,
  TpmiAlgHashOrNull,
  TpmiAlgKdf,
  TpmiAlgKdfOrNull,
  TpmiAlgKeyedhashScheme,
  TpmiAlgKeyedhashSchemeOrNull,
  TpmiAlgMacScheme,
  TpmiAlgMacSchemeOrNull,
  TpmiAlgPublic,
  TpmiAlgRsaDecrypt,
  TpmiAlgRsaDecryptOrNull,
  TpmiAlgRsaScheme,
  TpmiAlgRsaSchemeOrNull,
  TpmiAlgSigScheme,
  TpmiAlgSigSchemeOrNull,
  TpmiAlgSym,
  TpmiAlgSymMode,
  TpmiAlgSymModeOrNull,
  TpmiAlgSymObject,
  TpmiAlgSymObjectOrNull,
  TpmiAlgSymOrNull,
  TpmiCamelliaKeyBits,
  TpmiEccCurve,
  TpmiEccKeyExchange,
  TpmiEccKeyExchangeOrNull,
  TpmiRsaKeyBits,
  TpmiSm4KeyBits,
  TpmiStCommandTag,
  TpmiTdesKeyBits,
} from './structures/algorithms.js';
export {
  TpmaAct,
  TpmaAlgorithm,
  TpmaCc,
  TpmaLocality,
  TpmaMemory,
  TpmaModes,
  TpmaNv,
  TpmaObject,
  TpmaPermanent,
  TpmaSession,
  TpmaStartupClear,
  TpmaX509KeyUsage,
} from './structures/attributes.js';
export { Int8, Int16, Int32, Int64, TpmKeyBits } from './structures/base.js';
export {
  TpmAe,
  TpmAlgId,
  TpmAt,
  TpmCap,
  TpmCc,
  TpmClockAdjust,
  TpmEccCurve,
  TpmEo,
  TpmGenerated,
  TpmHandle,
  TpmNvIndex,
  TpmPs,
  TpmPt,
  TpmPtPcr,
  TpmRc,
  TpmSe,
  TpmSt,
  TpmSu,
} from './structures/constants.js';
export {
  Tpm2bAuth,
  Tpm2bData,
  Tpm2bDigest,
  Tpm2bEvent,
  Tpm2bIv,
  Tpm2bMaxBuffer,
  Tpm2bMaxNvBuffer,
  Tpm2bName,
  Tpm2bNonce,
  Tpm2bOperand,
  Tpm2bTimeout,
  TpmsAlgorithmDescription,
  TpmsEmpty,
  TpmtHa,
  TpmtHaOrNull,
  TpmuHa,
} from './structures/digests.js';
export {
  TpmiDhContext,
  TpmiDhEntity,
  TpmiDhEntityOrNull,
  TpmiDhObject,
  TpmiDhObjectOrNull,
  TpmiDhParent,
  TpmiDhParentOrNull,
  TpmiDhPcr,
  TpmiDhPcrOrNull,
  TpmiDhPersistent,
  TpmiDhSaved,
  TpmiRhAc,
  TpmiRhAct,
  TpmiRhClear,
  TpmiRhEnables,
  TpmiRhEnablesOrNull,
  TpmiRhEndorsement,
  TpmiRhEndorsementOrNull,
  TpmiRhHierarchy,
  TpmiRhHierarchyAuth,
  TpmiRhHierarchyOrNull,
  TpmiRhHierarchyPolicy,
  TpmiRhLockout,
  TpmiRhNvAuth,
  TpmiRhNvIndex,
  TpmiRhOwner,
  TpmiRhOwnerOrNull,
  TpmiRhPlatform,
  TpmiRhProvision,
  TpmiShAuthSession,
  TpmiShAuthSessionOrPassword,
  TpmiShHmac,
  TpmiShPolicy,
  TpmiYesNo,
} from './structures/handles.js';
export { LIMITS } from './structures/limits.js';
export { TpmsAuthCommand, TpmsAuthResponse } from './structures/sessions.js';
// End: constants, structures, commands and frames of the specification.

// Begin: client, sessions, policies and tasks.

export { type Authorization, type Entity, type HandleInput, type Password, password } from './authorization.js';
export type {
  EccPublicKey,
  EcdhExchange,
  RsaPublicKey,
  TpmCrypto,
  TpmHashes,
  TpmSignature,
} from './crypto.js';
export { hashSize, nobleHashes } from './hashes.js';
export { type KdfAInput, type KdfEInput, kdfA, kdfE } from './kdf.js';
export { nobleCrypto } from './noble-crypto.js';
export {
  Session,
  type SessionAttributes,
  type SessionCipher,
  type SessionParameters,
  type SessionType,
  type SessionUse,
} from './session.js';
export { type ExecuteOptions, type Request, Tpm, type TpmOptions } from './tpm.js';
export type { TpmTransport } from './transport.js';

// End: client, sessions, policies and tasks.
