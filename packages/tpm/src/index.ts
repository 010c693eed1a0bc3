/** TPM 2.0: commands as values, sessions, Names and policies, over any transport. */
export { type Authorization, type Entity, type HandleInput, type Password, password } from './authorization.js';
export type {
  EccPublicKey,
  EcdhExchange,
  RsaPublicKey,
  TpmCrypto,
  TpmHashes,
  TpmSignature,
} from './crypto.js';
export { hashSize, nobleHashes } from './hashes.js';
export { type KdfAInput, type KdfEInput, kdfA, kdfE } from './kdf.js';
export { nobleCrypto } from './noble-crypto.js';
export { TpmError, type TpmErrorCode } from './response-code.js';
export {
  Session,
  type SessionAttributes,
  type SessionCipher,
  type SessionParameters,
  type SessionType,
  type SessionUse,
} from './session.js';
export { type ExecuteOptions, type Request, Tpm, type TpmOptions } from './tpm.js';
export type { TpmTransport } from './transport.js';
