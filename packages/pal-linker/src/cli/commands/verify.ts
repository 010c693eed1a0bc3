/** `verify`: whether an image is signed by one of those who may. */
import { createHash } from 'node:crypto';
import { type BaseContext, type CommandDefinition, EXIT, Failure, readInputFile, usage } from '@casemate/command-line';
import { PalLinkerError } from '../../error.js';
import { measurePal, parsePalImage } from '../../image.js';
import { nodeVerifier, spkiOf } from '../../node-signature.js';
import { type PalSignature, parsePalSignature, verifyPalSignature } from '../../signature.js';
import { numberOf } from '../options.js';

/** Verifies a signature, and that it is by an accepted signer. */
export const verifyCommand: CommandDefinition = {
  name: 'verify',
  usage: 'IMAGE --signer FILE',
  summary: 'verify that an image is signed by an accepted signer',
  details:
    'A signer is a public key or a certificate, of which only the key counts: whether a certificate is valid, casemate-pki can say.',
  options: {
    signer: {
      type: 'string',
      value: 'FILE',
      multiple: true,
      help: 'accept this public key or certificate (PEM or DER)',
    },
    'signer-id': {
      ...{ type: 'string', value: 'HEX', multiple: true },
      help: 'accept the signer whose public key (SubjectPublicKeyInfo) has this SHA-256',
    },
    'security-version': { type: 'string', value: 'N', help: 'the least security version that is accepted' },
  },
  examples: ['pal verify counter.pal --signer release.pub --security-version 3'],
  positionals: { min: 1, max: 1 },
  async run(context) {
    const [file = ''] = context.positionals;
    const accepted = await acceptedSigners(context);
    const least = numberOf(context, 'security-version') ?? 0;
    const image = await readInputFile(file, context.surroundings);
    const { name, version } = parsePalImage(image);
    const signature = await authentic(image);
    const signer = hex(signature.signer);
    const { securityVersion, algorithm } = signature;
    if (!accepted.includes(signer))
      throw refusal(`expected a signature by ${accepted.join(' or ')}, got one by ${signer}`);
    if (securityVersion < least) throw refusal(`expected at least security version ${least}, got ${securityVersion}`);
    const measurement = hex(measurePal(image));
    return {
      json: { file, name, version, measurement, signature: { algorithm, signer, securityVersion } },
      text: `${context.style.good('✓')} ${name} ${version}, security version ${securityVersion}, signed by ${signer} (${algorithm})`,
    };
  },
};

async function acceptedSigners(context: BaseContext): Promise<readonly string[]> {
  const ids = context.texts('signer-id').map((id) => id.toLowerCase());
  const odd = ids.find((id) => !/^[0-9a-f]{64}$/.test(id));
  if (odd !== undefined) throw usage(`--signer-id: expected 64 hexadecimal digits, got "${odd}"`);
  const files = context.texts('signer').map(async (path) => {
    const content = await readInputFile(path, context.surroundings);
    return createHash('sha256').update(spkiOf(content)).digest('hex');
  });
  const accepted = [...ids, ...(await Promise.all(files))];
  if (accepted.length > 0) return accepted;
  throw usage('verify: no signer is accepted', 'Name one: --signer release.pub. Anybody can sign an image.');
}

async function authentic(image: Uint8Array): Promise<PalSignature> {
  const claimed = parsePalSignature(image);
  if (claimed && /^(ml-dsa|slh-dsa)/.test(claimed.algorithm)) {
    throw new Failure(EXIT.FAILED, `verify: ${claimed.algorithm} is beyond this program; @casemate/pki can verify it`);
  }
  try {
    return await verifyPalSignature(image, nodeVerifier);
  } catch (error) {
    if (error instanceof PalLinkerError && error.code === 'signature') throw refusal(error.message);
    throw error;
  }
}

function refusal(problem: string): Failure {
  return new Failure(EXIT.CHECK_FAILED, problem);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
