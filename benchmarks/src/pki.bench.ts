/**
 * `@casemate/pki` beside pkijs 4, @peculiar/x509 2.2 and node-forge: issuing, validating a chain of three, CRLs of 100,000
 * certificates, detached CMS. Every contender signs through what it offers itself: ours through OpenSSL by node:crypto (and checks each
 * signature before it leaves, which no peer does), pkijs and @peculiar/x509 through Node's WebCrypto, node-forge in JavaScript.
 * Issuing is counted per second of processor time, with RSA by the clock too; the CRLs, which take a peer minutes, once; memory in
 * a process of its own.
 */
import { execFile } from 'node:child_process';
import { webcrypto } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  createCertificate,
  createCrl,
  createHierarchy,
  deviceMakerTemplate,
  generateKey,
  PROFILES,
  parseCertificate,
  parseCrl,
  signDocument,
  validatePath,
} from '@casemate/pki';
import { type Loose, loadPeers, names } from './pki-peers.js';
import { compare, flags } from './turns.js';

const area = 'pki';
const rounds = flags.quick ? 3 : 9;
const { pkijs, asn1, x509, forge } = await loadPeers();
const OID = { country: '2.5.4.6', organization: '2.5.4.10', commonName: '2.5.4.3' } as const;

/** Operations that the engine has compiled for speed by now. */
const warmed = new WeakSet<() => unknown>();

/** Asks a process of this program to read a list and nothing else. */
const READ_LIST = '--read-list';
const asked = process.argv.indexOf(READ_LIST);
if (asked >= 0) readList(process.argv[asked + 1], process.argv[asked + 2]);

for (const kind of ['P-256', 'RSA-2048'] as const) await issuing(kind);
await chains();
await lists();
await documents();

/** Operations per second of processor time, over about `milliseconds`; the first time it runs ten times as long before. */
async function perSecond(operation: () => unknown, milliseconds = flags.quick ? 200 : 600): Promise<number> {
  if (!warmed.has(operation)) {
    warmed.add(operation);
    await perSecond(operation, 10 * milliseconds);
  }
  const start = process.cpuUsage();
  for (let count = 1; ; count++) {
    await operation();
    const { user, system } = process.cpuUsage(start);
    if (user + system >= milliseconds * 1000) return count / ((user + system) / 1e6);
  }
}

/** A measurement of one operation, which is the same each time. */
function timed(operation: () => Promise<unknown>): () => Promise<number> {
  return () => perSecond(operation);
}

/** Seconds of the clock that one operation takes. */
async function seconds(operation: () => unknown): Promise<number> {
  const start = performance.now();
  await operation();
  return (performance.now() - start) / 1000;
}

async function treeOf(kind: 'P-256' | 'RSA-2048') {
  const algorithm = kind === 'P-256' ? 'ecdsa-p256-sha256' : 'rsassa-2048-sha256';
  const template = deviceMakerTemplate({ countryName: 'DE', organizationName: 'Maker' });
  const certificates = template.certificates.map((each) => ({ ...each, algorithm }) as const);
  const hierarchy = await createHierarchy({ ...template, algorithm, certificates });
  const { certificate, root, signer } = hierarchy.get('device-ca');
  return {
    algorithm,
    certificate,
    root,
    signer,
    issuer: { certificate: parseCertificate(certificate), signer },
  } as const;
}

