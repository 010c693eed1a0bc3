/** `quote` and `checkquote`: PCRs signed by the TPM, and the check of that without a TPM (TPM 2.0 Part 3, section 18.4). */
import {
  EXIT,
  Failure,
  type Json,
  type Result,
  readInputFile,
  table,
  usage,
  writeOutputFile,
} from '@casemate/command-line';
import { decode } from '@casemate/wire';
import { quote } from '../../attestation.js';
import { equalBytes } from '../../bytes.js';
import { TPM_ALG } from '../../constants/algorithms.js';
import { TPMA_OBJECT } from '../../constants/attributes.js';
import { TPM_ST } from '../../constants/sessions.js';
import { TPM_GENERATED_VALUE } from '../../constants/specification.js';
import type { EccPublicKey, RsaPublicKey } from '../../crypto.js';
import { defaultCrypto } from '../../default-crypto.js';
import { nameOf } from '../../name.js';
import { createPrimary, type TpmObject } from '../../object.js';
import { orderedPcrValues, PCR_BANKS, type PcrIndexes, type PcrValues, selectedIndexes } from '../../pcr.js';
import { parsePublicKey, publicKeyOf, publicKeyPem } from '../../public-key.js';
import { constantName } from '../../recorder/names.js';
import { hexBytes } from '../../recorder/spelled.js';
import { signatureParts } from '../../signature.js';
import { TpmsAttest } from '../../structures/attestation.js';
import { Tpm2bPublic, TpmtPublic } from '../../structures/public.js';
import { TpmtSignature } from '../../structures/signatures.js';
import { akTemplate } from '../../templates.js';
import type { Tpm } from '../../tpm.js';
import type { CommandDefinition, Context } from '../definition.js';
import { ENDORSEMENT_OPTIONS, OWNER_OPTIONS, PASSWORD_OPTIONS } from '../options.js';
import { BANKS, parseHex, parsePcrs, pcrsText } from '../values.js';
import { hierarchyAuth, keyKind, withKey } from './keys-in-use.js';
import { pcrsJson, pcrsTable } from './pcrs.js';

/** Quotes. */
export const quoteCommand: CommandDefinition = {
  name: 'quote',
  usage: '--nonce HEX',
  summary: 'have the TPM sign its PCRs',
  details:
    'Prints a bundle in JSON that "checkquote" reads: statement, signature, PCR values and the public key. Without --key, the attestation key is the primary key of the endorsement hierarchy from the standard template, the same at each call.',
  options: {
    nonce: {
      type: 'string',
      short: 'n',
      value: 'HEX',
      help: 'what the verifier drew, so that the quote cannot be an old one',
    },
    pcr: { type: 'string', multiple: true, value: 'PCRS', help: 'which PCRs; default sha256:all' },
    key: {
      type: 'string',
      short: 'k',
      value: 'KEY',
      help: 'attestation key: a persistent handle or a TSS2 PRIVATE KEY file',
    },
    type: { type: 'string', value: 'KIND', help: 'kind of the attestation key without --key; default ecc-p256' },
    out: { type: 'string', short: 'o', value: 'FILE', help: 'write the bundle to FILE' },
    'out-message': { type: 'string', value: 'FILE', help: 'write the TPMS_ATTEST too, for tpm2_checkquote -m' },
    'out-signature': { type: 'string', value: 'FILE', help: 'write the TPMT_SIGNATURE too, for tpm2_checkquote -s' },
    'out-pcrs': { type: 'string', value: 'FILE', help: 'write the PCR values too, for tpm2_checkquote -F values -f' },
    'out-public': { type: 'string', value: 'FILE', help: 'write the public key too (PEM), for tpm2_checkquote -u' },
    ...PASSWORD_OPTIONS,
    ...OWNER_OPTIONS,
    ...ENDORSEMENT_OPTIONS,
  },
  examples: ['casemate-tpm quote --nonce $(openssl rand -hex 20) --pcr sha256:0-7 -o quote.json --out-public ak.pem'],
  run: makeQuote,
};

