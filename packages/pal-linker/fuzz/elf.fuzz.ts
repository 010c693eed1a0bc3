/** Changed ELF objects and archives through the linker for the processor: images and objects of the classic way, or `PalLinkerError`. */
import type { FuzzTarget } from '../../../scripts/fuzz-loop.mjs';
import { linkClassic } from '../src/classic.js';
import { linkElfPal } from '../src/elf/link.js';
import { parseElfObject } from '../src/elf/object.js';
import { parsePalImage } from '../src/image.js';
import { assertSame, compileCorpus, outcome } from './corpus.js';
import { mutate } from './mutate.js';

/** What `npm run fuzz -- pal-linker elf` runs. */
export const target: FuzzTarget = {
  async open() {
    const corpora = [
      compileCorpus('gcc', ['-fno-pic', '-ffunction-sections'], 'ar'),
      compileCorpus('gcc', ['-fPIC', '-mcmodel=large'], 'ar'),
      compileCorpus('clang', ['-fPIC'], 'ar'),
      compileCorpus('clang', ['--target=aarch64-linux-gnu', '-fPIC'], 'llvm-ar'),
      compileCorpus('clang', ['--target=aarch64-linux-gnu', '-fno-pic', '-mcmodel=large'], 'llvm-ar'),
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
        return random.oneIn(2) ? linkImage(objects) : linkObject(objects);
      },
      close: async () => undefined,
    };
  },
};

const NOTHING = new Uint8Array(0);
type Objects = readonly { readonly name: string; readonly content: Uint8Array }[];

function linkImage(objects: Objects): string {
  return outcome(() => {
    const { image } = linkElfPal({ objects, name: 'fuzz', version: '1' });
    parsePalImage(image);
    assertSame(linkElfPal({ objects, name: 'fuzz', version: '1' }).image, image);
    return 'image';
  });
}

/** What is written can be read, has one name, and wants nothing. */
function linkObject(objects: Objects): string {
  return outcome(() => {
    const { object } = linkClassic({ objects, name: 'fuzz' });
    const { symbols } = readAgain(object);
    const named = symbols.filter(({ name }) => name !== '');
    if (named.length !== 1 || named[0]?.name !== 'pal') throw new Error(`the object has ${named.length} names`);
    assertSame(linkClassic({ objects, name: 'fuzz' }).object, object);
    return 'classic';
  });
}

/** An error here is a finding. */
function readAgain(object: Uint8Array) {
  try {
    return parseElfObject(object, 'fuzz.pal.o');
  } catch (error) {
    throw new Error('an object that was written cannot be read', { cause: error });
  }
}
