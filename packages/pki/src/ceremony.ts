/**
 * The ceremony of an offline root, in three steps on two machines, with a transcript that the root key signs.
 *
 * 1. Online, {@link prepareCeremony}: the keys of the CAs below the roots are made, and their requests written.
 * 2. Offline, {@link signCeremony}: the root keys are made or opened, the requests checked against the template and signed, first CRLs made.
 * 3. Online, {@link finishCeremony}: everything is checked, and the rest of the hierarchy generated below the CAs.
 *
 * What passes between the machines is JSON without secrets. The transcript is an audit log: each step is an entry with the SHA-256 of
 * what went in and came out, and each root signs its checkpoint, so that {@link verifyCeremony} can say years later what was done.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '@casemate/files';
import { sha256 } from '@noble/hashes/sha2.js';
import {
  type AuditValue,
  encodeAuditEntry,
  memoryAuditStore,
  openAuditLog,
  parseAuditEntry,
  verifyAuditLog,
} from './audit-log.js';
import { equalBytes, toHex } from './bytes.js';
import { parseCertificate } from './certificate.js';
import { parseCrl } from './crl.js';
import { createCrl } from './crl-build.js';
import { buildCsr, issueFromCsr, parseCsr } from './csr.js';
import { decryptKey, encryptKey } from './encrypted-key.js';
import { PkiError } from './error.js';
import type { Hierarchy, HierarchyTemplate, TemplateEntry } from './hierarchy.js';
import { subjectOf } from './hierarchy.js';
import { createCertificate } from './issue.js';
import { generateKey, importKey, type Signer, type SoftwareKey } from './key.js';
import { buildName } from './name.js';
import { offlineKey } from './offline-key.js';
import { validatePath } from './path.js';
import { decodePem, encodePem } from './pem.js';
import {
  assertFree,
  type GenerationOptions,
  openStore,
  PARTIAL,
  type StoreOptions,
  startPartial,
  writeEntry,
} from './store.js';
import { isCode, takeLock } from './store-lock.js';
import { parseTemplate } from './template-parse.js';

/** What goes to the offline machine. */
export interface CeremonyRequests {
  /** Says what this is. */
  readonly format: 'casemate-ceremony-requests/1';
  /** The template of the hierarchy. */
  readonly template: HierarchyTemplate;
  /** A request (PEM) for each CA below a root, by its name. */
  readonly requests: Readonly<Record<string, string>>;
}

/** What comes back. */
export interface CeremonyResponse {
  /** Says what this is. */
  readonly format: 'casemate-ceremony-response/1';
  /** SHA-256 of the requests' template and requests, hexadecimal. */
  readonly requests: string;
  /** The certificates (PEM) of roots and of the CAs below them, by name. */
  readonly certificates: Readonly<Record<string, string>>;
  /** The first CRL (PEM) of each root, by its name. */
  readonly crls: Readonly<Record<string, string>>;
  /** What was done, one entry a step. */
  readonly transcript: readonly string[];
  /** The checkpoint over the transcript by each root, by its name. */
  readonly checkpoints: Readonly<Record<string, string>>;
}

/** How the offline part is done. */
export interface SigningOptions {
  /** The key of a root: made there, opened from a token, a TPM or a file. */
  readonly rootKey: (entry: TemplateEntry) => Promise<Signer>;
  /** Who was there; goes into the transcript. */
  readonly witnesses?: readonly string[];
  /** Where it was held; goes into the transcript. */
  readonly place?: string;
  /** The clock; the system's without it. An offline machine's may be wrong: look at it first. */
  readonly now?: () => Date;
  /** Days for which the first CRL of a root stands; 365 without it. */
  readonly crlDays?: number;
  /** Told of each step, for those who watch. */
  readonly onStep?: (step: string) => void;
}

const KEYS = 'ceremony';
const ORIGIN = 'casemate-ceremony';
const DAY = 86_400_000;

/**
 * Makes the keys of the CAs below the template's roots in the store's directory and gives their requests. Called again it gives the same.
 * Throws {@link PkiError}: `exists` where the store has a hierarchy, `locked`, `bad-input` for a template without roots or with problems.
 */
export async function prepareCeremony(
  path: string,
  template: HierarchyTemplate,
  options: StoreOptions = {},
): Promise<CeremonyRequests> {
  const checked = parseTemplate(template);
  await openStore(path, options);
  await using _lock = await takeLock(join(path, 'lock'));
  await assertFree(path);
  await startPartial(join(path, PARTIAL), checked);
  await mkdir(join(path, KEYS), { recursive: true, mode: 0o700 });
  const requests: Record<string, string> = {};
  for (const entry of subordinates(checked)) {
    requests[entry.name] = await requestFor(path, entry, checked, options);
  }
  return { format: 'casemate-ceremony-requests/1', template: checked, requests };
}