/** Checks a quote. */
export const checkQuoteCommand: CommandDefinition = {
  name: 'checkquote',
  usage: '[BUNDLE | -] --key FILE --nonce HEX',
  summary: 'check a quote, without a TPM',
  details:
    'The key must come from somewhere you trust: from the quote alone it would prove nothing. Without BUNDLE, give the parts as tpm2_quote writes them.',
  options: {
    key: { type: 'string', short: 'k', value: 'FILE', help: 'the attestation key: PEM, TPM2B_PUBLIC or TPMT_PUBLIC' },
    nonce: { type: 'string', short: 'n', value: 'HEX', help: 'the nonce that was sent' },
    message: { type: 'string', value: 'FILE', help: 'the TPMS_ATTEST' },
    signature: { type: 'string', value: 'FILE', help: 'the TPMT_SIGNATURE' },
    'pcr-values': {
      type: 'string',
      value: 'FILE',
      help: 'the PCR values one after another; their PCRs are those of the quote',
    },
  },
  examples: ['casemate-tpm checkquote quote.json --key ak.pem --nonce 0a1b…'],
  positionals: { min: 0, max: 1 },
  run: checkQuote,
};

interface Quote {
  readonly quoted: Uint8Array;
  readonly signature: Uint8Array;
  readonly pcrs: PcrValues | undefined;
}

async function makeQuote(context: Context): Promise<Result> {
  const given = context.text('nonce');
  if (given === undefined)
    throw usage('quote: --nonce is missing', 'The verifier draws it; for a try: --nonce $(openssl rand -hex 20).');
  const nonce = parseHex(given, '--nonce');
  if (nonce.length > 64) throw usage(`--nonce: expected at most 64 bytes, got ${nonce.length}`);
  const asked = context.texts('pcr');
  const pcrs = parsePcrs(asked.length > 0 ? asked : ['sha256:all'], '--pcr');
  const { result, ak } = await context.withTpm((tpm) =>
    withAk(tpm, context, async (key) => ({ ak: key.public, result: await quote(tpm, key, { nonce, pcrs }) })),
  );
  const json = bundle(result, nonce, ak);
  await writeQuoteParts(context, result, ak);
  const out = context.text('out');
  const text = JSON.stringify(json, null, 2);
  if (out !== undefined) await writeOutputFile(out, `${text}\n`);
  return { json, ...(out === undefined && { text }) };
}

async function withAk<T>(tpm: Tpm, context: Context, work: (key: TpmObject) => Promise<T>): Promise<T> {
  const name = context.text('key');
  if (name !== undefined) return await withKey(tpm, name, context, work);
  const template = akTemplate(keyKind(context, 'type', 'ecc-p256'));
  const hierarchy = await hierarchyAuth(context, 'endorsement-password');
  const made = createPrimary(tpm, { template, hierarchy: 'endorsement', ...hierarchy });
  await using key = await context.during('deriving the attestation key', made);
  return await work(key);
}

function bundle(result: Quote, nonce: Uint8Array, ak: TpmtPublic): Json {
  return {
    quoted: hexBytes(result.quoted),
    signature: hexBytes(result.signature),
    nonce: hexBytes(nonce),
    pcrs: pcrsJson(result.pcrs ?? {}),
    key: { name: hexBytes(nameOf(ak)), pem: publicKeyPem(ak) },
  };
}

async function writeQuoteParts({ text }: Context, result: Quote, ak: TpmtPublic): Promise<void> {
  const parts = [
    ['out-message', result.quoted],
    ['out-signature', result.signature],
    ['out-pcrs', Buffer.concat(orderedPcrValues(result.pcrs ?? {}))],
    ['out-public', publicKeyPem(ak)],
  ] as const;
  for (const [option, data] of parts) {
    const path = text(option);
    if (path !== undefined) await writeOutputFile(path, data);
  }
}

interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

async function checkQuote(context: Context): Promise<Result> {
  const { style } = context;
  const keyFile = context.text('key');
  if (keyFile === undefined)
    throw usage(
      'checkquote: --key is missing',
      'A key that came with the quote proves nothing; take it from where you enrolled it.',
    );
  const key = await readPublic(keyFile, context);
  const nonceText = context.text('nonce');
  if (nonceText === undefined)
    throw usage('checkquote: --nonce is missing', 'Without it, the quote may be an old one.');
  const nonce = parseHex(nonceText, '--nonce');
  const evidence = await readQuote(context);
  const attest = decode(TpmsAttest, evidence.quoted);
  const checks = checksOf(evidence, attest, key, nonce);
  const ok = checks.every((check) => check.ok);
  const rows = checks.map((check) => [check.ok ? style.good('ok') : style.bad('FAILED'), check.name, check.detail]);
  const values = evidence.pcrs ? [pcrsTable(evidence.pcrs, style, Number.POSITIVE_INFINITY)] : [];
  return {
    json: {
      ok,
      checks: checks.map((check) => ({ ...check })),
      statement: statementJson(attest),
      pcrs: evidence.pcrs ? pcrsJson(evidence.pcrs) : null,
    },
    text: [table(rows), ...values].join('\n'),
    exit: ok ? EXIT.OK : EXIT.CHECK_FAILED,
  };
}

