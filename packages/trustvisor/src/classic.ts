/** The micro-TPM in TrustVisor's own structures: SHA-1, TPM_PCR_INFO, TPM_QUOTE_INFO (tv_utpm.h; TPM 1.2 Main, Part 2, clauses 8 and 11). */
import { createHash } from 'node:crypto';
import { PAL_STATUS } from '@casemate/pal-linker';
import { bytes, constant, type Infer, rest, sizedBytes, struct, u8, u32 } from '@casemate/wire';
import { equal } from './digest.js';
import type { HostServices } from './host-services.js';
import { UPCRS } from './micro-tpm.js';
import { type BlobSecret, MAX_SEALED, openBlob, parseBlob, type SealingKeys, sealBlob } from './seal.js';
import { type ServiceCall, type ServiceReply, statusOnly } from './service-plan.js';

const DIGEST = 20;
const SELECTION = 3;
const NOTHING = new Uint8Array(0);
const MAGIC = 0x43534331;

/** A blob: TPM_PCR_INFO (selection, digest at release, digest at creation) or nothing, which means the PAL that sealed alone. */
const ClassicBlob = struct('CLASSIC_BLOB', {
  magic: constant('CLASSIC_MAGIC', u32, MAGIC),
  info: sizedBytes('TPM_PCR_INFO', u8, { max: SELECTION + 2 * DIGEST }),
  salt: bytes('SALT', 32),
  sealed: rest('SEALED', MAX_SEALED),
});
type ClassicBlob = Infer<typeof ClassicBlob>;

/** What the services work with. */
export interface ClassicContext {
  /** What makes the keys of sealed data. */
  readonly keys: SealingKeys;
  /** SHA-256 of the PAL's uPCR 0 of 32 bytes. */
  readonly self: () => Uint8Array;
  readonly random: (length: number) => Uint8Array;
  /** Where the key is that signs; `undefined` where nothing is to be signed. */
  readonly host: HostServices | undefined;
}

/** Eight uPCRs of 20 bytes. */
export class ClassicTpm {
  readonly #first: Uint8Array;
  #pcrs: Uint8Array[] = [];

  /** `measurement` is the SHA-1 of the PAL's image. */
  constructor(measurement: Uint8Array) {
    this.#first = sha1(new Uint8Array(DIGEST), measurement);
    this.reset();
  }

  /** As new: uPCR 0 holds the measurement, the others zeros. */
  reset(): void {
    this.#pcrs = Array.from({ length: UPCRS }, (_, i) => (i === 0 ? this.#first : new Uint8Array(DIGEST)));
  }

  /** Answers a call of a service whose name begins with `tv_`. Throws {@link TrustvisorError} with code `sealed-state`. */
  perform({ name, values, inputs }: ServiceCall, context: ClassicContext): ServiceReply {
    const [first = NOTHING, second = NOTHING] = inputs;
    const [index = 0] = values;
    switch (name) {
      case 'tv_pcr_read':
        return index < UPCRS ? success(this.#pcr(index)) : statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
      case 'tv_pcr_extend':
        return this.#extend(index, first);
      case 'tv_seal':
        return this.#seal(context, first, second);
      case 'tv_unseal':
        return this.#unseal(context, first);
      case 'tv_quote':
        return this.#quote(context, first, second);
      case 'tv_id_getpub':
        return context.host?.({ kind: 'classic-public' }) ?? statusOnly(PAL_STATUS.UNAVAILABLE);
      default:
        return statusOnly(PAL_STATUS.ERR);
    }
  }

  #pcr(index: number): Uint8Array {
    return this.#pcrs[index] ?? new Uint8Array(DIGEST);
  }

