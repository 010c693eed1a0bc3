/** PCRs and quotes. */
import { readFile, writeFile } from 'node:fs/promises';
import {
  extendPcr12,
  loadKey12,
  pubkeyOf,
  quote12,
  quote212,
  readPcrs12,
  resetPcrs12,
  srk,
  TpmPcrComposite,
  TpmPcrInfoShort,
  verifyQuote12,
  verifyQuote212,
} from '@casemate/tpm/tpm12';
import { decode, encode } from '@casemate/wire';
import {
  type Context,
  hex,
  may,
  need,
  OPTIONS,
  type Subcommand,
  secretOf,
  srkSecret,
  toBytes,
  toNumber,
  toNumbers,
  UsageError,
} from '../command.js';
import { readKey } from './key.js';

export const pcrRead: Subcommand = {
  help: 'prints PCRs',
  options: { pcrs: { ...OPTIONS.pcrs, help: 'PCR indexes, as in 11,12 (default: all)' } },
  async run({ tpm, given, print }) {
    const text = may(given, 'pcrs');
    const indexes = text === undefined ? Array.from({ length: 24 }, (_, i) => i) : toNumbers(text, 'pcrs');
    const values = await readPcrs12(tpm, indexes);
    for (const index of indexes)
      print(`PCR ${String(index).padStart(2, '0')}: ${hex(values[index] ?? new Uint8Array())}`);
  },
};

export const pcrExtend: Subcommand = {
  help: 'extends a PCR by the SHA-1 of a text, or by a digest',
  options: {
    pcr: { type: 'string', short: 'p', help: 'the PCR index' },
    data: { type: 'string', short: 'd', help: 'the text to hash' },
    digest: { type: 'string', help: 'the digest, 20 bytes in hexadecimal' },
  },
  async run({ tpm, given, print }) {
    const digest = may(given, 'digest');
    const data = () => tpm.crypto.hash(4, new TextEncoder().encode(need(given, 'data')));
    const by = digest === undefined ? data() : toBytes(digest, 'digest', 20);
    print(hex(await extendPcr12(tpm, toNumber(need(given, 'pcr'), 'pcr'), by)));
  },
};

export const pcrReset: Subcommand = {
  help: 'resets PCRs that can be reset from this locality',
  options: { pcrs: OPTIONS.pcrs },
  run: ({ tpm, given }) => resetPcrs12(tpm, toNumbers(need(given, 'pcrs'), 'pcrs')),
};

const QUOTE_OPTIONS = {
  key: OPTIONS.key,
  auth: OPTIONS.auth,
  srk: OPTIONS.srk,
  pcrs: OPTIONS.pcrs,
  nonce: { type: 'string', short: 'n', help: "the verifier's 20 bytes in hexadecimal" },
  file: OPTIONS.file,
} as const;

export const quote: Subcommand = {
  help: 'has PCRs signed together with a nonce, and writes the quote to a file',
  options: QUOTE_OPTIONS,
  run: (context) =>
    quoteTo(context, async (key, wanted) => {
      const { pcrData, signature } = await quote12(context.tpm, key, wanted);
      return { type: 'quote', pcrData: hex(encode(TpmPcrComposite, pcrData)), signature: hex(signature) };
    }),
};

export const quote2: Subcommand = {
  help: 'as quote, with the locality and the version of the TPM',
  options: QUOTE_OPTIONS,
  run: (context) =>
    quoteTo(context, async (key, wanted) => {
      const { pcrData, versionInfo, values, signature } = await quote212(context.tpm, key, {
        ...wanted,
        version: true,
      });
      const signed = { pcrData: hex(encode(TpmPcrInfoShort, pcrData)), versionInfo: hex(versionInfo) };
      const pcrs = Object.fromEntries(Object.entries(values).map(([index, value]) => [index, hex(value)]));
      return { type: 'quote2', ...signed, values: pcrs, signature: hex(signature) };
    }),
};

export const verify: Subcommand = {
  help: 'checks the file of a quote against the key and the nonce; needs no TPM but a public key that you trust',
  options: { key: OPTIONS.key, nonce: QUOTE_OPTIONS.nonce, file: OPTIONS.file },
  async run({ given, print }) {
    const key = pubkeyOf(await readKey(need(given, 'key')));
    const nonce = toBytes(need(given, 'nonce'), 'nonce', 20);
    const parts: Readonly<Record<string, unknown>> = JSON.parse(await readFile(need(given, 'file'), 'utf8'));
    const part = (name: string) => toBytes(String(parts[name] ?? ''), name);
    const claims =
      parts.type === 'quote2'
        ? verifyQuote212(key, { ...quote2Parts(part), values: valuesOf(parts.values) }, nonce)
        : verifyQuote12(
            key,
            { pcrData: decode(TpmPcrComposite, part('pcrData')), signature: part('signature') },
            nonce,
          );
    if (!claims.ok) throw new UsageError(`the quote proves nothing: ${claims.problem}`);
    print('the quote is authentic');
    for (const [index, value] of Object.entries(claims.pcrs)) print(`PCR ${index.padStart(2, '0')}: ${hex(value)}`);
  },
};

type Wanted = { readonly nonce: Uint8Array; readonly pcrs: readonly number[] };

async function quoteTo(
  { tpm, given, print }: Context,
  make: (key: { readonly handle: number; readonly secret?: Uint8Array | undefined }, wanted: Wanted) => Promise<object>,
): Promise<void> {
  const wanted = { nonce: toBytes(need(given, 'nonce'), 'nonce', 20), pcrs: toNumbers(need(given, 'pcrs'), 'pcrs') };
  const secret = secretOf(given, 'auth');
  const options = secret === undefined ? {} : { secret };
  await using key = await loadKey12(tpm, srk(srkSecret(given)), await readKey(need(given, 'key')), options);
  const file = need(given, 'file');
  await writeFile(file, `${JSON.stringify(await make(key, wanted), undefined, 2)}\n`);
  print(`wrote ${file}`);
}

function quote2Parts(part: (name: string) => Uint8Array) {
  const pcrData = decode(TpmPcrInfoShort, part('pcrData'));
  return { pcrData, versionInfo: part('versionInfo'), signature: part('signature') };
}

function valuesOf(values: unknown): Readonly<Record<number, Uint8Array>> {
  if (typeof values !== 'object' || values === null) return {};
  return Object.fromEntries(
    Object.entries(values).map(([index, value]) => [index, toBytes(String(value), 'values', 20)]),
  );
}
