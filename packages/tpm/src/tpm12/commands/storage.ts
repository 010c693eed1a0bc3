/** Sealing, binding and keys. TPM 1.2 Main Part 3, clauses 10, 13 and 17. */
import { constant, optionalSized, u16, u32 } from '@casemate/wire';
import { command12, keyAuth, required } from '../command.js';
import { TPM_PID, TPM_TAG } from '../constants.js';
import { TPM_ORD } from '../ordinals.js';
import { sizedData, TpmEncauth, TpmNonce } from '../structures/base.js';
import { eitherVersion } from '../structures/either.js';
import { TpmAnyKey, TpmPubkey } from '../structures/key.js';
import { TpmPcrInfo, TpmPcrInfoLong } from '../structures/pcr.js';
import { TpmCertifyInfo, TpmCertifyInfo2 } from '../structures/quote.js';
import { TpmAnyStoredData } from '../structures/storage.js';

/** TPM_PCR_INFO or TPM_PCR_INFO_LONG, as TPM_Seal takes either. */
export const TpmAnyPcrInfo = eitherVersion('TPM_PCR_INFO', TpmPcrInfo, TPM_TAG.PCR_INFO_LONG, TpmPcrInfoLong);

/** Encrypts data so that only this TPM gives them back, with the PCRs that are asked for. TPM 1.2 Part 3, clause 10.1. */
export const Seal = command12({
  name: 'TPM_Seal',
  ordinal: TPM_ORD.Seal,
  handles: ['keyHandle'],
  parameters: {
    encAuth: TpmEncauth,
    pcrInfo: optionalSized('TPM_PCR_INFO', u32, TpmAnyPcrInfo),
    inData: sizedData('inData', 512),
  },
  auths: [required(keyAuth('pubAuth', 'keyHandle', 'osap'))],
  secrets: { auth: 'pubAuth', even: 'encAuth' },
  response: { sealedData: TpmAnyStoredData },
});

/** Gives sealed data back. TPM 1.2 Part 3, clause 10.2. */
export const Unseal = command12({
  name: 'TPM_Unseal',
  ordinal: TPM_ORD.Unseal,
  handles: ['parentHandle'],
  parameters: { inData: TpmAnyStoredData },
  auths: [
    keyAuth('parentAuth', 'parentHandle'),
    { name: 'dataAuth', optional: false, protocol: 'oiap', entity: { kind: 'data' } },
  ],
  response: { secret: sizedData('secret', 512) },
});

/** Decrypts what was encrypted to a binding key. TPM 1.2 Part 3, clause 10.3. */
export const UnBind = command12({
  name: 'TPM_UnBind',
  ordinal: TPM_ORD.UnBind,
  handles: ['keyHandle'],
  parameters: { inData: sizedData('inData', 512) },
  auths: [keyAuth('privAuth', 'keyHandle')],
  response: { outData: sizedData('outData', 512) },
});

/** Creates a key under a parent. TPM 1.2 Part 3, clause 10.4. */
export const CreateWrapKey = command12({
  name: 'TPM_CreateWrapKey',
  ordinal: TPM_ORD.CreateWrapKey,
  handles: ['parentHandle'],
  parameters: { dataUsageAuth: TpmEncauth, dataMigrationAuth: TpmEncauth, keyInfo: TpmAnyKey },
  auths: [required(keyAuth('pubAuth', 'parentHandle', 'osap'))],
  secrets: { auth: 'pubAuth', even: 'dataUsageAuth', odd: 'dataMigrationAuth' },
  response: { wrappedKey: TpmAnyKey },
});

/** Loads a wrapped key under its parent. TPM 1.2 Part 3, clause 10.5. */
export const LoadKey2 = command12({
  name: 'TPM_LoadKey2',
  ordinal: TPM_ORD.LoadKey2,
  handles: ['parentHandle'],
  parameters: { inKey: TpmAnyKey },
  auths: [keyAuth('parentAuth', 'parentHandle')],
  responseHandles: ['inkeyHandle'],
});

/** The public part of a loaded key. TPM 1.2 Part 3, clause 10.6. */
export const GetPubKey = command12({
  name: 'TPM_GetPubKey',
  ordinal: TPM_ORD.GetPubKey,
  handles: ['keyHandle'],
  auths: [keyAuth('keyAuth', 'keyHandle')],
  response: { pubKey: TpmPubkey },
});

/** Signs with a key, in the key's own scheme. TPM 1.2 Part 3, clause 13.5. */
export const Sign = command12({
  name: 'TPM_Sign',
  ordinal: TPM_ORD.Sign,
  handles: ['keyHandle'],
  parameters: { areaToSign: sizedData('areaToSign') },
  auths: [keyAuth('privAuth', 'keyHandle')],
  response: { sig: sizedData('sig', 512) },
});

/** Signs that this TPM holds a key. TPM 1.2 Part 3, clause 13.8. */
export const CertifyKey = command12({
  name: 'TPM_CertifyKey',
  ordinal: TPM_ORD.CertifyKey,
  handles: ['certHandle', 'keyHandle'],
  parameters: { antiReplay: TpmNonce },
  auths: [keyAuth('certAuth', 'certHandle'), keyAuth('keyAuth', 'keyHandle')],
  response: {
    certifyInfo: eitherVersion('TPM_CERTIFY_INFO', TpmCertifyInfo, TPM_TAG.CERTIFY_INFO2, TpmCertifyInfo2),
    outData: sizedData('outData', 512),
  },
});

/** Gives a wrapped key or sealed data another secret. TPM 1.2 Part 3, clause 17.1. */
export const ChangeAuth = command12({
  name: 'TPM_ChangeAuth',
  ordinal: TPM_ORD.ChangeAuth,
  handles: ['parentHandle'],
  parameters: {
    protocolID: constant('TPM_PROTOCOL_ID', u16, TPM_PID.ADCP),
    newAuth: TpmEncauth,
    entityType: u16,
    encData: sizedData('encData', 1024),
  },
  auths: [
    required(keyAuth('parentAuth', 'parentHandle', 'osap')),
    { name: 'entityAuth', optional: false, protocol: 'oiap', entity: { kind: 'data' } },
  ],
  secrets: { auth: 'parentAuth', even: 'newAuth' },
  response: { outData: sizedData('outData', 1024) },
});
