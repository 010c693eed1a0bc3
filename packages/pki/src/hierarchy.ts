/** CA hierarchies: a tree of certificates described as data, and its generation step by step. */
import { type SignatureAlgorithm, schemeOf } from './algorithm.js';
import { type AlternativeNames, generalNames } from './alternative-name.js';
import { parseCertificate } from './certificate.js';
import { PkiError } from './error.js';
import { assertAlternativeNames, assertSubject, createCertificate, type Issuer } from './issue.js';
import { assertSignerOf, generateKey, type Signer, type SoftwareKey } from './key.js';
import type { NameInput } from './name.js';
import { type CertificateProfile, PROFILES, profileProblems } from './profile.js';

/** One certificate of a template. */
export interface TemplateEntry {
  /** The word by which the store and callers name it: lower-case letters, digits and hyphens. */
  readonly name: string;
  /** The name of an earlier CA entry; without it the certificate is self-signed. */
  readonly issuer?: string;
  /** The common name; the rest of the subject is the template's. */
  readonly commonName: string;
  /** Alternative names, within the rules of the profile: host names of a server. */
  readonly subjectAltName?: AlternativeNames;
  /** What the certificate is for, one sentence for people. */
  readonly use: string;
  /** The kind of certificate. */
  readonly profile: CertificateProfile;
  /** The kind of key; the template's without it. */
  readonly algorithm?: SignatureAlgorithm;
  /** Where this CA publishes its CRL. */
  readonly crlUri?: string;
  /** Where this CA's certificate can be fetched. */
  readonly certificateUri?: string;
  /** Where the OCSP responder for this CA's certificates answers. */
  readonly ocspUri?: string;
}

/** A tree of certificates as plain data. */
export interface HierarchyTemplate {
  /** A word for listings. */
  readonly name: string;
  /** Country, organization and unit that all subjects share. */
  readonly subject: Omit<NameInput, 'commonName' | 'serialNumber'>;
  /** The kind of key of every entry that names none. */
  readonly algorithm: SignatureAlgorithm;
  /** The certificates, each after its issuer. */
  readonly certificates: readonly TemplateEntry[];
}

/** A key with its certificate and the certificates above it. */
export interface Authority {
  /** The entry's name. */
  readonly name: string;
  /** The certificate, DER. */
  readonly certificate: Uint8Array;
  /** Its key. */
  readonly signer: SoftwareKey;
  /** The certificate and those above it, leaf first, without the root; the root's own chain is itself. DER. */
  readonly chain: readonly Uint8Array[];
  /** The self-signed certificate at the top, DER: what a verifier is given as anchor. */
  readonly root: Uint8Array;
  /** This authority as the issuer of further certificates, with its locations. */
  readonly issuer: Issuer;
}

/** A generated tree. */
export interface Hierarchy {
  /** The template that it was made from. */
  readonly template: HierarchyTemplate;
  /** Every entry in the template's order. */
  readonly authorities: readonly Authority[];
  /** The entry with this name. Throws {@link PkiError} `not-found`. */
  get(name: string): Authority;
}

/** A certificate with its key, as a generation step leaves it. */
export interface GeneratedEntry {
  /** The certificate, DER. */
  readonly certificate: Uint8Array;
  /** Its key. */
  readonly key: SoftwareKey;
}

/**
 * Where a generation keeps its finished steps, so that one which was cut off goes on where it stopped. Each `write` is atomic:
 * afterwards `read` gives the entry, before it nothing.
 */
export interface GenerationStore {
  /** The entry that an earlier run finished. */
  read(name: string): Promise<GeneratedEntry | undefined>;
  /** Keeps a finished entry. */
  write(name: string, entry: GeneratedEntry): Promise<void>;
}

/** Options of {@link createHierarchy}. */
export interface HierarchyOptions {
  /** First second of validity of every certificate; now without it. */
  readonly notBefore?: Date;
  /** Keeps finished steps; memory only without it. */
  readonly store?: GenerationStore;
  /** Told before each step, for people who wait. */
  readonly onStep?: (entry: TemplateEntry) => void;
}

/**
 * The default template: trust|me's separation of software signing from the device world, with path lengths, purposes for every CA
 * and an attestation CA. `subject` is shared by all certificates; where it has an organization, every CA below a root may only
 * certify names inside it.
 */