/** A signature is another one each time, so the request is kept: what was carried away is what is compared later. */
async function requestFor(
  path: string,
  entry: TemplateEntry,
  template: HierarchyTemplate,
  options: StoreOptions,
): Promise<string> {
  const file = join(path, KEYS, `${entry.name}.csr`);
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error;
  }
  const key = await keyFor(path, entry, template, options);
  const pem = encodePem('CERTIFICATE REQUEST', await buildCsr(key, { subject: subjectOf(entry, template) }));
  await replaceFile(file, pem, { mode: 0o644 });
  return pem;
}

/** The entries that a root certifies. */
function subordinates(template: HierarchyTemplate): readonly TemplateEntry[] {
  const names = new Set(rootsOf(template).map(({ name }) => name));
  return template.certificates.filter(({ issuer }) => issuer !== undefined && names.has(issuer));
}

function rootsOf(template: HierarchyTemplate): readonly TemplateEntry[] {
  return template.certificates.filter(({ issuer }) => issuer === undefined);
}

async function keyFor(
  path: string,
  entry: TemplateEntry,
  template: HierarchyTemplate,
  options: StoreOptions,
): Promise<SoftwareKey> {
  const file = join(path, KEYS, `${entry.name}.key`);
  const algorithm = entry.algorithm ?? template.algorithm;
  const { passphrase } = options;
  try {
    const text = await readFile(file, 'utf8');
    const pkcs8 =
      passphrase === undefined
        ? decodePem('PRIVATE KEY', text)
        : await decryptKey(decodePem('ENCRYPTED PRIVATE KEY', text), passphrase);
    return await importKey(pkcs8, algorithm);
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error;
  }
  const key = await generateKey(algorithm);
  const pkcs8 = await key.unsafeExportKey();
  const text =
    passphrase === undefined
      ? encodePem('PRIVATE KEY', pkcs8)
      : encodePem('ENCRYPTED PRIVATE KEY', await encryptKey(pkcs8, passphrase));
  await replaceFile(file, text, { mode: 0o600 });
  return key;
}

/**
 * The offline part. The requests are checked against the template: a subject or a key that it does not name is refused.
 * Throws {@link PkiError}: `bad-input`, `malformed`, `not-allowed`, and what the keys throw.
 */
export async function signCeremony(given: CeremonyRequests, options: SigningOptions): Promise<CeremonyResponse> {
  const { template, requests } = parseRequests(given);
  const { now = () => new Date(), witnesses = [], place = '', crlDays = 365 } = options;
  const transcript: string[] = [];
  const step = (name: string, fields: Readonly<Record<string, AuditValue>>) => {
    options.onStep?.(`${name}${typeof fields.name === 'string' ? ` ${fields.name}` : ''}`);
    transcript.push(new TextDecoder().decode(encodeAuditEntry({ event: 'ceremony', step: name, ...fields }, now())));
  };
  const digest = requestsDigest(given);
  step('start', { requests: digest, template: template.name, place, witnesses });
  const certificates: Record<string, string> = {};
  const crls: Record<string, string> = {};
  const signers = new Map<string, Signer>();
  for (const root of rootsOf(template)) {
    const signer = await options.rootKey(root);
    signers.set(root.name, signer);
    step('root-key', { name: root.name, algorithm: signer.algorithm, publicKey: toHex(sha256(signer.publicKey)) });
    const own = await createCertificate({
      profile: root.profile,
      subject: subjectOf(root, template),
      publicKey: signer.publicKey,
      issuer: { signer },
      notBefore: now(),
    });
    certificates[root.name] = encodePem('CERTIFICATE', own);
    step('root-certificate', { name: root.name, certificate: toHex(sha256(own)) });
    const issuer = issuerFor(root, own, signer);
    for (const entry of subordinates(template).filter(({ issuer: name }) => name === root.name)) {
      const csr = checkedRequest(requests[entry.name], entry, template);
      step('request', { name: entry.name, request: toHex(sha256(csr)) });
      const der = await issueFromCsr(csr, { profile: entry.profile, issuer, notBefore: now() });
      certificates[entry.name] = encodePem('CERTIFICATE', der);
      step('certificate', { name: entry.name, certificate: toHex(sha256(der)) });
    }
    const crl = await createCrl({
      issuer: { certificate: own, signer },
      number: 1n,
      thisUpdate: now(),
      nextUpdate: new Date(now().getTime() + crlDays * DAY),
      revoked: [],
    });
    crls[root.name] = encodePem('X509 CRL', crl);
    step('crl', { name: root.name, crl: toHex(sha256(crl)) });
  }
  step('end', { certificates: Object.keys(certificates).length });
  const checkpoints: Record<string, string> = {};
  for (const [name, signer] of signers) checkpoints[name] = await checkpointOver(transcript, signer, name, now);
  return { format: 'casemate-ceremony-response/1', requests: digest, certificates, crls, transcript, checkpoints };
}

