/** One service process of a roll-out. It prints its port when it listens, and is killed by SIGKILL. */
import { importKey, PROFILES } from '@casemate/pki';
import { openStore } from '@casemate/pki/node';
import {
  type AuthorityStore,
  openAuthority,
  openTpmEnrolment,
  publicationRoute,
  startServer,
  tpmRoute,
} from '@casemate/pki/service';
import { ORIGIN, type Plan } from './plan.js';

/** Either database is loaded only where it is used. */
async function openDatabase({ store }: Plan): Promise<AuthorityStore> {
  if (store.kind === 'sqlite') return (await import('@casemate/pki/sqlite')).openSqliteStore(store.path);
  return (await import('@casemate/pki/postgres')).openPostgresStore({ connection: store.connection });
}

// The parent wrote it.
const plan = JSON.parse(process.argv[2] ?? '') as Plan;
const port = Number(process.argv[3] ?? 0);
const hierarchy = await (await openStore(plan.directory)).load();
const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));
const store = await openDatabase(plan);
const entries = (
  [
    ['device-ca', PROFILES.device],
    ['attestation-ca', PROFILES.attestationKey],
  ] as const
).map(([name, profile]) => {
  const { issuer, certificate, chain, root } = hierarchy.get(name);
  return { name, issuer: { ...issuer, certificate }, chain, root, profiles: [profile] };
});
const authority = openAuthority({
  store,
  authorities: entries,
  audit: { origin: ORIGIN, signer: await importKey(bytes(plan.auditKey)) },
});
const enrolment = openTpmEnrolment({
  authority,
  trust: { anchors: [bytes(plan.maker.certificate)] },
  attestation: { authority: 'attestation-ca', profile: 'attestation-key' },
  device: { authority: 'device-ca', profile: 'device' },
});
const server = await startServer({
  routes: [tpmRoute(enrolment), publicationRoute(authority)],
  tls: plan.tls,
  port,
  onError: (error) => console.error(error),
});
console.log(server.port);
