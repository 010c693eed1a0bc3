/** `tee-hello [--engine kvm|wasm] [--sources DIRECTORY] [TEXT…]`. */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { buildHello, type HelloOptions, sayHello } from './hello.js';

const USAGE = 'usage: tee-hello [--engine kvm|wasm] [--sources DIRECTORY] [TEXT…]\n';

process.exitCode = await main();

async function main(): Promise<number> {
  const options = readOptions();
  if (!options) {
    process.stderr.write(USAGE);
    return 2;
  }
  const image = await buildHello(options);
  await sayHello(image, options.texts, options, (text) => process.stdout.write(text));
  return 0;
}

function readOptions(): (HelloOptions & { readonly texts: readonly string[] }) | undefined {
  const text = { type: 'string' } as const;
  try {
    const { values, positionals } = parseArgs({ options: { engine: text, sources: text }, allowPositionals: true });
    const engine = values.engine ?? (existsSync('/dev/kvm') ? 'kvm' : 'wasm');
    if (engine !== 'kvm' && engine !== 'wasm') return undefined;
    const texts = positionals.length > 0 || values.sources !== undefined ? positionals : ['the quick brown fox'];
    return { engine, sources: values.sources, texts };
  } catch {
    return undefined;
  }
}
