/** `inspect`: what is in a file, in words, and a chain as a picture. */
import { EXIT, Failure, readInputFile, type Style, writeOutputFile } from '@casemate/command-line';
import { type Certificate, parseCertificate } from '../../certificate.js';
import { parseSignedData } from '../../cms.js';
import { parseCrl } from '../../crl.js';
import { parseCsr } from '../../csr.js';
import { PkiError } from '../../error.js';
import { legacyCiphers } from '../../legacy-ciphers.js';
import { nameText, sameName } from '../../name.js';
import { parsePem } from '../../pem.js';
import { drawTree } from '../../picture.js';
import { parsePkcs12 } from '../../pkcs12.js';
import { parseTimestamp } from '../../timestamp.js';
import type { CommandDefinition, Context } from '../definition.js';
import { type Description, describeCertificate, describeCrl, describeCsr, keyText, titled } from '../describe.js';
import { asDer, momentOf } from '../input.js';

interface Found {
  readonly descriptions: Description[];
  readonly certificates: Certificate[];
}

/** Says what files hold. */
export const inspectCommand: CommandDefinition = {
  name: 'inspect',
  usage: 'FILE…',
  summary: 'say what files hold: certificates, requests, CRLs, keys, PKCS#12, signed documents, timestamps',
  details: 'Nothing is verified: "casemate-pki verify" does that. PEM and DER are told apart by their contents.',
  options: {
    svg: { type: 'string', value: 'FILE', help: 'write the certificates as a picture of who certified whom' },
    secret: { type: 'string', value: 'SOURCE', help: 'the passphrase of a PKCS#12 file' },
    time: {
      type: 'string',
      value: 'MOMENT',
      help: 'certificates that are not valid then are red in the picture; now without it',
    },
  },
  examples: ['casemate-pki inspect edge.crt --svg chain.svg', 'casemate-pki inspect token.p12 --secret prompt'],
  positionals: { min: 1, max: 64 },
  async run(context) {
    const found: Found = { descriptions: [], certificates: [] };
    for (const path of context.positionals) await inspectFile(path, context, found);
    const svg = context.text('svg');
    if (svg !== undefined) await writeOutputFile(svg, drawChain(found.certificates, momentOf(context)));
    const json = found.descriptions.map((each) => each.json);
    return { json, text: found.descriptions.map((each) => each.text).join('\n\n') };
  },
};

async function inspectFile(path: string, context: Context, found: Found): Promise<void> {
  const bytes = await readInputFile(path, context.surroundings);
  const text = new TextDecoder().decode(bytes);
  if (!text.includes('-----BEGIN ')) return inspectDer(asDer(bytes), path, context, found);
  for (const { label, der } of parsePem(text)) {
    const reader = BY_LABEL[label];
    if (reader !== undefined) reader(der, context.style, found);
    else found.descriptions.push({ json: { type: 'pem', label }, text: titled('PEM block', label, [], context.style) });
  }
}

type Reader = (der: Uint8Array, style: Style, found: Found) => void;

const certificate: Reader = (der, style, found) => {
  const read = parseCertificate(der);
  if (
    found.certificates.some(
      (each) => nameText(each.subject) === nameText(read.subject) && each.serialNumber === read.serialNumber,
    )
  )
    return;
  found.certificates.push(read);
  found.descriptions.push(describeCertificate(read, style));
};
const request: Reader = (der, style, found) => void found.descriptions.push(describeCsr(parseCsr(der), style));
const crl: Reader = (der, style, found) => void found.descriptions.push(describeCrl(parseCrl(der), style));
const publicKey: Reader = (der, style, found) =>
  void found.descriptions.push({
    json: { type: 'public-key', key: keyText(der) },
    text: titled('public key', keyText(der), [], style),
  });
const privateKey: Reader = (_, style, found) =>
  void found.descriptions.push({
    json: { type: 'private-key' },
    text: titled('private key', '(not shown)', [], style),
  });
const signed: Reader = (der, style, found) => {
  const data = parseSignedData(der);
  const isTimestamp = data.contentType === '1.2.840.113549.1.9.16.1.4';
  found.descriptions.push(isTimestamp ? timestamp(der, style) : documentOf(data, style));
  for (const each of data.certificates) certificate(each, style, found);
};

function timestamp(der: Uint8Array, style: Style): Description {
  const { time, policy, hash, serialNumber, accuracy } = parseTimestamp(der);
  const json = {
    type: 'timestamp',
    time: time.toISOString(),
    policy,
    hash,
    serial: serialNumber.toString(16),
    accuracy: accuracy ?? null,
  };
  const rows = [
    ['over', `a digest with ${hash}`],
    ['policy', policy],
    ['serial', json.serial],
    ['accuracy', accuracy === undefined ? 'not told' : `${accuracy} ms`],
  ];
  return { json, text: titled('timestamp', json.time, rows, style) };
}

