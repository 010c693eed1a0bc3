/** A PAL's micro-TPM: eight uPCRs, an identity key and quotes, from seeds that only this PAL on this platform gets. */
import { type MicroUtpm, openMicroUtpm } from '@casemate/utpm/micro';
import { sha256 } from './digest.js';
import { TrustvisorError } from './error.js';
import { assertSuccess, MicroCommands, parseKey, parseQuote } from './micro-commands.js';
import type { PalQuote } from './options.js';
import { deriveKey } from './seal.js';

/** How many uPCRs there are. */
export const UPCRS = 8;

/** The micro-TPM of one PAL. Nothing of it is stored, so that it answers at once. */
export class MicroTpm {
  readonly #source: MicroSource;
  #utpm: MicroUtpm;
  /** TPMT_PUBLIC of the identity key. */
  readonly identity: Uint8Array;
  #commands: MicroCommands;
  /** What its uPCRs hold; nobody but this class extends them, and a command to ask for them costs more than a seal. */
  #pcrs: Uint8Array[];
  /** Digests of uPCRs by mask, as long as none of them is extended. */
  #digests: Uint8Array[] = [];
  #isDirty = false;

  private constructor(source: MicroSource, made: Made) {
    this.#source = source;
    this.#utpm = made.utpm;
    this.identity = made.identity;
    this.#commands = made.commands;
    this.#pcrs = made.pcrs;
  }

  /** Makes the micro-TPM and measures the PAL into uPCR 0. The seeds belong to it from now on, and are wiped when it is closed. */
  static async open(source: MicroSource): Promise<MicroTpm> {
    return new MicroTpm(source, await make(source));
  }

  /** The 32 bytes of a uPCR. */
  pcrRead(index: number): Uint8Array {
    return this.#pcrs[index]?.slice() ?? new Uint8Array(32);
  }

  /** Extends a uPCR, 0 to 7, by 32 bytes. */
  pcrExtend(index: number, digest: Uint8Array): void {
    this.#isDirty = true;
    assertSuccess(this.#execute(this.#commands.extend(index, digest)), 'extend a uPCR');
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
  quote(nonce: Uint8Array, mask: number): PalQuote {
    const wasDirty = this.#isDirty;
    this.#isDirty = true; // should it break off
    const quoted = parseQuote(this.#execute(this.#commands.quote(nonce, mask)));
    this.#isDirty = wasDirty;
    return quoted;
  }

  /** As new: uPCR 0 holds the measurement, the others zeros. Does nothing where no uPCR was extended. */
  async reset(): Promise<void> {
    if (!this.#isDirty) return;
    await this.#utpm.close();
    const made = await make(this.#source);
    this.#utpm = made.utpm;
    this.#commands = made.commands;
    this.#pcrs = made.pcrs;
    this.#digests = [];
    this.#isDirty = false;
  }

  /** Lets go of it. */
  async close(): Promise<void> {
    await this.#utpm.close();
    for (const seed of Object.values(this.#source.seeds)) seed.fill(0);
  }

  #execute(command: Uint8Array): Uint8Array {
    return executeNow(this.#utpm, command);
  }
}

/** What a micro-TPM is made from. */
export interface MicroSource {
  readonly seeds: MicroSeeds;
  /** What makes its identity key: `identityKeyCommand()`. */
  readonly identityKey: Uint8Array;
  /** What uPCR 0 is extended by. */
  readonly measurement: Uint8Array;
}

/** The primary seeds of a micro-TPM's hierarchies, 32 bytes each. */
export interface MicroSeeds {
  readonly endorsement: Uint8Array;
  readonly owner: Uint8Array;
  readonly platform: Uint8Array;
}

/**
 * Those of the PAL with this measurement. `identity` is what makes its identity key, the measurement unless given: micro-TPMs with the
 * same have the same key.
 */
export function microSeeds(master: Uint8Array, measurement: Uint8Array, identity = measurement): MicroSeeds {
  return {
    endorsement: deriveKey(master, 'utpm endorsement seed', identity),
    owner: deriveKey(master, 'utpm owner seed', measurement),
    platform: deriveKey(master, 'utpm platform seed', measurement),
  };
}

interface Made {
  readonly utpm: MicroUtpm;
  readonly identity: Uint8Array;
  readonly commands: MicroCommands;
  readonly pcrs: Uint8Array[];
}

async function make({ seeds, identityKey, measurement }: MicroSource): Promise<Made> {
  const utpm = await openMicroUtpm({ seeds, startup: true });
  const { handle, area } = parseKey(executeNow(utpm, identityKey));
  const commands = new MicroCommands(handle);
  assertSuccess(executeNow(utpm, commands.extend(0, measurement)), 'measure the PAL');
  const zeros = () => new Uint8Array(32);
  const pcrs = Array.from({ length: UPCRS }, (_, i) => (i === 0 ? sha256(zeros(), measurement) : zeros()));
  return { utpm, identity: area, commands, pcrs };
}

function executeNow(utpm: MicroUtpm, command: Uint8Array): Uint8Array {
  const response = utpm.execute(command);
  if (response instanceof Promise) throw new TrustvisorError('tpm', 'use the micro-TPM: it is in use already');
  return response;
}
