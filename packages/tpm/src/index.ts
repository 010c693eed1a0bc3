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
export { ActSetTimeout } from './commands/act.js';
export {
  EccDecrypt,
  EccEncrypt,
  EccParameters,
  EcdhKeyGen,
  EcdhZGen,
  RsaDecrypt,
  RsaEncrypt,
  ZGen2Phase,
} from './commands/asymmetric.js';
export { AcGetCapability, AcSend, PolicyAcSendSelect } from './commands/attached-component.js';
export {
  Certify,
  CertifyCreation,
  CertifyX509,
  GetCommandAuditDigest,
  GetSessionAuditDigest,
  GetTime,
  Quote,
} from './commands/attestation.js';
export { SetCommandCodeAuditStatus } from './commands/audit.js';
export { GetCapability, TestParms } from './commands/capability.js';
export { ClockRateAdjust, ClockSet, ReadClock } from './commands/clock.js';
export { ContextLoad, ContextSave, EvictControl, FlushContext } from './commands/context.js';
export { DictionaryAttackLockReset, DictionaryAttackParameters } from './commands/dictionary-attack.js';
export { Duplicate, Import, Rewrap } from './commands/duplication.js';
export {
  PolicyAuthorize,
  PolicyAuthorizeNv,
  PolicyAuthValue,
  PolicyCommandCode,
  PolicyCounterTimer,
  PolicyCpHash,
  PolicyDuplicationSelect,
  PolicyGetDigest,
  PolicyLocality,
  PolicyNameHash,
  PolicyNv,
  PolicyNvWritten,
  PolicyOr,
  PolicyPassword,
  PolicyPcr,
  PolicyPhysicalPresence,
  PolicySecret,
  PolicySigned,
  PolicyTemplate,
  PolicyTicket,
} from './commands/enhanced-authorization.js';
export { Commit, EcEphemeral } from './commands/ephemeral-ec.js';
export { FieldUpgradeData, FieldUpgradeStart, FirmwareRead } from './commands/field-upgrade.js';
export {
  ChangeEps,
  ChangePps,
  Clear,
  ClearControl,
  CreatePrimary,
  HierarchyChangeAuth,
  HierarchyControl,
  SetPrimaryPolicy,
} from './commands/hierarchy.js';
export {
  PcrAllocate,
  PcrEvent,
  PcrExtend,
  PcrRead,
  PcrReset,
  PcrSetAuthPolicy,
  PcrSetAuthValue,
} from './commands/integrity.js';
export { PpCommands, SetAlgorithmSet } from './commands/management.js';
export {
  NvCertify,
  NvChangeAuth,
  NvDefineSpace,
  NvExtend,
  NvGlobalWriteLock,
  NvIncrement,
  NvRead,
  NvReadLock,
  NvReadPublic,
  NvSetBits,
  NvUndefineSpace,
  NvUndefineSpaceSpecial,
  NvWrite,
  NvWriteLock,
} from './commands/nv.js';
export {
  ActivateCredential,
  Create,
  CreateLoaded,
  Load,
  LoadExternal,
  MakeCredential,
  ObjectChangeAuth,
  ReadPublic,
  Unseal,
} from './commands/object.js';
export { GetRandom, StirRandom } from './commands/random.js';
export {
  EventSequenceComplete,
  HashSequenceStart,
  HmacStart,
  MacStart,
  SequenceComplete,
  SequenceUpdate,
} from './commands/sequence.js';
export { PolicyRestart, StartAuthSession } from './commands/session.js';
export { Sign, VerifySignature } from './commands/signing.js';
export { Shutdown, Startup } from './commands/startup.js';
export { EncryptDecrypt, EncryptDecrypt2, Hash, Hmac, Mac } from './commands/symmetric.js';
export { commandByCode, commands } from './commands/table.js';
export { GetTestResult, IncrementalSelfTest, SelfTest } from './commands/testing.js';
export { VendorTcgTest } from './commands/vendor.js';
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
  type AnswerFrame,
  type AnswerOptions,
  type AnswerShape,
  type CommandFrame,
  type CommandLookup,
  decodeAnswer,
  decodeCommand,
  decodeResponse,
  encodeCommand,
  encodeRequest,
  encodeResponse,
  type FrameLimits,
  type RequestShape,
  type ResponseFrame,
  type ResponseShape,
} from './framing.js';
export { type SharedTpm, shareTpm } from './resource-manager.js';
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
  Tpm2bEccParameter,
  Tpm2bEccPoint,
  Tpm2bPrivateKeyRsa,
  Tpm2bPublicKeyRsa,
  TpmsAlgorithmDetailEcc,
  TpmsEccPoint,
  TpmsEncSchemeOaep,
  TpmsEncSchemeRsaes,
  TpmsKdfSchemeKdf1Sp80056a,
  TpmsKdfSchemeKdf1Sp800108,
  TpmsKdfSchemeKdf2,
  TpmsKdfSchemeMgf1,
  TpmsKeySchemeEcdh,
  TpmsKeySchemeEcmqv,
  TpmsSigSchemeEcdaa,
  TpmsSigSchemeEcdsa,
  TpmsSigSchemeEcschnorr,
  TpmsSigSchemeRsapss,
  TpmsSigSchemeRsassa,
  TpmsSigSchemeSm2,
  TpmtAsymScheme,
  TpmtAsymSchemeOrNull,
  TpmtEccScheme,
  TpmtEccSchemeOrNull,
  TpmtKdfScheme,
  TpmtKdfSchemeOrNull,
  TpmtRsaDecrypt,
  TpmtRsaDecryptOrNull,
  TpmtRsaScheme,
  TpmtRsaSchemeOrNull,
  TpmtSigScheme,
  TpmtSigSchemeOrNull,
  TpmuAsymScheme,
  TpmuKdfScheme,
  TpmuSigScheme,
} from './structures/asymmetric.js';
export { TpmlAcCapabilities, TpmsAcOutput } from './structures/attached-component.js';
export {
  Tpm2bAttest,
  TpmiStAttest,
  TpmsAttest,
  TpmsCertifyInfo,
  TpmsCommandAuditInfo,
  TpmsCreationInfo,
  TpmsNvCertifyInfo,
  TpmsNvDigestCertifyInfo,
  TpmsQuoteInfo,
  TpmsSessionAuditInfo,
  TpmsTimeAttestInfo,
  TpmuAttest,
} from './structures/attestation.js';
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
export { TpmsCapabilityData, TpmuCapabilities } from './structures/capabilities.js';
export { TpmsClockInfo, TpmsTimeInfo } from './structures/clock.js';
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
export { Tpm2bContextData, Tpm2bContextSensitive, TpmsContext, TpmsContextData } from './structures/context.js';
export { Tpm2bCreationData, TpmsCreationData } from './structures/creation.js';
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
export {
  TpmlActData,
  TpmlAlg,
  TpmlAlgProperty,
  TpmlCc,
  TpmlCca,
  TpmlDigest,
  TpmlDigestOfBranches,
  TpmlDigestValues,
  TpmlEccCurve,
  TpmlHandle,
  TpmlPcrSelection,
  TpmlTaggedPcrProperty,
  TpmlTaggedPolicy,
  TpmlTaggedTpmProperty,
} from './structures/lists.js';
export { Tpm2bNvPublic, TpmsNvPinCounterParameters, TpmsNvPublic } from './structures/nv.js';
export { PcrSelect, TpmsPcrSelect, TpmsPcrSelection } from './structures/pcr.js';
export {
  Tpm2bIdObject,
  Tpm2bPrivate,
  Tpm2bPrivateVendorSpecific,
  Tpm2bSensitive,
  TpmPrivate,
  TpmsIdObject,
  TpmtSensitive,
  TpmuSensitiveComposite,
} from './structures/private.js';
export {
  TpmsActData,
  TpmsAlgProperty,
  TpmsTaggedPcrSelect,
  TpmsTaggedPolicy,
  TpmsTaggedProperty,
} from './structures/properties.js';
export {
  Tpm2bPublic,
  Tpm2bPublicOrNull,
  Tpm2bTemplate,
  TpmsAsymParms,
  TpmsEccParms,
  TpmsKeyedhashParms,
  TpmsRsaParms,
  TpmtPublic,
  TpmtPublicDerive,
  TpmtPublicOrNull,
  TpmtPublicParms,
  TpmuPublicId,
  TpmuPublicParms,
} from './structures/public.js';
export { TpmsAuthCommand, TpmsAuthResponse } from './structures/sessions.js';
export {
  Tpm2bEncryptedSecret,
  TpmsSignatureEcc,
  TpmsSignatureEcdaa,
  TpmsSignatureEcdsa,
  TpmsSignatureEcschnorr,
  TpmsSignatureRsa,
  TpmsSignatureRsapss,
  TpmsSignatureRsassa,
  TpmsSignatureSm2,
  TpmtSignature,
  TpmtSignatureOrNull,
  TpmuSignature,
} from './structures/signatures.js';
export {
  Tpm2bDerive,
  Tpm2bLabel,
  Tpm2bSensitiveCreate,
  Tpm2bSensitiveData,
  Tpm2bSymKey,
  TpmsDerive,
  TpmsSchemeEcdaa,
  TpmsSchemeHash,
  TpmsSchemeHmac,
  TpmsSchemeXor,
  TpmsSensitiveCreate,
  TpmsSymcipherParms,
  TpmtKeyedhashScheme,
  TpmtKeyedhashSchemeOrNull,
  TpmtSymDef,
  TpmtSymDefObject,
  TpmtSymDefObjectOrNull,
  TpmtSymDefOrNull,
  TpmuSchemeKeyedhash,
  TpmuSymDetails,
  TpmuSymKeyBits,
  TpmuSymMode,
} from './structures/symmetric.js';
export { TpmtTkAuth, TpmtTkCreation, TpmtTkHashcheck, TpmtTkVerified } from './structures/tickets.js';
// End: constants, structures, commands and frames of the specification.

