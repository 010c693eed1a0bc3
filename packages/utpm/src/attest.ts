/** Attestation structures: Part 1, clause 31; Part 2, 10.12. */
import {
  kdfA,
  TPM_GENERATED_VALUE,
  TPM_RC,
  TPM_RH,
  TPMA_OBJECT,
  TpmsAttest,
  type TpmsClockInfo,
  type TpmtSignatureOrNull,
  type TpmtSigSchemeOrNull,
} from '@casemate/tpm';
import { encode } from '@casemate/wire';
import { EMPTY, readU32, readU64 } from './bytes.js';
import { useClock } from './clock.js';
import { objectAt } from './entity.js';
import { IMPLEMENTATION } from './implementation.js';
import { handleName, type TpmObject } from './object.js';
import { blameParameter, refuseHandle } from './refusal.js';
import { isAnonymous, isSigningKey, NO_SIGNATURE, type Scheme, selectScheme, signDigest } from './signing.js';
import type { Tpm } from './tpm.js';
import { FIRMWARE_VERSION } from './version.js';

/** The key that signs an attestation, with its scheme; undefined for TPM_RH_NULL, which leaves it unsigned. */
export interface Signer {
  readonly object: TpmObject;
  readonly scheme: Scheme;
}

/** The signer of a handle. `places` say which handle and which parameter to blame. */
export function signerOf(
  tpm: Tpm,
  handle: number,
  inScheme: TpmtSigSchemeOrNull,
  places: { readonly handleAt: number; readonly schemeAt: number },
): Signer | undefined {
  if (handle === TPM_RH.NULL) return undefined;
  const object = objectAt(tpm, handle);
  if (!isSigningKey(object)) refuseHandle(TPM_RC.KEY, places.handleAt);
  if ((object.public.objectAttributes & TPMA_OBJECT.x509sign) !== 0) refuseHandle(TPM_RC.ATTRIBUTES, places.handleAt);
  return { object, scheme: blameParameter(places.schemeAt, () => selectScheme(object, inScheme)) };
}

/** What is attested: the type of the structure and its content. */
export type Attested = {
  [T in TpmsAttest['type']]: Pick<Extract<TpmsAttest, { readonly type: T }>, 'type' | 'attested'>;
}[TpmsAttest['type']];

/** An attestation with its signature. */
export interface Attestation {
  readonly info: Uint8Array;
  readonly signature: TpmtSignatureOrNull;
}

/** Makes and signs an attestation. */
export function attest(tpm: Tpm, signer: Signer | undefined, extraData: Uint8Array, attested: Attested): Attestation {
  // An anonymous signature tells neither its signer nor, in clear, what qualifies it.
  const isHidden = signer !== undefined && isAnonymous(signer.scheme);
  const qualifiedSigner = isHidden ? EMPTY : (signer?.object.qualifiedName ?? handleName(TPM_RH.NULL));
  const shown = obscure(tpm, signer, qualifiedSigner);
  const fields = { magic: TPM_GENERATED_VALUE, qualifiedSigner, extraData: isHidden ? EMPTY : extraData, ...shown };
  const structure = { ...fields, ...attested } as TpmsAttest; // type and attested belong together
  const info = encode(TpmsAttest, structure);
  if (signer === undefined) return { info, signature: NO_SIGNATURE };
  const { hash } = signer.scheme;
  const digest = tpm.crypto.hash(hash, info);
  const input =
    isHidden && extraData.length > 0
      ? { hash, digest: tpm.crypto.hash(hash, extraData, digest) }
      : { hash, digest, message: info };
  return { info, signature: signDigest(tpm, signer.object, signer.scheme, input) };
}

/** TPMS_CLOCK_INFO as it is. */
export function clockInfo(tpm: Tpm): TpmsClockInfo {
  const { clock, safe } = useClock(tpm);
  return { clock, resetCount: tpm.permanent.resetCount, restartCount: tpm.volatile.restartCount, safe };
}

// Part 1, 36.7: keys outside of the platform and endorsement hierarchies do not tell how often and with what firmware the TPM started,
// which would be an identity, but each key's numbers still grow as the true ones do.
function obscure(
  tpm: Tpm,
  signer: Signer | undefined,
  qualifiedSigner: Uint8Array,
): Pick<TpmsAttest, 'clockInfo' | 'firmwareVersion'> {
  const plain = clockInfo(tpm);
  const hierarchy = signer?.object.hierarchy;
  if (hierarchy === TPM_RH.PLATFORM || hierarchy === TPM_RH.ENDORSEMENT) {
    return { clockInfo: plain, firmwareVersion: FIRMWARE_VERSION };
  }
  const key = tpm.permanent.owner.proof;
  const mask = kdfA(
    { hash: IMPLEMENTATION.CONTEXT_HASH, key, label: 'OBFUSCATE', contextU: qualifiedSigner, bits: 128 },
    tpm.crypto,
  );
  return {
    clockInfo: {
      ...plain,
      resetCount: (plain.resetCount + readU32(mask, 8)) >>> 0,
      restartCount: (plain.restartCount + readU32(mask, 12)) >>> 0,
    },
    firmwareVersion: BigInt.asUintN(64, FIRMWARE_VERSION + readU64(mask, 0)),
  };
}
