/** A directory with the keys and certificates of a hierarchy and a record of every certificate that it issued. */
import { link, mkdir, readdir, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile, syncDirectory } from '@casemate/files';
import { type SignatureAlgorithm, schemeOf } from './algorithm.js';
import { parseCertificate } from './certificate.js';
import { decryptKey, encryptKey } from './encrypted-key.js';
import { PkiError } from './error.js';
import {
  assembleHierarchy,
  createHierarchy,
  type GeneratedEntry,
  type GenerationStore,
  type Hierarchy,
  type HierarchyOptions,
  type HierarchyTemplate,
  templateProblems,
} from './hierarchy.js';
import { importKey, type SoftwareKey } from './key.js';
import { isOffline, offlineKey } from './offline-key.js';
import { encodePem, parsePem } from './pem.js';
import { isCode, takeLock } from './store-lock.js';

/** Options of {@link openStore}. */
export interface StoreOptions {
  /** Encrypts the private keys (PBES2, see `encryptKey`); without it they are protected by file mode 0600 alone. */
  readonly passphrase?: string;
}

/** Options of a generation in a store. */
export type GenerationOptions = Pick<HierarchyOptions, 'notBefore' | 'onStep'>;

/** A directory store. It holds nothing open between calls. */
export interface PkiStore {
  /** The directory. */
  readonly path: string;
  /**
   * Generates the hierarchy of a template, once. It appears as a whole or not at all; a generation that was killed is resumed by the
   * next call with the same template.
   * Throws {@link PkiError}: `exists` where the store has one, `locked` while another process generates, and what `createHierarchy`
   * throws.
   */
  generate(template: HierarchyTemplate, options?: GenerationOptions): Promise<Hierarchy>;
  /**
   * The hierarchy with its keys, or only with the keys of the entries `names`, which saves the work of opening the others: these
   * then refuse to sign. Throws {@link PkiError}: `not-found`, `wrong-passphrase`, `malformed`, `key-mismatch`.
   */
  load(names?: readonly string[]): Promise<Hierarchy>;
  /**
   * Records a certificate (DER) as issued by the authority `issuer`, durably, before it is handed out.
   * Throws {@link PkiError} `exists` where the authority issued this serial number before.
   */
  record(issuer: string, certificate: Uint8Array): Promise<void>;
  /** Every certificate (DER) that was recorded for an authority, ordered by serial number. */
  issued(issuer: string): Promise<readonly Uint8Array[]>;
}

const HIERARCHY = 'hierarchy';
/** Where a generation stands until it is whole. */
export const PARTIAL = '.hierarchy.partial';
const TEMPLATE = 'template.json';

/** Opens the store in directory `path`, which is created with mode 0700 where it is missing. */
export async function openStore(path: string, options: StoreOptions = {}): Promise<PkiStore> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  return {
    path,
    generate: (template, generation = {}) => generate(path, template, options, generation),
    load: (names) => load(join(path, HIERARCHY), options, names),
    record: (issuer, certificate) => record(path, issuer, certificate),
    issued: (issuer) => issued(path, issuer),
  };
}

async function generate(
  path: string,
  template: HierarchyTemplate,
  options: StoreOptions,
  generation: GenerationOptions,
): Promise<Hierarchy> {
  await using _lock = await takeLock(join(path, 'lock'));
  await assertFree(path);
  const partial = join(path, PARTIAL);
  await startPartial(partial, template);
  const hierarchy = await createHierarchy(template, { ...generation, store: generationStore(partial, options) });
  await removeStrays(partial, template);
  for (const { name, certificate } of hierarchy.authorities) {
    await replaceFile(join(partial, `${name}.crt`), encodePem('CERTIFICATE', certificate), { mode: 0o644 });
  }
  await publish(path);
  return hierarchy;
}

/** Throws {@link PkiError} `exists` where there is a hierarchy: a release PKI is never overwritten. */
export async function assertFree(path: string): Promise<void> {
  if (!(await readdir(path)).includes(HIERARCHY)) return;
  throw new PkiError('exists', `generate hierarchy: expected none in ${path}, got one; it is never overwritten`);
}

/** Begins a generation, or goes on with one of the same template. */
export async function startPartial(partial: string, template: HierarchyTemplate): Promise<void> {
  await mkdir(partial, { recursive: true, mode: 0o700 });
  const text = `${JSON.stringify(template, undefined, 2)}\n`;
  const earlier = await readTemplateText(partial);
  if (earlier === undefined) await replaceFile(join(partial, TEMPLATE), text, { mode: 0o600 });
  else if (earlier !== text) {
    throw new PkiError(
      'bad-input',
      `generate hierarchy: expected the template of the unfinished ${partial}, got another`,
    );
  }
}

