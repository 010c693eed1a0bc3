/** Changed images through their parser, and changed modules through `linkPal`: a value, or `PalLinkerError`. */
import type { FuzzTarget, Random } from '../../../scripts/fuzz-loop.mjs';
import { linkElfPal } from '../src/elf/link.js';
import { inspectPal, linkPal, measurePal, parsePalImage } from '../src/index.js';
import { linkWasmObjects } from '../src/wasm.js';
import { assertSame, compileCorpus, outcome } from './corpus.js';
import { mutate } from './mutate.js';

/** What `npm run fuzz -- pal-linker image` runs. */
export const target: FuzzTarget = {
  async open() {
    const named = (files: readonly Uint8Array[]) =>
      files.slice(0, 2).map((content, i) => ({ name: `${i}.o`, content }));
    const { module } = linkWasmObjects({ objects: named(compileCorpus('clang', ['--target=wasm32'], 'llvm-ar')) });
    const elf = linkElfPal({ objects: named(compileCorpus('gcc', [], 'ar')), name: 'fuzz', version: '1' });
    const images = [elf.image, linkPal({ module, name: 'fuzz', version: '1' })];
    return {
      run: (random) =>
        random.oneIn(2) ? readImage(mutate(random.pick(images), random)) : link(mutate(module, random), random),
      close: async () => undefined,
    };
  },
};

function readImage(image: Uint8Array): string {
  return outcome(() => {
    parsePalImage(image);
    inspectPal(image);
    assertSame(measurePal(image), measurePal(image));
    return 'parsed';
  });
}

function link(module: Uint8Array, random: Random): string {
  const options = { module, name: 'fuzz', version: '1', replayProtected: random.oneIn(2) };
  return outcome(() => {
    const image = linkPal(options);
    parsePalImage(image);
    assertSame(linkPal(options), image);
    return 'module';
  });
}
