/** Symmetric primitives: encryption, hashing and MACs in one command. Part 3, clause 15. */
import {
  type CommandRequest,
  type CommandResponse,
  EncryptDecrypt,
  EncryptDecrypt2,
  Hash,
  Mac,
  TPM_ALG,
  TPM_RC,
  TPM_RH,
  TPMA_OBJECT,
} from '@casemate/tpm';
import { blockSize, CIPHER_MODES, runCipher } from '../block-cipher.js';
import { objectAt } from '../entity.js';
import { isGenerated } from '../generated.js';
import { handler } from '../handler.js';
import { IMPLEMENTATION, isHash } from '../implementation.js';
import { startMac } from '../mac.js';
import { has, type TpmObject } from '../object.js';
import { refuse, refuseHandle, refuseParameter } from '../refusal.js';
import { hashcheckTicket, nullTicket } from '../ticket.js';
import type { Tpm } from '../tpm.js';

/** TPM2_EncryptDecrypt (15.2). */
export const encryptDecrypt = /* @__PURE__ */ handler(EncryptDecrypt, (tpm, request) =>
  crypt(tpm, request, { inData: 4, mode: 2, ivIn: 3 }),
);

/** TPM2_EncryptDecrypt2 (15.3): the data come first, so that a session can encrypt them. */
export const encryptDecrypt2 = /* @__PURE__ */ handler(EncryptDecrypt2, (tpm, request) =>
  crypt(tpm, request, { inData: 1, mode: 3, ivIn: 4 }),
);

interface CryptRequest {
  readonly keyHandle: number;
  readonly decrypt: boolean;
  readonly mode: number;
  readonly ivIn: Uint8Array;
  readonly inData: Uint8Array;
}

/** `places` are the numbers of the parameters, to blame the right one. */
function crypt(
  tpm: Tpm,
  { keyHandle, decrypt, mode: asked, ivIn, inData }: CryptRequest,
  places: Readonly<Record<'inData' | 'mode' | 'ivIn', number>>,
): { readonly outData: Uint8Array; readonly ivOut: Uint8Array } {
  if (inData.length > IMPLEMENTATION.MAX_BUFFER) refuseParameter(TPM_RC.SIZE, places.inData);
  const object = objectAt(tpm, keyHandle);
  const { algorithm, own, key } = cipherOf(object, decrypt ? TPMA_OBJECT.decrypt : TPMA_OBJECT.sign);
  if (asked === TPM_ALG.NULL ? own === TPM_ALG.NULL : own !== TPM_ALG.NULL && asked !== own) {
    refuseParameter(TPM_RC.MODE, places.mode);
  }
  const mode = own === TPM_ALG.NULL ? asked : own;
  const size = blockSize(algorithm);
  if (ivIn.length !== (mode === TPM_ALG.ECB ? 0 : size)) refuseParameter(TPM_RC.SIZE, places.ivIn);
  const isBlocks = mode === TPM_ALG.CBC || mode === TPM_ALG.ECB;
  if (isBlocks && inData.length % size !== 0) refuseParameter(TPM_RC.SIZE, places.inData);
  const direction = decrypt ? 'decrypt' : 'encrypt';
  const { data, iv } = runCipher(tpm.crypto, { algorithm, mode, direction, key, iv: ivIn, data: inData });
  return { outData: data, ivOut: iv };
}

function cipherOf(
  { public: area, sensitive }: TpmObject,
  use: number,
): { readonly algorithm: number; readonly own: number; readonly key: Uint8Array } {
  if (area.type !== TPM_ALG.SYMCIPHER) return refuseHandle(TPM_RC.KEY, 1);
  if (has(area, TPMA_OBJECT.restricted) || !has(area, use)) refuseHandle(TPM_RC.ATTRIBUTES, 1);
  const { algorithm, mode: own } = area.parameters.sym;
  // A key for a MAC does not encrypt.
  if (own !== TPM_ALG.NULL && !CIPHER_MODES.includes(own)) refuseHandle(TPM_RC.MODE, 1);
  return { algorithm, own, key: sensitive?.sensitive ?? refuse(TPM_RC.AUTH_UNAVAILABLE) };
}

/** TPM2_Hash (15.4). The ticket lets a restricted key sign the digest, so data that look like the TPM's own get none. */
export const hash = /* @__PURE__ */ handler(Hash, digestOf, { keepsNothing: true });

function digestOf(tpm: Tpm, { data, hashAlg, hierarchy }: CommandRequest<typeof Hash>): CommandResponse<typeof Hash> {
  if (data.length > IMPLEMENTATION.MAX_BUFFER) refuseParameter(TPM_RC.SIZE, 1);
  if (!isHash(hashAlg)) refuseParameter(TPM_RC.HASH, 2);
  const outHash = tpm.crypto.hash(hashAlg, data);
  // All of the data are here, so that few bytes are known not to start an attestation.
  const isSafe = hierarchy !== TPM_RH.NULL && (data.length < 4 || !isGenerated(data));
  return { outHash, validation: isSafe ? hashcheckTicket(tpm, hierarchy, hashAlg, outHash) : nullTicket() };
}

/** TPM2_MAC (15.6), which TPM2_HMAC (15.5) became with the same code. */
export const mac = /* @__PURE__ */ handler(Mac, (tpm, { handle, buffer, inScheme }) => {
  if (buffer.length > IMPLEMENTATION.MAX_BUFFER) refuseParameter(TPM_RC.SIZE, 1);
  const running = startMac(tpm, objectAt(tpm, handle), inScheme);
  running.update(buffer);
  return { outMAC: running.digest() };
});
