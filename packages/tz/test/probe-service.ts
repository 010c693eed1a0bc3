import { fileURLToPath } from 'node:url';
import { linkPal } from '@casemate/pal-linker';
import { main } from 'assemblyscript/asc';
import { type Decoder, type Encoder, type Service, TZ_COMMAND, TZ_RETURN } from '../src/index.js';

/** The commands of the probe, in TypeScript below and in AssemblyScript in assembly/probe.pal.ts. */
export const PROBE = {
  ECHO: 1,
  FAIL: 2,
  SPIN: 3,
  TRAP: 4,
  FILL: 5,
  PCR: 6,
  QUOTE: 7,
  SEAL: 8,
  UNSEAL: 9,
  IDENTITY: 10,
} as const;

/** The probe as a TypeScript service. */
export const probe: Service = (command, input, output, { signal }) => {
  switch (command) {
    case TZ_COMMAND.OPEN:
      return open(input, output);
    case TZ_COMMAND.CLOSE:
      return 0;
    case PROBE.ECHO:
      return echo(input, output);
    case PROBE.FAIL:
      output.uint32(77);
      return input.uint32();
    case PROBE.SPIN:
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    case PROBE.TRAP:
      throw new Error('trapped');
    case PROBE.FILL:
      output.arraySpace(input.uint32());
      return output.error ? TZ_RETURN[output.error] : 0;
    default:
      return TZ_RETURN.TZ_ERROR_NOT_IMPLEMENTED;
  }
};

function open(input: Decoder, output: Encoder): number {
  const login = input.uint32();
  const data = input.arraySpace();
  output.uint32(login);
  return data?.length === 4 ? TZ_RETURN.TZ_ERROR_ACCESS_DENIED : echo(input, output);
}

function echo(input: Decoder, output: Encoder): number {
  while (input.type !== 'NONE') output.value(input.value());
  if (input.more) input.uint32();
  return input.error ? TZ_RETURN[input.error] : 0;
}

/** Compiles and links a PAL below test/assembly. */
export async function buildPal(source: string, options: { readonly name?: string } = {}): Promise<Uint8Array> {
  let module: Uint8Array | undefined;
  const base = fileURLToPath(new URL('..', import.meta.url));
  const { error, stderr } = await main(
    [
      `test/assembly/${source}`,
      '--baseDir',
      base,
      '--outFile',
      'a.wasm',
      '--runtime',
      'stub',
      '--use',
      'abort=',
      '-O2',
    ],
    {
      writeFile: (_, contents) => {
        if (typeof contents !== 'string') module = contents;
      },
    },
  );
  if (error || !module) throw new Error(`compile ${source}: ${stderr.toString()}`);
  return linkPal({ module, name: options.name ?? 'probe', version: '1' });
}
