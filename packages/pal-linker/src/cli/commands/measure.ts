/** `measure`: what a verifier compares. */
import { type CommandDefinition, EXIT, readInputFile, usage } from '@casemate/command-line';
import { measurePal } from '../../image.js';

/** Prints measurements, as sha256sum prints digests. */
export const measureCommand: CommandDefinition = {
  name: 'measure',
  usage: 'IMAGE…',
  summary: 'print the measurement of images: SHA-256 of all but the signature',
  options: {
    expect: { type: 'string', value: 'HEX', help: 'end with 6 where a measurement is another' },
  },
  examples: ['pal measure counter.pal', 'pal measure counter.pal --expect "$(cat counter.measurement)"'],
  positionals: { min: 1, max: 1024 },
  async run(context) {
    const expected = context.text('expect')?.trim().toLowerCase();
    if (expected !== undefined && !/^[0-9a-f]{64}$/.test(expected))
      throw usage('--expect: expected 64 hexadecimal digits');
    const measured: { file: string; measurement: string }[] = [];
    for (const file of context.positionals) {
      const image = await readInputFile(file, context.surroundings);
      measured.push({ file, measurement: Buffer.from(measurePal(image)).toString('hex') });
    }
    const isOther = expected !== undefined && measured.some(({ measurement }) => measurement !== expected);
    const mark = (measurement: string) =>
      expected === undefined
        ? ''
        : measurement === expected
          ? context.style.good('  as expected')
          : context.style.bad('  another');
    const text = measured.map(({ file, measurement }) => `${measurement}  ${file}${mark(measurement)}`).join('\n');
    return { json: measured, text, ...(isOther && { exit: EXIT.CHECK_FAILED }) };
  },
};
