/** The commands of TPM 1.2 that this package describes, by ordinal. Importing this file pulls in every one. */
import type { AnyCommand12 } from '../command.js';
import { GetCapability } from './capability.js';
import { CreateCounter, GetTicks, IncrementCounter, ReadCounter, ReleaseCounter } from './counter.js';
import { ActivateIdentity, MakeIdentity } from './identity.js';
import { NvDefineSpace, NvReadValue, NvReadValueAuth, NvWriteValue, NvWriteValueAuth } from './nv.js';
import {
  OwnerSetDisable,
  PhysicalDisable,
  PhysicalEnable,
  PhysicalPresence,
  PhysicalSetDeactivated,
  SetOwnerInstall,
} from './opt-in.js';
import {
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
} from './owner.js';
import { Extend, PcrRead, PcrReset, Quote, Quote2 } from './pcr.js';
import { GetRandom, Sha1Complete, Sha1Start, Sha1Update, StirRandom } from './random.js';
import { EvictKey, FlushSpecific, Oiap, Osap, TerminateHandle } from './session.js';
import { ContinueSelfTest, GetTestResult, SaveState, SelfTestFull, Startup } from './startup.js';
import { CertifyKey, ChangeAuth, CreateWrapKey, GetPubKey, LoadKey2, Seal, Sign, UnBind, Unseal } from './storage.js';

/** The commands in the order of the clauses of TPM 1.2 Part 3. */
export const commands12: readonly AnyCommand12[] = [
  Startup,
  SaveState,
  SelfTestFull,
  ContinueSelfTest,
  GetTestResult,
  SetOwnerInstall,
  OwnerSetDisable,
  PhysicalEnable,
  PhysicalDisable,
  PhysicalSetDeactivated,
  PhysicalPresence,
  TakeOwnership,
  OwnerClear,
  ForceClear,
  DisableOwnerClear,
  DisableForceClear,
  ResetLockValue,
  CreateEndorsementKeyPair,
  ReadPubek,
  OwnerReadInternalPub,
  ChangeAuthOwner,
  GetCapability,
  Seal,
  Unseal,
  UnBind,
  CreateWrapKey,
  LoadKey2,
  GetPubKey,
  Sign,
  CertifyKey,
  ChangeAuth,
  Sha1Start,
  Sha1Update,
  Sha1Complete,
  GetRandom,
  StirRandom,
  MakeIdentity,
  ActivateIdentity,
  Extend,
  PcrRead,
  Quote,
  PcrReset,
  Quote2,
  Oiap,
  Osap,
  TerminateHandle,
  FlushSpecific,
  EvictKey,
  NvDefineSpace,
  NvWriteValue,
  NvWriteValueAuth,
  NvReadValue,
  NvReadValueAuth,
  GetTicks,
  CreateCounter,
  IncrementCounter,
  ReadCounter,
  ReleaseCounter,
];

/** The commands by ordinal. */
export const commandByOrdinal: ReadonlyMap<number, AnyCommand12> = new Map(
  commands12.map((command) => [command.ordinal, command]),
);
