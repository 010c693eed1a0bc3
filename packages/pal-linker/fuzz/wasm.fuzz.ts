/** Changed WebAssembly objects and archives through their linker: images, or `PalLinkerError`. */
import type { FuzzTarget } from '../../../scripts/fuzz-loop.mjs';
import { parsePalImage } from '../src/image.js';
import { linkWasmPal } from '../src/wasm.js';
import { assertSame, compileCorpus, outcome } from './corpus.js';
import { mutate } from './mutate.js';

/** What `npm run fuzz -- pal-linker wasm` runs. */
export const target: FuzzTarget = {
  async open() {
    const corpora = [
      compileCorpus('clang', ['--target=wasm32'], 'llvm-ar'),
      compileCorpus('clang', ['--target=wasm32', '-fPIC', '-O0'], 'llvm-ar'),
      compileCorpus('clang', ['--target=wasm32', '-mreference-types', '-fno-data-sections'], 'llvm-ar'),
    ];
    return {
      run(random) {
        const [main = NOTHING, parts = NOTHING, archive = NOTHING] = random.pick(corpora);
        const second = random.oneIn(2) ? parts : archive;
        const [a, b] = random.oneIn(2) ? [mutate(main, random), second] : [main, mutate(second, random)];
        const objects = [
          { name: 'main.o', content: a },
          { name: 'second', content: b },
        ];
        if (random.oneIn(2)) objects.reverse();
        return outcome(() => {
          const { image } = linkWasmPal({ objects, name: 'fuzz', version: '1' });
          parsePalImage(image);
          assertSame(linkWasmPal({ objects, name: 'fuzz', version: '1' }).image, image);
          return 'image';
        });
      },
      close: async () => undefined,
    };
  },
};

const NOTHING = new Uint8Array(0);
