/** Which objects the TPM holds: listing handles, finding by Name, and the storage root key at its place (Part 3, section 30.2; TCG TPM v2.0 Provisioning Guidance 1.0, section 7.5). */
import type { Authorization } from './authorization.js';
import { equalBytes } from './bytes.js';
import { GetCapability } from './commands/capability.js';
import { TPM_CAP } from './constants/capabilities.js';
import { TPM_HT } from './constants/handles.js';
import { TPM_RC } from './constants/responses.js';
import { createPrimary, openObject, persist, type TpmObject } from './object.js';
import { TpmError } from './response-code.js';
import { type KeyKind, srkTemplate } from './templates.js';
import type { ExecuteOptions, Tpm } from './tpm.js';

/** What kind of handles to list. */
export type HandleKind = 'persistent' | 'transient' | 'nv' | 'loaded-session' | 'saved-session' | 'pcr' | 'permanent';

/** The handles of one kind that the TPM has now, in ascending order. Throws what {@link Tpm.execute} throws. */
export async function listHandles(
  tpm: Tpm,
  kind: HandleKind,
  options: ExecuteOptions = {},
): Promise<readonly number[]> {
  const last = RANGES[kind] + 0x00ffffff;
  const handles: number[] = [];
  for (let property = RANGES[kind]; property <= last; ) {
    const request = { capability: TPM_CAP.HANDLES, property, propertyCount: 254 };
    const { capabilityData, moreData } = await tpm.execute(GetCapability, request, options);
    if (capabilityData.capability !== TPM_CAP.HANDLES) {
      throw new TpmError('integrity', 'list handles: got another capability');
    }
    handles.push(...capabilityData.data);
    const highest = capabilityData.data.at(-1);
    if (!moreData || highest === undefined || highest < property) break;
    property = highest + 1;
  }
  return handles;
}

/** The persistent object with this Name, or `undefined`; two handles may hold the same object, and the lowest wins. */
export async function findPersistent(
  tpm: Tpm,
  name: Uint8Array,
  options: ExecuteOptions & { readonly auth?: Uint8Array | string } = {},
): Promise<TpmObject | undefined> {
  for (const handle of await listHandles(tpm, 'persistent', options)) {
    const object = await openObject(tpm, handle, options);
    if (equalBytes(object.name, name)) return object;
  }
  return undefined;
}

/** Where and as what to provision the storage root key. */
export interface ProvisionOptions extends ExecuteOptions {
  /** Its kind. Default `ecc-p256`. */
  readonly kind?: KeyKind;
  /** Its handle. Default 0x81000001, the guidance's place for it. */
  readonly handle?: number;
  /** How the owner authorises. Default: the empty password. */
  readonly ownerAuth?: Authorization;
}

/**
 * The storage root key at its persistent handle, made there the first time. Throws `TpmError` `usage` where the handle
 * holds an object that is no key of that kind, and what {@link Tpm.execute} throws.
 */
export async function provisionSrk(tpm: Tpm, options: ProvisionOptions = {}): Promise<TpmObject> {
  const { kind = 'ecc-p256', handle = SRK_HANDLE, ownerAuth } = options;
  const template = srkTemplate(kind);
  const found = await openObject(tpm, handle, options).catch(noneWhereAbsent);
  if (!found) {
    const hierarchyAuth = ownerAuth && { hierarchyAuth: ownerAuth };
    await using primary = await createPrimary(tpm, { ...options, template, ...hierarchyAuth });
    return await persist(tpm, primary, handle, { ...options, ...hierarchyAuth });
  }
  const { type, objectAttributes } = found.public;
  if (type === template.type && objectAttributes === template.objectAttributes) return found;
  throw new TpmError(
    'usage',
    `provision SRK: expected a storage key of ${kind} at 0x${handle.toString(16)}, got another`,
  );
}

function noneWhereAbsent(error: unknown): undefined {
  if (error instanceof TpmError && error.response?.number === TPM_RC.HANDLE) return undefined;
  throw error;
}

const SRK_HANDLE = 0x81000001;
const RANGES: Readonly<Record<HandleKind, number>> = {
  pcr: TPM_HT.PCR * 0x1000000,
  nv: TPM_HT.NV_INDEX * 0x1000000,
  'loaded-session': TPM_HT.HMAC_SESSION * 0x1000000,
  'saved-session': TPM_HT.POLICY_SESSION * 0x1000000,
  permanent: TPM_HT.PERMANENT * 0x1000000,
  transient: TPM_HT.TRANSIENT * 0x1000000,
  persistent: TPM_HT.PERSISTENT * 0x1000000,
};
