/** `key …`: keys of the TPM, as TSS2 PRIVATE KEY files or at persistent handles. */
import { type Json, type Result, readInputFile, usage, writeOutputFile } from '@casemate/command-line';
import { encode } from '@casemate/wire';
import { TPMA_OBJECT } from '../../constants/attributes.js';
import { TPM_HC } from '../../constants/handles.js';
import { encodeKeyFile, type KeyFile } from '../../key-file.js';
import { keyFileParent, loadKeyFile } from '../../key-file-load.js';
import { keyFileCommands } from '../../key-file-policy.js';
import { nameOf } from '../../name.js';
import { createKey, openObject, persist, unpersist } from '../../object.js';
import { PCR_BANKS } from '../../pcr.js';
import { policyDigest } from '../../policy.js';
import { publicKeyPem, publicKeySsh } from '../../public-key.js';
import { constantName, flagNames } from '../../recorder/names.js';
import { hexBytes, hexNumber } from '../../recorder/spelled.js';
import { tpmSigner } from '../../signer.js';
import { Tpm2bPublic, type TpmtPublic } from '../../structures/public.js';
import { akTemplate, signingKeyTemplate } from '../../templates.js';
import type { CommandDefinition, Context } from '../definition.js';
import { KEY_FILE_OPTIONS, OUTPUT_OPTIONS, OWNER_OPTIONS, PASSWORD_OPTIONS, PCR_POLICY_OPTIONS } from '../options.js';
import { BANKS, parseHandle } from '../values.js';
import { hierarchyAuth, isHandle, KEY_KINDS, keyKind, readKeyFile, withKey } from './keys-in-use.js';
import { parentHandle, policyNow, writeParts } from './seal.js';

/** The commands whose first word is `key`. */
export const KEY_COMMANDS: readonly CommandDefinition[] = [
  {
    name: 'key create',
    summary: 'create a signing key that only this TPM can use',
    details:
      'Writes a TSS2 PRIVATE KEY file (PEM), which OpenSSL takes too through tpm2-openssl. The TPM keeps nothing.',
    options: {
      type: { type: 'string', short: 't', value: 'KIND', help: `${KEY_KINDS.join(', ')}; default ecc-p256` },
      attestation: { type: 'boolean', help: 'an attestation key: restricted to what the TPM itself made' },
      ...PCR_POLICY_OPTIONS,
      ...PASSWORD_OPTIONS,
      ...KEY_FILE_OPTIONS,
      ...OWNER_OPTIONS,
    },
    examples: [
      'casemate-tpm key create --type rsa-2048 -o key.pem',
      'openssl req -provider tpm2 -provider default -key key.pem -new',
    ],
    run: create,
  },
  {
    name: 'key public',
    usage: 'KEY',
    summary: 'show the public half of a key',
    details: 'KEY is a TSS2 PRIVATE KEY file, which needs no TPM, or a persistent handle.',
    options: {
      form: { type: 'string', value: 'FORM', help: 'pem, ssh or tpm (TPM2B_PUBLIC); default pem' },
      out: { type: 'string', short: 'o', value: 'FILE', help: 'write to FILE; default standard output' },
    },
    positionals: { min: 1, max: 1 },
    run: showPublic,
  },
  {
    name: 'key sign',
    usage: 'KEY [FILE | -]',
    summary: 'sign a file',
    details:
      "The signature is in the form that OpenSSL takes: DER for ECDSA, bare for RSA. The key's scheme and hash are used.",
    options: { ...OUTPUT_OPTIONS, ...PASSWORD_OPTIONS, ...OWNER_OPTIONS },
    examples: [
      'casemate-tpm key sign key.pem file -o file.sig',
      'openssl dgst -sha256 -verify public.pem -signature file.sig file',
    ],
    positionals: { min: 1, max: 2 },
    run: sign,
  },
  {
    name: 'key persist',
    usage: 'FILE HANDLE',
    summary: 'put a key into the TPM for good, at a handle from 0x81000000',
    options: { ...OWNER_OPTIONS },
    examples: ['casemate-tpm key persist key.pem 0x81000010'],
    positionals: { min: 2, max: 2 },
    run: persistKey,
  },
  {
    name: 'key evict',
    usage: 'HANDLE',
    summary: 'delete a persistent key',
    options: { ...OWNER_OPTIONS },
    positionals: { min: 1, max: 1 },
    run: evict,
  },
];

