/** Who a PAL is, to somebody far away: from the platform's attestation key down to a PAL's quote, and which of these keys are whose. */
import { createHash } from 'node:crypto';
import { akTemplate, createPrimary, quote, readPcrs, Tpm, TpmtPublic, TpmtSignature, verifyQuote } from '@casemate/tpm';
import { openUtpm } from '@casemate/utpm';
import { decode, encode } from '@casemate/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  memoryStore,
  openTrustvisor,
  type Pal,
  parseIdentityEvent,
  type TrustvisorOptions,
  verifyPalCertificate,
} from '../src/index.js';
import { rogue, SERVICE, services } from './pals.js';

const NONE = new Uint8Array(0);
const ZEROS = new Uint8Array(32);
const sha256 = (...parts: readonly Uint8Array[]) =>
  new Uint8Array(createHash('sha256').update(Buffer.concat(parts)).digest());

async function platform(more: Partial<TrustvisorOptions> = {}) {
  const tpm = await openUtpm({ startup: true });
  const store = memoryStore();
  const open = () => openTrustvisor({ tpm, store, identityPcr: 13, ...more });
  return { tpm, store, open, [Symbol.asyncDispose]: () => tpm.close() };
}

/** What a verifier does that knows the attestation key from its certificate. */
function verifyChain(evidence: {
  readonly attestationKey: TpmtPublic;
  readonly nonce: Uint8Array;
  readonly platform: { readonly quoted: Uint8Array; readonly signature: Uint8Array };
  readonly events: readonly Uint8Array[];
  readonly certificate: Pal['certificate'];
  readonly pal: { readonly quoted: Uint8Array; readonly signature: Uint8Array };
}) {
  const { attestationKey: signer, nonce } = evidence;
  const pcr = evidence.events.reduce((value, event) => sha256(value, sha256(event)), ZEROS);
  const platformCheck = verifyQuote({
    ...{ signer, nonce, attest: evidence.platform.quoted, signature: evidence.platform.signature },
    pcrs: { sha256: { 13: pcr } },
  });
  if (!platformCheck.ok) return `platform: ${platformCheck.message}`;
  const [event = NONE] = evidence.events;
  const certified = verifyPalCertificate(parseIdentityEvent(event), evidence.certificate);
  if (!certified.ok) return `certificate: ${certified.problem}`;
  const { identity, measurement } = certified.claims;
  const palCheck = verifyQuote({
    ...{ signer: decode(TpmtPublic, identity), nonce, attest: evidence.pal.quoted, signature: evidence.pal.signature },
    pcrs: { sha256: { 0: sha256(ZEROS, measurement) } },
  });
  return palCheck.ok ? certified.claims : `PAL: ${palCheck.message}`;
}

describe('the chain from the attestation key to a PAL', () => {
  it('is whole: quote of the platform, event, TrustVisor key, certificate, quote of the PAL; and breaks at each link', async () => {
    await using place = await platform();
    await using trustvisor = await place.open();
    const pal = await trustvisor.register(services());
    const tpm = new Tpm(place.tpm);
    const ak = await createPrimary(tpm, { hierarchy: 'endorsement', template: akTemplate('ecc-p256') });
    const nonce = new Uint8Array(20).fill(5);
    const evidence = {
      attestationKey: ak.public,
      nonce,
      platform: await quote(tpm, ak, { nonce, pcrs: { sha256: [13] } }),
      events: [trustvisor.identityEvent?.event ?? NONE],
      certificate: pal.certificate,
      pal: await pal.quote(nonce),
    };
    expect(verifyChain(evidence)).toMatchObject({ name: 'test', measurement: pal.measurement, identity: pal.identity });
    expect(trustvisor.identityEvent?.pcr).toBe(13);

    await using elsewhere = await platform();
    await using stranger = await elsewhere.open();
    const foreign = await stranger.register(services());
    const other = await trustvisor.register(rogue());
    expect(foreign.measurement).toEqual(pal.measurement);
    const broken = (change: object) => verifyChain({ ...evidence, ...change });
    expect(broken({ nonce: ZEROS })).toMatch(/^platform/);
    expect(broken({ events: [stranger.identityEvent?.event] })).toMatch(/^platform/);
    expect(broken({ certificate: foreign.certificate })).toMatch(/^certificate/);
    expect(broken({ certificate: { ...pal.certificate, statement: other.certificate.statement } })).toMatch(
      /^certificate/,
    );
    expect(broken({ certificate: other.certificate })).toMatch(/^PAL/);
    expect(broken({ pal: await foreign.quote(nonce) })).toMatch(/^PAL/);
    expect(broken({ pal: await pal.quote(ZEROS) })).toMatch(/^PAL/);
  });

  it('is refused where the certificate was changed at any byte', async () => {
    await using place = await platform();
    await using trustvisor = await place.open();
    const { certificate } = await trustvisor.register(services());
    expect(verifyPalCertificate(trustvisor.identity, certificate).ok).toBe(true);
    for (const part of ['statement', 'quoted', 'signature'] as const) {
      for (let at = 0; at < certificate[part].length; at++) {
        const changed = certificate[part].slice();
        changed[at] = (changed[at] ?? 0) ^ 1;
        const check = verifyPalCertificate(trustvisor.identity, { ...certificate, [part]: changed });
        expect(check.ok, `${part} ${at}`).toBe(false);
      }
    }
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), fc.uint8Array(), (statement, quoted, signature) => {
        expect(verifyPalCertificate(trustvisor.identity, { statement, quoted, signature }).ok).toBe(false);
      }),
    );
    expect(() => parseIdentityEvent(Uint8Array.of(1, 2, 3))).toThrowError(expect.objectContaining({ code: 'input' }));
  });

  it('is extended once at each start, in every bank, and by no start without the option', async () => {
    await using place = await platform();
    const tpm = new Tpm(place.tpm);
    const before = await readPcrs(tpm, { sha1: [13], sha256: [13] });
    const first = await place.open();
    await first.close();
    await (await openTrustvisor({ tpm: place.tpm, store: place.store })).close();
    const event = first.identityEvent?.event ?? NONE;
    const after = await readPcrs(tpm, { sha1: [13], sha256: [13] });
    expect(after.sha256?.[13]).toEqual(sha256(before.sha256?.[13] ?? NONE, sha256(event)));
    expect(after.sha1?.[13]).not.toEqual(before.sha1?.[13]);
    await expect(
      openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true, identityPcr: 13 }),
    ).rejects.toMatchObject({ code: 'input' });
    await expect(openTrustvisor({ tpm: place.tpm, store: place.store, identityPcr: 24 })).rejects.toMatchObject({
      code: 'input',
    });
  });
});

