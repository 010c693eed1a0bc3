/** The command set of a PAL's micro-TPM: PCRs, keys, seal and unseal, quotes, random numbers, NV and counters. */
import type { Handler } from '../handler.js';
import { certify, quote } from './attestation.js';
import { getCapability } from './capability.js';
import { flushContext } from './context.js';
import { createPrimary } from './hierarchy.js';
import { pcrEvent, pcrExtend, pcrRead, pcrReset } from './integrity.js';
import { nvDefineSpace, nvIncrement, nvRead, nvReadPublic, nvUndefineSpace, nvWrite } from './nv.js';
import { create, load, readPublic, unseal } from './object.js';
import { policyAuthValue, policyCommandCode, policyGetDigest, policyOr, policyPcr, policySecret } from './policy.js';
import { getRandom } from './random.js';
import { policyRestart, startAuthSession } from './session.js';
import { sign, verifySignature } from './signing.js';
import { shutdown, startup } from './startup.js';
import { hash } from './symmetric.js';
import { getTestResult, selfTest } from './testing.js';

/** The handlers, in the order of Part 3. */
export const micro: readonly Handler[] = [
  ...[startup, shutdown, selfTest, getTestResult],
  ...[startAuthSession, policyRestart],
  ...[create, load, readPublic, unseal],
  ...[hash, getRandom],
  ...[certify, quote, verifySignature, sign],
  ...[pcrExtend, pcrEvent, pcrRead, pcrReset],
  ...[policyPcr, policyOr, policyAuthValue, policyCommandCode, policySecret, policyGetDigest],
  ...[createPrimary, flushContext, getCapability],
  ...[nvDefineSpace, nvUndefineSpace, nvReadPublic, nvWrite, nvIncrement, nvRead],
];
