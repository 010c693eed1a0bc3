/** The PAL services on the trusted side of the wall: micro-TPM, sealing, randomness and time. Every engine uses them. */
import { randomBytes } from 'node:crypto';
import { PAL_STATUS } from '@casemate/pal-linker';
import { TrustvisorError } from './error.js';
import { type MicroTpm, UPCRS } from './micro-tpm.js';
import { equal, sha256 } from './platform-tpm.js';
import { DATA_MAGIC, DataBlob, deriveKey, openBlob, parseBlob, sealBlob } from './seal.js';
import { type ServiceCall, type ServiceReply, statusOnly } from './service-plan.js';

/** What the services of one PAL work with. */
export interface ServiceContext {
  readonly micro: MicroTpm;
  /** Key from which the keys of sealed data are derived. */
  readonly sealRoot: Uint8Array;
  /** Names the start of the clock. */
  readonly epoch: Uint8Array;
  /** `performance.now()` at the start of the clock. */
  readonly started: number;
}

/** What differs from run to run. */
export interface RunContext {
  /** Where randomness comes from. */
  readonly random: (length: number) => Uint8Array;
  /** Whether the run may be repeated and must then do the same: no clock and no quotes. */
  readonly deterministic: boolean;
}

/** The run of a PAL whose requests are not protected against replay. */
export const FREE_RUN: RunContext = { random: (length) => new Uint8Array(randomBytes(length)), deterministic: false };

/** Answers one call. Never throws: what goes wrong inside is the status ERR. */
export async function performService(
  call: ServiceCall,
  context: ServiceContext,
  run: RunContext,
): Promise<ServiceReply> {
  try {
    return await perform(call, context, run);
  } catch (error) {
    if (error instanceof TrustvisorError && error.code === 'sealed-state') return statusOnly(PAL_STATUS.REFUSED);
    return statusOnly(PAL_STATUS.ERR);
  }
}

async function perform(call: ServiceCall, context: ServiceContext, run: RunContext): Promise<ServiceReply> {
  const { micro } = context;
  const [first = EMPTY, second = EMPTY] = call.inputs;
  const [value = 0] = call.values;
  switch (call.name) {
    case 'utpm_pcr_read':
      return value < UPCRS ? success(await micro.pcrRead(value)) : statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
    case 'utpm_pcr_extend':
      return extend(micro, value, first);
    case 'utpm_seal':
      return seal(context, run, first, second);
    case 'utpm_unseal':
      return unseal(context, first);
    case 'utpm_quote':
      return run.deterministic ? statusOnly(PAL_STATUS.UNAVAILABLE) : quote(micro, first, value);
    case 'utpm_rand':
      return success(run.random(value));
    case 'utpm_id_getpub':
      return success(micro.identity);
    case 'time_elapsed':
      return run.deterministic ? statusOnly(PAL_STATUS.UNAVAILABLE) : success(context.epoch, elapsed(context.started));
    default:
      return statusOnly(PAL_STATUS.UNAVAILABLE);
  }
}

const EMPTY = new Uint8Array(0);

function success(...outputs: readonly Uint8Array[]): ServiceReply {
  return { status: PAL_STATUS.SUCCESS, outputs };
}

function isMask(mask: number): boolean {
  return mask > 0 && mask < 1 << UPCRS;
}

async function extend(micro: MicroTpm, index: number, digest: Uint8Array): Promise<ServiceReply> {
  if (index >= UPCRS) return statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
  await micro.pcrExtend(index, digest);
  return success();
}

async function seal(
  { micro, sealRoot }: ServiceContext,
  run: RunContext,
  data: Uint8Array,
  policy: Uint8Array,
): Promise<ServiceReply> {
  if (![0, 4, 36].includes(policy.length)) return statusOnly(PAL_STATUS.BAD_PARAM);
  const mask = policy.length === 0 ? 1 : new DataView(policy.buffer, policy.byteOffset).getUint32(0, true);
  if (!isMask(mask)) return statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
  const release = policy.length === 36 ? policy.slice(4) : await micro.pcrDigest(mask);
  const header = {
    magic: DATA_MAGIC,
    mask,
    release,
    creation: await micro.pcrDigest(1),
    salt: run.random(32),
  } as const;
  return success(sealBlob(DataBlob, policyKey(sealRoot, mask, release), header, data));
}

/** The policy is checked before the key that depends on it is made; a forged one would give a key that opens nothing. */
async function unseal({ micro, sealRoot }: ServiceContext, content: Uint8Array): Promise<ServiceReply> {
  const blob = parseBlob(DataBlob, content);
  if (!equal(await micro.pcrDigest(blob.mask), blob.release)) return statusOnly(PAL_STATUS.REFUSED);
  const data = openBlob(DataBlob, policyKey(sealRoot, blob.mask, blob.release), blob);
  return success(data, blob.creation);
}

function policyKey(sealRoot: Uint8Array, mask: number, release: Uint8Array): Uint8Array {
  return deriveKey(sealRoot, 'sealed data', sha256(Uint8Array.of(mask), release));
}

async function quote(micro: MicroTpm, nonce: Uint8Array, mask: number): Promise<ServiceReply> {
  if (!isMask(mask)) return statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
  const { quoted, signature } = await micro.quote(nonce, mask);
  return success(quoted, signature);
}

function elapsed(started: number): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(Math.floor((performance.now() - started) * 1000)), true);
  return out;
}
