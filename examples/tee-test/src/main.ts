/** `tee-test [--engine kvm|wasm] [--state DIRECTORY] [--sources DIRECTORY]`. */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CHECKS } from './checks.js';
import { buildService, type ServiceOptions, withService } from './service.js';

const USAGE = 'usage: tee-test [--engine kvm|wasm] [--state DIRECTORY] [--sources DIRECTORY]\n';

process.exitCode = await main();

async function main(): Promise<number> {
  const options = readOptions();
  if (!options) {
    process.stderr.write(USAGE);
    return 2;
  }
  const image = await buildService(options);
  console.log(`pals.c is a PAL of ${image.length} bytes; it runs on ${options.engine}`);
  const failures = await withService(image, options, async (session) => {
    let count = 0;
    for (const { name, run } of CHECKS) {
      try {
        console.log(`${name}: ${await run({ session, state: options.state })}`);
      } catch (error) {
        count++;
        console.log(`${name}: FAILED: ${error instanceof Error ? error.message : error}`);
      }
    }
    return count;
  });
  console.log(failures === 0 ? 'SUCCESS' : `FAIL: ${failures} of ${CHECKS.length}`);
  return failures === 0 ? 0 : 1;
}

function readOptions(): ServiceOptions | undefined {
  const text = { type: 'string' } as const;
  try {
    const { values } = parseArgs({ options: { engine: text, state: text, sources: text } });
    const engine = values.engine ?? (existsSync('/dev/kvm') ? 'kvm' : 'wasm');
    if (engine !== 'kvm' && engine !== 'wasm') return undefined;
    return { engine, state: values.state ?? `tee-test-state-${engine}`, sources: values.sources };
  } catch {
    return undefined;
  }
}
