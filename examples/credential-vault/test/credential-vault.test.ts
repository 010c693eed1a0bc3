import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { appended, headOf } from '../src/chain.js';
import { demonstrate } from '../src/demo.js';
import { appendEntry, encodeEntry, entryText } from '../src/log-file.js';
import { buildImages, type Images, logOf, type Vault, withVault } from '../src/vault.js';

const isolate = new URL('../../../packages/trustvisor/dist/isolate.js', import.meta.url);
const reason = existsSync(isolate) ? undefined : 'the isolate is not built: cd packages/trustvisor && npx tsup';
const DENIED = { code: 'TZ_ERROR_SERVICE', serviceReturn: 2 };
const entryFor = (name: string, purpose = 'a test') => ({
  name,
  who: 'ada',
  purpose,
  time: '2026-11-22T12:00:00.000Z',
});

describe('the chain', () => {
  it('differs where an entry is changed, left out, put in, split or joined', () => {
    const entries = ['a', 'bc', 'd'.repeat(100)].map((text) => new TextEncoder().encode(text));
    const [a, b, c] = entries as [Uint8Array, Uint8Array, Uint8Array];
    const heads = [entries, [a, c], [b, a, c], [a, b, c, c], [Buffer.concat([a, b]), c], [a, Buffer.concat([b, c])]];
    expect(new Set(heads.map((each) => Buffer.from(headOf(each)).toString('hex'))).size).toBe(heads.length);
    expect(headOf(entries)).toEqual(appended(headOf([a, b]), c));
  });
});

it('an entry is shown without what would steer a terminal', () => {
  const entry = encodeEntry(entryFor('mail\n\u001b[8m'));
  expect(entryText(entry)).toBe(
    'mail\\u{a}\\u{1b}[8m {"who":"ada","purpose":"a test","time":"2026-11-22T12:00:00.000Z"}',
  );
});

describe.skipIf(reason !== undefined && process.env.MUST_RUN !== '1')(
  `the credential vault${reason ? ` (${reason})` : ''}`,
  () => {
    let state: string;
    let images: Images;
    beforeAll(async () => {
      state = mkdtempSync(join(tmpdir(), 'credential-vault-'));
      images = await buildImages();
    });
    afterAll(() => rmSync(state, { recursive: true, force: true }));
    const use = <T>(work: (vault: Vault) => Promise<T>) => withVault(images, { state }, work);
    const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

    it('gives a credential out once it is logged, over restarts, and says so in a log that its auditor signs for', async () => {
      await use(async (vault) => {
        await vault.put('mail', new TextEncoder().encode('m1'));
        await vault.put('disk', new TextEncoder().encode('d1'));
        expect(textOf(await vault.release(entryFor('mail')))).toBe('m1');
        await expect(vault.put('mail', new TextEncoder().encode('other'))).rejects.toMatchObject({ serviceReturn: 3 });
        await expect(vault.release(entryFor('none'))).rejects.toMatchObject(DENIED);
      });
      await use(async (vault) => {
        expect(await vault.list()).toEqual(['mail', 'disk']);
        expect(textOf(await vault.release(entryFor('disk', 'again')))).toBe('d1');
        const { entries, problem } = await vault.verify();
        expect(problem).toBeUndefined();
        expect(entries).toEqual([encodeEntry(entryFor('mail')), encodeEntry(entryFor('disk', 'again'))]);
      });
    });

    it('gives nothing without a receipt for the very request: none, another, an older, a used, a damaged one', async () => {
      await use(async (vault) => {
        await expect(vault.open(new Uint8Array(200))).rejects.toMatchObject(DENIED);
        const first = await vault.log(entryFor('mail', 'first'));
        const second = await vault.log(entryFor('mail', 'second'));
        await expect(vault.open(first)).rejects.toMatchObject(DENIED);
        for (const place of [0, second.length >> 1, second.length - 1]) {
          const damaged = second.slice();
          damaged[place] = (damaged[place] ?? 0) ^ 1;
          await expect(vault.open(damaged)).rejects.toMatchObject(DENIED);
        }
        expect(textOf(await vault.open(second))).toBe('m1');
        await expect(vault.open(second)).rejects.toMatchObject(DENIED);
      });
    });

    it('gives nothing for the receipts of an audit service that it was not set up with', async () => {
      const { buildPal } = await import('@casemate/pal-linker/build');
      const baseDirectory = join(import.meta.dirname, '..');
      const source = { sources: ['assembly/audit.pal.ts'], baseDirectory, engine: 'wasm' } as const;
      const { image: audit } = await buildPal({ ...source, name: 'audit', version: '6.6.6', replayProtected: true });
      await withVault({ ...images, audit }, { state }, async (vault) => {
        const log = readFileSync(logOf(state), 'utf8');
        const receipt = await vault.log(entryFor('mail', 'unseen'));
        await expect(vault.open(receipt)).rejects.toMatchObject(DENIED);
        expect((await vault.verify()).problem).toMatch(/did not sign/);
        writeFileSync(logOf(state), log);
      });
    });

    it('takes back an entry that a killed program wrote down and never had logged, and no other', async () => {
      await appendEntry(logOf(state), encodeEntry(entryFor('mail', 'killed')));
      await use(async (vault) => expect((await vault.verify()).problem).toBeUndefined());
      const log = readFileSync(logOf(state), 'utf8');
      writeFileSync(logOf(state), log.replace(/\n[^\n]*\n$/, '\n'));
      await use(async (vault) => expect((await vault.verify()).problem).toMatch(/the log has 3 entries/));
      const lines = log.trimEnd().split('\n');
      writeFileSync(logOf(state), `${[...lines.slice(1), lines[0]].join('\n')}\n`);
      await use(async (vault) => expect((await vault.verify()).problem).toMatch(/is not what/));
      writeFileSync(logOf(state), log);
    });

    it('takes back a part of an entry that was written down, so that the next one begins a line', async () => {
      const before = readFileSync(logOf(state), 'utf8');
      writeFileSync(logOf(state), `${before}bWFpb`);
      await use(async (vault) => {
        expect(textOf(await vault.release(entryFor('mail', 'after a power cut')))).toBe('m1');
        expect((await vault.verify()).problem).toBeUndefined();
      });
      expect(readFileSync(logOf(state), 'utf8').startsWith(before)).toBe(true);
    });

    it('goes on where a program was killed before it had noted the audit service', async () => {
      const file = join(state, 'auditor.json');
      const noted = readFileSync(file, 'utf8');
      rmSync(file);
      await use(async (vault) => expect(textOf(await vault.release(entryFor('mail', 'again')))).toBe('m1'));
      expect(readFileSync(file, 'utf8')).toBe(noted);
    });

    it('says in its demonstration which ways around the log are refused', async () => {
      const lines: string[] = [];
      await use((vault) => demonstrate(vault, state, (line) => lines.push(line)));
      expect(lines).toContain('logged, and released: correct horse');
      const attacks = lines.filter((line) => line.startsWith('ATTACK'));
      expect(attacks).toHaveLength(4);
      for (const line of attacks) expect(line).toMatch(/: (refused|the log has \d+ entries, the audit service \d+)$/);
      expect(lines).toContain('the audit service signs for exactly these');
    });
  },
);
