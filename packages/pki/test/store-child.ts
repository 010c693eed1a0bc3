/** Issues into a store until it is killed, and prints each serial number once its commit was answered. */
import { openPostgresStore } from '../src/postgres.js';
import { serialText } from '../src/service.js';
import { openSqliteStore } from '../src/sqlite.js';

const [place = '', round = '0'] = process.argv.slice(2);
const [kind, ...rest] = place.split(':');
const where = rest.join(':');
const store =
  kind === 'sqlite' ? await openSqliteStore(where) : await openPostgresStore({ connection: JSON.parse(where) });

async function issueForever(lane: number): Promise<void> {
  for (let i = 0; ; i++) {
    const serial = serialText((BigInt(round) << 64n) | (BigInt(lane) << 32n) | BigInt(i + 1));
    const fields = { issuer: 'child-ca', serial, profile: 'device', owner: 'ek:1', der: new Uint8Array(700) };
    const record = { ...fields, issuedAt: new Date(), notAfter: new Date() };
    await store.commit([{ change: 'certificate', certificate: record }]);
    process.stdout.write(`${serial}\n`);
  }
}

await Promise.all([1, 2, 3].map(issueForever));
