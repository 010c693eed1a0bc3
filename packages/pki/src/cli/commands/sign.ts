/** `sign` and `verify`: documents, and the paths of certificates. */
import { EXIT, Failure, type Result, readInputFile, usage, writeOutputFile } from '@casemate/command-line';
import { parseCertificate } from '../../certificate.js';
import { type DocumentResult, signDocument, verifyDocument } from '../../document.js';
import { nameText } from '../../name.js';
import { validatePath } from '../../path.js';
import { decodePem, encodePem } from '../../pem.js';
import type { Purpose } from '../../purpose.js';
import { signRawDocument, verifyRawDocument } from '../../raw-document.js';
import { signatureOf, timestampOf, verifyTimestamp } from '../../timestamp.js';
import { openAuthority } from '../authority.js';
import type { CommandDefinition, Context } from '../definition.js';
import { asDer, keyOf, momentOf, readBlocks, readCertificates } from '../input.js';
import { KEY_OPTIONS, STORE_OPTIONS } from '../options.js';

const PURPOSES: readonly Purpose[] = [
  'any',
  'server-auth',
  'client-auth',
  'code-signing',
  'tpm-ek',
  'tpm-ak',
  'time-stamping',
];

/** Signs a file. */
export const signCommand: CommandDefinition = {
  name: 'sign',
  usage: 'FILE',
  summary: 'sign a file: detached CMS (FILE.p7s), or as trust|me does (FILE.sig and FILE.cert)',
  options: {
    as: {
      type: 'string',
      value: 'NAME',
      help: 'with the key of this entry of the hierarchy in --store, such as image-signing',
    },
    ...STORE_OPTIONS,
    ...KEY_OPTIONS,
    cert: {
      type: 'string',
      multiple: true,
      value: 'FILE',
      help: 'the certificate of --key and those above it, where they do not stand with the key',
    },
    format: { type: 'string', value: 'FORM', help: 'cms or trustme; default cms' },
  },
  examples: [
    'casemate-pki sign guestos.conf --as image-signing --passphrase file:secret',
    'casemate-pki sign guestos.conf --key "pkcs11:token=signer;object=images?module-path=/usr/lib/softhsm/libsofthsm2.so" --secret prompt --cert chain.pem',
  ],
  positionals: { min: 1, max: 1 },
  async run(context) {
    const [path = ''] = context.positionals;
    const format = context.text('format') ?? 'cms';
    if (format !== 'cms' && format !== 'trustme') throw usage(`--format: expected cms or trustme, got "${format}"`);
    const content = await readInputFile(path, context.surroundings);
    return context.text('as') === undefined
      ? signWithKey(context, path, content, format)
      : signAsEntry(context, path, content, format);
  },
};

async function signAsEntry(
  context: Context,
  path: string,
  content: Uint8Array,
  format: 'cms' | 'trustme',
): Promise<Result> {
  const authority = await openAuthority(context, context.text('as') ?? '');
  const { signer, chain, name } = authority.hierarchy.get(context.text('as') ?? '');
  const files = await write(path, content, format, { signer, chain });
  await authority.record({ event: 'sign', signer: name, file: path, format });
  return { json: { files, signer: name }, text: `${path} is signed by ${name}: ${files.join(' and ')}` };
}

async function signWithKey(
  context: Context,
  path: string,
  content: Uint8Array,
  format: 'cms' | 'trustme',
): Promise<Result> {
  await using signer = await keyOf(context);
  const given = await readCertificates('cert', context);
  const chain = given.length > 0 ? given : signer.chain.map(parseCertificate);
  const [own] = chain;
  if (own === undefined) throw usage('--cert is missing', 'The certificate of the key stands in no file with it.');
  const files = await write(path, content, format, { signer, chain });
  return {
    json: { files, signer: nameText(own.subject) },
    text: `${path} is signed by ${nameText(own.subject)}: ${files.join(' and ')}`,
  };
}

