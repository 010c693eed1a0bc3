/** What is secret in commands and responses when no session encrypts it. */
import { TPM_CC } from '../constants/commands.js';

/** Whether values of this type are always secret. */
export function isSecretType(type: string): boolean {
  return SECRET_TYPES.has(type);
}

/** The fields of a command's parameters that are secret, beside those of secret types. `handles` are those of the command. */
export function secretRequestFields(code: number, handles: readonly number[]): ReadonlySet<string> {
  if (code === TPM_CC.NV_Write && handles.some(isPublicIndex)) return NONE;
  return REQUEST[code] ?? NONE;
}

/** The fields of a response's parameters that are secret. `handles` are those of the command. */
export function secretResponseFields(code: number, handles: readonly number[]): ReadonlySet<string> {
  if (code === TPM_CC.NV_Read && handles.some(isPublicIndex)) return NONE;
  return RESPONSE[code] ?? NONE;
}

/** TCG keeps this range for certificates and what belongs to them (TCG Registry of Reserved TPM 2.0 Handles). */
function isPublicIndex(handle: number): boolean {
  return handle >>> 16 === 0x01c0;
}

function fields(...names: readonly string[]): ReadonlySet<string> {
  return new Set(names);
}

const NONE: ReadonlySet<string> = new Set();

const SECRET_TYPES: ReadonlySet<string> = new Set([
  'TPM2B_AUTH',
  'TPM2B_PRIVATE_KEY_RSA',
  'TPM2B_SENSITIVE',
  'TPM2B_SENSITIVE_DATA',
  'TPM2B_SYM_KEY',
]);

const REQUEST: Readonly<Record<number, ReadonlySet<string>>> = {
  [TPM_CC.ECC_Encrypt]: fields('plainText'),
  [TPM_CC.EncryptDecrypt]: fields('inData'),
  [TPM_CC.EncryptDecrypt2]: fields('inData'),
  [TPM_CC.Import]: fields('encryptionKey'),
  [TPM_CC.Duplicate]: fields('encryptionKeyIn'),
  [TPM_CC.MakeCredential]: fields('credential'),
  [TPM_CC.NV_Write]: fields('data'),
  [TPM_CC.NV_Extend]: fields('data'),
  [TPM_CC.RSA_Encrypt]: fields('message'),
  [TPM_CC.StirRandom]: fields('inData'),
};

const RESPONSE: Readonly<Record<number, ReadonlySet<string>>> = {
  [TPM_CC.ActivateCredential]: fields('certInfo'),
  [TPM_CC.Duplicate]: fields('encryptionKeyOut'),
  [TPM_CC.ECC_Decrypt]: fields('plainText'),
  [TPM_CC.ECDH_KeyGen]: fields('zPoint'),
  [TPM_CC.ECDH_ZGen]: fields('outPoint'),
  [TPM_CC.EncryptDecrypt]: fields('outData'),
  [TPM_CC.EncryptDecrypt2]: fields('outData'),
  [TPM_CC.GetRandom]: fields('randomBytes'),
  [TPM_CC.NV_Read]: fields('data'),
  [TPM_CC.RSA_Decrypt]: fields('message'),
  [TPM_CC.Unseal]: fields('outData'),
  [TPM_CC.ZGen_2Phase]: fields('outZ1', 'outZ2'),
};