export function deviceMakerTemplate(subject: HierarchyTemplate['subject']): HierarchyTemplate {
  const scoped = (profile: CertificateProfile): CertificateProfile => scopeTo(profile, subject);
  return {
    name: 'device-maker',
    subject,
    algorithm: 'ecdsa-p256-sha256',
    certificates: [
      entry(
        'software-signing-root',
        undefined,
        'Software Signing Root CA',
        PROFILES.rootCa,
        'anchor of everything that may be executed',
        'ecdsa-p384-sha384',
      ),
      entry(
        'software-signing-ca',
        'software-signing-root',
        'Software Signing CA',
        scoped(PROFILES.softwareSigningCa),
        'issues certificates that sign software',
      ),
      entry(
        'software-signing',
        'software-signing-ca',
        'Software Signing',
        PROFILES.softwareSigning,
        'signs images and configurations',
      ),
      entry(
        'general-root',
        undefined,
        'General Root CA',
        PROFILES.rootCa,
        'anchor of devices and their attestation',
        'ecdsa-p384-sha384',
      ),
      entry(
        'device-ca',
        'general-root',
        'Device CA',
        scoped(PROFILES.deviceCa),
        'issues device certificates for keys in TPMs',
      ),
      entry(
        'attestation-ca',
        'general-root',
        'Attestation CA',
        scoped(PROFILES.attestationCa),
        'issues certificates for attestation keys',
      ),
    ],
  };
}

function entry(
  name: string,
  issuer: string | undefined,
  commonName: string,
  profile: CertificateProfile,
  use: string,
  algorithm?: SignatureAlgorithm,
): TemplateEntry {
  return {
    name,
    commonName,
    use,
    profile,
    ...(issuer === undefined ? {} : { issuer }),
    ...(algorithm === undefined ? {} : { algorithm }),
  };
}

function scopeTo(profile: CertificateProfile, subject: HierarchyTemplate['subject']): CertificateProfile {
  return subject.organizationName === undefined
    ? profile
    : { ...profile, nameConstraints: { permitted: { directory: [subject] } } };
}

/** Why a template cannot be generated; empty where it can. Each line is one sentence. */
export function templateProblems(template: HierarchyTemplate): readonly string[] {
  const earlier = new Map<string, TemplateEntry>();
  return template.certificates.flatMap((each) => {
    const problems = entryProblems(each, template, earlier).map((problem) => `${each.name}: ${problem}`);
    earlier.set(each.name, each);
    return problems;
  });
}

function entryProblems(
  each: TemplateEntry,
  template: HierarchyTemplate,
  earlier: ReadonlyMap<string, TemplateEntry>,
): readonly string[] {
  const issuer = each.issuer === undefined ? undefined : earlier.get(each.issuer);
  const above = issuer?.profile.ca?.pathLength;
  const below = each.profile.ca?.pathLength;
  return [
    ...(/^[a-z0-9][a-z0-9-]{0,63}$/.test(each.name) ? [] : ['the name must be lower-case letters, digits and hyphens']),
    ...(earlier.has(each.name) ? ['the name is there twice'] : []),
    ...(each.issuer !== undefined && issuer === undefined ? [`its issuer ${each.issuer} does not come before it`] : []),
    ...(issuer !== undefined && above === undefined ? [`its issuer ${each.issuer} is no CA`] : []),
    ...(above !== undefined && below !== undefined && below >= above
      ? ["its path length is not below its issuer's"]
      : []),
    ...(each.issuer === undefined && each.profile.ca === undefined ? ['a self-signed certificate must be a CA'] : []),
    ...profileProblems(each.profile),
    ...subjectProblems(each, template),
  ];
}

function subjectProblems(each: TemplateEntry, template: HierarchyTemplate): readonly string[] {
  try {
    assertSubject(each.profile, subjectOf(each, template));
    assertAlternativeNames(each.profile, each.subjectAltName ?? {});
    generalNames(each.subjectAltName ?? {});
    schemeOf(each.algorithm ?? template.algorithm);
    return [];
  } catch (error) {
    if (error instanceof PkiError) return [error.message];
    throw error;
  }
}

/** The whole subject of an entry. */
export function subjectOf(each: TemplateEntry, template: HierarchyTemplate): NameInput {
  return { ...template.subject, commonName: each.commonName };
}