/** An end entity: version 3, two names, basicConstraints, keyUsage, extKeyUsage, subjectAltName, both key identifiers. */
async function issuing(kind: 'P-256' | 'RSA-2048'): Promise<void> {
  const { algorithm, issuer } = await treeOf(kind);
  const key = await generateKey(algorithm);
  const request = {
    profile: PROFILES.device,
    subject: { countryName: 'DE', organizationName: 'Maker', commonName: 'edge' },
    subjectAltName: { uri: ['urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f'] },
    publicKey: key.publicKey,
    issuer,
  };
  const parameters: Loose =
    kind === 'P-256'
      ? { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
      : { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
  const pair: Loose = await webcrypto.subtle.generateKey(parameters, true, ['sign', 'verify']);
  const theirs: Record<string, () => Promise<number>> = {
    [names.pkijs]: timed(() => pkijsIssue(pair)),
    [names.peculiar]: timed(() => peculiarIssue(pair, parameters)),
  };
  if (kind === 'RSA-2048') {
    const keys = forge.pki.rsa.generateKeyPair(2048);
    theirs[names.forge] = timed(async () => forgeIssue(keys));
  }
  const ours = timed(() => createCertificate(request));
  await compare({ area, name: `issue a certificate, ${kind}`, unit: '1/s', better: 'higher', rounds, ours, theirs });
  if (kind === 'P-256') return;
  // An authority has more than one request at a time, and a machine more than one processor: by the clock, everybody with eight under way.
  await compare({
    ...{
      area,
      name: `issue certificates by the clock, eight at a time, ${kind}`,
      unit: '1/s',
      better: 'higher',
      rounds,
    },
    ours: () => perSecondOfClock(() => createCertificate(request)),
    theirs: {
      [names.pkijs]: () => perSecondOfClock(() => pkijsIssue(pair)),
      [names.peculiar]: () => perSecondOfClock(() => peculiarIssue(pair, parameters)),
    },
  });
}

/** Operations per second of the clock, with eight of them under way. */
async function perSecondOfClock(
  operation: () => Promise<unknown>,
  milliseconds = flags.quick ? 200 : 1000,
): Promise<number> {
  const start = performance.now();
  let count = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() - start < milliseconds) {
      await operation();
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  return (count * 1000) / (performance.now() - start);
}

function pkijsName(commonName: string): Loose {
  const name = new pkijs.RelativeDistinguishedNames();
  for (const [type, value] of [
    [OID.country, 'DE'],
    [OID.organization, 'Maker'],
    [OID.commonName, commonName],
  ]) {
    name.typesAndValues.push(new pkijs.AttributeTypeAndValue({ type, value: new asn1.Utf8String({ value }) }));
  }
  return name;
}

async function pkijsIssue(
  pair: Loose,
  names_: { issuer: string; subject: string; ca?: boolean } = { issuer: 'CA', subject: 'edge' },
  publicKey: Loose = pair.publicKey,
): Promise<ArrayBuffer> {
  const certificate = new pkijs.Certificate();
  certificate.version = 2;
  certificate.serialNumber = new asn1.Integer({
    valueHex: webcrypto.getRandomValues(new Uint8Array(16)).fill(1, 0, 1).buffer,
  });
  certificate.issuer = pkijsName(names_.issuer);
  certificate.subject = pkijsName(names_.subject);
  certificate.notBefore.value = new Date(Date.now() - 1000);
  certificate.notAfter.value = new Date(Date.now() + 1e10);
  await certificate.subjectPublicKeyInfo.importKey(publicKey);
  const identifier = await webcrypto.subtle.digest(
    'SHA-1',
    certificate.subjectPublicKeyInfo.subjectPublicKey.valueBlock.valueHexView,
  );
  const octets = new asn1.OctetString({ valueHex: identifier });
  const ca = names_.ca === true;
  const basic = new pkijs.BasicConstraints({ cA: ca }).toSchema();
  const usage = new asn1.BitString({ valueHex: Uint8Array.of(ca ? 0x06 : 0x80).buffer, unusedBits: ca ? 1 : 7 });
  const purposes = new pkijs.ExtKeyUsage({ keyPurposes: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'] }).toSchema();
  const alternative = new pkijs.GeneralNames({
    names: [new pkijs.GeneralName({ type: 6, value: 'urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f' })],
  }).toSchema();
  const authority = new pkijs.AuthorityKeyIdentifier({ keyIdentifier: octets }).toSchema();
  certificate.extensions = [
    ['2.5.29.19', true, basic],
    ['2.5.29.15', true, usage],
    ['2.5.29.37', false, purposes],
    ['2.5.29.17', false, alternative],
    ['2.5.29.14', false, octets],
    ['2.5.29.35', false, authority],
  ].map(
    ([extnID, critical, schema]: Loose) => new pkijs.Extension({ extnID, critical, extnValue: schema.toBER(false) }),
  );
  await certificate.sign(pair.privateKey, 'SHA-256');
  return certificate.toSchema(true).toBER(false);
}

async function peculiarIssue(pair: Loose, signingAlgorithm: Loose): Promise<ArrayBuffer> {
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '01',
    issuer: 'C=DE, O=Maker, CN=CA',
    subject: 'C=DE, O=Maker, CN=edge',
    notBefore: new Date(),
    notAfter: new Date(Date.now() + 1e10),
    publicKey: pair.publicKey,
    signingKey: pair.privateKey,
    signingAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']),
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: 'urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f' },
      ]),
      await x509.SubjectKeyIdentifierExtension.create(pair.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(pair.publicKey),
    ],
  });
  return certificate.rawData;
}

