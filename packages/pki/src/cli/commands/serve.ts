/** `serve`: the authority over HTTPS: TPM enrolment, renewal over EST, OCSP, CRLs. */

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { usage } from '@casemate/command-line';
import { parseCertificatePem } from '../../certificate.js';
import { PROFILES } from '../../profile.js';
import { openAuthority as openEngine } from '../../service/authority.js';
import type { AuthorityStore } from '../../service/authority-store.js';
import { estRoute } from '../../service/est.js';
import { ocspRoute, publicationRoute, tpmRoute } from '../../service/routes.js';
import { startServer } from '../../service/server.js';
import { openTpmEnrolment } from '../../service/tpm-enrolment.js';
import { openStore } from '../../store.js';
import { auditSigner, storePath } from '../authority.js';
import type { CommandDefinition, Context } from '../definition.js';

const MINUTE = 60_000;

/** Either database is loaded only where it is used. */
async function openDatabase(context: Context): Promise<AuthorityStore> {
  const place = context.text('database') ?? join(storePath(context), 'service.db');
  if (/^postgres(ql)?:/.test(place))
    return (await import('../../postgres.js')).openPostgresStore({ connection: place });
  return (await import('../../sqlite.js')).openSqliteStore(place);
}

async function entries(context: Context, passphrase: string | undefined) {
  const names = { 'device-ca': PROFILES.device, 'attestation-ca': PROFILES.attestationKey } as const;
  const store = await openStore(storePath(context), passphrase === undefined ? {} : { passphrase });
  const hierarchy = await context.during('opening the keys', store.load(Object.keys(names)));
  return Object.entries(names).map(([name, profile]) => {
    const { issuer, certificate, chain, root } = hierarchy.get(name);
    const crl = { every: 24 * 60 * MINUTE, deltaEvery: 60 * MINUTE };
    return { name, issuer: { ...issuer, certificate }, chain, root, profiles: [profile], crl };
  });
}

/** `serve`. */
export const serveCommand: CommandDefinition = {
  name: 'serve',
  summary: 'serve TPM enrolment, renewal over EST, OCSP and CRLs over HTTPS until it is stopped',
  details:
    'device-ca certifies device keys and attestation-ca attestation keys. A TPM is believed where its EK certificate leads to one of --ek-anchor. Everything that is issued is in the database before it is answered.',
  options: {
    store: { type: 'string', short: 's', value: 'DIRECTORY', help: 'the authority; default $CASEMATE_PKI, else ./pki' },
    passphrase: { type: 'string', value: 'SOURCE', help: 'opens the keys: env:NAME, file:PATH, fd:N or prompt' },
    database: {
      type: 'string',
      value: 'FILE|URL',
      help: 'a SQLite file or postgres://…; service.db of the store without it',
    },
    'tls-certificate': { type: 'string', value: 'FILE', help: "the server's chain, PEM" },
    'tls-key': { type: 'string', value: 'FILE', help: "the server's key, PEM" },
    'ek-anchor': {
      type: 'string',
      multiple: true,
      value: 'FILE',
      help: 'root of a maker of TPMs, PEM; may come more than once',
    },
    host: { type: 'string', value: 'ADDRESS', help: 'where to listen; 127.0.0.1 without it' },
    port: { type: 'string', short: 'p', value: 'PORT', help: 'where to listen; 8443 without it' },
  },
  examples: [
    'casemate-pki serve --tls-certificate tls.pem --tls-key tls.key --ek-anchor maker.pem --passphrase file:secret',
  ],
  async run(context) {
    const [certificate, key] = [context.text('tls-certificate'), context.text('tls-key')];
    if (certificate === undefined || key === undefined) throw usage('serve: expected --tls-certificate and --tls-key');
    const port = Number(context.text('port') ?? 8443);
    if (!Number.isInteger(port) || port < 0 || port > 65_535) throw usage('--port: expected a number from 0 to 65535');
    const passphrase = await context.secretText('passphrase');
    const anchors = await Promise.all(
      context.texts('ek-anchor').map(async (file) => parseCertificatePem(await readFile(file, 'utf8'))),
    );
    const audit = await auditSigner(storePath(context), passphrase);
    await using store = await openDatabase(context);
    const authority = openEngine({ store, authorities: await entries(context, passphrase), audit });
    const enrolment = openTpmEnrolment({
      authority,
      trust: { anchors },
      attestation: { authority: 'attestation-ca', profile: 'attestation-key' },
      device: { authority: 'device-ca', profile: 'device' },
    });
    // Names are given out by enrolment alone; over EST a device renews what it has.
    const est = { authority: 'device-ca', profile: 'device', authorize: () => false, tpm: enrolment };
    await authority.maintain();
    await using server = await startServer({
      routes: [
        tpmRoute(enrolment),
        estRoute({ authority, services: { '': est } }),
        ocspRoute(authority),
        publicationRoute(authority),
      ],
      tls: { certificate: await readFile(certificate, 'utf8'), key: await readFile(key, 'utf8') },
      host: context.text('host') ?? '127.0.0.1',
      port,
      onError: (error) => process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`),
    });
    process.stderr.write(`${server.url}\n`);
    const timer = setInterval(() => void authority.maintain().catch(() => undefined), MINUTE);
    await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
    clearInterval(timer);
    await authority.close();
    return { json: { url: server.url }, text: 'stopped' };
  },
};
