/** `buildPal` of @casemate/pal-linker finds the C library of this package where a PAL refers to it, and nowhere else. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildPal } from '@casemate/pal-linker/build';
import { memoryStore, openTrustvisor } from '@casemate/trustvisor';
import { afterAll, describe, expect, it } from 'vitest';

const sdk = fileURLToPath(new URL('../sdk', import.meta.url));
const place = mkdtempSync(join(tmpdir(), 'casemate-tz-build-'));
afterAll(() => rmSync(place, { recursive: true, force: true }));
const missing = ['gcc', 'clang'].filter((program) => spawnSync(program, ['--version']).status !== 0);
if (missing.length > 0 && process.env.MUST_RUN === '1') throw new Error(`missing: ${missing.join(', ')}`);
const isBuilt = existsSync(fileURLToPath(new URL('../../trustvisor/dist/isolate.js', import.meta.url)));

function hasKvm(): boolean {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

const HELLO = `#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tee-sdk/tzmarshal.h>

void hello(uint32_t command, tzi_encode_buffer_t *in, tzi_encode_buffer_t *out, tz_return_t *rv)
{
	char *text = malloc(100);
	(void)in, (void)out;
	snprintf(text, 100, "hello %u", (unsigned)command);
	printf("%s\\n", text);
	*rv = (tz_return_t)strlen(text);
	free(text);
}
`;

describe.skipIf(missing.length > 0)('building C with the C library for PALs', () => {
  it.each(['wasm', 'kvm'] as const)('runs printf and malloc on %s', async (engine) => {
    writeFileSync(join(place, 'hello.c'), HELLO);
    const steps: string[] = [];
    const onStep = (step: string) => steps.push(step);
    const shared = { name: 'hello', version: '1', baseDirectory: place, sdk, engine, cache: false, onStep } as const;
    const { image } = await buildPal({ ...shared, sources: ['hello.c'], entry: 'hello' });
    expect(steps).toEqual(['compile hello.c', 'link', 'compile the C library', 'link']);
    if (!isBuilt || (engine === 'kvm' && !hasKvm())) return;
    const printed: string[] = [];
    const onPrint = (_pal: unknown, text: string) => printed.push(text);
    await using trustvisor = await openTrustvisor({
      store: memoryStore(),
      engine,
      insecureAllowEphemeral: true,
      onPrint,
    });
    const pal = await trustvisor.register(image);
    expect((await pal.invoke(123, new Uint8Array(0))).returnCode).toBe(9);
    expect(printed.join('')).toBe('hello 123\n');
  });

  it('does not compile it for a PAL that needs nothing of it', async () => {
    writeFileSync(join(place, 'none.c'), 'void pal(void) {}\n');
    const steps: string[] = [];
    const onStep = (step: string) => steps.push(step);
    await buildPal({
      sources: ['none.c'],
      name: 'none',
      version: '1',
      baseDirectory: place,
      sdk,
      engine: 'kvm',
      onStep,
    });
    expect(steps).toEqual(['compile none.c', 'link']);
  });
});
