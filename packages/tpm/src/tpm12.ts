/**
 * TPM 1.2 (TPM Main, revision 116): commands, structures, sessions and tasks, over the same transports as TPM 2.0. Pure: it
 * runs in a browser.
 */

export {
  hasOwner,
  isOrdinalSupported,
  readDaInfo,
  readHandles,
  readNvIndexes,
  readNvPublic,
  readPermanentFlags,
  readProperty,
  readStclearFlags,
  readVersion,
} from './tpm12/capability.js';
export {
  type Authorization12,
  type ExecuteOptions12,
  type OsapEntity,
  type Request12,
  Tpm12,
  type Tpm12Options,
} from './tpm12/client.js';
export {
  type AnyCommand12,
  type AnyStruct12,
  type AuthEntity,
  type AuthField,
  type Command12,
  type CommandDescription12,
  type CommandParameters12,
  type CommandResponse12,
  command12,
  type OptionalAuthName,
  type RequiredAuthName,
  type SecretFields,
} from './tpm12/command.js';
export { GetCapability } from './tpm12/commands/capability.js';
export { CreateCounter, GetTicks, IncrementCounter, ReadCounter, ReleaseCounter } from './tpm12/commands/counter.js';
export { ActivateIdentity, MakeIdentity } from './tpm12/commands/identity.js';
export { NvDefineSpace, NvReadValue, NvReadValueAuth, NvWriteValue, NvWriteValueAuth } from './tpm12/commands/nv.js';
export {
  OwnerSetDisable,
  PhysicalDisable,
  PhysicalEnable,
  PhysicalPresence,
  PhysicalSetDeactivated,
  SetOwnerInstall,
} from './tpm12/commands/opt-in.js';
export {
  ChangeAuthOwner,
  CreateEndorsementKeyPair,
  DisableForceClear,
  DisableOwnerClear,
  ForceClear,
  OwnerClear,
  OwnerReadInternalPub,
  ReadPubek,
  ResetLockValue,
  TakeOwnership,
} from './tpm12/commands/owner.js';
export { Extend, PcrRead, PcrReset, Quote, Quote2 } from './tpm12/commands/pcr.js';
export { GetRandom, Sha1Complete, Sha1Start, Sha1Update, StirRandom } from './tpm12/commands/random.js';
export { EvictKey, FlushSpecific, Oiap, Osap, TerminateHandle } from './tpm12/commands/session.js';
export { ContinueSelfTest, GetTestResult, SaveState, SelfTestFull, Startup } from './tpm12/commands/startup.js';
export {
  CertifyKey,
  ChangeAuth,
  CreateWrapKey,
  GetPubKey,
  LoadKey2,
  Seal,
  Sign,
  TpmAnyPcrInfo,
  UnBind,
  Unseal,
} from './tpm12/commands/storage.js';
export { commandByOrdinal, commands12 } from './tpm12/commands/table.js';
export {
  TPM_ALG,
  TPM_AUTH_DATA_USAGE,
  TPM_CAP,
  TPM_CAP_FLAG,
  TPM_CAP_PROP,
  TPM_EK_TYPE,
  TPM_ES,
  TPM_ET,
  TPM_KEY_FLAGS,
  TPM_KEY_USAGE,
  TPM_KH,
  TPM_LOC,
  TPM_NV_INDEX,
  TPM_NV_PER,
  TPM_PHYSICAL_PRESENCE,
  TPM_PID,
  TPM_PT,
  TPM_RT,
  TPM_SS,
  TPM_ST,
  TPM_TAG,
  TPM_TAG_FRAME,
} from './tpm12/constants.js';
export { type AesModes, nobleCrypto12, type Tpm12Crypto } from './tpm12/crypto.js';
export type { ChangeSecretOptions12 } from './tpm12/entity-secret.js';
export {
  type CommandFrame12,
  decodeCommand12,
  decodeResponse12,
  encodeCommand12,
  encodeResponse12,
  type ResponseFrame12,
} from './tpm12/framing.js';
export {
  type Activation12,
  activateIdentity,
  buildActivation,
  chosenIdHash,
  type Identity12,
  identityDigest,
  type MakeIdentityOptions,
  makeIdentity,
  verifyIdentity,
} from './tpm12/identity.js';
export {
  bind12,
  type CreateKeyOptions12,
  changeKeySecret,
  createKey12,
  type KeyHandle12,
  type KeyKind12,
  type LoadedKey12,
  loadKey12,
  pubkeyOf,
  pubkeySpki,
  readPubkey,
  rsaPublicKey,
  type SignatureScheme12,
  sign12,
  srk,
  unbind12,
  verifySignature12,
} from './tpm12/key.js';
export {
  type NvAccess12,
  type NvDefineOptions12,
  nvDefine12,
  nvLock12,
  nvRead12,
  nvRelease12,
  nvWrite12,
} from './tpm12/nv.js';
export { TPM_ORD } from './tpm12/ordinals.js';
export {
  assertPhysicalPresence,
  changeOwnerSecret,
  clearOwner,
  createEndorsementKey,
  enable12,
  forceClear,
  readEndorsementKey,
  readStorageRootKey,
  startup12,
  takeOwnership,
} from './tpm12/ownership.js';
export {
  type Binding12,
  compositeHash,
  extendPcr12,
  type PcrValues12,
  pcrInfo,
  pcrInfoShort,
  pcrSelection12,
  readPcrs12,
  resetPcrs12,
  selectedPcrs12,
} from './tpm12/pcr.js';
export {
  type Quote12,
  type Quote212,
  type QuoteClaims12,
  type QuoteOptions12,
  quote12,
  quote212,
  verifyQuote12,
  verifyQuote212,
} from './tpm12/quote.js';
export { parseResult, resultError, TPM_RESULT } from './tpm12/result.js';
export { changeSealedSecret, type SealOptions12, seal12, unseal12 } from './tpm12/seal.js';
export { formatSealedFile, parseSealedFile, type SealedFile, sealFile, unsealFile } from './tpm12/sealed-file.js';
export { type PasswordEncoding, passwordSecret, wellKnownSecret } from './tpm12/secret.js';
export { AuthSession, type SessionUse12 } from './tpm12/session.js';
export { AuthCommand12, AuthResponse12 } from './tpm12/structures/authorization.js';
export {
  TpmAuthdata,
  TpmBool,
  TpmDigest,
  TpmEncauth,
  TpmNonce,
  TpmStructVer,
  TpmVersion,
  VERSION_1_1,
} from './tpm12/structures/base.js';
export {
  TpmCapVersionInfo,
  TpmCounterValue,
  TpmCurrentTicks,
  TpmDaInfo,
  TpmDaInfoLimited,
  TpmKeyHandleList,
  TpmNvIndexList,
  TpmPermanentFlags,
  TpmStclearFlags,
} from './tpm12/structures/capability.js';
export {
  TpmAsymCaContents,
  TpmEkBlob,
  TpmEkBlobActivate,
  TpmIdentityContents,
  TpmSymCaAttestation,
} from './tpm12/structures/identity.js';
export {
  TpmAnyKey,
  TpmAuthDataUsage,
  TpmKey,
  TpmKey12,
  TpmKeyFlags,
  TpmKeyParms,
  TpmKeyUsage,
  TpmPubkey,
  TpmRsaKeyParms,
  TpmStorePubkey,
  TpmSymmetricKey,
  TpmSymmetricKeyParms,
} from './tpm12/structures/key.js';
export { TpmNvAttributes, TpmNvDataPublic, TpmNvPermission } from './tpm12/structures/nv.js';
export {
  TpmLocalitySelection,
  TpmPcrComposite,
  TpmPcrInfo,
  TpmPcrInfoLong,
  TpmPcrInfoShort,
  TpmPcrSelection,
} from './tpm12/structures/pcr.js';
export { TpmCertifyInfo, TpmCertifyInfo2, TpmQuoteInfo, TpmQuoteInfo2, TpmSignInfo } from './tpm12/structures/quote.js';
export { TpmAnyStoredData, TpmBoundData, TpmStoredData, TpmStoredData12 } from './tpm12/structures/storage.js';
