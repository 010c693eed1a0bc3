/**
 * What strangers send to the services, changed: EST and ACME bodies, JWS, JWK, CBOR, attestation objects, OCSP in paths, TPM enrolment.
 * The parsers give values or `PkiError` and `AcmeProblem`; the routes give responses under 500, whatever comes.
 */
import { generateKeyPairSync } from 'node:crypto';
import type { FuzzTarget, Random } from '../../../scripts/fuzz-loop.mjs';
import { buildCsr, createHierarchy, deviceMakerTemplate, generateKey, PkiError, PROFILES } from '../src/index.js';
import { AcmeProblem } from '../src/service/acme-problem.js';
import { parseCbor } from '../src/service/cbor.js';
import { openJwk, parseJws } from '../src/service/jws.js';
import {
  acmeRoute,
  encodeAttestationObject,
  estRoute,
  type HttpRequest,
  type HttpRoute,
  ocspRoute,
  openAuthority,
  openTpmEnrolment,
  parseAttestationObject,
  parseEnrolmentResult,
  publicationRoute,
  tpmRoute,
} from '../src/service.js';
import { memoryStore } from './memory-store.js';
import { mutate } from './mutate.js';

/** What `npm run fuzz -- pki service` runs. */
export const target: FuzzTarget = {
  async open() {
    const corpus = await makeCorpus();
    const routes = await makeRoutes();
    return {
      run: (random) => (random.oneIn(2) ? parse(corpus, random) : request(routes, corpus, random)),
      close: async () => undefined,
    };
  },
};

interface Corpus {
  readonly csr: Uint8Array;
  readonly jws: Uint8Array;
  readonly jwk: Uint8Array;
  readonly attestation: Uint8Array;
}

async function makeCorpus(): Promise<Corpus> {
  const key = await generateKey('ecdsa-p256-sha256');
  const csr = await buildCsr(key, {
    subject: { commonName: 'edge' },
    subjectAltName: { uri: ['urn:uuid:x'] },
    challengePassword: 'abc',
  });
  const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
  const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = { alg: 'ES256', jwk, nonce: 'A'.repeat(51), url: 'https://ca.example/acme/new-account' };
  const jws = { protected: encoded(head), payload: encoded({ termsOfServiceAgreed: true }), signature: 'A'.repeat(86) };
  const bytes = (text: string) => new TextEncoder().encode(text);
  return {
    csr,
    jws: bytes(JSON.stringify(jws)),
    jwk: bytes(JSON.stringify(jwk)),
    attestation: encodeAttestationObject({
      algorithm: -7,
      chain: [csr, csr],
      signature: csr.subarray(0, 70),
      certInfo: csr.subarray(0, 90),
      publicArea: csr.subarray(0, 80),
    }),
  };
}

async function makeRoutes(): Promise<readonly HttpRoute[]> {
  const hierarchy = await createHierarchy(deviceMakerTemplate({ countryName: 'DE' }));
  const names = { 'device-ca': PROFILES.device, 'attestation-ca': PROFILES.attestationKey } as const;
  const authorities = Object.entries(names).map(([name, profile]) => {
    const { issuer, certificate, chain, root } = hierarchy.get(name);
    return { name, issuer: { ...issuer, certificate }, chain, root, profiles: [profile] };
  });
  const audit = { origin: 'maker.example/fuzz', signer: await generateKey('ed25519') };
  const authority = openAuthority({ store: memoryStore(), authorities, audit });
  const enrolment = openTpmEnrolment({
    authority,
    trust: { insecureAcceptUnknownEk: true },
    attestation: { authority: 'attestation-ca', profile: 'attestation-key' },
    device: { authority: 'device-ca', profile: 'device' },
  });
  const est = { authority: 'device-ca', profile: 'device', authorize: () => true, basic: () => true, tpm: enrolment };
  const { root } = hierarchy.get('attestation-ca');
  return [
    estRoute({ authority, services: { '': est } }),
    acmeRoute({
      ...{ authority, issuer: 'device-ca', profiles: { dns: 'device', 'permanent-identifier': 'device' } },
      ...{ baseUrl: 'https://ca.example', attestation: { anchors: [root] } },
    }),
    tpmRoute(enrolment),
    ocspRoute(authority),
    publicationRoute(authority),
  ];
}

function parse(corpus: Corpus, random: Random): string {
  const [name, original, read] = random.pick([
    ['jws', corpus.jws, parseJws],
    ['jwk', corpus.jwk, (bytes: Uint8Array) => openJwk(JSON.parse(new TextDecoder().decode(bytes)))],
    ['cbor', corpus.attestation, parseCbor],
    ['attestation', corpus.attestation, parseAttestationObject],
    ['result', corpus.csr, parseEnrolmentResult],
  ] as const);
  try {
    read(mutate(original, random));
    return `${name} read`;
  } catch (error) {
    if (error instanceof PkiError || error instanceof AcmeProblem) return `${name} refused`;
    if (name === 'jwk' && error instanceof SyntaxError) return 'jwk is no JSON';
    throw error;
  }
}

const PATHS = [
  ['POST', '/.well-known/est/simpleenroll', 'application/pkcs10'],
  ['POST', '/.well-known/est/serverkeygen', 'application/pkcs10'],
  ['GET', '/.well-known/est/csrattrs', ''],
  ['POST', '/acme/new-account', 'application/jose+json'],
  ['POST', '/acme/new-order', 'application/jose+json'],
  ['POST', '/tpm/challenge', 'application/octet-stream'],
  ['POST', '/tpm/complete', 'application/octet-stream'],
  ['POST', '/ocsp/device-ca', 'application/ocsp-request'],
  ['GET', '/ocsp/device-ca/', ''],
  ['GET', '/crl/device-ca.crl', ''],
] as const;

async function request(routes: readonly HttpRoute[], corpus: Corpus, random: Random): Promise<string> {
  const [method, path, type] = random.pick(PATHS);
  const changed = mutate(random.pick([corpus.csr, corpus.jws, corpus.attestation]), random);
  const isBase64 = path.startsWith('/.well-known/est');
  const base64 = Buffer.from(changed).toString('base64');
  const asked: HttpRequest = {
    method,
    path: path.endsWith('/') ? `${path}${encodeURIComponent(base64)}` : path,
    headers: {
      'content-type': type,
      host: 'ca.example',
      authorization: random.pick(['Basic YTpi', `TPM ${base64}`, base64]),
    },
    body: isBase64 && !random.oneIn(4) ? new TextEncoder().encode(base64) : changed,
    connection: { address: String(random.below(1000)), isSecure: true, clientCertificate: changed },
  };
  for (const route of routes) {
    const response = await answer(route, asked);
    if (response !== undefined) return `${path} ${response}`;
  }
  throw new Error(`no route answers ${path}`);
}

/** What the server makes of a refusal that a route leaves to it. */
async function answer(route: HttpRoute, asked: HttpRequest): Promise<number | undefined> {
  try {
    const response = await route(asked);
    if (response !== undefined && response.status >= 500) throw new Error(`${asked.path}: ${response.status}`);
    return response?.status;
  } catch (error) {
    if (error instanceof PkiError) return 400;
    throw error;
  }
}
