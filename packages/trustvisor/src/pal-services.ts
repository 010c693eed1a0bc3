/** The services of one PAL in its own thread: the micro-TPM and the keys are there, so that a service costs no switch of threads. */
import { PAL_STATUS } from '@casemate/pal-linker';
import { ClassicTpm } from './classic.js';
import { TrustvisorError } from './error.js';
import type { HostServices } from './host-services.js';
import { type MicroSeeds, MicroTpm } from './micro-tpm.js';
import type { PalQuote } from './options.js';
import { deterministicRandom, SealingKeys } from './seal.js';
import type { Sealer } from './sealing.js';
import { type ServiceCall, type ServiceReply, statusOnly } from './service-plan.js';
import { FREE_RUN, performService, quoteFor, type RunContext, type ServiceContext } from './services.js';

/** Secrets of a PAL, 32 bytes each: what seals, and the seeds of its micro-TPM. */
export interface PalSecrets extends MicroSeeds {
  readonly sealing: Uint8Array;
}

/** What a thread performs a PAL's services with. */
export interface ServicesStart {
  /** {@link PalSecrets} in memory of both threads, so that no message holds them; zeros as soon as they are taken. */
  readonly secrets: SharedArrayBuffer;
  /** What makes the micro-TPM's identity key: `identityKeyCommand()`. */
  readonly identityKey: Uint8Array;
  readonly name: string;
  /** SHA-256 of the image. */
  readonly measurement: Uint8Array;
  /** SHA-1 of the image. */
  readonly classicMeasurement: Uint8Array;
  readonly signed: Sealer['signed'];
  /** TPMT_PUBLIC of its identity, where that is an RSA key. */
  readonly rsaIdentity: Uint8Array | undefined;
  /** Names the start of the clock. */
  readonly epoch: Uint8Array;
  /** `process.hrtime.bigint()` at the start of the clock. */
  readonly started: bigint;
}

/** What fixes the random bytes of a run that may be repeated. */
export interface Randomness {
  readonly key: Uint8Array;
  readonly context: Uint8Array;
}

const SECRET = 32;
const ORDER = ['sealing', 'endorsement', 'owner', 'platform'] as const;

/** Puts the secrets where the thread takes them, and wipes what was given. */
export function handOver(secrets: PalSecrets): SharedArrayBuffer {
  const shared = new SharedArrayBuffer(ORDER.length * SECRET);
  const bytes = new Uint8Array(shared);
  for (const [i, name] of ORDER.entries()) {
    bytes.set(secrets[name], i * SECRET);
    secrets[name].fill(0);
  }
  return shared;
}

function takeOver(shared: SharedArrayBuffer): PalSecrets {
  const bytes = new Uint8Array(shared);
  const [sealing, endorsement, owner, platform] = ORDER.map(
    (_, i) => new Uint8Array(bytes.slice(i * SECRET, (i + 1) * SECRET)),
  );
  bytes.fill(0);
  if (sealing === undefined || endorsement === undefined || owner === undefined || platform === undefined)
    throw new TrustvisorError('protocol', 'start services: expected four secrets');
  return { sealing, endorsement, owner, platform };
}

/** A PAL's services. */
export class PalServices {
  readonly #context: ServiceContext;
  #run: RunContext = FREE_RUN;
  #isBusy = false;

  private constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** Makes the micro-TPM. */
  static async open(start: ServicesStart, host: HostServices): Promise<PalServices> {
    const { name, identityKey, measurement, signed, rsaIdentity, epoch, started } = start;
    const { sealing, ...seeds } = takeOver(start.secrets);
    const micro = await MicroTpm.open({ seeds, identityKey, measurement });
    return new PalServices({
      sealer: { micro, keys: new SealingKeys(sealing), name, signed },
      identity: rsaIdentity ?? micro.identity,
      hasRsaIdentity: rsaIdentity !== undefined,
      classic: new ClassicTpm(start.classicMeasurement),
      ...{ host, epoch, started },
    });
  }

  /** TPMT_PUBLIC of the identity key. */
  get identity(): Uint8Array {
    return this.#context.identity;
  }

  /** Whether a call broke off in the middle: then nothing is answered before a reset. */
  get isBroken(): boolean {
    return this.#isBusy;
  }

  /** Answers a call. Throws a RangeError where the PAL left no room on the stack that it shares with its services. */
  perform(call: ServiceCall): ServiceReply {
    if (this.#isBusy) return statusOnly(PAL_STATUS.ERR);
    this.#isBusy = true;
    const reply = performService(call, this.#context, this.#run);
    this.#isBusy = false;
    return reply;
  }

  /** A quote by the identity key. Throws {@link TrustvisorError} with code `tpm`. */
  quote(nonce: Uint8Array, mask: number): PalQuote {
    const { status, outputs } = quoteFor(this.#context, nonce, mask);
    const [quoted, signature] = outputs;
    if (status === PAL_STATUS.SUCCESS && quoted && signature) return { quoted, signature };
    throw new TrustvisorError(
      'tpm',
      `quote PAL ${this.#context.sealer.name}: expected a signature, got status ${status}`,
    );
  }

  /** As newly registered; with `randomness` the services then do what they would do every time. */
  async reset(randomness: Randomness | undefined): Promise<void> {
    this.#run = randomness
      ? { random: deterministicRandom(randomness.key, randomness.context), deterministic: true }
      : FREE_RUN;
    const { classic, sealer } = this.#context;
    classic.reset();
    sealer.keys.forget();
    await sealer.micro.reset();
    this.#isBusy = false;
  }

  /** Overwrites the secrets. */
  async wipe(): Promise<void> {
    this.#context.sealer.keys.wipe();
    await this.#context.sealer.micro.close();
  }
}