describe("PALs' identities", () => {
  it('are their own and the same at each registration, or shared where that is wanted', async () => {
    await using place = await platform();
    const kinds = ['ecc-p256', 'rsa-2048'] as const;
    const collect = async () => {
      await using trustvisor = await place.open();
      const [one, two] = [services(), rogue()];
      const keys = [];
      for (const identityKey of kinds) {
        for (const sharedIdentity of [false, true]) {
          for (const image of [one, two]) {
            await using pal = await trustvisor.register(image, { identityKey, sharedIdentity });
            const check = verifyPalCertificate(trustvisor.identity, pal.certificate);
            expect(check).toMatchObject({ ok: true, claims: { identity: pal.identity, sharedIdentity } });
            keys.push(Buffer.from(pal.identity).toString('hex'));
          }
        }
      }
      return { keys, trustvisor: Buffer.from(trustvisor.identity).toString('hex') };
    };
    const first = await collect();
    expect(await collect()).toEqual(first);
    const { keys } = first;
    expect([keys[2] === keys[3], keys[6] === keys[7]]).toEqual([true, true]);
    expect(new Set([...keys, first.trustvisor]).size).toBe(7);
  });

  it('say which PAL it was, where the key is shared, by uPCR 0', async () => {
    await using place = await platform();
    await using trustvisor = await place.open();
    const one = await trustvisor.register(services(), { sharedIdentity: true });
    const two = await trustvisor.register(rogue(), { sharedIdentity: true });
    const nonce = new Uint8Array(16);
    const { quoted: attest, signature } = await two.quote(nonce);
    const signer = decode(TpmtPublic, one.identity);
    const of = (pal: Pal) => ({
      signer,
      attest,
      signature,
      nonce,
      pcrs: { sha256: { 0: sha256(ZEROS, pal.measurement) } },
    });
    expect([verifyQuote(of(one)).ok, verifyQuote(of(two)).ok]).toEqual([false, true]);
  });

  it('by RSA lie sealed in the store: a damaged one is refused, one that is gone is replaced, another one is not taken', async () => {
    await using place = await platform();
    const register = async (image = services()) => {
      await using trustvisor = await place.open();
      const pal = await trustvisor.register(image, { identityKey: 'rsa-2048' });
      return {
        identity: Buffer.from(pal.identity).toString('hex'),
        measurement: Buffer.from(pal.measurement).toString('hex'),
      };
    };
    const one = await register();
    const two = await register(rogue());
    const name = `${one.measurement}.rsa-identity`;
    const blob = (await place.store.get(name)) ?? NONE;
    expect(Buffer.from(blob).includes(Buffer.from('RSA'))).toBe(false);
    const other = (await place.store.get(`${two.measurement}.rsa-identity`)) ?? NONE;
    for (const bad of [other, blob.subarray(0, 60), Uint8Array.of(...blob.subarray(0, -1), 1 ^ (blob.at(-1) ?? 0))]) {
      await place.store.put(name, bad);
      await expect(register()).rejects.toMatchObject({ code: 'sealed-state' });
    }
    await place.store.put(name, blob);
    expect(await register()).toEqual(one);
    await place.store.delete(name);
    expect((await register()).identity).not.toBe(one.identity);
  });

  it('are of the kind that was asked for', async () => {
    await using trustvisor = await openTrustvisor({ store: memoryStore(), insecureAllowEphemeral: true });
    const pal = await trustvisor.register(services(), { identityKey: 'rsa-2048' });
    const { signature } = await pal.quote(NONE);
    expect(encode(TpmtSignature, decode(TpmtSignature, signature)).length).toBe(2 + 2 + 2 + 256);
    const inside = await pal.invoke(SERVICE.identity, NONE);
    expect(inside.output).toEqual(pal.identity);
    await expect(trustvisor.register(services(), { identityKey: 'dsa' as never })).rejects.toMatchObject({
      code: 'input',
    });
  });
});
