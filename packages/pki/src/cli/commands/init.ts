/** `init`: a hierarchy from a template. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT, Failure, type Result, readInputFile, table, usage, writeOutputFile } from '@casemate/command-line';
import { sha256 } from '@noble/hashes/sha2.js';
import { toHex } from '../../bytes.js';
import { parseCertificate } from '../../certificate.js';
import type { HierarchyTemplate } from '../../hierarchy.js';
import { nameText } from '../../name.js';
import { openStore } from '../../store.js';
import { drawTemplate, explainTemplate, parseTemplate, trustmeTemplate } from '../../template.js';
import { createAuditKey, hasAuditKey, recordEvent, storePath } from '../authority.js';
import type { CommandDefinition, Context } from '../definition.js';
import { STORE_OPTIONS } from '../options.js';

/** What a template is chosen by. */
export const TEMPLATE_OPTIONS = {
  template: { type: 'string', short: 't', value: 'FILE', help: "a template in JSON; trust|me's tree without it" },
  organization: { type: 'string', value: 'NAME', help: 'O of every subject' },
  country: { type: 'string', value: 'CC', help: 'C of every subject, two letters' },
  domain: {
    type: 'string',
    value: 'DOMAIN',
    help: 'the domain of the backend; CRLs and OCSP are at http://pki.DOMAIN',
  },
  location: { type: 'string', value: 'URL', help: 'where CRLs and OCSP are instead' },
  rsa: {
    type: 'boolean',
    help: 'RSA-4096 keys, images signed with PSS and SHA-512 as trust|me does; P-384 and P-256 without it',
  },
} as const;

/** The template that the command line chooses. */
export async function templateOf(context: Context): Promise<HierarchyTemplate> {
  const { text, has } = context;
  const file = text('template');
  if (file !== undefined)
    return parseTemplate(new TextDecoder().decode(await readInputFile(file, context.surroundings)));
  const [organizationName, domain, countryName, location] = ['organization', 'domain', 'country', 'location'].map(text);
  if (organizationName === undefined || domain === undefined)
    throw usage('--organization and --domain are missing', 'Or give a --template FILE of your own.');
  return trustmeTemplate({
    subject: { ...(countryName === undefined ? {} : { countryName }), organizationName },
    domain,
    keys: has('rsa') ? 'rsa' : 'ecdsa',
    ...(location === undefined ? {} : { location }),
  });
}

/** Makes a hierarchy, or explains the template of one. */
export const initCommand: CommandDefinition = {
  name: 'init',
  summary: 'make a hierarchy of keys and certificates from a template',
  details:
    'Everything appears at once or not at all; a run that was cut off goes on where it stopped when it is called again in the same way. What is there is never overwritten.',
  options: {
    ...STORE_OPTIONS,
    ...TEMPLATE_OPTIONS,
    'insecure-no-passphrase': { type: 'boolean', help: 'leave the keys unencrypted, protected by file modes alone' },
    explain: { type: 'boolean', help: 'say what the template is, and make nothing' },
    svg: { type: 'string', value: 'FILE', help: 'write a picture of the template' },
  },
  examples: [
    'casemate-pki init --organization Maker --domain maker.example --explain',
    'casemate-pki init --store pki --organization Maker --country DE --domain maker.example --passphrase file:secret',
  ],
  async run(context) {
    const template = await templateOf(context);
    const svg = context.text('svg');
    if (svg !== undefined) await writeOutputFile(svg, drawTemplate(template));
    if (context.has('explain')) return { json: JSON.parse(JSON.stringify(template)), text: explainTemplate(template) };
    return generate(context, template);
  },
};

async function generate(context: Context, template: HierarchyTemplate): Promise<Result> {
  const path = storePath(context);
  const passphrase = await passphraseOf(context);
  await mkdir(path, { recursive: true, mode: 0o700 });
  const store = await openStore(path, passphrase === undefined ? {} : { passphrase });
  // Before everything else, so that a run that goes on where another stopped finds it.
  if (!(await hasAuditKey(path))) await createAuditKey(path, passphrase, `${template.name}/${originWord(template)}`);
  let step = '';
  let count = 0;
  const onStep = ({ name }: { readonly name: string }) => {
    count += 1;
    step = `${name} (${count} of ${template.certificates.length})`;
  };
  const hierarchy = await context.during(() => `making ${step}`, store.generate(template, { onStep }));
  const fingerprints = hierarchy.authorities.map(({ name, certificate }) => ({
    name,
    sha256: toHex(sha256(certificate)),
  }));
  await recordEvent(path, passphrase, { event: 'generate', template: template.name, certificates: fingerprints });
  const rows = hierarchy.authorities.map(({ name, certificate }) => {
    const { subject, notAfter } = parseCertificate(certificate);
    return [name, nameText(subject), `until ${notAfter.toISOString().slice(0, 10)}`];
  });
  return {
    json: { store: path, certificates: fingerprints },
    text: `${table(rows)}\n\n${rows.length} keys and certificates in ${join(path, 'hierarchy')}; the audit log is in ${join(path, 'audit')}.`,
  };
}

function originWord(template: HierarchyTemplate): string {
  const word = (template.subject.organizationName ?? 'pki')
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .slice(0, 60);
  return word === '' ? 'pki' : word;
}

/** Keys without a passphrase only where that is asked for by a name that says so. */
export async function passphraseOf(context: Context): Promise<string | undefined> {
  const passphrase = await context.secretText('passphrase');
  if (passphrase !== undefined || context.has('insecure-no-passphrase')) return passphrase;
  const first = await context.surroundings.askSecret('passphrase for the new keys: ');
  if (first === undefined || first === '')
    throw new Failure(
      EXIT.USAGE,
      'a passphrase for the keys is missing',
      'Give --passphrase SOURCE, or --insecure-no-passphrase.',
    );
  if ((await context.surroundings.askSecret('again: ')) !== first)
    throw new Failure(EXIT.USAGE, 'the two passphrases differ');
  return first;
}
