/** Start-up, the endorsement key, and the owner. TPM 1.2 Main Part 1, clauses 7 to 9; Part 3, clauses 3, 5, 6 and 14. */
import { encode } from '@casemate/wire';
import { equalBytes } from '../bytes.js';
import { TpmError } from '../response-code.js';
import type { Authorization12, ExecuteOptions12, Tpm12 } from './client.js';
import { PhysicalEnable, PhysicalPresence, PhysicalSetDeactivated } from './commands/opt-in.js';
import {
  ChangeAuthOwner,
  CreateEndorsementKeyPair,
  ForceClear,
  OwnerClear,
  OwnerReadInternalPub,
  ReadPubek,
  TakeOwnership,
} from './commands/owner.js';
import { Startup } from './commands/startup.js';
import {
  TPM_AUTH_DATA_USAGE,
  TPM_ES,
  TPM_ET,
  TPM_KEY_USAGE,
  TPM_KH,
  TPM_PHYSICAL_PRESENCE,
  TPM_PID,
  TPM_SS,
  TPM_ST,
} from './constants.js';
import { oaepTcpa, sha1 } from './crypto.js';
import { rsaKeyParms, rsaPublicKey } from './key.js';
import { wellKnownSecret } from './secret.js';
import { VERSION_1_1 } from './structures/base.js';
import { type TpmAnyKey, type TpmKey, TpmPubkey } from './structures/key.js';

/** Starts the TPM after a reset: `clear`, or with the state that TPM_SaveState saved. */
export async function startup12(
  tpm: Tpm12,
  type: 'clear' | 'state' = 'clear',
  options: ExecuteOptions12 = {},
): Promise<void> {
  await tpm.execute(Startup, { startupType: type === 'clear' ? TPM_ST.CLEAR : TPM_ST.STATE }, options);
}

/** Asserts physical presence by command, where the platform allows that: firmware and simulators do. */
export async function assertPhysicalPresence(tpm: Tpm12, options: ExecuteOptions12 = {}): Promise<void> {
  for (const physicalPresence of [TPM_PHYSICAL_PRESENCE.CMD_ENABLE, TPM_PHYSICAL_PRESENCE.PRESENT]) {
    await tpm.execute(PhysicalPresence, { physicalPresence }, options);
  }
}

/** Enables and activates the TPM under physical presence; a TPM that was deactivated needs a restart after it. */
export async function enable12(tpm: Tpm12, options: ExecuteOptions12 = {}): Promise<void> {
  await assertPhysicalPresence(tpm, options);
  await tpm.execute(PhysicalEnable, {}, options);
  await tpm.execute(PhysicalSetDeactivated, { state: false }, options);
}

/** Makes the endorsement key of a TPM that has none, RSA-2048, and gives its public part. */
export async function createEndorsementKey(tpm: Tpm12, options: ExecuteOptions12 = {}): Promise<TpmPubkey> {
  const antiReplay = tpm.crypto.random(20);
  const keyInfo = rsaKeyParms(2048, TPM_ES.RSAESOAEP_SHA1_MGF1, TPM_SS.NONE);
  const response = await tpm.execute(CreateEndorsementKeyPair, { antiReplay, keyInfo }, options);
  return assertChecksum(tpm, response.pubEndorsementKey, antiReplay, response.checksum);
}

/** Reads the public endorsement key: as the owner, or without authorisation where there is no owner yet. */
export async function readEndorsementKey(
  tpm: Tpm12,
  options: ExecuteOptions12 & { readonly owner?: Authorization12 } = {},
): Promise<TpmPubkey> {
  const { owner } = options;
  if (owner !== undefined) {
    const request = { keyHandle: TPM_KH.EK, ownerAuth: owner };
    return (await tpm.execute(OwnerReadInternalPub, request, options)).publicPortion;
  }
  const antiReplay = tpm.crypto.random(20);
  const response = await tpm.execute(ReadPubek, { antiReplay }, options);
  return assertChecksum(tpm, response.pubEndorsementKey, antiReplay, response.checksum);
}

