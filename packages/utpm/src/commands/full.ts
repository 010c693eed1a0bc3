/** The full command set: everything that is implemented, in the order of Part 3. */
import type { Handler } from '../handler.js';
import { eccParameters, ecdhKeyGen, ecdhZGen, rsaDecrypt, rsaEncrypt, zGen2Phase } from './asymmetric.js';
import {
  certify,
  certifyCreation,
  getCommandAuditDigest,
  getSessionAuditDigest,
  getTime,
  quote,
} from './attestation.js';
import { setCommandCodeAuditStatus } from './audit.js';
import { getCapability, testParms } from './capability.js';
import { certifyX509 } from './certificate.js';
import { clockRateAdjust, clockSet, readClock } from './clock.js';
import { contextLoad, contextSave, evictControl, flushContext } from './context.js';
import { dictionaryAttackLockReset, dictionaryAttackParameters } from './dictionary-attack.js';
import { duplicate, importObject, rewrap } from './duplication.js';
import { commit, ecEphemeral } from './ephemeral.js';
import {
  changeEps,
  changePps,
  clear,
  clearControl,
  createPrimary,
  hierarchyChangeAuth,
  hierarchyControl,
  setPrimaryPolicy,
} from './hierarchy.js';
import { pcrAllocate, pcrEvent, pcrExtend, pcrRead, pcrReset, pcrSetAuthPolicy, pcrSetAuthValue } from './integrity.js';
import { ppCommands, setAlgorithmSet } from './management.js';
import {
  nvCertify,
  nvChangeAuth,
  nvDefineSpace,
  nvExtend,
  nvGlobalWriteLock,
  nvIncrement,
  nvRead,
  nvReadLock,
  nvReadPublic,
  nvSetBits,
  nvUndefineSpace,
  nvUndefineSpaceSpecial,
  nvWrite,
  nvWriteLock,
} from './nv.js';
import {
  activateCredential,
  create,
  createLoaded,
  load,
  loadExternal,
  makeCredential,
  objectChangeAuth,
  readPublic,
  unseal,
} from './object.js';
import {
  policyAuthorize,
  policyAuthorizeNv,
  policyAuthValue,
  policyCommandCode,
  policyCounterTimer,
  policyCpHash,
  policyDuplicationSelect,
  policyGetDigest,
  policyLocality,
  policyNameHash,
  policyNv,
  policyNvWritten,
  policyOr,
  policyPassword,
  policyPcr,
  policyPhysicalPresence,
  policySecret,
  policySigned,
  policyTemplate,
  policyTicket,
} from './policy.js';
import { getRandom, stirRandom } from './random.js';
import { eventSequenceComplete, hashSequenceStart, macStart, sequenceComplete, sequenceUpdate } from './sequence.js';
import { policyRestart, startAuthSession } from './session.js';
import { sign, verifySignature } from './signing.js';
import { shutdown, startup } from './startup.js';
import { encryptDecrypt, encryptDecrypt2, hash, mac } from './symmetric.js';
import { getTestResult, incrementalSelfTest, selfTest } from './testing.js';

/** All handlers. */
export const full: readonly Handler[] = [
  ...[startup, shutdown],
  ...[selfTest, incrementalSelfTest, getTestResult],
  ...[startAuthSession, policyRestart],
  ...[
    create,
    load,
    loadExternal,
    readPublic,
    activateCredential,
    makeCredential,
    unseal,
    objectChangeAuth,
    createLoaded,
  ],
  ...[duplicate, rewrap, importObject],
  ...[rsaEncrypt, rsaDecrypt, ecdhKeyGen, ecdhZGen, eccParameters, zGen2Phase],
  ...[encryptDecrypt, encryptDecrypt2, hash, mac],
  ...[getRandom, stirRandom],
  ...[macStart, hashSequenceStart, sequenceUpdate, sequenceComplete, eventSequenceComplete],
  ...[certify, certifyCreation, quote, getSessionAuditDigest, getCommandAuditDigest, getTime, certifyX509],
  ...[commit, ecEphemeral],
  ...[verifySignature, sign],
  setCommandCodeAuditStatus,
  ...[pcrExtend, pcrEvent, pcrRead, pcrAllocate, pcrSetAuthPolicy, pcrSetAuthValue, pcrReset],
  ...[policySigned, policySecret, policyTicket, policyOr, policyPcr, policyLocality, policyNv, policyCounterTimer],
  ...[
    policyCommandCode,
    policyPhysicalPresence,
    policyCpHash,
    policyNameHash,
    policyDuplicationSelect,
    policyAuthorize,
  ],
  ...[policyAuthValue, policyPassword, policyGetDigest, policyNvWritten, policyTemplate, policyAuthorizeNv],
  ...[
    createPrimary,
    hierarchyControl,
    setPrimaryPolicy,
    changePps,
    changeEps,
    clear,
    clearControl,
    hierarchyChangeAuth,
  ],
  ...[dictionaryAttackLockReset, dictionaryAttackParameters],
  ...[ppCommands, setAlgorithmSet],
  ...[contextSave, contextLoad, flushContext, evictControl],
  ...[readClock, clockSet, clockRateAdjust],
  ...[getCapability, testParms],
  ...[nvDefineSpace, nvUndefineSpace, nvUndefineSpaceSpecial, nvReadPublic, nvWrite, nvIncrement, nvExtend, nvSetBits],
  ...[nvWriteLock, nvGlobalWriteLock, nvRead, nvReadLock, nvChangeAuth, nvCertify],
];
