/** One C source on both engines: each service, checked from outside, with the same results. */
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { signPal } from '@casemate/pal-linker';
import { openSigningKey } from '@casemate/pal-linker/node';
import { publicKeySpki, type TpmTransport, TpmtPublic, TpmtSignature, verifyQuote } from '@casemate/tpm';
import { nobleCrypto12, TpmQuoteInfo } from '@casemate/tpm/tpm12';
import { openUtpm } from '@casemate/utpm';
import { decode, encode } from '@casemate/wire';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BlobStore, memoryStore, openTrustvisor, type Pal, type Trustvisor } from '../src/index.js';
import { API, callApi, joined, opensslAccepts, outputOf, word } from './api-pal.js';
import { buildProgram, whyNoPrograms } from './programs.js';

const text = (value: string) => new TextEncoder().encode(value);
const sha256 = (...parts: readonly Uint8Array[]) =>
  new Uint8Array(
    createHash('sha256')
      .update(joined(...parts))
      .digest(),
  );
const sha1 = (...parts: readonly Uint8Array[]) =>
  new Uint8Array(
    createHash('sha1')
      .update(joined(...parts))
      .digest(),
  );
const ZEROS = new Uint8Array(32);
const ZEROS20 = new Uint8Array(20);

/** What the commands whose results do not depend on keys and images gave, by engine. */
const results: Record<string, unknown[]> = {};

