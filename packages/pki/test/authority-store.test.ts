import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAuditLog } from '../src/audit.js';
import { generateKey } from '../src/index.js';
import { openPostgresStore } from '../src/postgres.js';
import type { AuthorityStore, CertificateRecord, Change } from '../src/service.js';
import { serialText } from '../src/service.js';
import { openSqliteStore } from '../src/sqlite.js';
import { bundled } from './bundled.js';
import { postgresMissing, type RunningPostgres, startPostgres } from './postgres.js';

const missing = postgresMissing();
const now = new Date('2026-11-22T08:00:00Z');

function certificate(serialNumber: bigint, changes: Partial<CertificateRecord> = {}): Change {
  const fields = { issuer: 'device-ca', profile: 'device', owner: 'ek:1', issuedAt: now };
  const notAfter = new Date('2028-11-22T08:00:00Z');
  const serial = serialText(serialNumber);
  return {
    change: 'certificate',
    certificate: { ...fields, serial, notAfter, der: Uint8Array.of(0x30, 0), ...changes },
  };
}

function revoke(serialNumber: bigint, reason: 'keyCompromise' | 'certificateHold' = 'keyCompromise'): Change {
  return {
    change: 'revoke',
    issuer: 'device-ca',
    serial: serialText(serialNumber),
    since: now,
    changedAt: now,
    reason,
  };
}

const put = (id: string, body: string, version?: number): Change => ({
  change: 'put',
  kind: 'order',
  id,
  owner: 'somebody',
  body,
  ...(version === undefined ? {} : { version }),
});
const entry = (text: string): Change => ({
  change: 'audit',
  entry: new TextEncoder().encode(JSON.stringify({ time: now.toISOString(), event: 'test', text })),
});

async function entriesOf(store: AuthorityStore): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const each of store.audit.read(0)) found.push(JSON.parse(new TextDecoder().decode(each)).text);
  return found;
}

interface Database extends AsyncDisposable {
  /** Opens the same database again, each time with a connection of its own. */
  open(): Promise<AuthorityStore>;
  /** What the child process opens it by. */
  readonly place: string;
}