function issuerFor(root: TemplateEntry, certificate: Uint8Array, signer: Signer) {
  const { crlUri, certificateUri, ocspUri } = root;
  return {
    certificate,
    signer,
    ...(crlUri === undefined ? {} : { crlUri }),
    ...(certificateUri === undefined ? {} : { certificateUri }),
    ...(ocspUri === undefined ? {} : { ocspUri }),
  };
}

function checkedRequest(pem: string | undefined, entry: TemplateEntry, template: HierarchyTemplate): Uint8Array {
  if (pem === undefined)
    throw new PkiError('bad-input', `sign ceremony: expected a request for ${entry.name}, got none`);
  const der = decodePem('CERTIFICATE REQUEST', pem);
  if (equalBytes(parseCsr(der).subject.der, buildName(subjectOf(entry, template)))) return der;
  throw new PkiError('not-allowed', `sign ceremony: expected the subject of ${entry.name} in its request, got another`);
}

async function checkpointOver(
  transcript: readonly string[],
  signer: Signer,
  name: string,
  now: () => Date,
): Promise<string> {
  const store = await storeOf(transcript);
  await using log = await openAuditLog({ store, origin: `${ORIGIN}/${name}`, signer, now });
  return log.sign();
}

async function storeOf(transcript: readonly string[]) {
  const store = memoryAuditStore();
  await store.append(
    0,
    transcript.map((line) => new TextEncoder().encode(line)),
  );
  return store;
}

/** Over what the offline machine was given, whatever the order of its members. */
function requestsDigest({ template, requests }: CeremonyRequests): string {
  const sorted = Object.entries(requests).sort(([a], [b]) => (a < b ? -1 : 1));
  return toHex(sha256(new TextEncoder().encode(JSON.stringify([canonical(template), sorted]))));
}

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => [key, canonical(member)]);
}

function parseRequests(given: CeremonyRequests): CeremonyRequests {
  if (
    given.format !== 'casemate-ceremony-requests/1' ||
    typeof given.requests !== 'object' ||
    given.requests === null
  ) {
    throw new PkiError('bad-input', 'sign ceremony: expected casemate-ceremony-requests/1, got something else');
  }
  return { ...given, template: parseTemplate(given.template) };
}

/** The answer about a ceremony. */
export type CeremonyResult =
  | { readonly ok: true /** The steps in words. */; readonly steps: readonly string[] }
  | { readonly ok: false /** What is wrong, one sentence each. */; readonly problems: readonly string[] };

/**
 * Verifies what a ceremony gave back: the checkpoints by the root keys, that every certificate and CRL is the one of its step and that
 * nothing else is there, and every certificate's path. `roots` are SHA-256 fingerprints (hexadecimal) of root certificates that were
 * read off at the ceremony; without them the roots are believed as they come.
 * Throws {@link PkiError} `malformed` for what cannot be read at all.
 */
export async function verifyCeremony(
  given: CeremonyRequests,
  response: CeremonyResponse,
  roots?: readonly string[],
): Promise<CeremonyResult> {
  const { template } = parseRequests(given);
  assertResponse(response);
  const problems: string[] = [];
  const entries = response.transcript.map((line) => parseAuditEntry(new TextEncoder().encode(line)));
  const told = new Map<string, string>();
  for (const { fields } of entries) {
    for (const kind of ['certificate', 'crl', 'request']) {
      if (typeof fields[kind] === 'string') told.set(`${kind} ${String(fields.name)}`, fields[kind]);
    }
  }
  const [first] = entries;
  if (first?.fields.requests !== requestsDigest(given) || response.requests !== requestsDigest(given))
    problems.push('it is about other requests');
  for (const [name, pem] of Object.entries(given.requests)) {
    if (told.get(`request ${name}`) !== toHex(sha256(decodePem('CERTIFICATE REQUEST', pem))))
      problems.push(`the transcript has another request of ${name}`);
  }
  problems.push(...(await rootProblems(template, response, roots, told)));
  problems.push(...(await certificateProblems(template, given, response, told)));
  if (problems.length > 0) return { ok: false, problems };
  return {
    ok: true,
    steps: entries.map(
      ({ time, fields }) =>
        `${time.toISOString()}  ${String(fields.step)}${typeof fields.name === 'string' ? `  ${fields.name}` : ''}`,
    ),
  };
}

function assertResponse(response: CeremonyResponse): void {
  const isObject = (value: unknown) => typeof value === 'object' && value !== null;
  const { format, certificates, crls, checkpoints, transcript } = response;
  if (
    format === 'casemate-ceremony-response/1' &&
    [certificates, crls, checkpoints].every(isObject) &&
    Array.isArray(transcript) &&
    transcript.length < 10_000
  )
    return;
  throw new PkiError('malformed', 'read ceremony: expected casemate-ceremony-response/1, got something else');
}