async function readTemplateText(directory: string): Promise<string | undefined> {
  try {
    return await readFile(join(directory, TEMPLATE), 'utf8');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function generationStore(directory: string, options: StoreOptions): GenerationStore {
  return {
    read: (name) => readEntry(directory, name, options),
    write: (name, entry) => writeEntry(directory, name, entry, options),
  };
}

/** Writes one file with certificate and key, so that neither is ever there without the other. */
export async function writeEntry(
  directory: string,
  name: string,
  entry: GeneratedEntry,
  options: StoreOptions,
): Promise<void> {
  const block = isOffline(entry.key) ? OFFLINE : await keyBlock(entry.key, options);
  const text = `algorithm: ${entry.key.algorithm}\n${encodePem('CERTIFICATE', entry.certificate)}${block}`;
  await replaceFile(join(directory, `${name}.pem`), text, { mode: 0o600 });
}

/** Stands in an entry's file where the private key is elsewhere. */
const OFFLINE = 'key: offline\n';

async function keyBlock(key: SoftwareKey, { passphrase }: StoreOptions): Promise<string> {
  const pkcs8 = await key.unsafeExportKey();
  return passphrase === undefined
    ? encodePem('PRIVATE KEY', pkcs8)
    : encodePem('ENCRYPTED PRIVATE KEY', await encryptKey(pkcs8, passphrase));
}

async function readEntry(
  directory: string,
  name: string,
  options: StoreOptions,
  isWanted = true,
): Promise<GeneratedEntry | undefined> {
  const path = join(directory, `${name}.pem`);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
  const blocks = parsePem(text);
  const certificate = blocks.find((block) => block.label === 'CERTIFICATE')?.der;
  if (certificate === undefined) throw new PkiError('malformed', `read ${path}: expected a certificate, got none`);
  if (!isWanted || text.endsWith(OFFLINE)) {
    return { certificate, key: offlineKey(name, parseCertificate(certificate).publicKey, storedAlgorithm(text, path)) };
  }
  const pkcs8 = await privateKey(blocks, options, path);
  return { certificate, key: await importKey(pkcs8, storedAlgorithm(text, path)) };
}

async function privateKey(
  blocks: ReturnType<typeof parsePem>,
  options: StoreOptions,
  path: string,
): Promise<Uint8Array> {
  const plain = blocks.find((block) => block.label === 'PRIVATE KEY');
  if (plain !== undefined) return plain.der;
  const encrypted = blocks.find((block) => block.label === 'ENCRYPTED PRIVATE KEY');
  if (encrypted === undefined) throw new PkiError('malformed', `read ${path}: expected a private key, got none`);
  if (options.passphrase === undefined) {
    throw new PkiError('wrong-passphrase', `read ${path}: expected a passphrase for the encrypted key, got none`);
  }
  return decryptKey(encrypted.der, options.passphrase);
}

function storedAlgorithm(text: string, path: string): SignatureAlgorithm {
  const word = /^algorithm: (\S+)$/m.exec(text)?.[1];
  if (word === undefined)
    throw new PkiError('malformed', `read ${path}: expected a line that names the algorithm, got none`);
  schemeOf(word);
  // schemeOf throws for every other word.
  return word as SignatureAlgorithm;
}

/** Temporary files of a run that was killed must not be published. */
async function removeStrays(partial: string, template: HierarchyTemplate): Promise<void> {
  const wanted = new Set([TEMPLATE, ...template.certificates.flatMap(({ name }) => [`${name}.pem`, `${name}.crt`])]);
  for (const name of await readdir(partial)) {
    if (!wanted.has(name)) await unlink(join(partial, name));
  }
}

/** The one step that makes the hierarchy appear; a rename onto a directory that is not empty fails. */
async function publish(path: string): Promise<void> {
  await syncDirectory(join(path, PARTIAL));
  try {
    await rename(join(path, PARTIAL), join(path, HIERARCHY));
  } catch (cause) {
    if (!isCode(cause, 'ENOTEMPTY') && !isCode(cause, 'EEXIST')) throw cause;
    throw new PkiError(
      'exists',
      `generate hierarchy: expected none in ${path}, got one; it is never overwritten`,
      cause,
    );
  }
  await syncDirectory(path);
}

async function load(
  directory: string,
  options: StoreOptions,
  names: readonly string[] | undefined,
): Promise<Hierarchy> {
  const text = await readTemplateText(directory);
  if (text === undefined) throw new PkiError('not-found', `load hierarchy: expected ${directory}, got nothing`);
  const template = parseTemplate(text, directory);
  const entries = new Map<string, GeneratedEntry>();
  for (const { name } of template.certificates) {
    const isWanted = names === undefined || names.includes(name);
    const entry = await readEntry(directory, name, options, isWanted);
    if (entry !== undefined) entries.set(name, entry);
  }
  return assembleHierarchy(template, entries);
}

function parseTemplate(text: string, directory: string): HierarchyTemplate {
  try {
    // templateProblems looks at every field that is used and fails on what is not there.
    const template = JSON.parse(text) as HierarchyTemplate;
    if (templateProblems(template).length === 0) return template;
  } catch (cause) {
    throw new PkiError('malformed', `load hierarchy: expected a template in ${directory}, got something else`, cause);
  }
  throw new PkiError('malformed', `load hierarchy: expected a sound template in ${directory}, got one with problems`);
}

async function record(path: string, issuer: string, der: Uint8Array): Promise<void> {
  const directory = await issuedDirectory(path, issuer);
  const serial = parseCertificate(der).serialNumber.toString(16).padStart(40, '0');
  const temporary = join(directory, `.${serial}.${crypto.randomUUID()}`);
  await writeFile(temporary, encodePem('CERTIFICATE', der), { flush: true, mode: 0o644, flag: 'wx' });
  try {
    await link(temporary, join(directory, `${serial}.crt`));
  } catch (cause) {
    if (!isCode(cause, 'EEXIST')) throw cause;
    throw new PkiError(
      'exists',
      `record certificate: expected a fresh serial number of ${issuer}, got ${serial} again`,
      cause,
    );
  } finally {
    await unlink(temporary);
  }
  await syncDirectory(directory);
}

async function issuedDirectory(path: string, issuer: string): Promise<string> {
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(issuer)) {
    throw new PkiError('bad-input', `use store: expected the name of an authority, got "${issuer}"`);
  }
  const directory = join(path, 'issued', issuer);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return directory;
}

async function issued(path: string, issuer: string): Promise<readonly Uint8Array[]> {
  const directory = await issuedDirectory(path, issuer);
  const names = (await readdir(directory)).filter((name) => /^[0-9a-f]{40}\.crt$/.test(name)).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(directory, name), 'utf8')));
  return texts.flatMap((text) => parsePem(text).map((block) => block.der));
}