async function write(
  path: string,
  content: Uint8Array,
  format: 'cms' | 'trustme',
  signer: Parameters<typeof signDocument>[1],
): Promise<readonly string[]> {
  if (format === 'cms') {
    await writeOutputFile(`${path}.p7s`, await signDocument(content, signer));
    return [`${path}.p7s`];
  }
  const { signature, certificates } = await signRawDocument(content, signer);
  await writeOutputFile(`${path}.sig`, signature);
  await writeOutputFile(`${path}.cert`, certificates);
  return [`${path}.sig`, `${path}.cert`];
}

/** Verifies a file or a certificate. */
export const verifyCommand: CommandDefinition = {
  name: 'verify',
  usage: 'FILE',
  summary: 'verify the signature of a file, or the path of a certificate',
  details:
    'With --signature, or where FILE.p7s or FILE.sig stands beside it, FILE is a signed document; otherwise it is a certificate with those above it. The answer is in the exit code, too: 6 where it is no. A document with a timestamp is judged at the time that the timestamp authority (--tsa) vouches for.',
  options: {
    anchor: { type: 'string', short: 'a', multiple: true, value: 'FILE', help: 'roots that are trusted' },
    signature: { type: 'string', value: 'FILE', help: 'the signature: CMS, or .sig' },
    cert: { type: 'string', multiple: true, value: 'FILE', help: 'further certificates; for .sig the signer first' },
    crl: { type: 'string', multiple: true, value: 'FILE', help: 'CRLs and delta CRLs' },
    'require-crl': { type: 'boolean', help: 'refuse where no CRL tells the status of a certificate' },
    tsa: { type: 'string', multiple: true, value: 'FILE', help: 'roots of timestamp authorities' },
    purpose: {
      type: 'string',
      value: 'WORD',
      help: `${PURPOSES.join(', ')}; default code-signing for documents, any for certificates`,
    },
    time: { type: 'string', value: 'MOMENT', help: 'when it must be valid; now without it' },
  },
  examples: [
    'casemate-pki verify guestos.conf --anchor root.crt',
    'casemate-pki verify edge.crt --anchor root.crt --purpose client-auth --crl device-ca.crl',
  ],
  positionals: { min: 1, max: 1 },
  async run(context) {
    const anchors = await readCertificates('anchor', context);
    if (anchors.length === 0) throw usage('--anchor is missing', 'Nothing is believed that no root vouches for.');
    const signature = await signatureFile(context);
    const crls = (await Promise.all(context.texts('crl').map((path) => readBlocks(path, 'X509 CRL', context)))).flat();
    const options = { anchors, crls, requireCrl: context.has('require-crl') };
    return signature === undefined ? verifyCertificate(context, options) : verifyFile(context, signature, options);
  },
};

interface Options {
  readonly anchors: Awaited<ReturnType<typeof readCertificates>>;
  readonly crls: readonly Uint8Array[];
  readonly requireCrl: boolean;
}

function purposeOf({ text }: Context, otherwise: Purpose): Purpose {
  const word = text('purpose') ?? otherwise;
  const purpose = PURPOSES.find((each) => each === word);
  if (purpose !== undefined) return purpose;
  throw usage(`--purpose: expected one of ${PURPOSES.join(', ')}, got "${word}"`);
}

async function signatureFile(context: Context): Promise<string | undefined> {
  const given = context.text('signature');
  if (given !== undefined) return given;
  const { stat } = await import('node:fs/promises');
  for (const ending of ['.p7s', '.sig']) {
    const path = `${context.positionals[0]}${ending}`;
    if ((await stat(path).catch(() => undefined)) !== undefined) return path;
  }
  return undefined;
}

async function verifyCertificate(context: Context, { anchors, ...options }: Options): Promise<Result> {
  const [path = ''] = context.positionals;
  const [leaf, ...others] = (await readBlocks(path, 'CERTIFICATE', context)).map(parseCertificate);
  if (leaf === undefined) throw new Failure(EXIT.MALFORMED, `${path} has no certificate`);
  const intermediates = [...others, ...(await readCertificates('cert', context))];
  const result = await validatePath(leaf, intermediates, anchors, {
    ...options,
    purpose: purposeOf(context, 'any'),
    time: momentOf(context),
  });
  if (result.ok)
    return accepted(
      context,
      result.path.map(({ subject }) => nameText(subject)),
      {},
    );
  return refused(context, result.problem.code, result.problem.message);
}

