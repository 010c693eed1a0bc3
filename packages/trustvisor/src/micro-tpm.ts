/** A PAL's micro-TPM: eight uPCRs, an identity key and quotes, from seeds that only this PAL on this platform gets. */
import {
  akTemplate,
  createPrimary,
  extendPcr,
  pcrSelection,
  Quote,
  readPcrs,
  TPM_ALG,
  Tpm,
  type TpmObject,
  TpmtPublic,
  TpmtSignatureOrNull,
} from '@casemate/tpm';
import { nodeCrypto } from '@casemate/tpm/node-crypto';
import { type MicroUtpm, openMicroUtpm } from '@casemate/utpm/micro';
import { encode } from '@casemate/wire';
import type { PalQuote } from './options.js';
import { sha256 } from './platform-tpm.js';
import { deriveKey } from './seal.js';

/** How many uPCRs there are. */
export const UPCRS = 8;

/** The micro-TPM of one PAL. Calls must not overlap. */
export class MicroTpm {
  readonly #source: MicroSource;
  #utpm: MicroUtpm;
  #tpm: Tpm;
  #key: TpmObject;
  /** What its uPCRs hold; nobody but this class extends them, and a command to ask for them costs more than a seal. */
  #pcrs: Uint8Array[];
  #dirty = false;

  private constructor(source: MicroSource, made: Made) {
    this.#source = source;
    this.#utpm = made.utpm;
    this.#tpm = made.tpm;
    this.#key = made.key;
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

  /** Extends a uPCR; at once where it gives no promise. */
  async pcrExtend(index: number, digest: Uint8Array): Promise<void> {
    this.#dirty = true;
    await extendPcr(this.#tpm, index, { sha256: digest });
    this.#pcrs[index] = sha256(this.#pcrs[index] ?? new Uint8Array(32), digest);
  }

  /** SHA-256 over the selected uPCRs in order: the pcrDigest of TPM2_PolicyPCR and TPM2_Quote. */
  pcrDigest(mask: number): Uint8Array {
    return sha256(...indexesOf(mask).map((index) => this.#pcrs[index] ?? new Uint8Array(0)));
  }

  /** TPM2_Quote over the uPCRs of `mask`. */
  async quote(nonce: Uint8Array, mask: number): Promise<PalQuote> {
    const { quoted, signature } = await this.#tpm.execute(Quote, {
      signHandle: { handle: this.#key.handle },
      qualifyingData: nonce,
      inScheme: { scheme: TPM_ALG.NULL },
      PCRselect: pcrSelection({ sha256: indexesOf(mask) }),
    });
    return { quoted, signature: encode(TpmtSignatureOrNull, signature) };
  }

  /** As new: uPCR 0 holds the measurement, the others zeros. Does nothing where no uPCR was extended. */
  async reset(): Promise<void> {
    if (!this.#dirty) return;
    await this.#utpm.close();
    const made = await make(this.#source);
    this.#utpm = made.utpm;
    this.#tpm = made.tpm;
    this.#key = made.key;
    this.#pcrs = made.pcrs;
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
  readonly tpm: Tpm;
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
    return { utpm, tpm, key, pcrs: [...Array(UPCRS).keys()].map((index) => pcrs[index] ?? new Uint8Array(32)) };
  } finally {
    for (const seed of Object.values(seeds)) seed.fill(0);
  }
}

function indexesOf(mask: number): readonly number[] {
  return [...Array(UPCRS).keys()].filter((index) => (mask & (1 << index)) !== 0);
}