async function rootProblems(
  template: HierarchyTemplate,
  response: CeremonyResponse,
  fingerprints: readonly string[] | undefined,
  told: ReadonlyMap<string, string>,
): Promise<readonly string[]> {
  const problems: string[] = [];
  for (const { name } of rootsOf(template)) {
    const der = certificateOf(response, name);
    const store = await storeOf(response.transcript);
    const checkpoint = response.checkpoints[name];
    if (checkpoint !== undefined) await store.writeCheckpoint(checkpoint);
    const { publicKey } = parseCertificate(der);
    const verdict = await verifyAuditLog(store, { origin: `${ORIGIN}/${name}`, publicKey });
    if (!verdict.ok) problems.push(`the transcript is not signed by ${name}: ${verdict.problem.message}`);
    else if (verdict.checkpoint.size !== verdict.size) problems.push(`${name} has not signed the whole transcript`);
    const crl = decodePem('X509 CRL', response.crls[name] ?? '');
    parseCrl(crl);
    if (told.get(`crl ${name}`) !== toHex(sha256(crl))) problems.push(`the transcript has another CRL of ${name}`);
    if (fingerprints !== undefined && !fingerprints.includes(toHex(sha256(der))))
      problems.push(`the certificate of ${name} is none of those that were read off`);
  }
  return problems;
}

async function certificateProblems(
  template: HierarchyTemplate,
  given: CeremonyRequests,
  response: CeremonyResponse,
  told: ReadonlyMap<string, string>,
): Promise<readonly string[]> {
  const problems: string[] = [];
  const wanted = [...rootsOf(template), ...subordinates(template)];
  for (const entry of wanted) {
    const der = certificateOf(response, entry.name);
    const { publicKey, notBefore } = parseCertificate(der);
    if (told.get(`certificate ${entry.name}`) !== toHex(sha256(der)))
      problems.push(`the transcript has another certificate of ${entry.name}`);
    const request = given.requests[entry.name];
    if (
      request !== undefined &&
      !equalBytes(parseCsr(decodePem('CERTIFICATE REQUEST', request)).publicKey, publicKey)
    ) {
      problems.push(`the certificate of ${entry.name} is for another key than was asked for`);
    }
    const root = certificateOf(response, entry.issuer ?? entry.name);
    const path = await validatePath(der, [], [root], { purpose: 'any', time: notBefore });
    if (!path.ok) problems.push(`the certificate of ${entry.name} is not valid: ${path.problem.message}`);
  }
  const others = Object.keys(response.certificates).filter((name) => !wanted.some((entry) => entry.name === name));
  return [...problems, ...others.map((name) => `there is a certificate of ${name}, which nobody asked for`)];
}

function certificateOf(response: CeremonyResponse, name: string): Uint8Array {
  const pem = response.certificates[name];
  if (pem === undefined) throw new PkiError('malformed', `read ceremony: expected a certificate of ${name}, got none`);
  return decodePem('CERTIFICATE', pem);
}

/**
 * Takes the ceremony's certificates into the store and generates what is below them. The roots' keys stay offline: the hierarchy has
 * keys for them that refuse.
 * Throws {@link PkiError}: `untrusted` where {@link verifyCeremony} finds problems, and what a generation throws.
 */
export async function finishCeremony(
  path: string,
  response: CeremonyResponse,
  options: StoreOptions & GenerationOptions & { readonly roots?: readonly string[] } = {},
): Promise<Hierarchy> {
  const template = parseTemplate(await partialTemplate(path));
  const given = await prepareCeremony(path, template, options);
  const verdict = await verifyCeremony(given, response, options.roots);
  if (!verdict.ok) throw new PkiError('untrusted', `finish ceremony: ${verdict.problems.join('; ')}`);
  for (const entry of [...rootsOf(template), ...subordinates(template)]) {
    const certificate = certificateOf(response, entry.name);
    const { publicKey } = parseCertificate(certificate);
    const key =
      entry.issuer === undefined
        ? offlineKey(entry.name, publicKey, entry.algorithm ?? template.algorithm)
        : await keyFor(path, entry, template, options);
    await writeEntry(join(path, PARTIAL), entry.name, { certificate, key }, options);
  }
  const { notBefore, onStep } = options;
  const store = await openStore(path, options);
  return store.generate(template, {
    ...(notBefore === undefined ? {} : { notBefore }),
    ...(onStep === undefined ? {} : { onStep }),
  });
}

async function partialTemplate(path: string): Promise<string> {
  try {
    return await readFile(join(path, PARTIAL, 'template.json'), 'utf8');
  } catch (cause) {
    throw new PkiError('not-found', `finish ceremony: expected one that was prepared in ${path}, got none`, cause);
  }
}