async function verifyFile(context: Context, signature: string, given: Options): Promise<Result> {
  const [path = ''] = context.positionals;
  const [content, bytes] = await Promise.all(
    [path, signature].map((each) => readInputFile(each, context.surroundings)),
  );
  if (content === undefined || bytes === undefined) throw new Failure(EXIT.FAILED, 'nothing was read');
  const options = {
    ...given,
    purpose: purposeOf(context, 'code-signing'),
    intermediates: await readCertificates('cert', context),
  };
  if (signature.endsWith('.sig'))
    return told(context, await verifyRaw(context, signature, content, bytes, options), {});
  const cms = cmsOf(bytes);
  const stamp = await stampedTime(context, cms);
  if (stamp?.problem !== undefined) return refused(context, 'timestamp', stamp.problem);
  const time = context.text('time') === undefined ? (stamp?.time ?? new Date()) : momentOf(context);
  return told(
    context,
    await verifyDocument(content, cms, { ...options, time }),
    stamp?.time === undefined ? {} : { timestamp: stamp.time.toISOString() },
  );
}

function cmsOf(bytes: Uint8Array): Uint8Array {
  const text = new TextDecoder().decode(bytes);
  if (!text.includes('-----BEGIN ')) return asDer(bytes);
  return decodePem(text.includes('BEGIN PKCS7') ? 'PKCS7' : 'CMS', text);
}

async function verifyRaw(
  context: Context,
  path: string,
  content: Uint8Array,
  signature: Uint8Array,
  options: Omit<Parameters<typeof verifyRawDocument>[2], 'time'>,
): Promise<DocumentResult> {
  const given = await readCertificates('cert', context);
  const beside = `${path.slice(0, -'.sig'.length)}.cert`;
  const certificates =
    given.length > 0
      ? given.map(({ der }) => encodePem('CERTIFICATE', der)).join('')
      : new TextDecoder().decode(await readInputFile(beside, context.surroundings));
  return verifyRawDocument(content, { signature, certificates }, { ...options, time: momentOf(context) });
}

/** The time of a document's timestamp, where authorities are named and it has one. */
async function stampedTime(
  context: Context,
  cms: Uint8Array,
): Promise<{ readonly time?: Date; readonly problem?: string } | undefined> {
  const anchors = await readCertificates('tsa', context);
  const token = anchors.length === 0 ? undefined : timestampOf(cms);
  if (token === undefined) return undefined;
  const result = await verifyTimestamp(signatureOf(cms), token, { anchors });
  return result.ok ? { time: result.info.time } : { problem: result.problem.message };
}

function told(context: Context, result: DocumentResult, more: Readonly<Record<string, string>>): Result {
  if (!result.ok) return refused(context, result.problem.path?.code ?? result.problem.code, result.problem.message);
  const claimed = result.claimedTime === undefined ? {} : { claimedTime: result.claimedTime.toISOString() };
  return accepted(
    context,
    result.path.map(({ subject }) => nameText(subject)),
    { ...claimed, ...more },
  );
}

function accepted({ style }: Context, path: readonly string[], more: Readonly<Record<string, string>>): Result {
  const lines = path.map((name, i) => `${'  '.repeat(i + 1)}${name}`);
  const rest = Object.entries(more).map(
    ([name, value]) => `  ${name === 'timestamp' ? 'timestamp' : 'signed at, as the signer says,'} ${value}`,
  );
  return { json: { ok: true, path, ...more }, text: [style.good('accepted'), ...lines, ...rest].join('\n') };
}

function refused({ style }: Context, code: string, message: string): Result {
  return {
    json: { ok: false, problem: { code, message } },
    text: `${style.bad('refused')}: ${message}`,
    exit: EXIT.CHECK_FAILED,
  };
}
