/** The audit log: known trees, proofs against a plain reading of the RFC, changed histories, torn files. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type AuditStore,
  createMerkleTree,
  encodeAuditEntry,
  leafHash,
  memoryAuditStore,
  openAuditLog,
  parseAuditEntry,
  parseCheckpoint,
  verifyAuditLog,
  verifyCheckpoint,
  verifyConsistency,
  verifyInclusion,
} from '../src/audit.js';
import { generateKey, PkiError } from '../src/index.js';
import { openAuditFile, readAuditFile } from '../src/node.js';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'hex'));
const now = () => new Date('2026-11-22T07:00:00.000Z');

/** MTH as RFC 9162 2.1.1 defines it, with another SHA-256. */
function plainRoot(entries: readonly Uint8Array[]): Buffer {
  const hash = (...parts: readonly Uint8Array[]) =>
    parts.reduce((h, part) => h.update(part), createHash('sha256')).digest();
  const [first] = entries;
  if (first === undefined) return hash();
  if (entries.length === 1) return hash(Buffer.of(0), first);
  let middle = 1;
  while (middle * 2 < entries.length) middle *= 2;
  return hash(Buffer.of(1), plainRoot(entries.slice(0, middle)), plainRoot(entries.slice(middle)));
}

function treeOf(entries: readonly Uint8Array[]) {
  const tree = createMerkleTree();
  for (const entry of entries) tree.append(leafHash(entry));
  return tree;
}

const numbered = (count: number) => Array.from({ length: count }, (_, i) => new TextEncoder().encode(`entry ${i}`));

describe('a Merkle tree', () => {
  // The eight entries and roots that implementations of Certificate Transparency test with.
  const entries = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
  const roots = [
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ];

  it('has the roots of the vectors of Certificate Transparency, and that of nothing', () => {
    const tree = treeOf(entries.map(bytes));
    expect(roots.map((_, i) => hex(tree.root(i + 1)))).toEqual(roots);
    expect(hex(tree.root(0))).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  });

  it('agrees with a plain reading of the definition at every size, and every proof verifies', () => {
    const list = numbered(70);
    const tree = treeOf(list);
    for (let size = 1; size <= list.length; size++) {
      const root = tree.root(size);
      expect(hex(root)).toBe(hex(plainRoot(list.slice(0, size))));
      for (let index = 0; index < size; index++) {
        const proof = tree.inclusionProof(index, size);
        expect(verifyInclusion(list[index] ?? new Uint8Array(), { index, size, root, proof })).toBe(true);
      }
      for (let from = 0; from <= size; from++) {
        const proof = tree.consistencyProof(from, size);
        expect(verifyConsistency({ from, fromRoot: tree.root(from), to: size, toRoot: root, proof })).toBe(true);
      }
    }
  });

  it('proves nothing for another entry, place, size or root, and with no changed, longer or shorter proof', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 40 }), fc.nat(), fc.nat(), fc.nat(255), (size, at, where, flip) => {
        const list = numbered(size);
        const tree = treeOf(list);
        const index = at % size;
        const entry = list[index] ?? new Uint8Array();
        const proof = tree.inclusionProof(index);
        const claim = { index, size, root: tree.root(), proof };
        const changed = proof.map((hash, i) =>
          i === where % proof.length ? hash.map((b, j) => (j === 0 ? b ^ (flip || 1) : b)) : hash,
        );
        expect(verifyInclusion(entry, { ...claim, proof: changed })).toBe(false);
        expect(verifyInclusion(entry, { ...claim, proof: proof.slice(1) })).toBe(false);
        expect(verifyInclusion(entry, { ...claim, proof: [...proof, tree.root()] })).toBe(false);
        expect(verifyInclusion(entry, { ...claim, index: (index + 1) % size })).toBe(false);
        expect(verifyInclusion(Uint8Array.of(1), claim)).toBe(false);
        const from = 1 + (where % (size - 1));
        const consistency = {
          from,
          fromRoot: tree.root(from),
          to: size,
          toRoot: tree.root(),
          proof: tree.consistencyProof(from),
        };
        expect(verifyConsistency({ ...consistency, fromRoot: tree.root(from + 1) })).toBe(false);
        expect(verifyConsistency({ ...consistency, toRoot: leafHash(entry) })).toBe(false);
        expect(verifyConsistency({ ...consistency, proof: consistency.proof.slice(1) })).toBe(false);
        expect(verifyConsistency({ ...consistency, proof: [...consistency.proof, tree.root()] })).toBe(false);
      }),
    );
  });
});