function checksOf(evidence: Quote, attest: TpmsAttest, key: PublicKey, nonce: Uint8Array): readonly Check[] {
  const isQuote = attest.type === TPM_ST.ATTEST_QUOTE && attest.magic === TPM_GENERATED_VALUE;
  const restricted = key.area ? (key.area.objectAttributes & TPMA_OBJECT.restricted) !== 0 : undefined;
  const { pcrs } = evidence;
  return [
    { name: 'statement', ok: isQuote, detail: isQuote ? 'a quote, marked as made in a TPM' : 'not a quote' },
    { name: 'signature', ...signatureCheck(evidence, key) },
    ...(restricted === undefined
      ? []
      : [
          {
            name: 'key',
            ok: restricted,
            detail: restricted ? 'signs only what the TPM itself made' : 'not restricted: it signs forged quotes too',
          },
        ]),
    { name: 'nonce', ok: equalBytes(attest.extraData, nonce), detail: `${hexBytes(attest.extraData)}` },
    ...(pcrs ? [{ name: 'pcrs', ...pcrCheck(attest, evidence, pcrs) }] : []),
  ];
}

function signatureCheck(evidence: Quote, key: PublicKey): Omit<Check, 'name'> {
  const signature = decode(TpmtSignature, evidence.signature);
  const scheme = constantName('TPM_ALG_ID', signature.sigAlg) ?? '';
  const ok = defaultCrypto.verify(key.key, signatureParts(signature), evidence.quoted);
  return { ok, detail: ok ? scheme : `${scheme}, not by this key` };
}

function pcrCheck(attest: TpmsAttest, evidence: Quote, pcrs: PcrValues): Omit<Check, 'name'> {
  const signature = decode(TpmtSignature, evidence.signature);
  const parts = signatureParts(signature);
  if (attest.type !== TPM_ST.ATTEST_QUOTE) return { ok: false, detail: 'not a quote' };
  const selected = pcrsText(selectionOf(attest));
  const given = pcrsText(
    Object.fromEntries(BANKS.flatMap((bank) => (pcrs[bank] ? [[bank, Object.keys(pcrs[bank]).map(Number)]] : []))),
  );
  if (selected !== given) return { ok: false, detail: `quoted are ${selected}, given are ${given}` };
  const digest = defaultCrypto.hash(parts.hash, ...valuesInOrder(attest, pcrs));
  const ok = equalBytes(digest, attest.attested.pcrDigest);
  return { ok, detail: ok ? selected : `the values are not those that were quoted (${selected})` };
}

type QuoteStatement = Extract<TpmsAttest, { type: typeof TPM_ST.ATTEST_QUOTE }>;

function selectionOf({ attested }: QuoteStatement): PcrIndexes {
  return Object.fromEntries(
    attested.pcrSelect.flatMap(({ hash, pcrSelect }) => {
      const bank = BANKS.find((name) => PCR_BANKS[name] === hash);
      const indexes = selectedIndexes(pcrSelect);
      return bank && indexes.length > 0 ? [[bank, indexes]] : [];
    }),
  );
}

/** In the order of the quote's selection, which need not be that of the banks here. */
function valuesInOrder({ attested }: QuoteStatement, pcrs: PcrValues): readonly Uint8Array[] {
  return attested.pcrSelect.flatMap(({ hash, pcrSelect }) => {
    const bank = BANKS.find((name) => PCR_BANKS[name] === hash);
    return selectedIndexes(pcrSelect).flatMap((index) => (bank && pcrs[bank]?.[index]) ?? []);
  });
}

function statementJson(attest: TpmsAttest): Json {
  const { clockInfo, firmwareVersion, qualifiedSigner } = attest;
  const { clock, resetCount, restartCount, safe } = clockInfo;
  return {
    qualifiedSigner: hexBytes(qualifiedSigner),
    clock: clock.toString(),
    resetCount,
    restartCount,
    safe,
    firmwareVersion: `0x${firmwareVersion.toString(16).padStart(16, '0')}`,
  };
}