function behaves(name: string, start: () => Promise<Database>, skipped?: string): void {
  describe.skipIf(skipped !== undefined)(
    `a store in ${name}${skipped === undefined ? '' : ` (skipped: ${skipped})`}`,
    () => {
      let database: Database;
      let store: AuthorityStore;
      let child: ChildProcess | undefined;
      beforeAll(async () => {
        database = await start();
        store = await database.open();
      });
      afterAll(async () => {
        child?.kill('SIGKILL');
        await store?.close();
        await database?.[Symbol.asyncDispose]();
      });

      it('gives back what was committed', async () => {
        await store.commit([certificate(1n), put('a', '{"x":1}'), entry('one')]);
        expect(await store.certificate('device-ca', serialText(1n))).toMatchObject({
          owner: 'ek:1',
          der: Uint8Array.of(0x30, 0),
          issuedAt: now,
        });
        expect(await store.document('order', 'a')).toMatchObject({ body: '{"x":1}', version: 1, owner: 'somebody' });
        expect(await store.certificate('device-ca', serialText(2n))).toBeUndefined();
        expect(await entriesOf(store)).toEqual(['one']);
      });

      it('never has a serial number of one authority twice, and a commit that is refused leaves nothing', async () => {
        const twice = [put('b', '{}'), entry('two'), certificate(1n, { owner: 'ek:2' })];
        await expect(store.commit(twice)).rejects.toMatchObject({ name: 'PkiError', code: 'exists' });
        expect(await store.document('order', 'b')).toBeUndefined();
        expect(await entriesOf(store)).toEqual(['one']);
        await store.commit([certificate(1n, { issuer: 'other-ca' })]);
      });

      it('refuses one of many commits at once without harm to the others', async () => {
        const commits = Array.from({ length: 20 }, (_, i) =>
          store.commit([certificate(BigInt(100 + (i % 10))), put(`c${i}`, '{}')]),
        );
        const results = await Promise.allSettled(commits);
        expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
        const kept = await Promise.all(Array.from({ length: 20 }, (_, i) => store.document('order', `c${i}`)));
        expect(kept.map((each) => each !== undefined)).toEqual(results.map(({ status }) => status === 'fulfilled'));
      });

      it('changes a document only from the version that was read', async () => {
        await store.commit([put('v', '1', 0)]);
        await expect(store.commit([put('v', '2', 0)])).rejects.toMatchObject({ code: 'exists' });
        const changes = await Promise.allSettled([store.commit([put('v', '2', 1)]), store.commit([put('v', '3', 1)])]);
        expect(changes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
        await store.commit([put('v', '4')]);
        expect(await store.document('order', 'v')).toMatchObject({ body: '4', version: 3 });
        await store.commit([{ change: 'delete', kind: 'order', id: 'v', version: 3 }]);
        await expect(store.commit([{ change: 'delete', kind: 'order', id: 'v' }])).rejects.toMatchObject({
          code: 'not-found',
        });
      });

      it('lets one of many take a document', async () => {
        await store.commit([put('t', '{}')]);
        const second = await database.open();
        const taken = await Promise.all(
          Array.from({ length: 10 }, (_, i) => (i % 2 ? store : second).take('order', 't')),
        );
        expect(taken.filter((each) => each !== undefined)).toHaveLength(1);
        await second.close();
      });

      it('forgets documents that expired', async () => {
        const expires = new Date(now.getTime() + 1000);
        await store.commit([{ change: 'put', kind: 'nonce', id: 'n', owner: '', body: '', expires }]);
        expect(await store.forget(expires)).toBe(0);
        expect(await store.forget(new Date(expires.getTime() + 1))).toBe(1);
        expect(await store.document('nonce', 'n')).toBeUndefined();
      });

      it('revokes once, makes a hold final or lifts it, and never revokes what was not issued', async () => {
        await expect(store.commit([revoke(999n)])).rejects.toMatchObject({ code: 'conflict' });
        await store.commit([revoke(100n, 'certificateHold')]);
        await store.commit([{ change: 'release', issuer: 'device-ca', serial: serialText(100n), changedAt: now }]);
        expect(await store.revocation('device-ca', serialText(100n))).toMatchObject({ released: true });
        await store.commit([revoke(100n)]);
        await expect(store.commit([revoke(100n)])).rejects.toMatchObject({ code: 'conflict' });
        expect(await store.revocation('device-ca', serialText(100n))).toMatchObject({
          released: false,
          reason: 'keyCompromise',
        });
        expect(await store.revocations('device-ca')).toHaveLength(1);
        expect(await store.revocations('device-ca', { endsAfter: new Date('2029-01-01') })).toHaveLength(0);
        expect(await store.revocations('device-ca', { changedSince: new Date(now.getTime() + 1) })).toHaveLength(0);
      });

      it('finds the newest complete and delta list, and takes each number once', async () => {
        const crl = (number: number, base?: number): Change => ({
          change: 'crl',
          crl: {
            issuer: 'device-ca',
            number,
            der: Uint8Array.of(number),
            thisUpdate: now,
            nextUpdate: now,
            ...(base === undefined ? {} : { base }),
          },
        });
        await store.commit([crl(1), crl(2, 1), crl(3)]);
        expect(await store.newestCrl('device-ca', 'complete')).toMatchObject({ number: 3 });
        expect(await store.newestCrl('device-ca', 'delta')).toMatchObject({ number: 2, base: 1 });
        await expect(store.commit([crl(3)])).rejects.toMatchObject({ code: 'exists' });
      });

      it('lists certificates page by page', async () => {
        const all = await store.certificates({ issuer: 'device-ca' });
        const paged: CertificateRecord[] = [];
        for (let after: CertificateRecord | undefined; ; ) {
          const page = await store.certificates({ issuer: 'device-ca', limit: 3, ...(after && { after }) });
          paged.push(...page);
          after = page.at(-1);
          if (after === undefined) break;
        }
        expect(paged).toEqual(all);
        expect(await store.certificates({ owner: 'ek:2' })).toEqual([]);
      });

      it('keeps an audit log that verifies, whether entries come by commits or by the log', async () => {
        const signer = await generateKey('ed25519');
        const origin = 'maker.example/test';
        const log = await openAuditLog({ store: store.audit, origin, signer });
        const second = await database.open();
        await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? store : second).commit([entry(`e${i}`)])));
        await log.append({ event: 'note' });
        expect((await log.refresh()).size).toBe(log.head.size);
        await log.sign();
        const again = await openAuditLog({ store: second.audit, origin, signer });
        expect(again.head).toEqual(log.head);
        await second.close();
      });

      it('has every commit that was answered after kill -9', { timeout: 60_000 }, async () => {
        const program = await bundled('store-child.ts');
        for (let round = 0; round < 3; round++) {
          child = spawn(process.execPath, [program, database.place, String(round)], {
            stdio: ['ignore', 'pipe', 'inherit'],
          });
          const answered: string[] = [];
          if (child.stdout === null) throw new Error('no output');
          for await (const line of createInterface(child.stdout)) {
            answered.push(line);
            if (answered.length === 60) child.kill('SIGKILL');
          }
          if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
          const reader = await database.open();
          for (const serial of answered) expect(await reader.certificate('child-ca', serial)).toBeDefined();
          expect(answered.length).toBeGreaterThanOrEqual(60);
          await reader.close();
        }
      });
    },
  );
}

behaves('SQLite', async () => {
  const path = mkdtempSync(join(tmpdir(), 'casemate-store-'));
  const place = join(path, 'authority.db');
  return {
    place: `sqlite:${place}`,
    open: () => openSqliteStore(place),
    [Symbol.asyncDispose]: async () => rmSync(path, { recursive: true, force: true }),
  };
});

describe('a store in SQLite', () => {
  it("is its owner's alone, log and all, and keeps the mode of a file that is there", async () => {
    const path = mkdtempSync(join(tmpdir(), 'casemate-store-'));
    const modes = () => readdirSync(path).map((name) => statSync(join(path, name)).mode & 0o777);
    try {
      const store = await openSqliteStore(join(path, 'authority.db'));
      await store.commit([certificate(1n)]);
      expect(modes()).toEqual([0o600, 0o600, 0o600]);
      await store.close();
      chmodSync(join(path, 'authority.db'), 0o640);
      await (await openSqliteStore(join(path, 'authority.db'))).close();
      expect(statSync(join(path, 'authority.db')).mode & 0o777).toBe(0o640);
    } finally {
      rmSync(path, { recursive: true, force: true });
    }
  });
});

behaves(
  'PostgreSQL',
  async () => {
    const server: RunningPostgres = await startPostgres();
    return {
      place: `postgres:${JSON.stringify(server.connection)}`,
      open: () => openPostgresStore({ connection: server.connection }),
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  },
  missing,
);
