/** Mutated real files through every parser of outside bytes: only `PkiError`, and what is read twice reads the same. */
import type { FuzzTarget, Random } from '../../../scripts/fuzz-loop.mjs';
import { encodeAuditEntry, memoryAuditStore, openAuditLog, parseAuditEntry, parseCheckpoint } from '../src/audit.js';
import { berToDer } from '../src/ber.js';
import { parseSignedData } from '../src/cms.js';
import { boolean, constructed, integer, octetString, oid, sequence, setOf, TAG, tlv, utf8 } from '../src/der.js';
import {
  buildCsr,
  buildOcspRequest,
  createCrl,
  createHierarchy,
  decryptKey,
  deviceMakerTemplate,
  encodePem,
  encryptKey,
  generateKey,
  importKey,
  PkiError,
  parseCertificate,
  parseCrl,
  parseCsr,
  parseOcspRequest,
  parsePem,
  signDocument,
  verifyDocument,
} from '../src/index.js';
import { parsePkcs11Uri } from '../src/pkcs11-uri.js';
import { buildPkcs12, parsePkcs12 } from '../src/pkcs12.js';
import { parseTemplate, trustmeTemplate } from '../src/template.js';
import { attachTimestamp, parseTimestamp, parseTimestampResponse, timestampOf } from '../src/timestamp.js';
import { mutate } from './mutate.js';