function documentOf(data: ReturnType<typeof parseSignedData>, style: Style): Description {
  const { signers, certificates, content } = data;
  const json = {
    type: 'signed-document',
    signers: signers.length,
    certificates: certificates.length,
    content: content !== undefined,
  };
  const rows = [
    ['signers', String(signers.length)],
    ['content', content === undefined ? 'elsewhere (detached)' : `${content.length} bytes inside`],
  ];
  return { json, text: titled('signed document', 'CMS', rows, style) };
}

const BY_LABEL: Readonly<Record<string, Reader>> = {
  CERTIFICATE: certificate,
  'CERTIFICATE REQUEST': request,
  'X509 CRL': crl,
  'PUBLIC KEY': publicKey,
  'PRIVATE KEY': privateKey,
  'ENCRYPTED PRIVATE KEY': privateKey,
  'TSS2 PRIVATE KEY': privateKey,
  CMS: signed,
  PKCS7: signed,
};

async function inspectDer(der: Uint8Array, path: string, context: Context, found: Found): Promise<void> {
  for (const reader of [certificate, request, crl, signed, publicKeyStrictly]) {
    try {
      reader(der, context.style, found);
      return;
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
    }
  }
  if (isPkcs12(der)) return inspectPkcs12(der, path, context, found);
  throw new Failure(
    EXIT.MALFORMED,
    `${path} holds nothing that is known`,
    'It is no PEM, and no DER of a certificate, request, CRL, CMS, public key or PKCS#12.',
  );
}

const publicKeyStrictly: Reader = (der, style, found) => {
  if (keyText(der).includes('unknown')) throw new PkiError('malformed', 'no public key');
  publicKey(der, style, found);
};

/** PFX: a SEQUENCE that begins with the version 3. */
function isPkcs12(der: Uint8Array): boolean {
  const length = der[1] ?? 0;
  const start = length < 0x80 ? 2 : 2 + (length & 0x7f);
  return der[0] === 0x30 && der[start] === 0x02 && der[start + 1] === 1 && der[start + 2] === 3;
}

async function inspectPkcs12(der: Uint8Array, path: string, context: Context, found: Found): Promise<void> {
  const secret =
    (await context.secretText('secret')) ?? (await context.surroundings.askSecret(`passphrase of ${path}: `));
  if (secret === undefined)
    throw new Failure(EXIT.UNAUTHORISED, `${path} is a PKCS#12 file`, 'Give its passphrase with --secret SOURCE.');
  const { keys, certificates } = await context.during(
    () => 'opening',
    parsePkcs12(der, secret, { legacy: legacyCiphers }),
  );
  const rows = [
    ['keys', String(keys.length)],
    ['names', keys.map(({ friendlyName }) => friendlyName ?? '(none)').join(', ')],
    ['trusted', String(certificates.filter(({ trusted }) => trusted).length)],
  ];
  found.descriptions.push({
    json: { type: 'pkcs12', keys: keys.length, certificates: certificates.length },
    text: titled('PKCS#12', path, rows, context.style),
  });
  for (const each of [...keys.flatMap(({ chain }) => chain), ...certificates.map((entry) => entry.certificate)])
    certificate(each, context.style, found);
}

/** Who certified whom, by names and key identifiers; whether the signatures verify is for `verify`. */
function drawChain(certificates: readonly Certificate[], time: Date): string {
  if (certificates.length === 0) throw new Failure(EXIT.MALFORMED, 'there is no certificate to draw');
  const nodes = certificates.map((each, i) => {
    const isSelf = sameName(each.subject, each.issuer);
    const above = isSelf
      ? -1
      : certificates.findIndex((other) => other !== each && sameName(other.subject, each.issuer));
    const isValid = each.notBefore <= time && time <= each.notAfter;
    const isCa = each.basicConstraints?.ca === true;
    return {
      id: String(i),
      ...(above < 0 ? {} : { parent: String(above) }),
      title: commonName(each),
      lines: [
        nameText(each.subject),
        `${keyText(each.publicKey)}, ${each.notBefore.toISOString().slice(0, 10)} to ${each.notAfter.toISOString().slice(0, 10)}`,
        `serial ${each.serialNumber.toString(16)}`,
      ],
      kind: isValid ? (isSelf ? ('root' as const) : isCa ? ('ca' as const) : ('leaf' as const)) : ('problem' as const),
    };
  });
  return drawTree(nodes, nodes.length === 1 ? 'One certificate' : `${nodes.length} certificates`);
}

function commonName({ subject }: Certificate): string {
  const [, name] = /CN=((?:[^,\\]|\\.)*)/.exec(nameText(subject)) ?? [];
  return name ?? nameText(subject);
}
