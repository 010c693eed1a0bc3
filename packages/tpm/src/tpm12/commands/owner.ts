/** Owner and endorsement key. TPM 1.2 Main Part 3, clauses 6, 9, 14 and 17. */
import { constant, oneOf, u16, u32 } from '@casemate/wire';
import { command12, ownerAuth, required } from '../command.js';
import { TPM_ET, TPM_KH, TPM_PID } from '../constants.js';
import { TPM_ORD } from '../ordinals.js';
import { sizedData, TpmDigest, TpmEncauth, TpmNonce } from '../structures/base.js';
import { TpmAnyKey, TpmKeyParms, TpmPubkey } from '../structures/key.js';

/**
 * Makes the caller the owner and creates the storage root key. Both secrets are encrypted to the endorsement key; the
 * authorisation is by the new owner's secret. TPM 1.2 Part 3, clause 6.1.
 */
export const TakeOwnership = command12({
  name: 'TPM_TakeOwnership',
  ordinal: TPM_ORD.TakeOwnership,
  parameters: {
    protocolID: constant('TPM_PROTOCOL_ID', u16, TPM_PID.OWNER),
    encOwnerAuth: sizedData('TPM_TakeOwnership', 512),
    encSrkAuth: sizedData('TPM_TakeOwnership', 512),
    srkParams: TpmAnyKey,
  },
  auths: [ownerAuth('ownerAuth', 'oiap')],
  response: { srkPub: TpmAnyKey },
});

/** Ends ownership by the owner's secret: all keys and sealed data are lost. TPM 1.2 Part 3, clause 6.2. */
export const OwnerClear = command12({
  name: 'TPM_OwnerClear',
  ordinal: TPM_ORD.OwnerClear,
  auths: [ownerAuth('ownerAuth')],
});

/** Ends ownership by physical presence. TPM 1.2 Part 3, clause 6.3. */
export const ForceClear = command12({ name: 'TPM_ForceClear', ordinal: TPM_ORD.ForceClear });

/** Forbids TPM_OwnerClear for good. TPM 1.2 Part 3, clause 6.4. */
export const DisableOwnerClear = command12({
  name: 'TPM_DisableOwnerClear',
  ordinal: TPM_ORD.DisableOwnerClear,
  auths: [ownerAuth('ownerAuth')],
});

/** Forbids TPM_ForceClear until the next start. TPM 1.2 Part 3, clause 6.5. */
export const DisableForceClear = command12({ name: 'TPM_DisableForceClear', ordinal: TPM_ORD.DisableForceClear });

/** Ends the defence against guessing. TPM 1.2 Part 3, clause 9.3. */
export const ResetLockValue = command12({
  name: 'TPM_ResetLockValue',
  ordinal: TPM_ORD.ResetLockValue,
  auths: [ownerAuth('ownerAuth')],
});

/** Makes the endorsement key, once. TPM 1.2 Part 3, clause 14.1. */
export const CreateEndorsementKeyPair = command12({
  name: 'TPM_CreateEndorsementKeyPair',
  ordinal: TPM_ORD.CreateEndorsementKeyPair,
  parameters: { antiReplay: TpmNonce, keyInfo: TpmKeyParms },
  response: { pubEndorsementKey: TpmPubkey, checksum: TpmDigest },
});

/** The public endorsement key, for as long as there is no owner. TPM 1.2 Part 3, clause 14.4. */
export const ReadPubek = command12({
  name: 'TPM_ReadPubek',
  ordinal: TPM_ORD.ReadPubek,
  parameters: { antiReplay: TpmNonce },
  response: { pubEndorsementKey: TpmPubkey, checksum: TpmDigest },
});

/** The public endorsement key (`TPM_KH.EK`) or storage root key (`TPM_KH.SRK`), for the owner. TPM 1.2 Part 3, clause 14.5. */
export const OwnerReadInternalPub = command12({
  name: 'TPM_OwnerReadInternalPub',
  ordinal: TPM_ORD.OwnerReadInternalPub,
  parameters: { keyHandle: oneOf('TPM_KEY_HANDLE', u32, [TPM_KH.EK, TPM_KH.SRK]) },
  auths: [ownerAuth('ownerAuth')],
  response: { publicPortion: TpmPubkey },
});

/**
 * Gives the owner (`TPM_ET.OWNER`) or the storage root key (`TPM_ET.SRK`) another secret. TPM 1.2 Part 3, clause 17.2.
 */
export const ChangeAuthOwner = command12({
  name: 'TPM_ChangeAuthOwner',
  ordinal: TPM_ORD.ChangeAuthOwner,
  parameters: {
    protocolID: constant('TPM_PROTOCOL_ID', u16, TPM_PID.ADCP),
    newAuth: TpmEncauth,
    entityType: oneOf('TPM_ENTITY_TYPE', u16, [TPM_ET.OWNER, TPM_ET.SRK]),
  },
  auths: [required(ownerAuth('ownerAuth', 'osap'))],
  secrets: { auth: 'ownerAuth', even: 'newAuth' },
});