function forgeIssue(keys: Loose): string {
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = keys.publicKey;
  certificate.serialNumber = '01';
  certificate.validity.notBefore = new Date();
  certificate.validity.notAfter = new Date(Date.now() + 1e10);
  const name = (commonName: string) => [
    { shortName: 'C', value: 'DE' },
    { shortName: 'O', value: 'Maker' },
    { shortName: 'CN', value: commonName },
  ];
  certificate.setSubject(name('edge'));
  certificate.setIssuer(name('CA'));
  certificate.setExtensions([
    { name: 'basicConstraints', cA: false, critical: true },
    { name: 'keyUsage', digitalSignature: true, critical: true },
    { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
    { name: 'subjectAltName', altNames: [{ type: 6, value: 'urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f' }] },
    { name: 'subjectKeyIdentifier' },
    { name: 'authorityKeyIdentifier', keyIdentifier: true },
  ]);
  certificate.sign(keys.privateKey, forge.md.sha256.create());
  return forge.asn1.toDer(forge.pki.certificateToAsn1(certificate)).getBytes();
}

/** From DER to a verdict, with nothing kept between: two signatures, P-256. */
async function chains(): Promise<void> {
  const { issuer, certificate, root } = await treeOf('P-256');
  const key = await generateKey('ecdsa-p256-sha256');
  const subject = { countryName: 'DE', organizationName: 'Maker', commonName: 'edge' };
  const subjectAltName = { uri: ['urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f'] };
  const leaf = await createCertificate({
    profile: PROFILES.device,
    subject,
    subjectAltName,
    publicKey: key.publicKey,
    issuer,
  });
  const time = new Date();
  const ours = async () => {
    const { ok } = await validatePath(leaf, [certificate], [root], { purpose: 'client-auth', time });
    if (!ok) throw new Error('ours refuses the chain');
  };
  const theirs = async () => {
    const [end, middle, anchor] = [leaf, certificate, root].map((der) => pkijs.Certificate.fromBER(der.slice().buffer));
    const engine = new pkijs.CertificateChainValidationEngine({
      trustedCerts: [anchor],
      certs: [middle, end],
      checkDate: time,
    });
    const { result, resultMessage } = await engine.verify();
    if (result !== true) throw new Error(`pkijs refuses the chain: ${resultMessage}`);
  };
  await compare({
    ...{ area, name: 'parse and validate a chain of three, P-256', unit: '1/s', better: 'higher', rounds },
    ours: () => perSecond(ours),
    theirs: { [names.pkijs]: () => perSecond(theirs) },
  });
}

/** With a reason each. pkijs needs its limits raised to read them at all; @peculiar/x509 cannot make or read them. */
async function lists(): Promise<void> {
  const count = flags.quick ? 10_000 : 100_000;
  const { issuer } = await treeOf('P-256');
  const serials = Array.from({ length: count }, (_, i) => (1n << 100n) + BigInt(i) * 7919n);
  const now = new Date();
  const nextUpdate = new Date(now.getTime() + 86_400_000);
  const revoked = serials.map(
    (serialNumber) => ({ serialNumber, revocationDate: now, reason: 'keyCompromise' }) as const,
  );
  let list: Uint8Array = new Uint8Array();
  const build = async () => {
    list = await createCrl({ issuer, number: 1n, revoked, nextUpdate });
  };
  const pair: Loose = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const hex = serials.map((each) =>
    Uint8Array.from(each.toString(16).padStart(26, '0').match(/../g) ?? [], (pair_) => Number.parseInt(pair_, 16)),
  );
  const pkijsBuild = async () => {
    const crl = new pkijs.CertificateRevocationList({ version: 1 });
    crl.issuer = pkijsName('CA');
    crl.thisUpdate = new pkijs.Time({ type: 0, value: now });
    crl.nextUpdate = new pkijs.Time({ type: 0, value: nextUpdate });
    const extnValue = new asn1.Enumerated({ value: 1 }).toBER(false);
    crl.revokedCertificates = hex.map(
      (bytes) =>
        new pkijs.RevokedCertificate({
          userCertificate: new asn1.Integer({ valueHex: bytes.slice().buffer }),
          revocationDate: new pkijs.Time({ type: 0, value: now }),
          crlEntryExtensions: new pkijs.Extensions({
            extensions: [new pkijs.Extension({ extnID: '2.5.29.21', extnValue })],
          }),
        }),
    );
    await crl.sign(pair.privateKey, 'SHA-256');
    return crl.toSchema(true).toBER(false);
  };
  const once = { area, unit: 's', better: 'lower', rounds: 1 } as const;
  const one = (operation: () => Promise<unknown>) => once1(() => seconds(operation));
  await compare({
    ...once,
    name: `build a CRL of ${count}`,
    ours: () => seconds(build),
    theirs: { [names.pkijs]: one(pkijsBuild) },
  });
  let crl = parseCrl(list);
  const parse = () => {
    crl = parseCrl(list);
  };
  let theirs: Loose;
  const pkijsParse = async () => {
    theirs = pkijsCrl(list);
  };
  await compare({
    ...once,
    name: `parse a CRL of ${count}`,
    ours: () => seconds(parse),
    theirs: { [names.pkijs]: one(pkijsParse) },
  });
  await compare({
    ...{ ...once, unit: 'MB', rounds: 3 },
    name: `memory to parse a CRL of ${count}`,
    ours: () => megabytes('ours', list),
    theirs: { [names.pkijs]: once1(() => megabytes('pkijs', list)) },
  });
  const pick = (i: number): bigint => serials[(i * 97) % count] ?? 0n;
  const numbers = Array.from({ length: 1000 }, (_, i) => ({
    issuer: theirs.issuer,
    serialNumber: new asn1.Integer({ valueHex: (hex[(i * 97) % count] ?? new Uint8Array()).slice().buffer }),
  }));
  await compare({
    ...{ ...once, unit: 'ms', rounds },
    name: `look a certificate up in a parsed CRL of ${count}`,
    ours: () => lookUps(10_000, (i) => crl.entries.get(pick(i)) !== undefined),
    theirs: { [names.pkijs]: once1(() => lookUps(5, (i) => theirs.isCertificateRevoked(numbers[i * 199]))) },
  });
}

/** Milliseconds that one of so many look-ups takes. */
async function lookUps(times: number, isThere: (i: number) => boolean): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < times; i++) if (!isThere(i)) throw new Error('an entry is lost');
  return (performance.now() - start) / times;
}

