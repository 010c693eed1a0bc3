/** The PAL services that a PAL's own thread leaves to the isolate's main one: what waits for the store, the platform's TPM, or a new key. */
import { sign } from 'node:crypto';
import { PAL_STATUS } from '@casemate/pal-linker';
import { type NvAccess, performNv } from './nv-area.js';
import { type RsaIdentity, type RsaKeys, rsaPublicKeyDer } from './rsa-key.js';
import { type ServiceCall, type ServiceReply, statusOfError, statusOnly } from './service-plan.js';

/** What is asked of the main thread. */
export type HostCall =
  /** A service of the PAL's area in NV, as the PAL called it. */
  | { readonly kind: 'nv'; readonly call: ServiceCall }
  /** TPMS_ATTEST and TPMT_SIGNATURE by the RSA identity for the micro-TPM's TPMS_ATTEST. */
  | { readonly kind: 'rsa-quote'; readonly quoted: Uint8Array }
  /** The classic key's signature (PKCS #1 v1.5, SHA-1). */
  | { readonly kind: 'classic-sign'; readonly info: Uint8Array }
  /** DER RSAPublicKey of the classic key. */
  | { readonly kind: 'classic-public' };

/** How a thread asks it: the answer is there when this returns. */
export type HostServices = (call: HostCall) => ServiceReply;

/** What the main thread has for one PAL. */
export interface HostContext {
  readonly rsaKeys: RsaKeys;
  /** Where its identity is an RSA key. */
  readonly rsa: RsaIdentity | undefined;
  /** The PAL's area; absent where there is no TPM. */
  readonly nv: NvAccess | undefined;
}

/** Answers one call. Never rejects: what goes wrong inside is the status ERR. */
export async function performHostCall(call: HostCall, context: HostContext): Promise<ServiceReply> {
  try {
    return await perform(call, context);
  } catch (error) {
    return statusOfError(error);
  }
}

async function perform(call: HostCall, { rsaKeys, rsa, nv }: HostContext): Promise<ServiceReply> {
  switch (call.kind) {
    case 'nv':
      return performNv(call.call, nv);
    case 'rsa-quote': {
      if (rsa === undefined) return statusOnly(PAL_STATUS.UNAVAILABLE);
      const { quoted, signature } = rsa.sign(call.quoted);
      return success(quoted, signature);
    }
    case 'classic-sign':
      return success(new Uint8Array(sign('sha1', call.info, await rsaKeys.get('classic'))));
    case 'classic-public':
      return success(rsaPublicKeyDer(await rsaKeys.get('classic')));
  }
}

function success(...outputs: readonly Uint8Array[]): ServiceReply {
  return { status: PAL_STATUS.SUCCESS, outputs };
}