describe('a checkpoint', () => {
  it.each(['ecdsa-p256-sha256', 'ecdsa-p384-sha384', 'ed25519', 'rsapss-2048-sha256'] as const)(
    'is signed and verified with %s',
    async (algorithm) => {
      const signer = await generateKey(algorithm);
      const log = await openAuditLog({ store: memoryAuditStore(), origin: 'maker.example/pki', signer, now });
      await log.append({ event: 'issue', serial: '01' });
      const checkpoint = parseCheckpoint(await log.sign());
      expect(checkpoint).toMatchObject({ origin: 'maker.example/pki', size: 1, time: now(), algorithm });
      const { publicKey } = signer;
      expect(await verifyCheckpoint(checkpoint, { origin: 'maker.example/pki', publicKey })).toBe(true);
      expect(await verifyCheckpoint(checkpoint, { origin: 'other.example/pki', publicKey })).toBe(false);
      const other = (await generateKey(algorithm)).publicKey;
      expect(await verifyCheckpoint(checkpoint, { origin: 'maker.example/pki', publicKey: other })).toBe(false);
    },
  );

  it('is refused at every cut and with every changed character, or does not verify', async () => {
    const signer = await generateKey('ed25519');
    const log = await openAuditLog({ store: memoryAuditStore(), origin: 'log', signer, now });
    const text = await log.sign();
    for (let i = 0; i < text.length; i++) {
      expect(() => parseCheckpoint(text.slice(0, i))).toThrow(PkiError);
      const changed = `${text.slice(0, i)}${text[i] === '1' ? '2' : '1'}${text.slice(i + 1)}`;
      const read = (() => {
        try {
          return parseCheckpoint(changed);
        } catch (error) {
          if (error instanceof PkiError) return undefined;
          throw error;
        }
      })();
      if (read !== undefined)
        expect(await verifyCheckpoint(read, { origin: 'log', publicKey: signer.publicKey })).toBe(false);
    }
  });
});

