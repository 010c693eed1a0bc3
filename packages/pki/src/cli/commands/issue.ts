/** `issue`: a certificate for a request, or for a fresh key. */

import { type Result, usage, writeOutputFile } from '@casemate/command-line';
import { type SignatureAlgorithm, schemeOf } from '../../algorithm.js';
import type { AlternativeNames } from '../../alternative-name.js';
import { parseCertificate } from '../../certificate.js';
import { issueFromCsr } from '../../csr.js';
import { createCertificate } from '../../issue.js';
import { generateKey } from '../../key.js';
import type { NameInput } from '../../name.js';
import { encodePem } from '../../pem.js';
import { buildPkcs12 } from '../../pkcs12.js';
import { type OpenAuthority, openAuthority } from '../authority.js';
import type { CommandDefinition, Context } from '../definition.js';
import { describeCertificate } from '../describe.js';
import { profileOf, readBlocks } from '../input.js';
import { OUT_OPTIONS, STORE_OPTIONS } from '../options.js';
import { DATABASE_OPTIONS, isServed, openService } from '../service.js';

/** Issues a certificate. */
export const issueCommand: CommandDefinition = {
  name: 'issue',
  summary: 'issue a certificate for a request, or for a fresh key',
  details:
    'A request is checked field by field against the profile; what the profile does not name is refused, not copied. The certificate is written down with its serial number before it is handed out.',
  options: {
    ...STORE_OPTIONS,
    ...DATABASE_OPTIONS,
    ca: { type: 'string', value: 'NAME', help: 'the CA of the hierarchy that issues' },
    profile: { type: 'string', value: 'PROFILE', help: 'the kind of certificate: a name, or a JSON file' },
    csr: { type: 'string', value: 'FILE', help: 'the request, PEM or DER' },
    'common-name': {
      type: 'string',
      value: 'TEXT',
      help: "without --csr: the common name; the rest of the subject is the template's",
    },
    serial: { type: 'string', value: 'TEXT', help: 'without --csr: the serialNumber of the subject' },
    dns: { type: 'string', multiple: true, value: 'NAME', help: 'without --csr: a host name' },
    uri: { type: 'string', multiple: true, value: 'URI', help: 'without --csr: a URI' },
    email: { type: 'string', multiple: true, value: 'ADDRESS', help: 'without --csr: a mailbox' },
    algorithm: { type: 'string', value: 'NAME', help: 'without --csr: the key; default ecdsa-p256-sha256' },
    p12: { type: 'string', value: 'FILE', help: 'without --csr: where key and chain go, as PKCS#12' },
    'p12-passphrase': { type: 'string', value: 'SOURCE', help: 'what that file is encrypted under' },
    ...OUT_OPTIONS,
  },
  examples: [
    'casemate-pki issue --ca device-ca --profile device --csr edge.csr --out edge.crt --passphrase file:secret',
    'casemate-pki issue --ca user-ca --profile user --common-name Ada --p12 ada.p12 --p12-passphrase prompt --passphrase file:secret',
  ],
  async run(context) {
    const name = context.text('ca');
    if (name === undefined)
      throw usage(
        '--ca is missing',
        'Give the name of a CA of the hierarchy: "casemate-pki init --explain" lists them.',
      );
    const authority = await openAuthority(context, name);
    const { issuer, chain } = authority.ca(name);
    const csr = context.text('csr');
    if (csr === undefined) return issueWithKey(context, authority, name);
    const [request = new Uint8Array()] = await readBlocks(csr, 'CERTIFICATE REQUEST', context);
    const der = await issueFromCsr(request, { profile: await profileOf('profile', context), issuer });
    return finish(context, authority, name, der, chain);
  },
};

async function issueWithKey(context: Context, authority: OpenAuthority, name: string): Promise<Result> {
  const [commonName, serialNumber, p12] = ['common-name', 'serial', 'p12'].map(context.text);
  const passphrase = await context.secretText('p12-passphrase');
  if (commonName === undefined || p12 === undefined || passphrase === undefined) {
    throw usage('--csr is missing', 'Give a request, or --common-name, --p12 and --p12-passphrase for a fresh key.');
  }
  const { issuer, chain, root } = authority.ca(name);
  const key = await generateKey(algorithmOf(context.text('algorithm') ?? 'ecdsa-p256-sha256'));
  const subject: NameInput = {
    ...authority.hierarchy.template.subject,
    commonName,
    ...(serialNumber === undefined ? {} : { serialNumber }),
  };
  const der = await createCertificate({
    profile: await profileOf('profile', context),
    subject,
    publicKey: key.publicKey,
    issuer,
    ...alternativeNames(context),
  });
  const result = await finish(context, authority, name, der, chain);
  const file = await context.during(
    () => 'encrypting the key',
    buildPkcs12({ keys: [{ key, chain: [der, ...chain, root], friendlyName: commonName }] }, passphrase),
  );
  await writeOutputFile(p12, file, { secret: true });
  return result;
}

function algorithmOf(word: string): SignatureAlgorithm {
  schemeOf(word);
  // schemeOf throws for every other word.
  return word as SignatureAlgorithm;
}

function alternativeNames({ texts }: Context): { readonly subjectAltName?: AlternativeNames } {
  const names = { dns: texts('dns'), uri: texts('uri'), email: texts('email') };
  const given = Object.fromEntries(Object.entries(names).filter(([, values]) => values.length > 0));
  return Object.keys(given).length === 0 ? {} : { subjectAltName: given };
}

/** Written down first: a certificate that nobody knows of cannot be revoked. */
async function finish(
  context: Context,
  authority: OpenAuthority,
  name: string,
  der: Uint8Array,
  chain: readonly Uint8Array[],
): Promise<Result> {
  const certificate = parseCertificate(der);
  const serial = certificate.serialNumber.toString(16);
  await authority.store.record(name, der);
  const { json, text } = describeCertificate(certificate, context.style);
  await authority.record({ event: 'issue', issuer: name, serial, certificate: json.sha256 ?? '' });
  // A running service takes it over, and tells of it from now on.
  if (await isServed(context)) await (await openService(context, { [name]: [] }))[Symbol.asyncDispose]();
  const pem = [der, ...chain].map((each) => encodePem('CERTIFICATE', each)).join('');
  const out = context.text('out');
  if (out === undefined) return { json: { ...json, pem }, text: pem };
  await writeOutputFile(out, pem);
  return { json: { ...json, out }, text };
}
