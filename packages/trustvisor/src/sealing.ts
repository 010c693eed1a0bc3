/** Sealing for PALs: who may unseal, and what is authenticated with the data (`utpm_seal`, `seal_data`). */
import { PAL_STATUS } from '@casemate/pal-linker';
import { bytes, decode, encode, type Infer, struct, u32le } from '@casemate/wire';
import { equal, sha256 } from './digest.js';
import { type MicroTpm, UPCRS } from './micro-tpm.js';
import {
  type BlobSecret,
  DATA_MAGIC,
  DataBlob,
  openBlob,
  POLICY_MAGIC,
  PolicyBlob,
  parseBlob,
  type SealingKeys,
  sealBlob,
} from './seal.js';
import { type ServiceReply, statusOnly } from './service-plan.js';

/** Who the PAL is, as far as sealing goes. */
export interface Sealer {
  readonly micro: MicroTpm;
  /** What makes the keys of sealed data. */
  readonly keys: SealingKeys;
  readonly name: string;
  /** Who signed its image, if anybody did. */
  readonly signed: { readonly signer: Uint8Array; readonly securityVersion: number } | undefined;
}

/** Where salts come from. */
type Random = (length: number) => Uint8Array;

/** struct pal_seal_policy of casemate-pal.h. */
const Policy = struct('PAL_SEAL_POLICY', {
  kind: u32le,
  mask: u32le,
  version: u32le,
  reserved: u32le,
  label: bytes('LABEL', 32),
  digest: bytes('DIGEST', 32),
});
type Policy = Infer<typeof Policy>;

/** struct pal_sealed_info. */
const SealedInfo = struct('PAL_SEALED_INFO', {
  kind: u32le,
  mask: u32le,
  version: u32le,
  securityVersion: u32le,
  label: bytes('LABEL', 32),
  creation: bytes('CREATION', 32),
});

const KIND = { SELF: 0, PCRS: 1, PCR_DIGEST: 2, PAL: 3, SIGNER: 4 } as const;

/** Whether a mask selects uPCRs, at least one. */
export function isMask(mask: number): boolean {
  return mask > 0 && mask < 1 << UPCRS;
}

/** `utpm_seal`. */
export function seal({ micro, keys }: Sealer, random: Random, data: Uint8Array, policy: Uint8Array): ServiceReply {
  if (![0, 4, 36].includes(policy.length)) return statusOnly(PAL_STATUS.BAD_PARAM);
  const mask = policy.length === 0 ? 1 : new DataView(policy.buffer, policy.byteOffset).getUint32(0, true);
  if (!isMask(mask)) return statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
  const release = policy.length === 36 ? policy.slice(4) : micro.pcrDigest(mask);
  const header = { magic: DATA_MAGIC, mask, release, creation: micro.pcrDigest(1), salt: random(32) } as const;
  return success(sealBlob(DataBlob, policyKey(keys, mask, release), header, data));
}

/** `utpm_unseal`. The policy is checked before the key that depends on it is made; a forged one would give a key that opens nothing. */
export function unseal({ micro, keys }: Sealer, content: Uint8Array): ServiceReply {
  const blob = parseBlob(DataBlob, content);
  if (!equal(micro.pcrDigest(blob.mask), blob.release)) return statusOnly(PAL_STATUS.REFUSED);
  const data = openBlob(DataBlob, policyKey(keys, blob.mask, blob.release), blob, { content });
  return success(data, blob.creation);
}

/** `seal_data`. */
export function sealData(
  sealer: Sealer,
  random: Random,
  given: { readonly policy: Uint8Array; readonly data: Uint8Array; readonly extra: Uint8Array },
): ServiceReply {
  const policy = decode(Policy, given.policy);
  if (policy.reserved !== 0 || policy.kind > KIND.SIGNER) return statusOnly(PAL_STATUS.BAD_PARAM);
  const usesMask = policy.kind === KIND.PCRS || policy.kind === KIND.PCR_DIGEST;
  if (usesMask && !isMask(policy.mask)) return statusOnly(PAL_STATUS.PCR_OUT_OF_RANGE);
  if (policy.kind === KIND.SIGNER && sealer.signed === undefined) return statusOnly(PAL_STATUS.UNAVAILABLE);
  const release = releaseOf(sealer, policy);
  const header = {
    magic: POLICY_MAGIC,
    kind: policy.kind as 0 | 1 | 2 | 3 | 4, // compared above
    mask: usesMask ? policy.mask : policy.kind === KIND.SIGNER ? 0 : 1,
    release,
    version: policy.version,
    securityVersion: sealer.signed?.securityVersion ?? 0,
    label: policy.label,
    creation: sealer.micro.pcrDigest(1),
    salt: random(32),
  } as const;
  return success(sealBlob(PolicyBlob, blobKey(sealer, header), header, given.data, given.extra));
}

/** `unseal_data`. */
export function unsealData(
  sealer: Sealer,
  given: { readonly blob: Uint8Array; readonly extra: Uint8Array },
): ServiceReply {
  const blob = parseBlob(PolicyBlob, given.blob);
  if (!mayOpen(sealer, blob)) return statusOnly(PAL_STATUS.REFUSED);
  const data = openBlob(PolicyBlob, blobKey(sealer, blob), blob, { content: given.blob, extra: given.extra });
  return success(data, encode(SealedInfo, blob));
}

type Header = Pick<Infer<typeof PolicyBlob>, 'kind' | 'mask' | 'release' | 'securityVersion'>;

/** The digest of uPCRs that must be there, or the signer. */
function releaseOf({ micro, signed }: Sealer, { kind, mask, digest }: Policy): Uint8Array {
  switch (kind) {
    case KIND.PCRS:
      return micro.pcrDigest(mask);
    case KIND.PCR_DIGEST:
      return digest;
    case KIND.PAL:
      return sha256(sha256(new Uint8Array(32), digest)); // what uPCR 0 alone digests to in that PAL
    case KIND.SIGNER:
      return signed?.signer ?? new Uint8Array(32);
    default:
      return micro.pcrDigest(1);
  }
}

function mayOpen({ micro, signed }: Sealer, { kind, mask, release, securityVersion }: Header): boolean {
  if (kind !== KIND.SIGNER) return isMask(mask) && equal(micro.pcrDigest(mask), release);
  return signed !== undefined && equal(signed.signer, release) && signed.securityVersion >= securityVersion;
}

/** The name goes into the key of a signer's data: a PAL of another name makes another key. */
function blobKey({ keys, name }: Sealer, { kind, mask, release }: Header): BlobSecret {
  if (kind !== KIND.SIGNER) return policyKey(keys, mask, release);
  return keys.under('sealed data of a signer', release, UTF8.encode(name));
}

const UTF8 = new TextEncoder();

function policyKey(keys: SealingKeys, mask: number, release: Uint8Array): BlobSecret {
  return keys.under('sealed data', Uint8Array.of(mask), release);
}

function success(...outputs: readonly Uint8Array[]): ServiceReply {
  return { status: PAL_STATUS.SUCCESS, outputs };
}
