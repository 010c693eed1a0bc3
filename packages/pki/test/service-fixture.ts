/** An authority at work for these tests: a hierarchy on P-256, a SQLite store in a directory of its own, an HTTPS server on loopback. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CertificateProfile,
  createCertificate,
  createHierarchy,
  deviceMakerTemplate,
  encodePem,
  generateKey,
  type Hierarchy,
  PROFILES,
  type SoftwareKey,
} from '../src/index.js';
import {
  type AuthorityStore,
  type CertificateAuthority,
  type HttpPost,
  type HttpRoute,
  openAuthority,
  type RunningServer,
  startServer,
} from '../src/service.js';
import { openSqliteStore } from '../src/sqlite.js';

const SERVER_PROFILE: CertificateProfile = {
  name: 'server',
  validityDays: 90,
  keyUsage: ['digitalSignature', 'keyEncipherment'],
  extendedKeyUsage: ['serverAuth'],
  subject: {
    ...{ countryName: 'optional', organizationName: 'optional', commonName: 'optional', serialNumber: 'optional' },
  },
  subjectAltName: { dns: { presence: 'optional', max: 20 }, ip: { presence: 'optional' } },
  keys: ['P-256', 'P-384', 'rsa'],
};
/** Of devices that attest: named by a permanent identifier or a hardware module. */
const ATTESTED_PROFILE: CertificateProfile = {
  name: 'attested-device',
  validityDays: 30,
  keyUsage: ['digitalSignature'],
  extendedKeyUsage: ['clientAuth'],
  subject: {},
  subjectAltName: { permanentIdentifier: { presence: 'optional' }, hardwareModule: { presence: 'optional' } },
  keys: ['P-256', 'rsa'],
};
export const EK_PROFILE: CertificateProfile = {
  name: 'endorsement-key',
  validityDays: 3650,
  keyUsage: ['keyAgreement', 'keyEncipherment'],
  extendedKeyUsage: ['tcgEkCertificate'],
  subject: {},
  subjectAltName: { tpm: { presence: 'required' } },
};
export const AUDIT_ORIGIN = 'maker.example/test';

export interface Fixture extends AsyncDisposable {
  readonly directory: string;
  readonly hierarchy: Hierarchy;
  readonly store: AuthorityStore;
  readonly authority: CertificateAuthority;
  readonly auditKey: SoftwareKey;
  /** The clock of the authority, milliseconds ahead of the real one. */
  ahead: number;
  /** The root in a PEM file. */
  readonly rootFile: string;
  /** Serves routes over TLS. */
  serve(routes: readonly HttpRoute[], tls?: { readonly minVersion?: 'TLSv1.2' | 'TLSv1.3' }): Promise<RunningServer>;
  /** POSTs to a server of this fixture. */
  postTo(url: string): HttpPost;
}

export async function openFixture(): Promise<Fixture> {
  const directory = mkdtempSync(join(tmpdir(), 'casemate-service-'));
  // Without name constraints: names of web servers have no organization.
  const template = deviceMakerTemplate({ countryName: 'DE' });
  const hierarchy = await createHierarchy(template);
  const store = await openSqliteStore(join(directory, 'authority.db'));
  const auditKey = await generateKey('ed25519');
  const profiles = {
    'device-ca': [PROFILES.device, SERVER_PROFILE, ATTESTED_PROFILE],
    'attestation-ca': [PROFILES.attestationKey],
  };
  const state = { ahead: 0 };
  const entries = Object.entries(profiles).map(([name, own]) => {
    const { issuer, certificate, chain, root } = hierarchy.get(name);
    const ocspKey = { crl: { every: 3_600_000, deltaEvery: 600_000 } };
    return { name, issuer: { ...issuer, certificate }, chain, root, profiles: own, ...ocspKey };
  });
  const now = () => new Date(Date.now() + state.ahead);
  const authority = openAuthority({
    store,
    authorities: entries,
    audit: { origin: AUDIT_ORIGIN, signer: auditKey },
    now,
  });
  const { issuer, chain, root } = hierarchy.get('device-ca');
  const key = await generateKey('ecdsa-p256-sha256');
  const certificate = await createCertificate({
    profile: SERVER_PROFILE,
    subject: { countryName: 'DE', commonName: 'service' },
    subjectAltName: { dns: ['localhost'], ip: ['127.0.0.1'] },
    publicKey: key.publicKey,
    issuer,
  });
  const rootFile = join(directory, 'root.pem');
  writeFileSync(rootFile, encodePem('CERTIFICATE', root));
  const pem = {
    certificate: [certificate, ...chain].map((each) => encodePem('CERTIFICATE', each)).join(''),
    key: encodePem('PRIVATE KEY', await key.unsafeExportKey()),
  };
  const servers: RunningServer[] = [];
  const agent = new Agent({ keepAlive: true, ca: encodePem('CERTIFICATE', root) });
  return {
    directory,
    hierarchy,
    store,
    authority,
    auditKey,
    rootFile,
    get ahead() {
      return state.ahead;
    },
    set ahead(value) {
      state.ahead = value;
    },
    async serve(routes, tls = {}) {
      const server = await startServer({ routes, tls: { ...pem, ...tls }, onError: (error) => console.error(error) });
      servers.push(server);
      return server;
    },
    postTo: (url) => (path, type, body) =>
      new Promise((resolve, reject) => {
        const sent = request(
          `${url}${path}`,
          { method: 'POST', agent, headers: { 'content-type': type } },
          (response) => {
            const parts: Buffer[] = [];
            response.on('data', (part: Buffer) => parts.push(part));
            response.on('end', () =>
              resolve({ status: response.statusCode ?? 0, body: new Uint8Array(Buffer.concat(parts)) }),
            );
          },
        );
        sent.on('error', reject);
        sent.end(body);
      }),
    async [Symbol.asyncDispose]() {
      agent.destroy();
      for (const server of servers) await server.close();
      await authority.close();
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