describe('an audit log', () => {
  it('gives entries their places in the order of the calls, and proves each of them', async () => {
    const store = memoryAuditStore();
    const signer = await generateKey('ecdsa-p256-sha256');
    const log = await openAuditLog({ store, origin: 'log', signer, now });
    const places = await Promise.all(Array.from({ length: 50 }, (_, i) => log.append({ event: 'issue', number: i })));
    expect(places).toEqual(places.map((_, i) => i));
    await log.sign();
    const { size, root } = log.head;
    let index = 0;
    for await (const entry of store.read(0)) {
      expect(parseAuditEntry(entry)).toEqual({ time: now(), event: 'issue', fields: { number: index } });
      expect(verifyInclusion(entry, { index, size, root, proof: log.inclusionProof(index) })).toBe(true);
      index += 1;
    }
    expect(await verifyAuditLog(store, { origin: 'log', publicKey: signer.publicKey })).toMatchObject({
      ok: true,
      size: 50,
    });
  });

  it('tells a changed, a missing and a reordered entry, and a history that was written anew', async () => {
    const signer = await generateKey('ecdsa-p256-sha256');
    const expected = { origin: 'log', publicKey: signer.publicKey };
    const fill = async (words: readonly string[]) => {
      const store = memoryAuditStore();
      const log = await openAuditLog({ store, origin: 'log', signer, now });
      for (const word of words) await log.append({ event: word });
      return { store, checkpoint: await log.sign() };
    };
    const honest = await fill(['generate', 'issue', 'revoke']);
    const verdict = async (words: readonly string[]) =>
      verifyAuditLog(await withCheckpoint(words, honest.checkpoint), expected);
    expect(await verdict(['generate', 'issue', 'revoke'])).toMatchObject({ ok: true });
    expect(await verdict(['generate', 'issue', 'revoke', 'more'])).toMatchObject({ ok: true, size: 4 });
    expect(await verdict(['generate', 'issue'])).toMatchObject({ ok: false, problem: { code: 'entries' } });
    expect(await verdict(['generate', 'revoke', 'issue'])).toMatchObject({ ok: false, problem: { code: 'entries' } });
    expect(await verdict(['generate', 'issue', 'refuse'])).toMatchObject({ ok: false, problem: { code: 'entries' } });
    // A new history signed by the same key is found by whoever kept an older checkpoint.
    const rewritten = await fill(['generate', 'issue', 'refuse', 'issue']);
    expect(await verifyAuditLog(rewritten.store, expected)).toMatchObject({ ok: true });
    expect(await verifyAuditLog(rewritten.store, { ...expected, since: honest.checkpoint })).toMatchObject({
      ok: false,
      problem: { code: 'history' },
    });
    expect(await verifyAuditLog(memoryAuditStore(), expected)).toMatchObject({
      ok: false,
      problem: { code: 'no-checkpoint' },
    });
    const stranger = (await generateKey('ecdsa-p256-sha256')).publicKey;
    expect(await verifyAuditLog(honest.store, { origin: 'log', publicKey: stranger })).toMatchObject({
      ok: false,
      problem: { code: 'signature' },
    });
    await expect(
      openAuditLog({ store: await withCheckpoint(['generate', 'issue'], honest.checkpoint), origin: 'log', signer }),
    ).rejects.toMatchObject({
      code: 'bad-signature',
    });
  });

  it('lets two writers share a store, and loses no entry of either', async () => {
    const store = memoryAuditStore();
    const one = await openAuditLog({ store, origin: 'log' });
    const two = await openAuditLog({ store, origin: 'log' });
    const places = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        await new Promise((resolve) => setTimeout(resolve, i % 7));
        return (i % 2 === 0 ? one : two).append({ event: 'issue', number: i });
      }),
    );
    expect(new Set(places).size).toBe(40);
    expect(await one.refresh()).toEqual(await two.refresh());
  });

  it('goes on after an append that failed, and refuses what is no event', async () => {
    const memory = memoryAuditStore();
    let failing = true;
    const store: AuditStore = {
      ...memory,
      async append(index, entries) {
        if (failing) throw new Error('the disk is full');
        await memory.append(index, entries);
      },
    };
    const log = await openAuditLog({ store, origin: 'log' });
    await expect(log.append({ event: 'issue' })).rejects.toThrow('the disk is full');
    failing = false;
    expect(await log.append({ event: 'issue' })).toBe(0);
    await expect(log.append({ event: 'Not a word' })).rejects.toMatchObject({ code: 'bad-input' });
    await expect(log.append({ event: 'issue', filling: 'x'.repeat(70_000) })).rejects.toMatchObject({
      code: 'bad-input',
    });
    await expect(log.sign()).rejects.toMatchObject({ code: 'bad-input' });
    await expect(openAuditLog({ store, origin: 'two words' })).rejects.toMatchObject({ code: 'bad-input' });
  });
});

async function withCheckpoint(words: readonly string[], checkpoint: string): Promise<AuditStore> {
  const store = memoryAuditStore();
  await store.append(
    0,
    words.map((event) => encodeAuditEntry({ event }, now())),
  );
  await store.writeCheckpoint(checkpoint);
  return store;
}