/** Reads the public storage root key as the owner. */
export async function readStorageRootKey(
  tpm: Tpm12,
  options: ExecuteOptions12 & { readonly owner: Authorization12 },
): Promise<TpmPubkey> {
  const request = { keyHandle: TPM_KH.SRK, ownerAuth: options.owner };
  return (await tpm.execute(OwnerReadInternalPub, request, options)).publicPortion;
}

/**
 * Takes ownership: sets the owner's secret and that of the new storage root key, and gives its public part.
 * Throws `TpmError` `response` TPM_OWNER_SET where there is an owner, TPM_NO_ENDORSEMENT where there is no endorsement key.
 */
export async function takeOwnership(
  tpm: Tpm12,
  options: ExecuteOptions12 & {
    /** The owner's new secret, 20 bytes. */
    readonly ownerSecret: Uint8Array;
    /** The secret of the storage root key, 20 bytes. Default: the well-known one, as nearly everybody has it. */
    readonly srkSecret?: Uint8Array;
    /** The endorsement key, if it is known from a certificate. Default: what the TPM says, unproved. */
    readonly endorsementKey?: TpmPubkey;
  },
): Promise<TpmAnyKey> {
  const { ownerSecret, srkSecret = wellKnownSecret() } = options;
  const ek = rsaPublicKey(options.endorsementKey ?? (await readEndorsementKey(tpm, options)));
  const request = {
    protocolID: TPM_PID.OWNER,
    encOwnerAuth: oaepTcpa(tpm.crypto, ek, ownerSecret),
    encSrkAuth: oaepTcpa(tpm.crypto, ek, srkSecret),
    srkParams: SRK_TEMPLATE,
    ownerAuth: ownerSecret,
  };
  return (await tpm.execute(TakeOwnership, request, options)).srkPub;
}

/** Ends ownership as the owner. All keys, sealed data and the owner's NV indexes are lost. */
export async function clearOwner(
  tpm: Tpm12,
  options: ExecuteOptions12 & { readonly owner: Authorization12 },
): Promise<void> {
  await tpm.execute(OwnerClear, { ownerAuth: options.owner }, options);
}

/** Ends ownership under physical presence; the TPM is then disabled, and deactivated from the next start. */
export async function forceClear(tpm: Tpm12, options: ExecuteOptions12 = {}): Promise<void> {
  await tpm.execute(ForceClear, {}, options);
}

/** Gives the owner, or the storage root key, another secret. */
export async function changeOwnerSecret(
  tpm: Tpm12,
  options: ExecuteOptions12 & {
    /** The owner's secret as it is, or an OSAP session for the owner. */
    readonly owner: Authorization12;
    /** The new secret, 20 bytes. */
    readonly newSecret: Uint8Array;
    /** Whose. Default `owner`. */
    readonly of?: 'owner' | 'srk';
  },
): Promise<void> {
  const entityType = options.of === 'srk' ? TPM_ET.SRK : TPM_ET.OWNER;
  const request = { protocolID: TPM_PID.ADCP, newAuth: options.newSecret, entityType, ownerAuth: options.owner };
  await tpm.execute(ChangeAuthOwner, request, options);
}

function assertChecksum(tpm: Tpm12, key: TpmPubkey, antiReplay: Uint8Array, checksum: Uint8Array): TpmPubkey {
  if (equalBytes(sha1(tpm.crypto, encode(TpmPubkey, key), antiReplay), checksum)) return key;
  throw new TpmError('integrity', 'read endorsement key: the checksum over key and nonce is wrong');
}

const SRK_TEMPLATE: TpmKey = {
  ver: VERSION_1_1,
  keyUsage: TPM_KEY_USAGE.STORAGE,
  keyFlags: 0,
  authDataUsage: TPM_AUTH_DATA_USAGE.ALWAYS,
  algorithmParms: rsaKeyParms(2048, TPM_ES.RSAESOAEP_SHA1_MGF1, TPM_SS.NONE),
  pcrInfo: undefined,
  pubKey: new Uint8Array(0),
  encData: new Uint8Array(0),
};
