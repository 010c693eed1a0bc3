/** A recorded conversation with swtpm: the same bytes must go out again, and the same values come in. */
import { readFileSync } from 'node:fs';
import { decode, encode } from '@casemate/wire';
import { describe, expect, it } from 'vitest';
import { nodeCrypto } from '../../src/node-crypto.js';
import {
  commandByOrdinal,
  decodeCommand12,
  decodeResponse12,
  encodeCommand12,
  encodeResponse12,
  type Identity12,
  nobleCrypto12,
  pubkeyOf,
  type Quote12,
  type Quote212,
  TPM_RESULT,
  verifyIdentity,
  verifyQuote12,
  verifyQuote212,
} from '../../src/tpm12.js';
import type { TpmTransport } from '../../src/transport.js';
import { converse, type Exchange } from './scenario.js';

const recorded: readonly Exchange[] = JSON.parse(
  readFileSync(new URL('./vectors/swtpm12-traffic.json', import.meta.url), 'utf8'),
);
const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));
const hex = (data: Uint8Array) => Buffer.from(data).toString('hex');

/** Answers each command with what was recorded, and refuses one that was not sent then. */
function replay(): TpmTransport {
  let at = 0;
  return {
    async send(command) {
      const exchange = recorded[at++];
      expect(hex(command)).toBe(exchange?.request);
      return bytes(exchange?.response ?? '');
    },
    close: async () => undefined,
  };
}

/** {@link replay} with one bit changed in the response at `target`; what is tidied up after that just succeeds. */
function attack(target: number): TpmTransport {
  let at = 0;
  return {
    async send() {
      const response = bytes(at <= target ? (recorded[at]?.response ?? '') : '00c40000000a00000000');
      if (at++ !== target) return response;
      const flip = Math.floor((response.length - 10) / 2) + 10;
      return response.with(flip, (response[flip] ?? 0) ^ 0x10);
    },
    close: async () => undefined,
  };
}

describe('a recorded conversation', () => {
  it('goes the same way again, byte for byte, with every HMAC right', async () => {
    const outcome = await converse(replay());
    const { identity, quotes, nonce } = outcome as {
      readonly identity: Identity12;
      readonly quotes: { readonly first: Quote12; readonly second: Quote212 };
      readonly nonce: Uint8Array;
    };
    const key = pubkeyOf(identity.key);
    for (const crypto of [nobleCrypto12, nodeCrypto]) {
      expect(verifyIdentity({ publicKey: key, binding: identity.binding, label: 'recording' }, crypto)).toBe(true);
      expect(verifyQuote12(key, quotes.first, nonce, crypto)).toMatchObject({ ok: true });
      expect(verifyQuote212(key, quotes.second, nonce, crypto)).toMatchObject({ ok: true, locality: 1 });
    }
    expect(outcome.refusal).toContain('TPM_DECRYPT_ERROR');
    expect(outcome.again).toEqual(outcome.endorsementKey);
    expect(outcome.credential).toEqual(outcome.stored);
  });

  it.each(recorded.map((exchange, at) => ({ at, ...exchange })))(
    'encodes exchange $at as it decodes it',
    ({ request, response }) => {
      const frame = decodeCommand12(bytes(request), (ordinal) => commandByOrdinal.get(ordinal));
      const command = commandByOrdinal.get(frame.ordinal);
      if (command === undefined) throw new Error('a command that is not described');
      const parameters = encode(command.parameters, decode(command.parameters, frame.parameters));
      expect(hex(encodeCommand12({ ...frame, parameters }))).toBe(request);
      const answer = decodeResponse12(command, frame.auths.length, bytes(response));
      if (answer.returnCode !== TPM_RESULT.SUCCESS) return expect(hex(encodeResponse12(answer))).toBe(response);
      const results = encode(command.response, decode(command.response, answer.parameters));
      expect(hex(encodeResponse12({ ...answer, parameters: results }))).toBe(response);
    },
  );

  it('ends in a typed error wherever a bit of an authorised response changes', async () => {
    const authorised = recorded.flatMap(({ response }, at) => (response.startsWith('00c4') ? [] : [at]));
    expect(authorised.length).toBeGreaterThan(12);
    for (const at of authorised) {
      const failure = { name: 'TpmError', code: expect.stringMatching(/integrity|decode/) };
      await expect(converse(attack(at))).rejects.toMatchObject(failure);
    }
  });
});

describe('the two crypto providers', () => {
  const key = new Uint8Array(16).fill(1);
  const iv = new Uint8Array(16).fill(0xff); // the counter of CTR carries over
  const data = new Uint8Array(100).fill(3);

  it('encrypt the same by AES', () => {
    for (const mode of ['aesCbcEncrypt', 'aesCtr'] as const) {
      expect(hex(nodeCrypto[mode](key, iv, data))).toBe(hex(nobleCrypto12[mode](key, iv, data)));
    }
    expect(nodeCrypto.aesCbcDecrypt(key, iv, nobleCrypto12.aesCbcEncrypt(key, iv, data))).toEqual(data);
    expect(nobleCrypto12.aesCbcDecrypt(key, iv, nodeCrypto.aesCbcEncrypt(key, iv, data))).toEqual(data);
  });

  it('refuse wrong padding by the same error', () => {
    for (const crypto of [nodeCrypto, nobleCrypto12]) {
      expect(() => crypto.aesCbcDecrypt(key, iv, new Uint8Array(32))).toThrow('decrypt by AES-CBC');
    }
  });
});
