/** A conversation with a TPM 1.2 in which the caller's every random byte is known, so that it can be recorded and replayed. */
import { oaepEncrypt } from '../../src/rsa.js';
import {
  activateIdentity,
  buildActivation,
  changeSealedSecret,
  createEndorsementKey,
  createKey12,
  enable12,
  extendPcr12,
  loadKey12,
  makeIdentity,
  nobleCrypto12,
  nvDefine12,
  nvRead12,
  nvWrite12,
  passwordSecret,
  pubkeyOf,
  quote12,
  quote212,
  readEndorsementKey,
  readNvPublic,
  readPermanentFlags,
  readVersion,
  seal12,
  srk,
  startup12,
  TPM_NV_PER,
  Tpm12,
  type Tpm12Crypto,
  takeOwnership,
  unbind12,
  unseal12,
} from '../../src/tpm12.js';
import type { TpmTransport } from '../../src/transport.js';

/** One command and its response, in hexadecimal. */
export interface Exchange {
  readonly request: string;
  readonly response: string;
}

/** The secrets of the scenario. */
const OWNER_PASSWORD = 'owner of the recording';
const SECRET = passwordSecret('secret of the recording');

/** @noble with random bytes that count up. */
function countingCrypto(): Tpm12Crypto {
  let counter = 0;
  const random = (length: number) => {
    counter++;
    return nobleCrypto12.hash(4, Uint8Array.of(counter >>> 8, counter & 0xff)).slice(0, length);
  };
  return {
    ...nobleCrypto12,
    random,
    rsaOaepEncrypt: (key, hash, label, message) => oaepEncrypt(key, hash, label, message, random(20), nobleCrypto12),
  };
}

/** Has a fresh, enabled TPM do a bit of everything. Gives what came out. */
export async function converse(transport: TpmTransport): Promise<Readonly<Record<string, unknown>>> {
  const tpm = new Tpm12(transport, { crypto: countingCrypto() });
  await startup12(tpm);
  await enable12(tpm);
  const endorsementKey = await createEndorsementKey(tpm);
  const owner = passwordSecret(OWNER_PASSWORD);
  await takeOwnership(tpm, { ownerSecret: owner });
  await extendPcr12(tpm, 10, new Uint8Array(20).fill(1));
  const sealed = await seal12(tpm, srk(), { data: SECRET, secret: SECRET, binding: { pcrs: [10] } });
  const changed = await changeSealedSecret(tpm, srk(), sealed, { oldSecret: SECRET, newSecret: owner });
  const long = await seal12(tpm, srk(), { data: SECRET, binding: { pcrs: [10, 17], localities: [0] } });
  const unsealed = [await unseal12(tpm, srk(), changed, { secret: owner }), await unseal12(tpm, srk(), long)];
  const permission = TPM_NV_PER.AUTHREAD | TPM_NV_PER.AUTHWRITE;
  await nvDefine12(tpm, { index: 0x15213, size: 20, permission, secret: SECRET, owner });
  await nvWrite12(tpm, 0x15213, owner, { secret: SECRET });
  const stored = await nvRead12(tpm, 0x15213, { secret: SECRET });
  const identity = await makeIdentity(tpm, { owner, label: 'recording', secret: SECRET });
  await using aik = await loadKey12(tpm, srk(), identity.key, { secret: SECRET });
  const nonce = new Uint8Array(20).fill(7);
  const quotes = {
    first: await quote12(tpm, aik, { nonce, pcrs: [0, 10] }),
    second: await quote212(tpm, aik, { nonce, pcrs: [10], version: true }),
  };
  const identityKey = pubkeyOf(identity.key);
  const activation = buildActivation({ endorsementKey, identityKey, credential: owner }, tpm.crypto);
  const credential = await activateIdentity(tpm, aik, activation, { owner });
  const bindingKey = await createKey12(tpm, srk(), { kind: 'binding', secret: SECRET });
  await using loaded = await loadKey12(tpm, srk(), bindingKey, { secret: SECRET });
  const refusal = await unbind12(tpm, loaded, new Uint8Array(256)).catch((error: Error) => error.message);
  await using session = await tpm.openOsap('owner', owner);
  const again = await readEndorsementKey(tpm, { owner: session });
  const about = [await readVersion(tpm), await readPermanentFlags(tpm), await readNvPublic(tpm, 0x15213)];
  return { endorsementKey, unsealed, stored, identity, nonce, quotes, credential, refusal, again, about };
}