for (const engine of ['wasm', 'kvm'] as const) {
  const missing = whyNoPrograms(engine);
  describe.skipIf(missing !== '')(`the services on ${engine}${missing && ` (skipped: ${missing})`}`, () => {
    let tpm: Awaited<ReturnType<typeof openUtpm>>;
    let store: BlobStore;
    let trustvisor: Trustvisor;
    let image: Uint8Array;
    let pal: Pal;
    const printed: string[] = [];
    const call = (command: number, ...input: readonly Uint8Array[]) => callApi(pal, command, ...input);
    const record = (...values: unknown[]) => {
      results[engine] ??= [];
      results[engine].push(...values);
    };
    const open = (more: { readonly tpm?: TpmTransport } = {}) =>
      openTrustvisor({ tpm, store, engine, onPrint: (_, line) => printed.push(line), ...more });

    beforeAll(async () => {
      tpm = await openUtpm({ startup: true });
      store = memoryStore();
      trustvisor = await open();
      image = buildProgram(engine, ['api.c']);
      pal = await trustvisor.register(image);
    });
    afterAll(async () => {
      await trustvisor?.close();
      await tpm?.close();
    });

    it('pass parameters in and out', async () => {
      for (const input of [text(''), text('abc'), new Uint8Array(4000).fill(255)]) {
        const { returnCode, output } = await pal.invoke(API.parameters, input);
        expect(returnCode).toBe(input.reduce((sum, byte) => sum + byte, 0));
        expect(output.slice(4)).toEqual(input.slice().reverse());
      }
    });

    it('keep eight uPCRs, the first of which is the measurement, in SHA-256 and in SHA-1', async () => {
      expect(pal.measurement).toEqual(sha256(image));
      expect(outputOf(await call(API.pcrRead, word(0)))).toEqual(sha256(ZEROS, sha256(image)));
      expect(outputOf(await call(API.tvPcrRead, word(0)))).toEqual(sha1(ZEROS20, sha1(image)));
      for (const [read, extend, zeros, hash] of [
        [API.pcrRead, API.pcrExtend, ZEROS, sha256],
        [API.tvPcrRead, API.tvPcrExtend, ZEROS20, sha1],
      ] as const) {
        const event = hash(text('an event'));
        expect(outputOf(await call(read, word(7)))).toEqual(zeros);
        expect((await call(extend, word(7), event)).status).toBe(0);
        const value = outputOf(await call(read, word(7)));
        expect(value).toEqual(hash(zeros, event));
        const wrong = [(await call(read, word(8))).status, (await call(extend, word(8), event)).status];
        expect(wrong).toEqual([2, 2]);
        record(value, wrong);
      }
    });

    it('seal to this PAL, to uPCRs and to their values later, and refuse all else', async () => {
      const secret = text('a secret of this PAL');
      const sealed = outputOf(await call(API.seal, word(0), secret));
      expect(Buffer.from(sealed).includes('a secret')).toBe(false);
      const opened = await call(API.unseal, sealed);
      expect(outputOf(opened)).toEqual(secret);
      expect(outputOf(opened, 1)).toEqual(sha256(sha256(ZEROS, pal.measurement)));
      const bad = sealed.slice();
      bad[bad.length - 20] = (bad.at(-20) ?? 0) ^ 1;
      const now = outputOf(await call(API.seal, word(4), word(1 << 3), secret));
      expect(outputOf(await call(API.unseal, now))).toEqual(secret);
      await call(API.pcrExtend, word(3), sha256(text('changed')));
      const codes = [(await call(API.unseal, bad)).status, (await call(API.unseal, now)).status];
      const later = sha256(sha256(sha256(ZEROS, sha256(text('changed'))), sha256(text('again'))));
      const then = outputOf(await call(API.seal, word(36), word(1 << 3), later, secret));
      codes.push((await call(API.unseal, then)).status);
      await call(API.pcrExtend, word(3), sha256(text('again')));
      expect(outputOf(await call(API.unseal, then))).toEqual(secret);
      codes.push(
        (await call(API.seal, word(3), text('abc'), secret)).status,
        (await call(API.unseal, text('x'))).status,
      );
      expect(codes).toEqual([6, 6, 6, 1, 6]);
      expect(outputOf(await call(API.both, secret))).toEqual(secret);
      record(codes, sealed.length, now.length);
    });

    it('quote by a P-256 key that OpenSSL and the TPM library accept', async () => {
      const nonce = new Uint8Array(randomBytes(20));
      const [quoted = ZEROS, signature = ZEROS] = (await call(API.quote, word(1), nonce)).outputs;
      const signer = decode(TpmtPublic, pal.identity);
      const pcrs = { sha256: { 0: sha256(ZEROS, pal.measurement) } };
      expect(verifyQuote({ signer, attest: quoted, signature, nonce, pcrs }).ok).toBe(true);
      expect(verifyQuote({ signer, attest: quoted, signature, nonce: ZEROS, pcrs }).ok).toBe(false);
      const key = publicKeySpki(signer);
      const parsed = decode(TpmtSignature, signature);
      if (!('signatureR' in parsed.signature)) throw new Error('expected ECDSA');
      const der = ecdsaDer(parsed.signature.signatureR, parsed.signature.signatureS);
      expect(opensslAccepts({ key, keyKind: 'spki', hash: 'sha256', data: quoted, signature: der })).toBe(true);
      expect(opensslAccepts({ key, keyKind: 'spki', hash: 'sha256', data: nonce, signature: der })).toBe(false);
      expect((await call(API.quote, word(256), nonce)).status).toBe(2);
    });

    it('quote by an RSA-2048 key where that is asked for, the same at each registration', async () => {
      const nonce = new Uint8Array(randomBytes(32));
      const other = await trustvisor.register(image, { identityKey: 'rsa-2048' });
      const [attest = ZEROS, signature = ZEROS] = (await callApi(other, API.quote, word(1), nonce)).outputs;
      expect(outputOf(await callApi(other, API.identity))).toEqual(other.identity);
      const signer = decode(TpmtPublic, other.identity);
      const pcrs = { sha256: { 0: sha256(ZEROS, pal.measurement) } };
      expect(verifyQuote({ signer, attest, signature, nonce, pcrs })).toMatchObject({ ok: true });
      const { quoted, signature: outside } = await other.quote(nonce);
      expect(verifyQuote({ signer, attest: quoted, signature: outside, nonce, pcrs })).toMatchObject({ ok: true });
      const parsed = decode(TpmtSignature, signature);
      if (!('sig' in parsed.signature)) throw new Error('expected RSASSA');
      const { sig } = parsed.signature;
      const signed = { key: publicKeySpki(signer), keyKind: 'spki', hash: 'sha256', signature: sig } as const;
      expect(opensslAccepts({ ...signed, data: attest })).toBe(true);
      await other.unregister();
      const again = await trustvisor.register(image, { identityKey: 'rsa-2048' });
      expect(again.identity).toEqual(other.identity);
      await again.unregister();
    });

    it("quote and seal in TrustVisor's structures", async () => {
      const nonce = new Uint8Array(randomBytes(20));
      const selection = Uint8Array.of(1, 0, 1 << 6);
      const [signature = ZEROS, composite = ZEROS] = (await call(API.tvQuote, selection, nonce)).outputs;
      expect(composite).toEqual(joined(selection, Uint8Array.of(0, 0, 0, 20), ZEROS20));
      const info = { version: { major: 1, minor: 1, revMajor: 0, revMinor: 0 }, fixed: 'QUOT' } as const;
      const data = encode(TpmQuoteInfo, { ...info, digestValue: sha1(composite), externalData: nonce });
      expect(data).toEqual(joined(Uint8Array.of(1, 1, 0, 0), text('QUOT'), sha1(composite), nonce));
      const key = outputOf(await call(API.tvIdentity));
      expect(opensslAccepts({ key, keyKind: 'rsa', hash: 'sha1', data, signature })).toBe(true);
      expect(opensslAccepts({ key, keyKind: 'rsa', hash: 'sha1', data: composite, signature })).toBe(false);
      const modulus = key.slice(key.length - 256 - 5, key.length - 5);
      const rsa = { type: 'rsa', modulus, exponent: 65537 } as const;
      expect(nobleCrypto12.verify(rsa, { scheme: 'rsassa', hash: 4, signature }, data)).toBe(true);

      const release = sha1(joined(selection, Uint8Array.of(0, 0, 0, 20), ZEROS20));
      const under = joined(selection, release, ZEROS20);
      const bound = outputOf(await call(API.tvSeal, word(43), under, text('under uPCR 6')));
      const opened = await call(API.tvUnseal, bound);
      expect([outputOf(opened), outputOf(opened, 1)]).toEqual([text('under uPCR 6'), release]);
      const free = outputOf(await call(API.tvSeal, word(0), text('for me')));
      const mine = await call(API.tvUnseal, free);
      expect([outputOf(mine), outputOf(mine, 1)]).toEqual([text('for me'), ZEROS20]);
      await call(API.tvPcrExtend, word(6), sha1(text('changed')));
      const codes = [(await call(API.tvUnseal, bound)).status, (await call(API.tvUnseal, free.slice(1))).status];
      codes.push(
        (await call(API.tvSeal, word(43), joined(Uint8Array.of(2, 0, 1), release, ZEROS20), text('x'))).status,
      );
      codes.push((await call(API.tvQuote, Uint8Array.of(1, 0, 0), nonce)).status);
      expect(codes).toEqual([6, 6, 1, 1]);
      record(codes, composite, free.length, bound.length, key.length);
    });

    it('give randomness, identity and time', async () => {
      const [one, two] = [outputOf(await call(API.random, word(64))), outputOf(await call(API.random, word(64)))];
      expect([one.length, two.length]).toEqual([64, 64]);
      expect(one).not.toEqual(two);
      expect((await call(API.random, word(4097))).status).toBe(1);
      expect(outputOf(await call(API.identity))).toEqual(pal.identity);
      const before = await call(API.time);
      const from = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 30));
      const after = await call(API.time);
      expect(outputOf(before)).toEqual(outputOf(after));
      const elapsed = Number(micros(outputOf(after, 1)) - micros(outputOf(before, 1)));
      expect(elapsed).toBeGreaterThanOrEqual(29_000);
      expect(elapsed).toBeLessThan((performance.now() - from + 1000) * 1000);
      await call(API.print, text('said by the PAL'));
      expect(printed).toContain('said by the PAL');
    });

    it('count and keep 32 bytes, for this PAL alone, also when the isolate starts anew', async () => {
      expect(micros(outputOf(await call(API.counterRead)))).toBe(0n);
      expect(micros(outputOf(await call(API.counterIncrement)))).toBe(1n);
      expect(outputOf(await call(API.nvSize))).toEqual(word(32));
      expect(outputOf(await call(API.nvRead))).toEqual(ZEROS);
      const data = new Uint8Array(randomBytes(32));
      await call(API.nvWrite, data);
      const other = await trustvisor.register(buildProgram(engine, ['api.c'], { version: '2' }));
      expect(micros(outputOf(await callApi(other, API.counterRead)))).toBe(0n);
      expect(outputOf(await callApi(other, API.nvRead))).toEqual(ZEROS);
      await other.unregister();
      await trustvisor.close();
      trustvisor = await open();
      pal = await trustvisor.register(image);
      expect(micros(outputOf(await call(API.counterIncrement)))).toBe(2n);
      expect(outputOf(await call(API.nvRead))).toEqual(data);
    });

    it('seal by policy: to this PAL, to another, and to any version by the same signer', async () => {
      const signer = await openSigningKey(newKey());
      const release = async (version: string, securityVersion: number, by = signer, name = 'api') => {
        const unsigned = buildProgram(engine, ['api.c'], { name, version });
        return trustvisor.register(await signPal(unsigned, by, { securityVersion }));
      };
      const [old, current, next] = [await release('1.9', 1), await release('2.0', 2), await release('2.1', 3)];
      const stranger = await release('2.0', 9, await openSigningKey(newKey()));
      const namesake = await release('2.0', 9, signer, 'other');
      const policy = (kind: number, digest: Uint8Array) =>
        joined(word(kind), word(0), word(77), word(0), joined(text('state'), new Uint8Array(27)), digest);
      const seal = (by: Pal, kind: number, digest: Uint8Array = ZEROS) =>
        callApi(by, API.sealData, policy(kind, digest), word(5), text('extra'), text('the data'));
      const unseal = (by: Pal, blob: Uint8Array, extra = 'extra') =>
        callApi(by, API.unsealData, word(extra.length), text(extra), blob);

      const own = outputOf(await seal(current, 0));
      const opened = await unseal(current, own);
      expect(outputOf(opened)).toEqual(text('the data'));
      const info = outputOf(opened, 1);
      expect(info.slice(0, 16)).toEqual(joined(word(0), word(1), word(77), word(2)));
      expect(new TextDecoder().decode(info.slice(16, 21))).toBe('state');
      expect(info.slice(48)).toEqual(sha256(sha256(ZEROS, current.measurement)));
      const codes = [(await unseal(next, own)).status, (await unseal(current, own, 'other')).status];

      const given = outputOf(await seal(current, 3, next.measurement));
      expect(outputOf(await unseal(next, given))).toEqual(text('the data'));
      codes.push((await unseal(current, given)).status, (await unseal(stranger, given)).status);

      const series = outputOf(await seal(current, 4));
      for (const by of [current, next]) expect(outputOf(await unseal(by, series))).toEqual(text('the data'));
      for (const by of [old, stranger, namesake, pal]) codes.push((await unseal(by, series)).status);
      expect(codes).toEqual(new Array(8).fill(6));
      for (let at = 0; at < 140; at++) {
        const forged = series.slice();
        forged[at] = (forged[at] ?? 0) ^ 1;
        expect((await unseal(next, forged)).status, `byte ${at}`).toBe(6);
      }
      const wrong = [(await seal(pal, 4)).status, (await seal(pal, 5)).status, (await seal(pal, 1)).status];
      expect(wrong).toEqual([7, 1, 2]);
      record(codes, wrong, series.length);
      expect([pal.signed, current.signed?.securityVersion]).toEqual([undefined, 2]);
      await Promise.all([old, current, next, stranger, namesake].map((each) => each.unregister()));
    });
  });
}

describe('one source', () => {
  it.skipIf(whyNoPrograms('kvm') !== '')('gives the same results on both engines', () => {
    expect(results.wasm?.length).toBeGreaterThan(10);
    expect(results.kvm).toEqual(results.wasm);
  });
});

function newKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

function micros(bytes: Uint8Array): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
}

function ecdsaDer(r: Uint8Array, s: Uint8Array): Uint8Array {
  const integer = (bytes: Uint8Array) => {
    const first = bytes.findIndex((byte) => byte !== 0);
    const body = joined(((bytes[first] ?? 0) & 0x80) !== 0 ? Uint8Array.of(0) : new Uint8Array(0), bytes.slice(first));
    return joined(Uint8Array.of(2, body.length), body);
  };
  const body = joined(integer(r), integer(s));
  return joined(Uint8Array.of(0x30, body.length), body);
}
