/** Small commands: random numbers, start-up, lockout, EK certificates, bare bytes. */
import { EXIT, Failure, type Result, usage } from '@casemate/command-line';
import { password } from '../../authorization.js';
import { concat, hex } from '../../bytes.js';
import { DictionaryAttackLockReset, DictionaryAttackParameters } from '../../commands/dictionary-attack.js';
import { GetRandom } from '../../commands/random.js';
import { Shutdown, Startup } from '../../commands/startup.js';
import { TPM_RH } from '../../constants/handles.js';
import { TPM_RC } from '../../constants/responses.js';
import { TPM_SU } from '../../constants/sessions.js';
import { readEkCertificate } from '../../ek-certificate.js';
import { encodePem } from '../../pem.js';
import { TpmError } from '../../response-code.js';
import type { EkKind } from '../../templates.js';
import type { CommandDefinition, Context } from '../definition.js';
import { OUTPUT_OPTIONS } from '../options.js';
import { parseNumber } from '../values.js';

/** Draws random bytes. */
export const randomCommand: CommandDefinition = {
  name: 'random',
  usage: 'BYTES',
  summary: 'draw random bytes from the TPM',
  options: OUTPUT_OPTIONS,
  examples: ['casemate-tpm random 32 --format hex'],
  positionals: { min: 1, max: 1 },
  async run({ positionals, withTpm }) {
    const wanted = parseNumber(positionals[0] ?? '', 'BYTES', { min: 1, max: 65536 });
    const bytes = await withTpm(async (tpm) => {
      let drawn: Uint8Array = new Uint8Array(0);
      while (drawn.length < wanted) {
        const { randomBytes } = await tpm.execute(GetRandom, { bytesRequested: Math.min(wanted - drawn.length, 64) });
        if (randomBytes.length === 0) throw new TpmError('integrity', 'draw random bytes: the TPM gave none');
        drawn = concat(drawn, randomBytes);
      }
      return drawn.slice(0, wanted);
    });
    return { json: { random: hex(bytes) }, bytes };
  },
};

/** Starts a TPM. */
export const startupCommand: CommandDefinition = {
  name: 'startup',
  summary: 'start the TPM, which on a computer the firmware does',
  options: { state: { type: 'boolean', help: 'resume the state that "shutdown --state" saved' } },
  async run({ has, withTpm }) {
    const startupType = has('state') ? TPM_SU.STATE : TPM_SU.CLEAR;
    const started = await withTpm(async (tpm) => {
      try {
        await tpm.execute(Startup, { startupType });
        return true;
      } catch (error) {
        if (error instanceof TpmError && error.response?.number === TPM_RC.INITIALIZE) return false;
        throw error;
      }
    });
    return { json: { started }, text: started ? 'started' : 'it was started before' };
  },
};

/** Prepares a TPM for losing power. */
export const shutdownCommand: CommandDefinition = {
  name: 'shutdown',
  summary: 'prepare the TPM for losing power',
  options: { state: { type: 'boolean', help: 'save its state, for "startup --state"' } },
  async run({ has, withTpm }) {
    await withTpm((tpm) => tpm.execute(Shutdown, { shutdownType: has('state') ? TPM_SU.STATE : TPM_SU.CLEAR }));
    return { json: {} };
  },
};

/** Lockout. */
export const lockoutCommand: CommandDefinition = {
  name: 'lockout',
  summary: 'forget wrong passwords, or say how many there may be',
  details: '"casemate-tpm info" shows the state of the lockout.',
  options: {
    reset: { type: 'boolean', help: 'forget the wrong passwords' },
    limit: { type: 'string', value: 'N', help: 'how many there may be' },
    forget: { type: 'string', value: 'SECONDS', help: 'after how long one of them is forgotten' },
    recovery: {
      type: 'string',
      value: 'SECONDS',
      help: 'how long the lockout hierarchy is barred after a wrong password of its own',
    },
    'lockout-password': { type: 'string', value: 'SOURCE', help: "the lockout hierarchy's password, where it has one" },
  },
  run: lockout,
};

/** EK certificates. */
export const ekCommand: CommandDefinition = {
  name: 'ek',
  summary: 'show the certificates that the maker put in for the endorsement keys',
  options: {
    kind: { type: 'string', value: 'KIND', help: 'only that of one kind: rsa-2048, ecc-p256, ecc-p384-high, …' },
  },
  examples: ['casemate-tpm ek --kind ecc-p256 | openssl x509 -noout -subject -issuer -ext subjectAltName'],
  run: ek,
};

async function lockout(context: Context): Promise<Result> {
  const { has, text, withTpm } = context;
  const value = await context.secret('lockout-password');
  const lockHandle = { handle: TPM_RH.LOCKOUT, ...(value && { auth: password(value) }) };
  const [limit, forget, recovery] = ['limit', 'forget', 'recovery'].map((name) => {
    const given = text(name);
    return given === undefined ? undefined : parseNumber(given, `--${name}`, { min: 0, max: 0xffffffff });
  });
  const isSet = limit !== undefined || forget !== undefined || recovery !== undefined;
  if (!has('reset') && !isSet) throw usage('lockout: give --reset, or --limit, --forget and --recovery together');
  if (isSet && (limit === undefined || forget === undefined || recovery === undefined)) {
    throw usage('lockout: the TPM takes --limit, --forget and --recovery together');
  }
  await withTpm(async (tpm) => {
    if (has('reset')) await tpm.execute(DictionaryAttackLockReset, { lockHandle });
    if (limit === undefined || forget === undefined || recovery === undefined) return;
    const limits = { newMaxTries: limit, newRecoveryTime: forget, lockoutRecovery: recovery };
    await tpm.execute(DictionaryAttackParameters, { lockHandle, ...limits });
  });
  return { json: { reset: has('reset'), limit: limit ?? null, forget: forget ?? null, recovery: recovery ?? null } };
}

async function ek({ text, withTpm }: Context): Promise<Result> {
  const wanted = text('kind');
  const kinds = wanted === undefined ? EK_KINDS : EK_KINDS.filter((kind) => kind === wanted);
  if (kinds.length === 0) throw usage(`--kind: expected one of ${EK_KINDS.join(', ')}, got "${wanted}"`);
  const found = await withTpm(async (tpm) => {
    const certificates: { readonly kind: EkKind; readonly pem: string }[] = [];
    for (const kind of kinds) {
      const der = await readEkCertificate(tpm, kind);
      if (der) certificates.push({ kind, pem: encodePem('CERTIFICATE', der) });
    }
    return certificates;
  });
  if (found.length === 0)
    throw new Failure(
      EXIT.FAILED,
      'the TPM holds no EK certificate',
      'Some makers offer it on their web site; software TPMs have none unless set-up made one.',
    );
  return {
    json: found.map(({ kind, pem }) => ({ kind, pem })),
    text: found.map(({ pem }) => pem.trimEnd()).join('\n'),
  };
}

const EK_KINDS: readonly EkKind[] = [
  'rsa-2048',
  'ecc-p256',
  'rsa-2048-high',
  'ecc-p256-high',
  'ecc-p384-high',
  'ecc-p521-high',
  'rsa-3072-high',
  'rsa-4096-high',
];