/** pkijs needs its limits raised to read a list of this length at all. */
function pkijsCrl(list: Uint8Array): Loose {
  const read = asn1.fromBER(list.slice().buffer, { maxNodes: 1e8, maxContentLength: 1 << 28, maxDepth: 100 });
  return new pkijs.CertificateRevocationList({ schema: read.result });
}

/** Megabytes by which the resident memory of a process of its own grows at its peak while it reads a list. */
async function megabytes(who: string, list: Uint8Array): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'pki-bench-'));
  try {
    const file = join(directory, 'list.crl');
    writeFileSync(file, list);
    const program = process.argv[1] ?? '';
    const { stdout } = await promisify(execFile)(process.execPath, [program, READ_LIST, who, file]);
    return Number(stdout);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The other process: reads a list once, says by how much that raised its peak, and ends. */
function readList(who: string | undefined, file: string | undefined): never {
  const list = new Uint8Array(readFileSync(file ?? ''));
  const before = process.memoryUsage().rss;
  const crl: unknown = who === 'ours' ? parseCrl(list) : pkijsCrl(list);
  if (crl === undefined) throw new Error('nothing was read');
  // maxRSS is in kilobytes.
  process.stdout.write(String(Math.max(process.resourceUsage().maxRSS * 1024 - before, 0) / 2 ** 20));
  process.exit(0);
}

/** `compare` warms every contender once; what takes minutes is measured then and not again. */
function once1(measure: () => Promise<number>): () => Promise<number> {
  let measured: Promise<number> | undefined;
  return () => {
    measured ??= measure();
    return measured;
  };
}

/** 1 MB, detached, with signed attributes and the certificate inside. */
async function documents(): Promise<void> {
  const { algorithm, issuer } = await treeOf('P-256');
  const content = webcrypto.getRandomValues(new Uint8Array(65_536));
  const document = new Uint8Array(1 << 20);
  for (let offset = 0; offset < document.length; offset += content.length) document.set(content, offset);
  const key = await generateKey(algorithm);
  const subject = { countryName: 'DE', organizationName: 'Maker', commonName: 'edge' };
  const subjectAltName = { uri: ['urn:uuid:3f0c2a57-4d1b-4f3e-9a3c-0a1b2c3d4e5f'] };
  const own = await createCertificate({
    profile: PROFILES.device,
    subject,
    subjectAltName,
    publicKey: key.publicKey,
    issuer,
  });
  const pair: Loose = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const certificate = pkijs.Certificate.fromBER(await pkijsIssue(pair));
  const theirs = async () => {
    const digest = await webcrypto.subtle.digest('SHA-256', document);
    const attribute = (type: string, value: Loose) => new pkijs.Attribute({ type, values: [value] });
    const signedAttrs = new pkijs.SignedAndUnsignedAttributes({
      type: 0,
      attributes: [
        attribute('1.2.840.113549.1.9.3', new asn1.ObjectIdentifier({ value: '1.2.840.113549.1.7.1' })),
        attribute('1.2.840.113549.1.9.5', new asn1.UTCTime({ valueDate: new Date() })),
        attribute('1.2.840.113549.1.9.4', new asn1.OctetString({ valueHex: digest })),
      ],
    });
    const sid = new pkijs.IssuerAndSerialNumber({ issuer: certificate.issuer, serialNumber: certificate.serialNumber });
    const cms = new pkijs.SignedData({
      version: 1,
      encapContentInfo: new pkijs.EncapsulatedContentInfo({ eContentType: '1.2.840.113549.1.7.1' }),
      signerInfos: [new pkijs.SignerInfo({ version: 1, sid, signedAttrs })],
      certificates: [certificate],
    });
    await cms.sign(pair.privateKey, 0, 'SHA-256', document.buffer);
    return new pkijs.ContentInfo({ contentType: '1.2.840.113549.1.7.2', content: cms.toSchema(true) })
      .toSchema()
      .toBER(false);
  };
  await compare({
    ...{ area, name: 'sign 1 MB as detached CMS, P-256', unit: '1/s', better: 'higher', rounds },
    ours: timed(() => signDocument(document, { signer: key, chain: [own] })),
    theirs: { [names.pkijs]: () => perSecond(theirs) },
  });
}
