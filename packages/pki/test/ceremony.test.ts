/** The ceremony of an offline root: whole, interrupted, with a token, and with what must not pass. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  buildCsr,
  decodePem,
  encodePem,
  generateKey,
  type Signer,
  type TemplateEntry,
  validatePath,
} from '../src/index.js';
import {
  type CeremonyRequests,
  type CeremonyResponse,
  finishCeremony,
  openStore,
  prepareCeremony,
  signCeremony,
  verifyCeremony,
} from '../src/node.js';
import { trustmeTemplate } from '../src/template.js';

const template = trustmeTemplate({ subject: { organizationName: 'Maker' }, domain: 'maker.example' });
const keys = new Map<string, Signer>();
const rootKey = async ({ name, algorithm }: TemplateEntry) => {
  const key = keys.get(name) ?? (await generateKey(algorithm ?? template.algorithm));
  keys.set(name, key);
  return key;
};
let path: string;
beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'casemate-ceremony-'));
});
afterEach(() => rmSync(path, { recursive: true, force: true }));
const passed = <T>(value: T): T => JSON.parse(JSON.stringify(value));
const options = {};
const fingerprint = (pem: string) => createHash('sha256').update(decodePem('CERTIFICATE', pem)).digest('hex');

async function ceremony(): Promise<{ requests: CeremonyRequests; response: CeremonyResponse }> {
  const requests = passed(await prepareCeremony(path, template, options));
  const response = passed(await signCeremony(requests, { rootKey, witnesses: ['Ada', 'Grace'], place: 'the vault' }));
  return { requests, response };
}

describe('a ceremony', () => {
  it('gives the whole tree, with the roots offline and a transcript that both roots signed', async () => {
    const { requests, response } = await ceremony();
    const verdict = await verifyCeremony(requests, response);
    expect(verdict).toMatchObject({ ok: true });
    if (verdict.ok) expect(verdict.steps).toHaveLength(2 + 2 * 3 + 6 * 2);
    const roots = ['software-signing-root', 'general-root'].map((name) =>
      fingerprint(response.certificates[name] ?? ''),
    );
    const hierarchy = await finishCeremony(path, response, { ...options, roots });
    expect(hierarchy.authorities).toHaveLength(template.certificates.length);
    const { certificate, chain, root } = hierarchy.get('image-signing');
    expect(await validatePath(certificate, chain, [root], { purpose: 'code-signing', time: new Date() })).toMatchObject(
      { ok: true },
    );
    const loaded = await (await openStore(path, options)).load();
    await expect(loaded.get('general-root').signer.sign(new Uint8Array(1))).rejects.toMatchObject({
      code: 'key-store',
    });
    expect((await loaded.get('device-ca').signer.sign(new Uint8Array(1))).length).toBeGreaterThan(60);
    expect(readFileSync(join(path, 'hierarchy', 'general-root.pem'), 'utf8')).not.toContain('PRIVATE KEY');
    await expect(finishCeremony(path, response, options)).rejects.toMatchObject({ code: 'not-found' });
    await expect(prepareCeremony(path, template, options)).rejects.toMatchObject({ code: 'exists' });
  });

  it('may be prepared again: the keys stay', async () => {
    const first = await prepareCeremony(path, template, options);
    const again = await prepareCeremony(path, template, options);
    const response = await signCeremony(first, { rootKey });
    expect(await finishCeremony(path, response, options)).toBeDefined();
    expect(again).toEqual(first);
  });

  it('tells a step, a certificate, a CRL and a request that was changed, left out or put in', async () => {
    const { requests, response } = await ceremony();
    const problems = async (changed: Partial<CeremonyResponse>, asked = requests) => {
      const verdict = await verifyCeremony(asked, { ...response, ...changed });
      return verdict.ok ? [] : verdict.problems;
    };
    const { transcript, certificates } = response;
    expect((await problems({ transcript: transcript.slice(0, -1) })).join()).toMatch(
      /not signed by software-signing-root/,
    );
    expect((await problems({ transcript: transcript.map((line) => line.replace('Ada', 'Eve')) })).join()).toMatch(
      /not signed by/,
    );
    expect((await problems({ transcript: [...transcript, transcript[0] ?? ''] })).join()).toMatch(
      /not signed the whole transcript/,
    );
    expect(
      (await problems({ certificates: { ...certificates, 'device-ca': certificates['user-ca'] ?? '' } })).join(),
    ).toMatch(/another certificate of device-ca/);
    expect(
      (await problems({ certificates: { ...certificates, 'evil-ca': certificates['user-ca'] ?? '' } })).join(),
    ).toMatch(/evil-ca, which nobody asked for/);
    expect((await problems({ checkpoints: {} })).join()).toMatch(/no-checkpoint|not signed/);
    const other = passed(await prepareCeremony(join(path, 'other'), template, options));
    expect((await problems({}, other)).join()).toMatch(/other requests/);
    const verdict = await verifyCeremony(requests, response, ['00'.repeat(32)]);
    expect(verdict).toMatchObject({ ok: false });
    await expect(finishCeremony(path, { ...response, checkpoints: {} }, options)).rejects.toMatchObject({
      code: 'untrusted',
    });
  });

  it('signs no request with another subject, and none that is missing', async () => {
    const requests = await prepareCeremony(path, template, options);
    const key = await generateKey('ecdsa-p256-sha256');
    const other = encodePem(
      'CERTIFICATE REQUEST',
      await buildCsr(key, { subject: { organizationName: 'Maker', commonName: 'Other CA' } }),
    );
    const swapped = { ...requests, requests: { ...requests.requests, 'device-ca': other } };
    await expect(signCeremony(swapped, { rootKey })).rejects.toMatchObject({ code: 'not-allowed' });
    const { 'device-ca': _, ...missing } = requests.requests;
    await expect(signCeremony({ ...requests, requests: missing }, { rootKey })).rejects.toMatchObject({
      code: 'bad-input',
    });
  });
});
