/** Keys, binding and sealing. */
import { readFile, writeFile } from 'node:fs/promises';
import {
  bind12,
  createKey12,
  formatSealedFile,
  type KeyKind12,
  loadKey12,
  makeIdentity,
  parseSealedFile,
  pubkeyOf,
  sealFile,
  srk,
  TpmAnyKey,
  unbind12,
  unsealFile,
} from '@casemate/tpm/tpm12';
import { decode, encode } from '@casemate/wire';
import {
  may,
  need,
  OPTIONS,
  ownerSecret,
  type Subcommand,
  secretOf,
  srkSecret,
  toNumber,
  toNumbers,
  UsageError,
} from '../command.js';

const IN_OUT = {
  in: { type: 'string', short: 'i', help: 'the file to read' },
  out: { type: 'string', short: 'O', help: 'the file to write' },
} as const;

const KINDS: readonly string[] = ['storage', 'signing', 'binding', 'legacy'] satisfies KeyKind12[];

export const createKey: Subcommand = {
  help: 'creates a key under the storage root key and writes it, wrapped, to a file',
  options: {
    type: { type: 'string', short: 't', help: 'storage, signing (default), binding or legacy' },
    size: { type: 'string', help: 'the size of its modulus in bits (default 2048)' },
    auth: OPTIONS.auth,
    srk: OPTIONS.srk,
    pcrs: { ...OPTIONS.pcrs, help: 'PCRs on whose present values its use depends' },
    file: OPTIONS.file,
  },
  async run({ tpm, given, print }) {
    const kind = may(given, 'type') ?? 'signing';
    if (!isKind(kind)) throw new UsageError(`--type: expected one of ${KINDS.join(', ')}, got "${kind}"`);
    const [secret, pcrs] = [secretOf(given, 'auth'), may(given, 'pcrs')];
    const key = await createKey12(tpm, srk(srkSecret(given)), {
      kind,
      bits: toNumber(may(given, 'size') ?? '2048', 'size'),
      ...(secret === undefined ? {} : { secret }),
      ...(pcrs === undefined ? {} : { binding: { pcrs: toNumbers(pcrs, 'pcrs') } }),
    });
    await writeKey(need(given, 'file'), key);
    print(`wrote ${need(given, 'file')}`);
  },
};

export const aikCreate: Subcommand = {
  help: 'creates an attestation identity key and writes it, wrapped, to a file',
  options: {
    owner: OPTIONS.owner,
    auth: OPTIONS.auth,
    srk: OPTIONS.srk,
    label: { type: 'string', short: 'l', help: 'the name of the identity' },
    file: { ...OPTIONS.file, help: 'the file to write (default: the label with .aik)' },
  },
  async run({ tpm, given, print }) {
    const label = need(given, 'label');
    const secret = secretOf(given, 'auth');
    const identity = await makeIdentity(tpm, {
      owner: ownerSecret(given),
      srkSecret: srkSecret(given),
      label,
      ...(secret === undefined ? {} : { secret }),
    });
    const file = may(given, 'file') ?? `${label}.aik`;
    await writeKey(file, identity.key);
    print(`wrote ${file}`);
  },
};

export const bind: Subcommand = {
  help: 'encrypts a short file to a binding key; needs no TPM',
  options: { key: OPTIONS.key, ...IN_OUT },
  async run({ given, print }) {
    const key = await readKey(need(given, 'key'));
    await writeFile(need(given, 'out'), bind12(pubkeyOf(key), new Uint8Array(await readFile(need(given, 'in')))));
    print(`wrote ${need(given, 'out')}`);
  },
};

export const unbind: Subcommand = {
  help: 'decrypts what bind encrypted',
  options: { key: OPTIONS.key, auth: OPTIONS.auth, srk: OPTIONS.srk, ...IN_OUT },
  async run({ tpm, given, print }) {
    const secret = secretOf(given, 'auth');
    const options = secret === undefined ? {} : { secret };
    await using key = await loadKey12(tpm, srk(srkSecret(given)), await readKey(need(given, 'key')), options);
    await writeFile(need(given, 'out'), await unbind12(tpm, key, new Uint8Array(await readFile(need(given, 'in')))));
    print(`wrote ${need(given, 'out')}`);
  },
};

export const seal: Subcommand = {
  help: 'seals a file to this TPM, in the format of tpm_sealdata',
  options: { srk: OPTIONS.srk, pcrs: OPTIONS.pcrs, ...IN_OUT },
  async run({ tpm, given, print }) {
    const pcrs = may(given, 'pcrs');
    const options = pcrs === undefined ? {} : { binding: { pcrs: toNumbers(pcrs, 'pcrs') } };
    const data = new Uint8Array(await readFile(need(given, 'in')));
    const sealed = await sealFile(tpm, srk(srkSecret(given)), data, options);
    await writeFile(need(given, 'out'), formatSealedFile(sealed));
    print(`wrote ${need(given, 'out')}`);
  },
};

export const unseal: Subcommand = {
  help: 'gives the content of a file of seal or tpm_sealdata back',
  options: { srk: OPTIONS.srk, ...IN_OUT },
  async run({ tpm, given, print }) {
    const sealed = parseSealedFile(await readFile(need(given, 'in'), 'utf8'));
    await writeFile(need(given, 'out'), await unsealFile(tpm, srk(srkSecret(given)), sealed), { mode: 0o600 });
    print(`wrote ${need(given, 'out')}`);
  },
};

/** Reads the file of a wrapped key. */
export async function readKey(file: string): Promise<TpmAnyKey> {
  return decode(TpmAnyKey, new Uint8Array(await readFile(file)));
}

function writeKey(file: string, key: TpmAnyKey): Promise<void> {
  return writeFile(file, encode(TpmAnyKey, key));
}

function isKind(kind: string): kind is KeyKind12 {
  return KINDS.includes(kind);
}
