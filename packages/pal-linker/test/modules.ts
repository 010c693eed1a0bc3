/** Modules for the tests: WebAssembly text through wabt, AssemblyScript through its compiler. */
import loadWabt from 'wabt';

const wabt = await loadWabt();
const FEATURES = {
  threads: true,
  simd: true,
  bulk_memory: true,
  reference_types: true,
  multi_memory: true,
  exceptions: true,
  tail_call: true,
  memory64: true,
  relaxed_simd: true,
};

/** Assembles WebAssembly text. */
export function assemble(text: string): Uint8Array {
  const parsed = wabt.parseWat('test.wat', text, FEATURES);
  const { buffer } = parsed.toBinary({ write_debug_names: true });
  parsed.destroy();
  return buffer;
}

/** A module whose entry has `body`, with `more` fields before it. */
export function pal(body = '', more = '(memory (export "memory") 1)'): Uint8Array {
  return assemble(`(module ${more}
    (func (export "pal") (param $command i32) (param $in i32) (param $out i32) (param $rv i32) ${body}))`);
}

/** Compiles AssemblyScript without a runtime of its own imports. */
export async function compile(
  source: string,
  runtime: 'stub' | 'incremental' | 'minimal' = 'incremental',
): Promise<Uint8Array> {
  const { default: asc } = await import('assemblyscript/asc');
  const out = new Map<string, Uint8Array>();
  const { error, stderr } = await asc.main(
    ['pal.ts', '--outFile', 'pal.wasm', '-O', '--runtime', runtime, '--use', 'abort=pal/trap', '--debug'],
    {
      readFile: (name: string) => (name === 'pal.ts' ? source : null),
      writeFile: (name: string, content: string | Uint8Array) => {
        if (content instanceof Uint8Array) out.set(name, content);
      },
      listFiles: () => [],
    },
  );
  const module = out.get('pal.wasm');
  if (error || module === undefined) throw new Error(`compile AssemblyScript: ${stderr.toString()}`, { cause: error });
  return module;
}

/** What the tests use of the JavaScript API, which no type library of this workspace declares. */
interface WebAssemblyApi {
  readonly validate: (bytes: Uint8Array) => boolean;
  readonly Module: {
    new (bytes: Uint8Array): object;
    exports(module: object): readonly { readonly name: string; readonly kind: string }[];
    customSections(module: object, name: string): readonly ArrayBuffer[];
  };
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
}

/** `globalThis.WebAssembly`, typed. */
export const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WebAssemblyApi };