/**
 * Generates every key and certificate of a template in its order. Steps that `options.store` has already are taken from there and
 * checked, so a generation that was cut off is resumed.
 * Throws {@link PkiError}: `bad-input` for a template with problems, `key-mismatch` for a stored step that does not belong to it.
 */
export async function createHierarchy(template: HierarchyTemplate, options: HierarchyOptions = {}): Promise<Hierarchy> {
  const problems = templateProblems(template);
  if (problems.length > 0) throw new PkiError('bad-input', `use template ${template.name}: ${problems.join('; ')}`);
  const entries = new Map<string, GeneratedEntry>();
  for (const each of template.certificates) {
    options.onStep?.(each);
    entries.set(
      each.name,
      (await resumeEntry(each, options)) ?? (await generateEntry(each, template, entries, options)),
    );
  }
  return assembleHierarchy(template, entries);
}

async function resumeEntry(each: TemplateEntry, options: HierarchyOptions): Promise<GeneratedEntry | undefined> {
  const found = await options.store?.read(each.name);
  if (found !== undefined) assertSignerOf(found.key, parseCertificate(found.certificate).publicKey, each.name);
  return found;
}

async function generateEntry(
  each: TemplateEntry,
  template: HierarchyTemplate,
  entries: ReadonlyMap<string, GeneratedEntry>,
  options: HierarchyOptions,
): Promise<GeneratedEntry> {
  const key = await generateKey(each.algorithm ?? template.algorithm);
  const certificate = await createCertificate({
    profile: each.profile,
    subject: subjectOf(each, template),
    publicKey: key.publicKey,
    issuer: issuerOf(each, template, entries) ?? { signer: key },
    ...(each.subjectAltName === undefined ? {} : { subjectAltName: each.subjectAltName }),
    ...(options.notBefore === undefined ? {} : { notBefore: options.notBefore }),
  });
  const generated = { certificate, key };
  await options.store?.write(each.name, generated);
  return generated;
}

function issuerOf(
  each: TemplateEntry,
  template: HierarchyTemplate,
  entries: ReadonlyMap<string, GeneratedEntry>,
): Issuer | undefined {
  const above = template.certificates.find((candidate) => candidate.name === each.issuer);
  const generated = above === undefined ? undefined : entries.get(above.name);
  return above === undefined || generated === undefined
    ? undefined
    : issuerWith(above, generated.certificate, generated.key);
}

function issuerWith(each: TemplateEntry, certificate: Uint8Array, signer: Signer): Issuer {
  return {
    certificate,
    signer,
    ...(each.crlUri === undefined ? {} : { crlUri: each.crlUri }),
    ...(each.certificateUri === undefined ? {} : { certificateUri: each.certificateUri }),
    ...(each.ocspUri === undefined ? {} : { ocspUri: each.ocspUri }),
  };
}

/** A {@link Hierarchy} from finished entries. Throws {@link PkiError} `not-found` where one is missing. */
export function assembleHierarchy(
  template: HierarchyTemplate,
  entries: ReadonlyMap<string, GeneratedEntry>,
): Hierarchy {
  const authorities = template.certificates.map((each) => authority(each, template, entries));
  return {
    template,
    authorities,
    get(name) {
      const found = authorities.find((candidate) => candidate.name === name);
      if (found === undefined)
        throw new PkiError('not-found', `get authority: expected one in ${template.name}, got "${name}"`);
      return found;
    },
  };
}

function authority(
  each: TemplateEntry,
  template: HierarchyTemplate,
  entries: ReadonlyMap<string, GeneratedEntry>,
): Authority {
  const path = pathUp(each, template, entries);
  const [own] = path;
  const root = path.at(-1);
  const key = entries.get(each.name)?.key;
  if (own === undefined || root === undefined || key === undefined) {
    throw new PkiError('not-found', `assemble hierarchy: expected the entry ${each.name}, got none`);
  }
  const chain = path.length === 1 ? path : path.slice(0, -1);
  return { name: each.name, certificate: own, signer: key, chain, root, issuer: issuerWith(each, own, key) };
}

function pathUp(
  each: TemplateEntry,
  template: HierarchyTemplate,
  entries: ReadonlyMap<string, GeneratedEntry>,
): readonly Uint8Array[] {
  const certificate = entries.get(each.name)?.certificate;
  const above = template.certificates.find((candidate) => candidate.name === each.issuer);
  if (certificate === undefined) return [];
  return above === undefined ? [certificate] : [certificate, ...pathUp(above, template, entries)];
}
