import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createCertificate,
  deviceMakerTemplate,
  generateKey,
  type HierarchyTemplate,
  PROFILES,
  validatePath,
} from '../src/index.js';
import { openStore } from '../src/node.js';

const template = deviceMakerTemplate({ organizationName: 'Maker' });
let path: string;
const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env.MUST_RUN === '1') throw new Error('expected root to mount a small file system');

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'casemate-store-'));
});
afterEach(() => rmSync(path, { recursive: true, force: true }));

async function issueDevice(store: Awaited<ReturnType<typeof openStore>>): Promise<Uint8Array> {
  const key = await generateKey('ecdsa-p256-sha256');
  return createCertificate({
    profile: PROFILES.device,
    subject: { organizationName: 'Maker', commonName: 'edge' },
    subjectAltName: { uri: ['urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f'] },
    publicKey: key.publicKey,
    issuer: (await store.load()).get('device-ca').issuer,
  });
}

describe('a store', () => {
  it('gives a hierarchy back as it was generated, and the keys sign for it', async () => {
    const generated = await (await openStore(path)).generate(template);
    const store = await openStore(path);
    const loaded = await store.load();
    for (const { name, certificate, chain, root } of generated.authorities) {
      expect(loaded.get(name)).toMatchObject({ certificate, chain, root });
    }
    const leaf = await issueDevice(store);
    const { certificate, root } = loaded.get('device-ca');
    expect(await validatePath(leaf, [certificate], [root], { purpose: 'client-auth', time: new Date() })).toMatchObject(
      { ok: true },
    );
  });

  it('keeps keys from other users, and encrypts them under a passphrase', async () => {
    await (await openStore(path)).generate(template);
    const keys = readdirSync(join(path, 'hierarchy')).filter((name) => name.endsWith('.pem'));
    expect(keys).toHaveLength(6);
    for (const name of keys) expect(statSync(join(path, 'hierarchy', name)).mode & 0o077).toBe(0);

    const locked = await openStore(join(path, 'locked'), { passphrase: 'geheim' });
    const [root] = template.certificates;
    const small: HierarchyTemplate = { ...template, certificates: root === undefined ? [] : [root] };
    await locked.generate(small);
    expect((await locked.load()).authorities).toHaveLength(1);
    const without = await openStore(join(path, 'locked'));
    await expect(without.load()).rejects.toMatchObject({ code: 'wrong-passphrase' });
    const wrong = await openStore(join(path, 'locked'), { passphrase: 'falsch' });
    await expect(wrong.load()).rejects.toMatchObject({ code: 'wrong-passphrase' });
  });

  it('never generates over a hierarchy, and has none before the first', async () => {
    const store = await openStore(path);
    await expect(store.load()).rejects.toMatchObject({ code: 'not-found' });
    const { root } = (await store.generate(template)).get('device-ca');
    await expect(store.generate(template)).rejects.toMatchObject({ code: 'exists' });
    expect((await store.load()).get('device-ca').root).toEqual(root);
  });

  it('lets one of several generators at the same time win, and the others see whose it is', async () => {
    const stores = await Promise.all([1, 2, 3].map(() => openStore(path)));
    const outcomes = await Promise.allSettled(stores.map((store) => store.generate(template)));
    const won = outcomes.filter((outcome) => outcome.status === 'fulfilled');
    expect(won).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(['locked', 'exists']).toContain(outcome.reason.code);
    }
  });

  it('records each serial number of an authority once', async () => {
    const store = await openStore(path);
    await store.generate(template);
    const certificates = [await issueDevice(store), await issueDevice(store)];
    for (const certificate of certificates) await store.record('device-ca', certificate);
    const [first] = certificates;
    if (first !== undefined) await expect(store.record('device-ca', first)).rejects.toMatchObject({ code: 'exists' });
    expect(await store.issued('device-ca')).toHaveLength(2);
    expect(await store.issued('attestation-ca')).toEqual([]);
    await expect(store.issued('../hierarchy')).rejects.toMatchObject({ code: 'bad-input' });
  });

  it.skipIf(!isRoot)(
    `never publishes what a full disk took only a part of${isRoot ? '' : ' (not root: no mount)'}`,
    async () => {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', path]);
      try {
        const store = await openStore(path);
        const [root] = template.certificates;
        // Its template alone takes more than a page.
        const large = {
          ...template,
          certificates: root === undefined ? [] : [{ ...root, description: 'x'.repeat(5000) }],
        };
        writeFileSync(join(path, 'filler'), new Uint8Array(65_536 - 2 * 4096));
        await expect(store.generate(large)).rejects.toMatchObject({ code: 'ENOSPC' });
        expect(readdirSync(path)).not.toContain('hierarchy');
        truncateSync(join(path, 'filler'));
        await store.generate(large);
        expect((await store.load()).authorities).toHaveLength(1);
      } finally {
        execFileSync('umount', [path]);
      }
    },
  );

  it('opens again after its generator was killed at any moment, and the generation goes on', {
    timeout: 120_000,
  }, async () => {
    const child = join(path, 'child.mjs');
    await bundle(child);
    const state = join(path, 'state');
    let killed = 0;
    for (let delay = 0; !readable(state).includes('hierarchy'); delay += 100) {
      if (await runAndKill(child, state, delay)) killed += 1;
      // Whatever is there already stays: keys are made once.
    }
    expect(killed).toBeGreaterThan(2);
    const store = await openStore(state);
    expect((await store.load()).authorities).toHaveLength(6);
    expect(
      readable(join(state, 'hierarchy')).filter((name) => !/^([a-z-]+\.(pem|crt)|template\.json)$/.test(name)),
    ).toEqual([]);
    await expect(store.generate(template)).rejects.toMatchObject({ code: 'exists' });
  });
});

/** What CommonJS code expects around it. */
const BANNER = [
  "import { createRequire } from 'node:module';",
  'const require = createRequire(import.meta.url);',
  'const __filename = import.meta.filename;',
].join('\n');

/** The child as one file, since it imports TypeScript. */
async function bundle(outfile: string): Promise<void> {
  await build({
    entryPoints: [fileURLToPath(new URL('./generate-child.ts', import.meta.url))],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    tsconfig: join(import.meta.dirname, '../../../tsconfig.base.json'),
    banner: { js: BANNER },
    outfile,
  });
}

function readable(path: string): readonly string[] {
  return existsSync(path) ? readdirSync(path) : [];
}

/** Kills the generator `delay` milliseconds after its start; whether it was killed before its end. */
async function runAndKill(child: string, state: string, delay: number): Promise<boolean> {
  const running = spawn(process.execPath, [child, state], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(running, 'exit');
  await Promise.race([once(running.stdout, 'data'), ended]);
  const timer = setTimeout(() => running.kill('SIGKILL'), delay);
  const [code, signal] = await ended;
  clearTimeout(timer);
  if (signal === null) expect(code).toBe(0);
  return signal === 'SIGKILL';
}
