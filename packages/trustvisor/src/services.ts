/** The PAL services on the trusted side of the wall: micro-TPM, sealing, randomness and time. Every engine uses them. */
import { PAL_STATUS } from '@casemate/pal-linker';
import { microCrypto } from '@casemate/utpm/micro';
import type { ClassicTpm } from './classic.js';
import type { HostServices } from './host-services.js';
import { type MicroTpm, UPCRS } from './micro-tpm.js';
import { isNvService } from './nv-area.js';
import { isMask, type Sealer, seal, sealData, unseal, unsealData } from './sealing.js';
import { type ServiceCall, type ServiceReply, statusOfError, statusOnly } from './service-plan.js';

/** What the services of one PAL work with. */
export interface ServiceContext {
  readonly sealer: Sealer;
  /** TPMT_PUBLIC of the key that signs quotes. */
  readonly identity: Uint8Array;
  /** Whether that is an RSA key, and not the micro-TPM's own. */
  readonly hasRsaIdentity: boolean;
  /** TrustVisor's own structures. */
  readonly classic: ClassicTpm;
  /** What is done elsewhere. */
  readonly host: HostServices;
  /** Names the start of the clock. */
  readonly epoch: Uint8Array;
  /** `process.hrtime.bigint()` at the start of the clock. */
  readonly started: bigint;
}

/** What differs from run to run. */
export interface RunContext {
  /** Where randomness comes from. */
  readonly random: (length: number) => Uint8Array;
  /** Whether the run may be repeated and must then do the same: no clock and no quotes. */
  readonly deterministic: boolean;
}

/** The run of a PAL whose requests are not protected against replay. */
export const FREE_RUN: RunContext = { random: microCrypto.random, deterministic: false };

/**
 * Answers one call. What goes wrong inside is the status ERR; but throws a RangeError where the stack is full, which the PAL may have
 * used up: then what was under way is half done.
 */
export function performService(call: ServiceCall, context: ServiceContext, run: RunContext): ServiceReply {
  try {
    return perform(call, context, run);
  } catch (error) {
    if (isStackOverflow(error)) throw error;
    return statusOfError(error);
  }
}

function perform(call: ServiceCall, context: ServiceContext, run: RunContext): ServiceReply {
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
      return run.deterministic ? statusOnly(PAL_STATUS.UNAVAILABLE) : quoteFor(context, first, value);
    case 'utpm_rand':
      return success(run.random(value));
    case 'utpm_id_getpub':
      return success(context.identity);
    case 'time_elapsed':
      return run.deterministic ? statusOnly(PAL_STATUS.UNAVAILABLE) : success(context.epoch, elapsed(context.started));
    default:
      return isNvService(call.name) ? context.host({ kind: 'nv', call }) : classic(call, context, run);
  }
}

function isStackOverflow(error: unknown): boolean {
  return error instanceof RangeError && error.message.includes('call stack');
}

const EMPTY = new Uint8Array(0);

function success(...outputs: readonly Uint8Array[]): ServiceReply {
  return { status: PAL_STATUS.SUCCESS, outputs };
}

function extend(micro: MicroTpm, index: number, digest: Uint8Array): ServiceReply {
  if (index >= UPCRS) return statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
  micro.pcrExtend(index, digest);
  return success();
}

/** `utpm_quote`: TPMS_ATTEST and TPMT_SIGNATURE. */
export function quoteFor(
  { sealer, hasRsaIdentity, host }: ServiceContext,
  nonce: Uint8Array,
  mask: number,
): ServiceReply {
  if (!isMask(mask)) return statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
  const { quoted, signature } = sealer.micro.quote(nonce, mask);
  return hasRsaIdentity ? host({ kind: 'rsa-quote', quoted }) : success(quoted, signature);
}

/** What is answered beside the PAL elsewhere has no answer here. The key may be another one next time, so a protected PAL has none. */
function classic(call: ServiceCall, { classic, sealer, host }: ServiceContext, run: RunContext): ServiceReply {
  if (!call.name.startsWith('tv_')) return statusOnly(PAL_STATUS.UNAVAILABLE);
  return classic.perform(call, {
    keys: sealer.keys,
    self: () => sealer.micro.pcrDigest(1),
    random: run.random,
    host: run.deterministic ? undefined : host,
  });
}

/** Microseconds. */
function elapsed(started: bigint): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, (process.hrtime.bigint() - started) / 1000n, true);
  return out;
}
