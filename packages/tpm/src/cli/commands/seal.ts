/** `seal` and `unseal`: data that only this TPM gives back, under PCRs or a password. */
import { EXIT, Failure, type Result, readInputFile, usage, writeOutputFile } from '@casemate/command-line';
import { encode } from '@casemate/wire';
import { TPM_ALG } from '../../constants/algorithms.js';
import { TPMA_OBJECT } from '../../constants/attributes.js';
import { TPM_RH } from '../../constants/handles.js';
import { encodeKeyFile, type KeyFile } from '../../key-file.js';
import { keyFileParent, unsealKeyFile } from '../../key-file-load.js';
import { keyFileCommands } from '../../key-file-policy.js';
import { nameOf } from '../../name.js';
import { readPcrs } from '../../pcr.js';
import type { Policy } from '../../policy.js';
import { hexBytes } from '../../recorder/spelled.js';
import { seal } from '../../seal.js';
import { Tpm2bPrivate } from '../../structures/private.js';
import { Tpm2bPublic } from '../../structures/public.js';
import type { Tpm } from '../../tpm.js';
import type { CommandDefinition, Context } from '../definition.js';
import { KEY_FILE_OPTIONS, OUTPUT_OPTIONS, OWNER_OPTIONS, PASSWORD_OPTIONS, PCR_POLICY_OPTIONS } from '../options.js';
import { parseHandle, pcrsText } from '../values.js';
import { hierarchyAuth, readKeyFile } from './keys-in-use.js';
import { chosenPcrs } from './pcrs.js';

/** Seals. */
export const sealCommand: CommandDefinition = {
  name: 'seal',
  usage: '[FILE | -]',
  summary: 'seal up to 128 bytes, so that only this TPM gives them back',
  details:
    'Reads the data from FILE or standard input, and writes a TSS2 PRIVATE KEY file (PEM), which names its parent and policy: "unseal" needs nothing else. tpm2_load takes the two --out-… files.',
  options: {
    ...PCR_POLICY_OPTIONS,
    ...PASSWORD_OPTIONS,
    ...KEY_FILE_OPTIONS,
    ...OWNER_OPTIONS,
  },
  examples: [
    'head -c 32 /dev/urandom | casemate-tpm seal --pcr sha256:7 -o disk.key',
    'casemate-tpm seal secret.txt --password prompt -o secret.pem',
  ],
  positionals: { min: 0, max: 1 },
  run: sealData,
};

/** Unseals. */
export const unsealCommand: CommandDefinition = {
  name: 'unseal',
  usage: 'FILE',
  summary: 'give sealed data back',
  details:
    'FILE is what "seal" wrote, or any TSS2 PRIVATE KEY file with sealed data. The data cross the bus encrypted.',
  options: { ...OUTPUT_OPTIONS, ...PASSWORD_OPTIONS, ...OWNER_OPTIONS },
  examples: ['casemate-tpm unseal disk.key | cryptsetup open /dev/sda3 root --key-file -'],
  positionals: { min: 1, max: 1 },
  run: unsealData,
};

async function sealData(context: Context): Promise<Result> {
  const { positionals, surroundings, text, withTpm } = context;
  const auth = await context.secret('password');
  const data = await readInputFile(positionals[0] ?? '-', surroundings);
  if (data.length < 1 || data.length > 128) {
    throw new Failure(
      EXIT.MALFORMED,
      `seal: expected 1 to 128 bytes, got ${data.length}`,
      'Seal a key, and encrypt what is longer with it.',
    );
  }
  const pcrs = chosenPcrs(context);
  const file = await withTpm((tpm) => sealed(tpm, context, data, auth));
  const pem = encodeKeyFile(file);
  await writeParts(file, context);
  const out = text('out');
  if (out !== undefined) await writeOutputFile(out, pem, { secret: true });
  const name = hexBytes(nameOf(file.public));
  const json = {
    pem,
    name,
    pcrs: pcrs ? pcrsText(pcrs) : null,
    password: auth !== undefined,
    parent: `0x${file.parent.toString(16)}`,
  };
  return { json, ...(out === undefined && { text: pem.trimEnd() }) };
}

async function sealed(tpm: Tpm, context: Context, data: Uint8Array, auth: Uint8Array | undefined): Promise<KeyFile> {
  const parent = parentHandle(context);
  const policy = await policyNow(tpm, context, auth !== undefined);
  await using key = await keyFileParent(tpm, { parent }, await hierarchyAuth(context, 'owner-password'));
  const wrapped = await seal(tpm, {
    parent: key,
    data,
    ...(policy && { policy }),
    ...(auth !== undefined && { auth }),
  });
  const commands = policy && keyFileCommands(policy);
  return { type: 'sealed', emptyAuth: auth === undefined, ...(commands && { policy: commands }), parent, ...wrapped };
}

/** The policy that the options ask for, with the PCRs as they are; none where a password alone protects. */
export async function policyNow(tpm: Tpm, context: Context, hasPassword: boolean): Promise<Policy | undefined> {
  const pcrs = chosenPcrs(context);
  if (!pcrs) return undefined;
  const values = await readPcrs(tpm, pcrs);
  return hasPassword ? [{ type: 'pcr', values }, { type: 'auth-value' }] : [{ type: 'pcr', values }];
}

/** The parent that `--parent` names. */
export function parentHandle({ text }: Context): number {
  const given = text('parent');
  if (given === undefined) return TPM_RH.OWNER;
  const handle = parseHandle(given, '--parent');
  if (handle >>> 24 === 0x81) return handle;
  throw usage(`--parent: expected a persistent handle, 0x81000000 up, got "${given}"`);
}

/** Writes the parts of a key file in the form of tpm2-tools. */
export async function writeParts(file: KeyFile, { text }: Context): Promise<void> {
  const publicFile = text('out-public');
  const privateFile = text('out-private');
  if (publicFile !== undefined) await writeOutputFile(publicFile, encode(Tpm2bPublic, file.public));
  if (privateFile !== undefined)
    await writeOutputFile(privateFile, encode(Tpm2bPrivate, file.private), { secret: true });
}

async function unsealData(context: Context): Promise<Result> {
  const [path = ''] = context.positionals;
  const file = await readKeyFile(path, context);
  if (!isSealed(file)) throw usage(`${path} holds a key and no sealed data`);
  const auth = await context.secret('password');
  if (auth === undefined && !file.emptyAuth) {
    throw new Failure(
      EXIT.UNAUTHORISED,
      `${path} was sealed under a password`,
      'Give it with --password prompt, --password-file FILE or another SOURCE; an empty one with --password insecure:',
    );
  }
  const hierarchy = await hierarchyAuth(context, 'owner-password');
  const bytes = await context.withTpm((tpm) =>
    unsealKeyFile(tpm, { ...file, type: 'sealed' }, { ...hierarchy, ...(auth !== undefined && { auth }) }),
  );
  return { json: { data: hexBytes(bytes) }, bytes };
}

/** tpm2_encodeobject marks sealed data as a loadable key, so the object itself is asked. */
function isSealed({ type, public: area }: KeyFile): boolean {
  const usable = TPMA_OBJECT.sign | TPMA_OBJECT.decrypt;
  const isData = area.type === TPM_ALG.KEYEDHASH && (area.objectAttributes & usable) === 0;
  return type === 'sealed' || (type === 'loadable' && isData);
}
