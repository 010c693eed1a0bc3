/**
 * All commands, by code and by name. Importing this file pulls in every command; a program that uses a few should not.
 */
import type { AnyCommand } from '../command.js';
import { ActSetTimeout } from './act.js';
import {
  EccDecrypt,
  EccEncrypt,
  EccParameters,
  EcdhKeyGen,
  EcdhZGen,
  RsaDecrypt,
  RsaEncrypt,
  ZGen2Phase,
} from './asymmetric.js';
import { AcGetCapability, AcSend, PolicyAcSendSelect } from './attached-component.js';
import {
  Certify,
  CertifyCreation,
  CertifyX509,
  GetCommandAuditDigest,
  GetSessionAuditDigest,
  GetTime,
  Quote,
} from './attestation.js';
import { SetCommandCodeAuditStatus } from './audit.js';
import { GetCapability, TestParms } from './capability.js';
import { ClockRateAdjust, ClockSet, ReadClock } from './clock.js';
import { ContextLoad, ContextSave, EvictControl, FlushContext } from './context.js';
import { DictionaryAttackLockReset, DictionaryAttackParameters } from './dictionary-attack.js';
import { Duplicate, Import, Rewrap } from './duplication.js';
import {
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
} from './enhanced-authorization.js';
import { Commit, EcEphemeral } from './ephemeral-ec.js';
import { FieldUpgradeData, FieldUpgradeStart, FirmwareRead } from './field-upgrade.js';
import {
  ChangeEps,
  ChangePps,
  Clear,
  ClearControl,
  CreatePrimary,
  HierarchyChangeAuth,
  HierarchyControl,
  SetPrimaryPolicy,
} from './hierarchy.js';
import { PcrAllocate, PcrEvent, PcrExtend, PcrRead, PcrReset, PcrSetAuthPolicy, PcrSetAuthValue } from './integrity.js';
import { PpCommands, SetAlgorithmSet } from './management.js';
import {
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
} from './nv.js';
import {
  ActivateCredential,
  Create,
  CreateLoaded,
  Load,
  LoadExternal,
  MakeCredential,
  ObjectChangeAuth,
  ReadPublic,
  Unseal,
} from './object.js';
import { GetRandom, StirRandom } from './random.js';
import {
  EventSequenceComplete,
  HashSequenceStart,
  HmacStart,
  MacStart,
  SequenceComplete,
  SequenceUpdate,
} from './sequence.js';
import { PolicyRestart, StartAuthSession } from './session.js';
import { Sign, VerifySignature } from './signing.js';
import { Shutdown, Startup } from './startup.js';
import { EncryptDecrypt, EncryptDecrypt2, Hash, Hmac, Mac } from './symmetric.js';
import { GetTestResult, IncrementalSelfTest, SelfTest } from './testing.js';
import { VendorTcgTest } from './vendor.js';

/** The 122 commands of TPM 2.0 Part 3 in the order of their clauses. */
export const commands: readonly AnyCommand[] = [
  Startup,
  Shutdown,
  SelfTest,
  IncrementalSelfTest,
  GetTestResult,
  StartAuthSession,
  PolicyRestart,
  Create,
  Load,
  LoadExternal,
  ReadPublic,
  ActivateCredential,
  MakeCredential,
  Unseal,
  ObjectChangeAuth,
  CreateLoaded,
  Duplicate,
  Rewrap,
  Import,
  RsaEncrypt,
  RsaDecrypt,
  EcdhKeyGen,
  EcdhZGen,
  EccParameters,
  ZGen2Phase,
  EccEncrypt,
  EccDecrypt,
  EncryptDecrypt,
  EncryptDecrypt2,
  Hash,
  Hmac,
  Mac,
  GetRandom,
  StirRandom,
  HmacStart,
  MacStart,
  HashSequenceStart,
  SequenceUpdate,
  SequenceComplete,
  EventSequenceComplete,
  Certify,
  CertifyCreation,
  Quote,
  GetSessionAuditDigest,
  GetCommandAuditDigest,
  GetTime,
  CertifyX509,
  Commit,
  EcEphemeral,
  VerifySignature,
  Sign,
  SetCommandCodeAuditStatus,
  PcrExtend,
  PcrEvent,
  PcrRead,
  PcrAllocate,
  PcrSetAuthPolicy,
  PcrSetAuthValue,
  PcrReset,
  PolicySigned,
  PolicySecret,
  PolicyTicket,
  PolicyOr,
  PolicyPcr,
  PolicyLocality,
  PolicyNv,
  PolicyCounterTimer,
  PolicyCommandCode,
  PolicyPhysicalPresence,
  PolicyCpHash,
  PolicyNameHash,
  PolicyDuplicationSelect,
  PolicyAuthorize,
  PolicyAuthValue,
  PolicyPassword,
  PolicyGetDigest,
  PolicyNvWritten,
  PolicyTemplate,
  PolicyAuthorizeNv,
  CreatePrimary,
  HierarchyControl,
  SetPrimaryPolicy,
  ChangePps,
  ChangeEps,
  Clear,
  ClearControl,
  HierarchyChangeAuth,
  DictionaryAttackLockReset,
  DictionaryAttackParameters,
  PpCommands,
  SetAlgorithmSet,
  FieldUpgradeStart,
  FieldUpgradeData,
  FirmwareRead,
  ContextSave,
  ContextLoad,
  FlushContext,
  EvictControl,
  ReadClock,
  ClockSet,
  ClockRateAdjust,
  GetCapability,
  TestParms,
  NvDefineSpace,
  NvUndefineSpace,
  NvUndefineSpaceSpecial,
  NvReadPublic,
  NvWrite,
  NvIncrement,
  NvExtend,
  NvSetBits,
  NvWriteLock,
  NvGlobalWriteLock,
  NvRead,
  NvReadLock,
  NvChangeAuth,
  NvCertify,
  AcGetCapability,
  AcSend,
  PolicyAcSendSelect,
  ActSetTimeout,
  VendorTcgTest,
];

/**
 * The commands by command code. `TPM2_MAC` and `TPM2_MAC_Start` share theirs with `TPM2_HMAC` and `TPM2_HMAC_Start`, which stand for both
 * here.
 */
export const commandByCode: ReadonlyMap<number, AnyCommand> = /* @__PURE__ */ (() =>
  new Map(commands.filter((one) => one !== Mac && one !== MacStart).map((one) => [one.code, one])))();
