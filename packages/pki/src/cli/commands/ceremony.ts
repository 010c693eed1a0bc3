/** `ceremony`: roots whose keys never see a network. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT, Failure, readInputFile, usage, writeOutputFile } from '@casemate/command-line';
import {
  type CeremonyRequests,
  type CeremonyResponse,
  finishCeremony,
  prepareCeremony,
  signCeremony,
  verifyCeremony,
} from '../../ceremony.js';
import { encryptKey } from '../../encrypted-key.js';
import { generateKey, type Signer } from '../../key.js';
import { openKey } from '../../key-uri.js';
import { legacyCiphers } from '../../legacy-ciphers.js';
import { encodePem } from '../../pem.js';
import { createAuditKey, hasAuditKey, recordEvent, storePath } from '../authority.js';
import type { CommandDefinition, Context } from '../definition.js';
import { KEY_OPTIONS, STORE_OPTIONS } from '../options.js';
import { passphraseOf, TEMPLATE_OPTIONS, templateOf } from './init.js';

async function readJson(path: string, context: Context): Promise<unknown> {
  const bytes = await readInputFile(path, context.surroundings);
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new Failure(EXIT.MALFORMED, `${path} is no JSON`, undefined, cause);
  }
}

function fileOf(context: Context, option: string): string {
  const path = context.text(option);
  if (path === undefined) throw usage(`--${option} is missing`);
  return path;
}

const write = (path: string, value: unknown) => writeOutputFile(path, `${JSON.stringify(value, null, 2)}\n`);

const prepare: CommandDefinition = {
  name: 'ceremony prepare',
  summary: 'online: make the keys of the CAs below the roots, and write their requests',
  options: {
    ...STORE_OPTIONS,
    ...TEMPLATE_OPTIONS,
    'insecure-no-passphrase': { type: 'boolean', help: 'leave the keys unencrypted' },
    requests: { type: 'string', value: 'FILE', help: 'where the requests go' },
  },
  examples: [
    'casemate-pki ceremony prepare --organization Maker --domain maker.example --passphrase file:secret --requests requests.json',
  ],
  async run(context) {
    const [file, template, passphrase] = [
      fileOf(context, 'requests'),
      await templateOf(context),
      await passphraseOf(context),
    ];
    const options = passphrase === undefined ? {} : { passphrase };
    const requests = await context.during('making keys', prepareCeremony(storePath(context), template, options));
    await write(file, requests);
    const names = Object.keys(requests.requests);
    return {
      json: { file, requests: names },
      text: `requests of ${names.join(', ')} are in ${file}: take it to the offline machine`,
    };
  },
};

const sign: CommandDefinition = {
  name: 'ceremony sign',
  summary: 'offline: make or open the root keys, sign the requests, write the transcript',
  details:
    "The roots are made here, in --keys, encrypted; or each is named by --root NAME=URI, such as a key on a token. The machine's clock goes into the certificates: look at it first.",
  options: {
    requests: { type: 'string', value: 'FILE', help: 'what "prepare" wrote' },
    response: { type: 'string', value: 'FILE', help: 'where certificates, CRLs and transcript go' },
    keys: { type: 'string', value: 'DIRECTORY', help: 'where new root keys go' },
    passphrase: { type: 'string', short: 'p', value: 'SOURCE', help: 'what new root keys are encrypted under' },
    root: { type: 'string', multiple: true, value: 'NAME=URI', help: 'a root key that exists' },
    secret: KEY_OPTIONS.secret ?? { type: 'string', help: '' },
    witness: { type: 'string', multiple: true, value: 'NAME', help: 'who is there' },
    place: { type: 'string', value: 'TEXT', help: 'where it is held' },
  },
  examples: [
    'casemate-pki ceremony sign --requests requests.json --response response.json --keys roots --passphrase prompt --witness Ada --witness Grace',
  ],
  async run(context) {
    const [requestsFile, responseFile] = [fileOf(context, 'requests'), fileOf(context, 'response')];
    const requests = (await readJson(requestsFile, context)) as CeremonyRequests; // signCeremony checks it
    const given = new Map(
      context.texts('root').map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
    );
    const open: (Signer & Partial<AsyncDisposable>)[] = [];
    const steps: string[] = [];
    try {
      const response = await signCeremony(requests, {
        witnesses: context.texts('witness'),
        place: context.text('place') ?? '',
        onStep: (step) => steps.push(step),
        rootKey: async ({ name, algorithm }) => {
          const uri = given.get(name);
          const signer =
            uri === undefined
              ? await newRoot(context, name, algorithm ?? requests.template.algorithm)
              : await existing(context, uri);
          open.push(signer);
          return signer;
        },
      });
      await write(responseFile, response);
      return {
        json: { file: responseFile, steps },
        text: `${steps.join('\n')}\n\ncertificates and the signed transcript are in ${responseFile}: take it back`,
      };
    } finally {
      for (const key of open) await key[Symbol.asyncDispose]?.();
    }
  },
};

async function newRoot(context: Context, name: string, algorithm: Parameters<typeof generateKey>[0]): Promise<Signer> {
  const [directory, passphrase] = [fileOf(context, 'keys'), await context.secretText('passphrase')];
  if (passphrase === undefined) throw usage('--passphrase is missing', 'Root keys are never written unencrypted.');
  const key = await generateKey(algorithm);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const file = join(directory, `${name}.key`);
  const { stat } = await import('node:fs/promises');
  if ((await stat(file).catch(() => undefined)) !== undefined)
    throw new Failure(EXIT.REFUSED, `${file} is there already`, `Give --root ${name}=file:${file} to use it.`);
  const encrypted = await encryptKey(await key.unsafeExportKey(), passphrase);
  await writeOutputFile(file, `algorithm: ${algorithm}\n${encodePem('ENCRYPTED PRIVATE KEY', encrypted)}`, {
    secret: true,
  });
  return key;
}

function existing(context: Context, uri: string): Promise<Signer & AsyncDisposable> {
  return openKey(uri, {
    legacy: legacyCiphers,
    secret: async ({ name }) =>
      (await context.secretText('secret')) ?? (await context.surroundings.askSecret(`passphrase or PIN of ${name}: `)),
  });
}

const finish: CommandDefinition = {
  name: 'ceremony finish',
  summary: 'online: check what came back, take it in, and make the rest of the hierarchy',
  options: {
    ...STORE_OPTIONS,
    'insecure-no-passphrase': { type: 'boolean', help: 'leave the keys unencrypted' },
    response: { type: 'string', value: 'FILE', help: 'what "sign" wrote' },
    fingerprint: {
      type: 'string',
      multiple: true,
      value: 'SHA256',
      help: 'of each root certificate, as it was read off at the ceremony',
    },
  },
  async run(context) {
    const [path, passphrase] = [storePath(context), await passphraseOf(context)];
    const response = (await readJson(fileOf(context, 'response'), context)) as CeremonyResponse; // finishCeremony checks it
    const roots = context.texts('fingerprint').map((text) => text.replaceAll(':', '').toLowerCase());
    const options = { ...(passphrase === undefined ? {} : { passphrase }), ...(roots.length === 0 ? {} : { roots }) };
    const hierarchy = await context.during('making the hierarchy', finishCeremony(path, response, options));
    if (!(await hasAuditKey(path))) await createAuditKey(path, passphrase, `${hierarchy.template.name}/offline-root`);
    await recordEvent(path, passphrase, {
      event: 'ceremony',
      certificates: hierarchy.authorities.length,
      requests: response.requests,
    });
    const names = hierarchy.authorities.map(({ name }) => name);
    return {
      json: { store: path, certificates: names },
      text: `${names.length} certificates in ${join(path, 'hierarchy')}; the keys of the roots stay offline`,
    };
  },
};

const verify: CommandDefinition = {
  name: 'ceremony verify',
  summary: 'verify the transcript of a ceremony and everything that it speaks of',
  options: {
    requests: { type: 'string', value: 'FILE', help: 'what "prepare" wrote' },
    response: { type: 'string', value: 'FILE', help: 'what "sign" wrote' },
    fingerprint: {
      type: 'string',
      multiple: true,
      value: 'SHA256',
      help: 'of each root certificate, as it was read off at the ceremony',
    },
  },
  async run(context) {
    const requests = (await readJson(fileOf(context, 'requests'), context)) as CeremonyRequests; // verifyCeremony checks both
    const response = (await readJson(fileOf(context, 'response'), context)) as CeremonyResponse;
    const roots = context.texts('fingerprint').map((text) => text.replaceAll(':', '').toLowerCase());
    const result = await verifyCeremony(requests, response, roots.length === 0 ? undefined : roots);
    if (result.ok)
      return {
        json: { ok: true, steps: result.steps },
        text: [context.style.good('accepted'), ...result.steps].join('\n'),
      };
    return {
      json: { ok: false, problems: result.problems },
      text: `${context.style.bad('refused')}\n${result.problems.join('\n')}`,
      exit: EXIT.CHECK_FAILED,
    };
  },
};

/** The steps of a ceremony. */
export const CEREMONY_COMMANDS: readonly CommandDefinition[] = [prepare, sign, finish, verify];