describe('an audit log in a directory', () => {
  let path: string;
  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'casemate-audit-'));
  });
  afterEach(() => rmSync(path, { recursive: true, force: true }));
  const entries = () => join(path, 'entries.jsonl');

  it('is there again when it is opened, is locked meanwhile, and can be read while it is open', async () => {
    const signer = await generateKey('ecdsa-p256-sha256');
    const expected = { origin: 'log', publicKey: signer.publicKey };
    {
      await using log = await openAuditLog({ store: await openAuditFile(path), origin: 'log', signer });
      await log.append({ event: 'generate' });
      await log.sign();
      await log.append({ event: 'issue' });
      await expect(openAuditFile(path)).rejects.toMatchObject({ code: 'locked' });
      expect(await verifyAuditLog(readAuditFile(path), expected)).toMatchObject({
        ok: true,
        size: 2,
        checkpoint: { size: 1 },
      });
    }
    await using log = await openAuditLog({ store: await openAuditFile(path), origin: 'log', signer });
    expect(log.head.size).toBe(2);
    expect(await log.append({ event: 'revoke' })).toBe(2);
    expect(readFileSync(entries(), 'utf8').split('\n')).toHaveLength(4);
  });

  it('mends an end that was torn at any byte, keeps what it cut off, and says so', async () => {
    const lines = [1, 2, 3].map((n) => `{"time":"2026-11-22T07:00:00.000Z","event":"issue","n":${n}}\n`);
    const whole = lines.join('');
    const firstTwo = lines.slice(0, 2).join('').length;
    for (let cut = firstTwo + 1; cut < whole.length; cut += 7) {
      rmSync(path, { recursive: true });
      await (await openAuditFile(path)).close?.();
      writeFileSync(entries(), whole.slice(0, cut));
      expect((await verifySize(path)).size).toBe(2);
      await using log = await openAuditLog({ store: await openAuditFile(path), origin: 'log' });
      expect(log.head.size).toBe(3);
      const last = parseAuditEntry(
        new TextEncoder().encode(readFileSync(entries(), 'utf8').trimEnd().split('\n').at(-1)),
      );
      expect(last).toMatchObject({ event: 'mend', fields: { dropped: cut - firstTwo } });
      expect(readFileSync(join(path, String(last.fields.kept)), 'utf8')).toBe(whole.slice(firstTwo, cut));
    }
  });

  it('mends blocks that were never written, and refuses a damaged entry before whole ones', async () => {
    const line = '{"time":"2026-11-22T07:00:00.000Z","event":"issue"}\n';
    await (await openAuditFile(path)).close?.();
    writeFileSync(entries(), line);
    appendFileSync(entries(), Buffer.alloc(200_000));
    const store = await openAuditFile(path);
    const log = await openAuditLog({ store, origin: 'log' });
    expect(log.head.size).toBe(2);
    await log.close();
    writeFileSync(entries(), `${line}{"time":"2026\n${line}`);
    await expect(openAuditFile(path)).rejects.toMatchObject({ code: 'malformed' });
    expect(readdirSync(path)).not.toContain('lock');
  });

  async function childProgram(): Promise<string> {
    const program = join(path, 'child.mjs');
    await build({
      entryPoints: [fileURLToPath(new URL('audit-child.ts', import.meta.url))],
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      outfile: program,
      banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    });
    return program;
  }

  it('tells nobody of an entry for which the disk had too little room', async () => {
    const directory = join(path, 'log');
    // A limit for files behaves as a full disk does: a part is taken, the rest refused.
    const args = ['-c', 'ulimit -f 50; exec "$0" "$@"', process.execPath, await childProgram(), directory];
    const child = spawn('bash', args, { stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    child.stdout.on('data', (data) => {
      text += data;
    });
    await once(child, 'close');
    const told = text.split('\n').length - 1;
    expect(told).toBeGreaterThan(0);
    await using log = await openAuditLog({ store: await openAuditFile(directory), origin: 'test' });
    expect(log.head.size).toBe(told);
  });

  it('has every entry that a killed writer was told of, ten times over', async () => {
    const program = await childProgram();
    const directory = join(path, 'log');
    let told = -1;
    for (let round = 0; round < 10; round++) {
      const child = spawn(process.execPath, [program, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
      let text = '';
      child.stdout.on('data', (data) => {
        text += data;
        if (text.length > 100 + 37 * round) child.kill('SIGKILL');
      });
      await once(child, 'close');
      const lines = text.split('\n').slice(0, -1).map(Number);
      expect(lines.length).toBeGreaterThan(0);
      told = Math.max(told, ...lines);
      await using log = await openAuditLog({ store: await openAuditFile(directory), origin: 'test' });
      expect(log.head.size).toBeGreaterThan(told);
    }
  });
});

async function verifySize(path: string): Promise<{ size: number }> {
  let size = 0;
  for await (const entry of readAuditFile(path).read(0)) size += parseAuditEntry(entry).event === '' ? 0 : 1;
  return { size };
}
