/** `sign`: says whose an image is. */
import { type CommandDefinition, readInputFile, usage, writeOutputFile } from '@casemate/command-line';
import { inspectPal } from '../../inspect.js';
import { signPal } from '../../signature.js';
import { numberOf, SIGNING, signerOf } from '../options.js';

/** Puts a signature behind an image. */
export const signCommand: CommandDefinition = {
  name: 'sign',
  usage: 'IMAGE --signing-key FILE',
  summary: 'sign an image; its measurement stays',
  details:
    'The signature covers measurement, name, version and security version, and stands behind the image. One that is there is replaced.',
  options: {
    ...SIGNING,
    out: { type: 'string', short: 'o', value: 'FILE', help: 'write the signed image there, not over the unsigned one' },
  },
  examples: [
    'openssl genpkey -algorithm ed25519 -out signer.pem',
    'pal sign counter.pal --signing-key signer.pem --security-version 3',
  ],
  positionals: { min: 1, max: 1 },
  async run(context) {
    const [file = ''] = context.positionals;
    const signer = await signerOf(context);
    if (!signer) throw usage('sign: there is no --signing-key', 'Give a private key in PEM: --signing-key signer.pem');
    const out = context.text('out') ?? file;
    if (out === '-') throw usage('sign: an image from standard input needs --out FILE');
    const securityVersion = numberOf(context, 'security-version') ?? 0;
    const signed = await signPal(await readInputFile(file, context.surroundings), signer, { securityVersion });
    await writeOutputFile(out, signed);
    const { name, version, measurement, signature } = inspectPal(signed);
    return {
      json: { file: out, name, version, measurement, signature: signature && { ...signature } },
      text: `${out}: ${name} ${version}, security version ${securityVersion}, signed by ${signature?.signer} (${signer.algorithm})`,
    };
  },
};