async function create(context: Context): Promise<Result> {
  const kind = keyKind(context, 'type', 'ecc-p256');
  const auth = await context.secret('password');
  const hierarchy = await hierarchyAuth(context, 'owner-password');
  const parent = parentHandle(context);
  const template = context.has('attestation') ? akTemplate(kind) : signingKeyTemplate(kind);
  const file = await context.withTpm(async (tpm): Promise<KeyFile> => {
    const policy = await policyNow(tpm, context, auth !== undefined);
    const hash = BANKS.find((bank) => PCR_BANKS[bank] === template.nameAlg) ?? 'sha256';
    const bound = policy ? underPolicy(template, policyDigest(policy, hash)) : template;
    await using key = await keyFileParent(tpm, { parent }, hierarchy);
    const made = createKey(tpm, key, { template: bound, ...(auth !== undefined && { auth }) });
    const wrapped = await context.during(`creating the ${kind} key`, made);
    const commands = policy && keyFileCommands(policy, { hash });
    const { private: privateArea, public: publicArea } = wrapped;
    const areas = { private: privateArea, public: publicArea };
    return { type: 'loadable', emptyAuth: auth === undefined, ...(commands && { policy: commands }), parent, ...areas };
  });
  const pem = encodeKeyFile(file);
  await writeParts(file, context);
  const out = context.text('out');
  if (out !== undefined) await writeOutputFile(out, pem, { secret: true });
  return { json: { pem, ...publicJson(file.public) }, ...(out === undefined && { text: pem.trimEnd() }) };
}

/** Only the policy opens it, and no longer the authorization value alone. */
function underPolicy(template: TpmtPublic, authPolicy: Uint8Array): TpmtPublic {
  const objectAttributes = template.objectAttributes & ~TPMA_OBJECT.userWithAuth;
  return { ...template, objectAttributes, authPolicy };
}

async function showPublic(context: Context): Promise<Result> {
  const [name = ''] = context.positionals;
  const area = isHandle(name)
    ? await context.withTpm(async (tpm) => (await openObject(tpm, parseHandle(name, 'KEY'))).public)
    : (await readKeyFile(name, context)).public;
  const form = context.text('form') ?? 'pem';
  const out = context.text('out');
  const json = publicJson(area);
  if (form === 'tpm') return { json, bytes: encode(Tpm2bPublic, area) };
  if (form !== 'pem' && form !== 'ssh') throw usage(`--form: expected pem, ssh or tpm, got "${form}"`);
  const text = form === 'pem' ? publicKeyPem(area) : `${publicKeySsh(area)}\n`;
  if (out === undefined) return { json, text: text.trimEnd() };
  await writeOutputFile(out, text);
  return { json };
}

async function sign(context: Context): Promise<Result> {
  const [name = '', path = '-'] = context.positionals;
  const data = await readInputFile(path, context.surroundings);
  return await context.withTpm((tpm) =>
    withKey(tpm, name, context, async (key) => {
      const signer = tpmSigner(tpm, key);
      const bytes = await signer.sign(data);
      return { json: { algorithm: signer.algorithm, signature: hexBytes(bytes) }, bytes };
    }),
  );
}

async function persistKey(context: Context): Promise<Result> {
  const [path = '', place = ''] = context.positionals;
  const handle = persistentHandle(place);
  const file = await readKeyFile(path, context);
  const hierarchy = await hierarchyAuth(context, 'owner-password');
  const object = await context.withTpm(async (tpm) => {
    await using key = await loadKeyFile(tpm, file, hierarchy);
    return await persist(tpm, key, handle, hierarchy);
  });
  return { json: { handle: hexNumber(handle, 8), ...publicJson(object.public) }, text: hexNumber(handle, 8) };
}

async function evict(context: Context): Promise<Result> {
  const handle = persistentHandle(context.positionals[0] ?? '');
  const hierarchy = await hierarchyAuth(context, 'owner-password');
  await context.withTpm(async (tpm) => unpersist(tpm, await openObject(tpm, handle), hierarchy));
  return { json: { handle: hexNumber(handle, 8) } };
}

function persistentHandle(text: string): number {
  const handle = parseHandle(text, 'HANDLE');
  if (handle >= TPM_HC.PERSISTENT_FIRST && handle <= TPM_HC.PERSISTENT_LAST) return handle;
  throw usage(`HANDLE: expected 0x81000000 to 0x81ffffff, got "${text}"`);
}

/** A public area as JSON. */
export function publicJson(area: TpmtPublic): { readonly [name: string]: Json } {
  return {
    name: hexBytes(nameOf(area)),
    type: constantName('TPM_ALG_ID', area.type) ?? '',
    attributes: flagNames('TPMA_OBJECT', area.objectAttributes) ?? [],
    policy: area.authPolicy.length === 0 ? null : hexBytes(area.authPolicy),
    publicKey: pemOf(area),
  };
}

function pemOf(area: TpmtPublic): string | null {
  try {
    return publicKeyPem(area);
  } catch {
    return null; // a symmetric or sealed object, or a curve that SubjectPublicKeyInfo has no name for here
  }
}
