/** `inspect`: what an image is, with sizes and a picture of its memory. */
import { type BaseContext, type CommandDefinition, type Json, readInputFile, table } from '@casemate/command-line';
import { inspectPal, type PalDescription } from '../../inspect.js';
import { drawMemory, pagesText, sizeText } from '../picture.js';

/** Describes an image; needs no compiler. */
export const inspectCommand: CommandDefinition = {
  name: 'inspect',
  usage: 'IMAGE',
  summary: 'say what is in an image: sizes, memory, signer',
  details: 'Nothing is verified but the digests of the sections: "pal verify" verifies a signature.',
  examples: ['pal inspect counter.pal', 'pal inspect counter.pal --json | jq -r .measurement'],
  positionals: { min: 1, max: 1 },
  async run(context) {
    const [file = ''] = context.positionals;
    const pal = inspectPal(await readInputFile(file, context.surroundings));
    return { json: pal as unknown as Json, text: textOf(pal, context) }; // made to be printed as JSON
  },
};

function textOf(pal: PalDescription, { style }: BaseContext): string {
  return [
    `${style.bold(`${pal.name} ${pal.version}`)}, ${KINDS[pal.kind]}, ${sizeText(pal.size)}`,
    '',
    table(factsOf(pal), { indent: 2 }),
    '',
    table(sectionsOf(pal), { indent: 2 }),
    '',
    drawMemory(pal, style),
  ].join('\n');
}

const KINDS: Readonly<Record<PalDescription['kind'], string>> = {
  wasm: 'WebAssembly (engine wasm)',
  'elf-x86-64': 'code for x86-64 (engine kvm)',
  'elf-aarch64': 'code for AArch64',
};

function factsOf(pal: PalDescription): readonly (readonly string[])[] {
  const { entry, memory, signature } = pal;
  const isWasm = pal.kind === 'wasm';
  const parameters = pal.parameters.map(({ type, access, size }) =>
    type === 'integer' ? `u${8 * size}` : `${access} ${sizeText(size)}`,
  );
  return [
    ['measurement', pal.measurement],
    [
      'entry',
      `${entry.name}(${parameters.join(', ')}) ${isWasm ? `function ${BigInt(entry.address)}` : `at ${entry.address}`}`,
    ],
    [
      'memory',
      isWasm
        ? `${pagesText(memory.initialBytes)}, at most ${pagesText(memory.maximumBytes)}`
        : sizeText(memory.initialBytes),
    ],
    ['state', pal.replayProtected ? 'protected against replay' : 'none'],
    ['signer', signature ? `${signature.signer} (${signature.algorithm}), not verified` : 'none'],
    ...(signature ? [['security', `version ${signature.securityVersion}`]] : []),
    ...pal.notes.map((note) => ['note', note]),
  ];
}

function sectionsOf({ sections }: PalDescription): readonly (readonly string[])[] {
  const rows = sections.map(({ type, address, memorySize, contentSize, digest }) => [
    ...[type, address, memorySize === 0 ? '-' : sizeText(memorySize), contentSize === 0 ? '-' : sizeText(contentSize)],
    contentSize === 0 ? '' : digest,
  ]);
  return [['section', 'address', 'in memory', 'in the image', 'SHA-256 of the content'], ...rows];
}