// Begin: client, sessions, policies and tasks.

export {
  type Attestation,
  type AttestOptions,
  attestCommands,
  attestSession,
  attestTime,
  type CertifyResult,
  certify,
  certifyCreation,
  type PrivacyOptions,
  type QuoteResult,
  quote,
} from './attestation.js';
export {
  type AuditedCommand,
  type AuditOptions,
  commandParameterHash,
  extendAudit,
  responseParameterHash,
} from './audit.js';
export { type Authorization, type Entity, type HandleInput, type Password, password } from './authorization.js';
export { type CertifyX509Options, certifyX509, type KeyUsage } from './certificate.js';
export {
  type ContextFile,
  encodeContextFile,
  loadContextFile,
  parseContextFile,
  saveContextFile,
} from './context-file.js';
export {
  type ActivateOptions,
  activateCredential,
  type Credential,
  endorsementPolicy,
  makeCredential,
} from './credential.js';
export type {
  EccPublicKey,
  EcdhExchange,
  RsaPublicKey,
  TpmCrypto,
  TpmHashes,
  TpmSignature,
} from './crypto.js';
export { defaultCrypto, defaultHashes, nobleCrypto, nobleHashes } from './default-crypto.js';
export {
  type DuplicateObject,
  type DuplicateOptions,
  duplicate,
  type InnerWrap,
  importObject,
  rewrap,
  type UnwrapOptions,
  unwrapDuplicate,
  type WrapOptions,
  wrapForImport,
} from './duplication.js';
export { createEk, ekCertificateKinds, readEkCertificate, readEkChain, readEkTemplate } from './ek-certificate.js';
export { hashSize } from './hashes.js';
export { type KdfAInput, type KdfEInput, kdfA, kdfE } from './kdf.js';
export {
  encodeKeyFile,
  encodeKeyFileDer,
  type KeyFile,
  type KeyFileAuthPolicy,
  type KeyFileCommand,
  type KeyFileType,
  parseKeyFile,
} from './key-file.js';
export {
  type KeyFileOptions,
  keyFileParent,
  keyFileParentTemplate,
  loadKeyFile,
  unsealKeyFile,
} from './key-file-load.js';
export { type KeyFilePolicyOptions, keyFileAuthPolicy, keyFileCommands, keyFilePolicy } from './key-file-policy.js';
export { ecdhWith, hmacWith, type RsaEncryption, rsaDecryptWith, rsaEncryptWith } from './key-use.js';
export { nameOf, nvNameOf } from './name.js';
export {
  type NvCertifyOptions,
  type NvDefineOptions,
  NvIndex,
  type NvPin,
  type NvType,
  type NvUseOptions,
  nvCertify,
  nvChangeAuth,
  nvDefine,
  nvExtend,
  nvGlobalLock,
  nvIncrement,
  nvLock,
  nvRead,
  nvReadNumber,
  nvReadPin,
  nvReadPublic,
  nvSetBits,
  nvUndefine,
  nvUndefineSpecial,
  nvWrite,
  nvWritePin,
  openNv,
} from './nv.js';
export {
  type CreatedKey,
  type CreateOptions,
  type CreatePrimaryOptions,
  type Creation,
  changeAuth,
  createKey,
  createPrimary,
  type Hierarchy,
  loadKey,
  loadPublic,
  loadSoftware,
  openObject,
  persist,
  type TpmObject,
  unpersist,
  type WrappedKey,
} from './object.js';
export {
  extendPcr,
  orderedPcrValues,
  PCR_BANKS,
  type PcrBank,
  type PcrDigests,
  type PcrIndexes,
  type PcrValues,
  pcrBanks,
  pcrIndexesOf,
  pcrSelection,
  readPcrs,
  selectedIndexes,
} from './pcr.js';
export { findPersistent, type HandleKind, listHandles, type ProvisionOptions, provisionSrk } from './persistent.js';
export {
  type IssuedTicket,
  nameHash,
  type Policy,
  type PolicyComparison,
  type PolicyElement,
  type PolicyProof,
  policyApproval,
  policyDigest,
  type SatisfyOptions,
  satisfyPolicy,
} from './policy.js';
export { parsePrivateKey } from './private-key.js';
export {
  type PublicJwk,
  parsePublicKey,
  publicKeyJwk,
  publicKeyOf,
  publicKeyPem,
  publicKeySpki,
  publicKeySsh,
} from './public-key.js';
export { type SealOptions, seal, type UnsealOptions, unseal } from './seal.js';
export { type SealedLarge, sealLarge, unsealLarge } from './seal-large.js';
export {
  type EccPrivateKey,
  type RsaPrivateKey,
  recoverSecret,
  type SecretLabel,
  type SecretRecovery,
  type SharedSecret,
  shareSecret,
} from './secret.js';
export {
  Session,
  type SessionAttributes,
  type SessionCipher,
  type SessionParameters,
  type SessionType,
  type SessionUse,
} from './session.js';
export {
  signatureParts,
  signatureToDer,
  signatureToRaw,
  verifyAttestSignature,
  verifySignature,
} from './signature.js';
export {
  type SignerAlgorithm,
  type SignerHash,
  type SignOptions,
  signDigest,
  signWith,
  type TpmSigner,
  tpmSigner,
} from './signer.js';
export {
  privateKeyOf,
  type SoftwareKeyUse,
  type SoftwareObject,
  type SoftwareObjectOptions,
  softwareAesKey,
  softwareHmacKey,
  softwareKey,
  softwareSealed,
} from './software-object.js';
export { type SessionHash, type SessionOptions, startSession } from './start-session.js';
export {
  qualifiedNameOf,
  type StatementCheck,
  type StatementInput,
  type StatementOf,
  type StatementProblem,
  verifyCertify,
  verifyCommandAudit,
  verifyCreation,
  verifyNvCertify,
  verifyQuote,
  verifySessionAudit,
  verifyTime,
} from './statement.js';
export {
  akTemplate,
  type EkKind,
  ekTemplate,
  type KeyKind,
  sealedTemplate,
  signingKeyTemplate,
  srkTemplate,
  withEkNonce,
} from './templates.js';
export { encodeCredentialFile, encodeKeyFiles, parseCredentialFile, parseKeyFiles } from './tools-file.js';
export { type ExecuteOptions, type Request, Tpm, type TpmOptions } from './tpm.js';
export type { TpmTransport } from './transport.js';

// End: client, sessions, policies and tasks.
