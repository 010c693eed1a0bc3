/** `pcrs` and `extend`: reading PCRs and extending them (TPM 2.0 Part 3, chapter 22; TCG PC Client Platform Firmware Profile, table 1). */
import {
  EXIT,
  Failure,
  type Json,
  type Result,
  readInputFile,
  type Style,
  type Surroundings,
  usage,
} from '@casemate/command-line';
import { defaultHashes } from '../../default-crypto.js';
import {
  extendPcr,
  PCR_BANKS,
  type PcrBank,
  type PcrDigests,
  type PcrIndexes,
  type PcrValues,
  pcrBanks,
  readPcrs,
} from '../../pcr.js';
import { hexBytes } from '../../recorder/spelled.js';
import type { CommandDefinition, Context } from '../definition.js';
import { BANKS, parseHex, parseNumber, parsePcrs } from '../values.js';

/** Reads PCRs. */
export const pcrsCommand: CommandDefinition = {
  name: 'pcrs',
  usage: '[PCRS …]',
  summary: 'show PCRs',
  details:
    'PCRS is sha256:0,7 or sha1:0-3+sha256:all; without it, every PCR of every bank is shown. PCRs that nothing was extended into are dim.',
  examples: ['casemate-tpm pcrs sha256:0-7', 'casemate-tpm pcrs --json | jq -r ".sha256[\\"7\\"]"'],
  positionals: { min: 0, max: 8 },
  run: showPcrs,
};

/** Extends a PCR. */
export const extendCommand: CommandDefinition = {
  name: 'extend',
  usage: 'PCR [BANK=DIGEST …]',
  summary: 'extend a PCR by digests, or by the hashes of data',
  details:
    'With digests, the banks that are named are extended; with --data, every bank is, by its own hash of the data.',
  options: { data: { type: 'string', value: 'FILE', help: 'hash FILE, or standard input for -' } },
  examples: [
    'casemate-tpm extend 16 --data /etc/os-release',
    'casemate-tpm extend 16 sha256=$(sha256sum < x | cut -c1-64)',
  ],
  positionals: { min: 1, max: 5 },
  run: extend,
};

async function showPcrs({ positionals, withTpm, style, surroundings }: Context): Promise<Result> {
  const asked = parsePcrs(positionals, 'PCRS');
  const values = await withTpm(async (tpm) =>
    readPcrs(tpm, positionals.length > 0 ? asked : everyPcr(await pcrBanks(tpm))),
  );
  return { json: pcrsJson(values), text: pcrsTable(values, style, tableWidth(surroundings)) };
}

async function extend({ positionals, text, surroundings, style, withTpm }: Context): Promise<Result> {
  const [first = '', ...given] = positionals;
  const index = parseNumber(first, 'PCR', { min: 0, max: 23 });
  const file = text('data');
  if ((file === undefined) === (given.length === 0)) throw usage('extend: give digests as BANK=DIGEST, or --data FILE');
  const data = file === undefined ? undefined : await readInputFile(file, surroundings);
  return await withTpm(async (tpm) => {
    const banks = await pcrBanks(tpm);
    const digests = data ? hashesOf(data, banks) : parseDigests(given);
    await extendPcr(tpm, index, digests);
    const values = await readPcrs(tpm, Object.fromEntries(Object.keys(digests).map((bank) => [bank, [index]])));
    return { json: pcrsJson(values), text: pcrsTable(values, style, tableWidth(surroundings)) };
  });
}

/** Only a terminal is too narrow for digests; elsewhere every one of them is on a line of its own. */
function tableWidth({ isTerminal, columns }: Surroundings): number {
  return isTerminal.out ? columns : Number.POSITIVE_INFINITY;
}

function everyPcr(banks: readonly PcrBank[]): PcrIndexes {
  return Object.fromEntries(banks.map((bank) => [bank, Array.from({ length: 24 }, (_, index) => index)]));
}

function hashesOf(data: Uint8Array, banks: readonly PcrBank[]): PcrDigests {
  return Object.fromEntries(banks.map((bank) => [bank, defaultHashes.hash(PCR_BANKS[bank], data)]));
}

function parseDigests(texts: readonly string[]): PcrDigests {
  const digests = texts.map((text) => {
    const [name = '', digits = ''] = text.split('=', 2);
    const bank = BANKS.find((known) => known === name);
    if (!bank) throw usage(`extend: expected BANK=DIGEST with a bank of ${BANKS.join(', ')}, got "${text}"`);
    const digest = parseHex(digits, bank);
    if (digest.length === SIZES[bank]) return [bank, digest] as const;
    throw usage(`extend: expected ${SIZES[bank]} bytes for ${bank}, got ${digest.length}`);
  });
  return Object.fromEntries(digests);
}

/** PCR values as JSON: `{ "sha256": { "7": "65ca…" } }`. */
export function pcrsJson(values: PcrValues): Json {
  const banks = BANKS.filter((bank) => values[bank]);
  return Object.fromEntries(banks.map((bank) => [bank, bankJson(values[bank] ?? {})]));
}

function bankJson(values: Readonly<Record<number, Uint8Array>>): Json {
  return Object.fromEntries(Object.entries(values).map(([index, value]) => [index, hexBytes(value)]));
}

/** PCR values as a table, one bank under another; what they are for stands beside them where the line has room. */
export function pcrsTable(values: PcrValues, style: Style, width: number): string {
  const parts = BANKS.flatMap((bank) => {
    const ofBank = values[bank];
    if (!ofBank) return [];
    const rows = Object.entries(ofBank).flatMap(([index, value]) => pcrLines(Number(index), value, style, width));
    return [style.bold(bank), ...rows];
  });
  return parts.join('\n');
}

function pcrLines(index: number, value: Uint8Array, style: Style, width: number): readonly string[] {
  const digits = hexBytes(value);
  const label = PURPOSES[index] ?? '';
  const number = String(index).padStart(4);
  const fits = 6 + digits.length + 2 + label.length <= width;
  const shown = digits.length + 6 <= width ? [digits] : (digits.match(/.{1,64}/g) ?? []);
  const isUnset = value.every((byte) => byte === value[0]) && (value[0] === 0 || value[0] === 0xff);
  return shown.map((part, i) => {
    const hex = isUnset ? style.faint(part) : part;
    const margin = i === 0 ? number : '    ';
    return `${margin}  ${hex}${fits && label !== '' ? `  ${style.faint(label)}` : ''}`;
  });
}

/** Reads the values that a policy of PCRs fixes; `undefined` where `--pcr` is not given. */
export function chosenPcrs({ texts }: Context): PcrIndexes | undefined {
  const given = texts('pcr');
  if (given.length === 0) return undefined;
  const indexes = parsePcrs(given, '--pcr');
  if (Object.values(indexes).some((list) => list.length > 0)) return indexes;
  throw new Failure(EXIT.USAGE, '--pcr: expected at least one PCR');
}

const SIZES: Readonly<Record<PcrBank, number>> = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 };

const PURPOSES: readonly string[] = [
  'firmware code',
  'firmware settings',
  'option ROM code',
  'option ROM settings',
  'boot manager code',
  'boot settings, GPT',
  'platform manufacturer',
  'Secure Boot policy',
  'OS loader',
  'OS kernel, initrd',
  'IMA',
  'unified kernel image',
  'kernel command line',
  'system extensions',
  'machine owner keys',
  'system identity',
  'debug',
  'DRTM',
  'DRTM',
  'DRTM',
  'DRTM',
  'DRTM',
  'DRTM',
  'application',
];
