/** Identity keys. TPM 1.2 Main Part 3, clause 15. */
import { command12, keyAuth, ownerAuth } from '../command.js';
import { TPM_ORD } from '../ordinals.js';
import { sizedData, TpmDigest, TpmEncauth } from '../structures/base.js';
import { TpmAnyKey, TpmSymmetricKey } from '../structures/key.js';

/** Creates an identity key, which signs what the TPM says and nothing else. TPM 1.2 Part 3, clause 15.1. */
export const MakeIdentity = command12({
  name: 'TPM_MakeIdentity',
  ordinal: TPM_ORD.MakeIdentity,
  parameters: { identityAuth: TpmEncauth, labelPrivCADigest: TpmDigest, idKeyParams: TpmAnyKey },
  auths: [
    { name: 'srkAuth', optional: true, protocol: 'any', entity: { kind: 'srk' } },
    ownerAuth('ownerAuth', 'osap'),
  ],
  secrets: { auth: 'ownerAuth', even: 'identityAuth' },
  response: { idKey: TpmAnyKey, identityBinding: sizedData('identityBinding', 512) },
});

/** Gives the session key that a CA has encrypted for an identity of this TPM. TPM 1.2 Part 3, clause 15.2. */
export const ActivateIdentity = command12({
  name: 'TPM_ActivateIdentity',
  ordinal: TPM_ORD.ActivateIdentity,
  handles: ['idKeyHandle'],
  parameters: { blob: sizedData('blob', 512) },
  auths: [keyAuth('idKeyAuth', 'idKeyHandle'), ownerAuth('ownerAuth')],
  response: { symmetricKey: TpmSymmetricKey },
});
