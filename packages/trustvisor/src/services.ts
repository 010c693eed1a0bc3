/** The PAL services on the trusted side of the wall: micro-TPM, sealing, randomness and time. Every engine uses them. */
import { PAL_STATUS } from '@casemate/pal-linker';
import { nodeUtpmCrypto } from '@casemate/utpm/node';
import type { ClassicTpm } from './classic.js';
import { TrustvisorError } from './error.js';
import { type MicroTpm, UPCRS } from './micro-tpm.js';
import { type NvAccess, performNv } from './nv-area.js';
import type { PalQuote } from './options.js';
import type { RsaKeys } from './rsa-key.js';
import { isMask, type Sealer, seal, sealData, unseal, unsealData } from './sealing.js';
import { type ServiceCall, type ServiceReply, statusOnly } from './service-plan.js';

/** What the services of one PAL work with. */
export interface ServiceContext {
  readonly sealer: Sealer;
  /** Signs quotes of the micro-TPM, by the key that `identity` is the public part of. */
  readonly quote: (nonce: Uint8Array, mask: number) => PalQuote | Promise<PalQuote>;
  /** TPMT_PUBLIC. */
  readonly identity: Uint8Array;
  /** TrustVisor's own structures. */
  readonly classic: ClassicTpm;
  readonly rsaKeys: RsaKeys;
  /** The PAL's counter; absent where there is no TPM. */
  readonly nv: NvAccess | undefined;
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
export const FREE_RUN: RunContext = { random: nodeUtpmCrypto.random, deterministic: false };

/**
 * Answers one call: at once, unless it waits for a store, for the platform's TPM or for a key that is made. Never throws, and its
 * promise never rejects: what goes wrong inside is the status ERR.
 */
export function performService(
  call: ServiceCall,
  context: ServiceContext,
  run: RunContext,
): ServiceReply | Promise<ServiceReply> {
  try {
    const reply = perform(call, context, run);
    return reply instanceof Promise ? reply.catch(failed) : reply;
  } catch (error) {
    return failed(error);
  }
}

function failed(error: unknown): ServiceReply {
  if (error instanceof TrustvisorError && error.code === 'sealed-state') return statusOnly(PAL_STATUS.REFUSED);
  return statusOnly(PAL_STATUS.ERR);
}

function perform(call: ServiceCall, context: ServiceContext, run: RunContext): ServiceReply | Promise<ServiceReply> {
  const { sealer } = context;
  const { micro } = sealer;
  const [first = EMPTY, second = EMPTY, third = EMPTY] = call.inputs;
  const [value = 0] = call.values;
  switch (call.name) {
    case 'utpm_pcr_read':
      return value < UPCRS ? success(micro.pcrRead(value)) : statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
    case 'utpm_pcr_extend':
      return extend(micro, value, first);
    case 'utpm_seal':
      return seal(sealer, run.random, first, second);
    case 'utpm_unseal':
      return unseal(sealer, first);
    case 'seal_data':
      return sealData(sealer, run.random, { policy: first, data: second, extra: third });
    case 'unseal_data':
      return unsealData(sealer, { blob: first, extra: second });
    case 'utpm_quote':
      return run.deterministic ? statusOnly(PAL_STATUS.UNAVAILABLE) : quote(context, first, value);
    case 'utpm_rand':
      return success(run.random(value));
    case 'utpm_id_getpub':
      return success(context.identity);
    case 'time_elapsed':
      return run.deterministic ? statusOnly(PAL_STATUS.UNAVAILABLE) : success(context.epoch, elapsed(context.started));
    default:
      return performNv(call, context.nv) ?? classic(call, context, run);
  }
}

const EMPTY = new Uint8Array(0);

function success(...outputs: readonly Uint8Array[]): ServiceReply {
  return { status: PAL_STATUS.SUCCESS, outputs };
}

function extend(micro: MicroTpm, index: number, digest: Uint8Array): ServiceReply | Promise<ServiceReply> {
  if (index >= UPCRS) return statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
  return micro.pcrExtend(index, digest)?.then(() => success()) ?? success();
}

function quote(context: ServiceContext, nonce: Uint8Array, mask: number): ServiceReply | Promise<ServiceReply> {
  if (!isMask(mask)) return statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
  const quoted = context.quote(nonce, mask);
  return quoted instanceof Promise ? quoted.then(quoteReply) : quoteReply(quoted);
}

function quoteReply({ quoted, signature }: PalQuote): ServiceReply {
  return success(quoted, signature);
}

/** What is answered beside the PAL elsewhere has no answer here. The key may be another one next time, so a protected PAL has none. */
function classic(call: ServiceCall, context: ServiceContext, run: RunContext): Promise<ServiceReply> | ServiceReply {
  if (!call.name.startsWith('tv_')) return statusOnly(PAL_STATUS.UNAVAILABLE);
  const { sealer, rsaKeys } = context;
  return context.classic.perform(call, {
    keys: sealer.keys,
    self: () => sealer.micro.pcrDigest(1),
    random: run.random,
    key: run.deterministic ? undefined : () => rsaKeys.get('classic'),
  });
}

function elapsed(started: number): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(Math.floor((performance.now() - started) * 1000)), true);
  return out;
}
