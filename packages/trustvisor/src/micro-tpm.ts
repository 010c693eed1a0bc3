/** A PAL's micro-TPM: eight uPCRs, an identity key and quotes, from seeds that only this PAL on this platform gets. */
import { akTemplate, createPrimary, extendPcr, readPcrs, Tpm, type TpmObject, TpmtPublic } from '@casemate/tpm';
import { nodeCrypto } from '@casemate/tpm/node-crypto';
import { type MicroUtpm, openMicroUtpm } from '@casemate/utpm/micro';
import { encode } from '@casemate/wire';
import { assertSuccess, MicroCommands, parseQuote } from './micro-commands.js';
import type { PalQuote } from './options.js';
import { sha256 } from './platform-tpm.js';
import { deriveKey } from './seal.js';

/** How many uPCRs there are. */
export const UPCRS = 8;

/** The micro-TPM of one PAL. Calls must not overlap; those that give a promise now and then answer at once otherwise. */
export class MicroTpm {
  readonly #source: MicroSource;
  #utpm: MicroUtpm;
  #key: TpmObject;
  #commands: MicroCommands;
  /** What its uPCRs hold; nobody but this class extends them, and a command to ask for them costs more than a seal. */
  #pcrs: Uint8Array[];
  /** Digests of uPCRs by mask, as long as none of them is extended. */
  #digests: Uint8Array[] = [];
  #dirty = false;

  private constructor(source: MicroSource, made: Made) {
    this.#source = source;
    this.#utpm = made.utpm;
    this.#key = made.key;
    this.#commands = new MicroCommands(made.key.handle);
    this.#pcrs = made.pcrs;
  }

  /** Makes the micro-TPM and measures the PAL into uPCR 0. */
  static async open(source: MicroSource): Promise<MicroTpm> {
    return new MicroTpm(source, await make(source));
  }

  /** TPMT_PUBLIC of the identity key. */
  get identity(): Uint8Array {
    return encode(TpmtPublic, this.#key.public);
  }

  /** The 32 bytes of a uPCR. */
  pcrRead(index: number): Uint8Array {
    return this.#pcrs[index]?.slice() ?? new Uint8Array(32);
  }

  /** Extends a uPCR, 0 to 7, by 32 bytes. */
  pcrExtend(index: number, digest: Uint8Array): Promise<void> | undefined {
    this.#dirty = true;
    const response = this.#utpm.execute(this.#commands.extend(index, digest));
    if (response instanceof Promise) return response.then((late) => this.#noteExtend(index, digest, late));
    this.#noteExtend(index, digest, response);
    return undefined;
  }

  #noteExtend(index: number, digest: Uint8Array, response: Uint8Array): void {
    assertSuccess(response, 'extend a uPCR');
    this.#pcrs[index] = sha256(this.#pcrs[index] ?? new Uint8Array(32), digest);
    this.#digests = [];
  }

  /** SHA-256 over the selected uPCRs in order: the pcrDigest of TPM2_PolicyPCR and TPM2_Quote. Not to be changed. */
  pcrDigest(mask: number): Uint8Array {
    const known = this.#digests[mask];
    if (known !== undefined) return known;
    const digest = sha256(...this.#pcrs.filter((_, index) => (mask & (1 << index)) !== 0));
    this.#digests[mask] = digest;
    return digest;
  }

  /** TPM2_Quote over the uPCRs of `mask`; the nonce has at most 64 bytes. */
  quote(nonce: Uint8Array, mask: number): PalQuote | Promise<PalQuote> {
    const response = this.#utpm.execute(this.#commands.quote(nonce, mask));
    return response instanceof Promise ? response.then(parseQuote) : parseQuote(response);
  }

  /** As new: uPCR 0 holds the measurement, the others zeros. Does nothing where no uPCR was extended. */
  async reset(): Promise<void> {
    if (!this.#dirty) return;
    await this.#utpm.close();
    const made = await make(this.#source);
    this.#utpm = made.utpm;
    this.#key = made.key;
    this.#commands = new MicroCommands(made.key.handle);
    this.#pcrs = made.pcrs;
    this.#digests = [];
    this.#dirty = false;
  }

  /** Lets go of it. */
  async close(): Promise<void> {
    await this.#utpm.close();
  }
}

/** What a micro-TPM is made from. */
export interface MicroSource {
  readonly master: Uint8Array;
  /** What uPCR 0 is extended by, and what makes its seeds its own. */
  readonly measurement: Uint8Array;
  /** What makes its identity key; the measurement unless given. Micro-TPMs with the same have the same key. */
  readonly identity?: Uint8Array;
}

interface Made {
  readonly utpm: MicroUtpm;
  readonly key: TpmObject;
  readonly pcrs: Uint8Array[];
}

async function make({ master, measurement, identity = measurement }: MicroSource): Promise<Made> {
  const seeds = {
    endorsement: deriveKey(master, 'utpm endorsement seed', identity),
    owner: deriveKey(master, 'utpm owner seed', measurement),
    platform: deriveKey(master, 'utpm platform seed', measurement),
  };
  try {
    const utpm = await openMicroUtpm({ seeds, startup: true });
    const tpm = new Tpm(utpm, { crypto: nodeCrypto });
    await extendPcr(tpm, 0, { sha256: measurement });
    const key = await createPrimary(tpm, { hierarchy: 'endorsement', template: akTemplate('ecc-p256') });
    const { sha256: pcrs = {} } = await readPcrs(tpm, { sha256: [...Array(UPCRS).keys()] });
    return { utpm, key, pcrs: [...Array(UPCRS).keys()].map((index) => pcrs[index] ?? new Uint8Array(32)) };
  } finally {
    for (const seed of Object.values(seeds)) seed.fill(0);
  }
}