interface Seed {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly read: (bytes: Uint8Array) => unknown;
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytesOf = (value: string) => new TextEncoder().encode(value);
const PASSPHRASE = 'geheim';

/** What `npm run fuzz -- pki parser` runs. */
export const target: FuzzTarget = {
  async open() {
    const seeds = await allSeeds();
    return {
      run: (random) => fuzzOne(random.pick(seeds), random),
      close: async () => undefined,
    };
  },
};

async function fuzzOne({ name, bytes, read }: Seed, random: Random): Promise<string> {
  const changed = random.oneIn(64) ? random.bytes(random.below(200)) : mutate(bytes, random);
  const before = changed.slice();
  const outcome = await outcomeOf(read, changed);
  if (Buffer.compare(before, changed) !== 0) throw new Error(`${name} changed its input`);
  return `${name} ${outcome}`;
}

async function outcomeOf(read: Seed['read'], bytes: Uint8Array): Promise<string> {
  try {
    await read(bytes);
    return 'read';
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return error.code;
  }
}

async function allSeeds(): Promise<readonly Seed[]> {
  const hierarchy = await createHierarchy(deviceMakerTemplate({ countryName: 'DE', organizationName: 'Maker' }));
  const { signer, chain, root, certificate } = hierarchy.get('software-signing');
  const pkcs8 = await signer.unsafeExportKey();
  const content = bytesOf('content');
  const cms = await signDocument(content, { signer, chain });
  const day = new Date('2026-11-22T00:00:00Z');
  const revoked = [1n, 2n ** 150n, 77n].map((serialNumber) => ({
    serialNumber,
    revocationDate: day,
    reason: 'keyCompromise' as const,
  }));
  const crl = await createCrl({
    issuer: hierarchy.get('device-ca').issuer,
    number: 5n,
    revoked,
    nextUpdate: new Date('2030-01-01'),
  });
  const csr = await buildCsr(signer, {
    subject: { commonName: 'x' },
    subjectAltName: { dns: ['a.example'], ip: ['10.0.0.1'] },
  });
  const issuer = hierarchy.get('software-signing-ca').certificate;
  const store = memoryAuditStore();
  const log = await openAuditLog({ store, origin: 'log', signer });
  await log.append({ event: 'issue', serial: '01' });
  const checkpoint = await log.sign();
  const p12 = await buildPkcs12({ keys: [{ key: signer, chain: [...chain, root], friendlyName: 'n' }] }, PASSPHRASE, {
    iterations: 10_000,
  });
  const keys = await Promise.all((['ed25519', 'rsapss-2048-sha256'] as const).map(generateKey));
  const template = JSON.stringify(trustmeTemplate({ subject: { organizationName: 'M' }, domain: 'm.example' }));
  const anchors = [root];
  return [
    { name: 'certificate', bytes: certificate, read: parseCertificate },
    { name: 'csr', bytes: csr, read: parseCsr },
    { name: 'crl', bytes: crl, read: (bytes) => [...parseCrl(bytes).entries] },
    { name: 'cms', bytes: cms, read: parseSignedData },
    { name: 'document', bytes: cms, read: (bytes) => verifyDocument(content, bytes, { anchors, time: new Date() }) },
    { name: 'ocsp-request', bytes: buildOcspRequest(certificate, issuer), read: parseOcspRequest },
    { name: 'pkcs8', bytes: pkcs8, read: (bytes) => importKey(bytes) },
    ...(await Promise.all(
      keys.map(async (key) => ({
        name: 'pkcs8',
        bytes: await key.unsafeExportKey(),
        read: (bytes: Uint8Array) => importKey(bytes),
      })),
    )),
    {
      name: 'encrypted-key',
      bytes: await encryptKey(pkcs8, PASSPHRASE, { iterations: 10_000 }),
      read: (bytes) => bounded(bytes, () => decryptKey(bytes, PASSPHRASE)),
    },
    { name: 'pkcs12', bytes: p12, read: (bytes) => bounded(bytes, () => parsePkcs12(bytes, PASSPHRASE)) },
    { name: 'ber', bytes: p12, read: (bytes) => assertStable(berToDer(bytes), berToDer) },
    { name: 'timestamp', bytes: timestampToken(), read: parseTimestamp },
    {
      name: 'timestamp-response',
      bytes: sequence(sequence(integer(0), sequence(utf8('fine'))), timestampToken()),
      read: parseTimestampResponse,
    },
    { name: 'timestamped', bytes: cms, read: timestampOf },
    { name: 'attach', bytes: timestampToken(), read: (bytes) => attachTimestamp(cms, bytes) },
    { name: 'checkpoint', bytes: bytesOf(checkpoint), read: (bytes) => parseCheckpoint(text(bytes)) },
    {
      name: 'audit-entry',
      bytes: encodeAuditEntry({ event: 'issue', serial: '01', list: [1, null, { a: true }] }, day),
      read: parseAuditEntry,
    },
    { name: 'pem', bytes: bytesOf(encodePem('CERTIFICATE', certificate)), read: (bytes) => parsePem(text(bytes)) },
    { name: 'template', bytes: bytesOf(template), read: (bytes) => parseTemplate(text(bytes)) },
    {
      name: 'pkcs11-uri',
      bytes: bytesOf('pkcs11:token=a%20b;object=c;id=%01%ff;type=private?pin-source=file:/x'),
      read: (bytes) => parsePkcs11Uri(text(bytes)),
    },
  ];
}

/** A token with every field that TSTInfo may have; nobody signed it, as reading asks for no signature. */
function timestampToken(): Uint8Array {
  const imprint = sequence(sequence(oid('2.16.840.1.101.3.4.2.1')), octetString(new Uint8Array(32)));
  const time = tlv(TAG.GENERALIZED_TIME, bytesOf('20261122083000.123Z'));
  const accuracy = sequence(integer(1), tlv(0x80, Uint8Array.of(0x01, 0xf4)), tlv(0x81, Uint8Array.of(100)));
  const info = sequence(
    integer(1),
    oid('1.2.3.4'),
    imprint,
    integer(77),
    time,
    accuracy,
    boolean(true),
    integer(2n ** 90n),
  );
  const contents = sequence(oid('1.2.840.113549.1.9.16.1.4'), tlv(constructed(0), octetString(info)));
  const signed = sequence(integer(3), setOf(), contents, setOf());
  return sequence(oid('1.2.840.113549.1.7.2'), tlv(constructed(0), signed));
}

/** Work that a file may ask for is bounded, but not by two seconds: counts of rounds above those of the seed are passed over. */
async function bounded(bytes: Uint8Array, read: () => Promise<unknown>): Promise<unknown> {
  const hex = Buffer.from(bytes).toString('hex');
  return hex.includes('02022710') && !/0203[0-9a-f]{6}/.test(hex) ? await read() : undefined;
}

function assertStable(once: Uint8Array, again: (bytes: Uint8Array) => Uint8Array): void {
  if (Buffer.compare(again(once), once) !== 0) throw new Error('a normal form changed when it was made again');
}