interface PublicKey {
  readonly key: RsaPublicKey | EccPublicKey;
  /** The whole public area, where the file has it. */
  readonly area: TpmtPublic | undefined;
}

async function readPublic(path: string, { surroundings }: Context): Promise<PublicKey> {
  const bytes = await readInputFile(path, surroundings);
  if (bytes[0] === 0x2d) return { key: parsePublicKey(new TextDecoder().decode(bytes)), area: undefined };
  if (bytes[0] === 0x30) return { key: parsePublicKey(bytes), area: undefined };
  const type = ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0);
  const isBare = type === TPM_ALG.RSA || type === TPM_ALG.ECC;
  const area = decode(isBare ? TpmtPublic : Tpm2bPublic, bytes);
  return { key: publicKeyOf(area), area };
}

async function readQuote(context: Context): Promise<Quote> {
  const { surroundings, text, positionals } = context;
  const [message, signature, values] = [text('message'), text('signature'), text('pcr-values')];
  if (message === undefined && signature === undefined) {
    return parseBundle(await readInputFile(positionals[0] ?? '-', surroundings));
  }
  if (message === undefined || signature === undefined)
    throw usage('checkquote: --message and --signature belong together');
  const quoted = await readInputFile(message, surroundings);
  const parts = { quoted, signature: await readInputFile(signature, surroundings) };
  return {
    ...parts,
    pcrs: values === undefined ? undefined : splitValues(quoted, await readInputFile(values, surroundings)),
  };
}

/** The values of a quote's PCRs, one after another as tpm2_quote -F values writes them. */
function splitValues(quoted: Uint8Array, bytes: Uint8Array): PcrValues {
  const attest = decode(TpmsAttest, quoted);
  if (attest.type !== TPM_ST.ATTEST_QUOTE) throw malformedQuote('the statement is not a quote');
  let offset = 0;
  const values = Object.entries(selectionOf(attest)).map(([bank, indexes]) => {
    const size = SIZES[bank] ?? 0;
    const ofBank = (indexes ?? []).map((index) => {
      offset += size;
      return [index, bytes.slice(offset - size, offset)] as const;
    });
    return [bank, Object.fromEntries(ofBank)] as const;
  });
  if (offset === bytes.length) return Object.fromEntries(values);
  throw malformedQuote(`expected ${offset} bytes of PCR values, got ${bytes.length}`);
}

/** Reads a bundle of "quote". Whoever made it controls all of it; nothing in it is believed before it is checked. */
function parseBundle(bytes: Uint8Array): Quote {
  if (bytes.length > MAX_BUNDLE) throw malformedQuote(`expected at most ${MAX_BUNDLE} bytes, got ${bytes.length}`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw malformedQuote('expected a bundle of "casemate-tpm quote" in JSON');
  }
  const { quoted, signature, pcrs } = membersOf(value);
  if (typeof quoted !== 'string' || typeof signature !== 'string')
    throw malformedQuote('expected "quoted" and "signature"');
  return {
    quoted: hexIn(quoted),
    signature: hexIn(signature),
    pcrs: pcrs === undefined ? undefined : bundlePcrs(pcrs),
  };
}

function bundlePcrs(value: unknown): PcrValues {
  const banks = Object.entries(membersOf(value)).map(([name, values]) => {
    const bank = BANKS.find((known) => known === name);
    if (!bank) throw malformedQuote(`"${name}" is no bank of PCRs`);
    const members = Object.entries(membersOf(values)).map(([index, digest]) => {
      if (!/^\d{1,2}$/.test(index) || Number(index) > 23 || typeof digest !== 'string')
        throw malformedQuote(`"${index}" is no PCR`);
      return [Number(index), hexIn(digest)] as const;
    });
    return [bank, Object.fromEntries(members)] as const;
  });
  return Object.fromEntries(banks);
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>; // checked by this line
  throw malformedQuote('expected a bundle of "casemate-tpm quote" in JSON');
}

function hexIn(text: string): Uint8Array {
  if (text.length % 2 === 0 && /^[0-9a-f]*$/i.test(text)) return new Uint8Array(Buffer.from(text, 'hex'));
  throw malformedQuote('expected hexadecimal digits');
}

function malformedQuote(problem: string): Failure {
  return new Failure(EXIT.MALFORMED, `read quote: ${problem}`);
}

const MAX_BUNDLE = 0x100000;
const SIZES: Readonly<Record<string, number>> = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 };