  #extend(index: number, digest: Uint8Array): ServiceReply {
    if (index >= UPCRS) return statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
    this.#pcrs[index] = sha1(this.#pcr(index), digest);
    return success();
  }

  /** The digest at creation is put in here, whatever the caller wrote there. */
  #seal(context: ClassicContext, data: Uint8Array, asked: Uint8Array): ServiceReply {
    const info = asked.length === 0 || isNoSelection(asked) ? NOTHING : asked.slice();
    if (info.length > 0) {
      if (info.length !== SELECTION + 2 * DIGEST || !isSelection(info.subarray(0, SELECTION))) {
        return statusOnly(PAL_STATUS.BAD_PARAM);
      }
      info.set(this.#compositeHash(info.subarray(0, SELECTION)), SELECTION + DIGEST);
    }
    const header = { magic: MAGIC, info, salt: context.random(32) } as const;
    return success(sealBlob(ClassicBlob, keyFor(context, info), header, data));
  }

  /** What the blob says of its policy is checked; a forged policy gives another key, which opens nothing. */
  #unseal(context: ClassicContext, content: Uint8Array): ServiceReply {
    const blob: ClassicBlob = parseBlob(ClassicBlob, content);
    const { info } = blob;
    const selection = info.subarray(0, SELECTION);
    const release = info.subarray(SELECTION, SELECTION + DIGEST);
    if (info.length > 0 && (!isSelection(selection) || !equal(this.#compositeHash(selection), release))) {
      return statusOnly(PAL_STATUS.REFUSED);
    }
    const data = openBlob(ClassicBlob, keyFor(context, info), blob);
    return success(data, info.length === 0 ? new Uint8Array(DIGEST) : info.slice(SELECTION + DIGEST));
  }

  /** RSASSA-PKCS1-v1_5 over SHA-1 of TPM_QUOTE_INFO: version 1.1.0.0, "QUOT", the composite's hash, the nonce. */
  #quote({ host }: ClassicContext, selection: Uint8Array, nonce: Uint8Array): ServiceReply {
    if (!isSelection(selection)) return statusOnly(PAL_STATUS.BAD_PARAM);
    if (host === undefined) return statusOnly(PAL_STATUS.UNAVAILABLE);
    const composite = this.#composite(selection);
    const info = Buffer.concat([Uint8Array.of(1, 1, 0, 0), Buffer.from('QUOT'), sha1(composite), nonce]);
    const { status, outputs } = host({ kind: 'classic-sign', info: new Uint8Array(info) });
    return status === PAL_STATUS.SUCCESS ? success(...outputs, composite) : statusOnly(status);
  }

  /** The selection, the size of the values (big-endian, whereas the selection's is little-endian), the values. */
  #composite(selection: Uint8Array): Uint8Array {
    const [, , map = 0] = selection;
    const values = this.#pcrs.filter((_, i) => (map & (1 << i)) !== 0);
    const size = new Uint8Array(4);
    new DataView(size.buffer).setUint32(0, DIGEST * values.length);
    return new Uint8Array(Buffer.concat([selection, size, ...values]));
  }

  #compositeHash(selection: Uint8Array): Uint8Array {
    return sha1(this.#composite(selection));
  }
}

/** TPM_PCR_SELECTION: u16 size 1, little-endian, and a map that is not empty. */
function isSelection(selection: Uint8Array): boolean {
  const [low, high, map] = selection;
  return selection.length === SELECTION && low === 1 && high === 0 && map !== 0;
}

/** An info that selects nothing is none. */
function isNoSelection(info: Uint8Array): boolean {
  const [low, high, map] = info;
  return info.length === SELECTION + 2 * DIGEST && high === 0 && (low === 0 || (low === 1 && map === 0));
}

function keyFor({ keys, self }: ClassicContext, info: Uint8Array): BlobSecret {
  if (info.length === 0) return keys.under('classic data of a PAL', self());
  return keys.under('classic data under uPCRs', info.subarray(0, SELECTION + DIGEST));
}

/** SHA-1 over the parts one after another. */
export function sha1(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha1');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

function success(...outputs: readonly Uint8Array[]): ServiceReply {
  return { status: PAL_STATUS.SUCCESS, outputs };
}
