/** Builds the PAL: C with mbedTLS's ECDSA, for the engine kvm. */
import { access, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildPal } from '@casemate/pal-linker/build';

const PROJECT = fileURLToPath(new URL('..', import.meta.url));
/** Debian's libmbedtls-dev. */
const MBEDTLS = { library: '/usr/lib/x86_64-linux-gnu/libmbedcrypto.a', headers: '/usr/include/mbedtls' };

/** Why the example cannot run on this machine; `undefined` where it can. */
export async function whyNot(): Promise<string | undefined> {
  const missing = async (path: string) => (await access(path).catch(() => path)) !== undefined;
  if (await missing(MBEDTLS.library)) return 'mbedTLS is not installed: apt-get install libmbedtls-dev';
  if (await missing('/dev/kvm')) return '/dev/kvm is not there: this PAL is code for the processor';
  return undefined;
}

/** The image, always of the same bytes with the same compiler and library. */
export async function buildCa(): Promise<Uint8Array> {
  // The library's headers without those of the system, whose place the C library for PALs takes.
  const headers = await mkdtemp(join(tmpdir(), 'pal-ca-'));
  try {
    await symlink(MBEDTLS.headers, join(headers, 'mbedtls'));
    const { image } = await buildPal({
      sources: ['c/ca.c', MBEDTLS.library],
      baseDirectory: PROJECT,
      includes: [headers],
      engine: 'kvm',
      name: 'pal-ca',
      version: '1.0.0',
      inputCapacity: MAX_INPUT,
    });
    return image;
  } finally {
    await rm(headers, { recursive: true });
  }
}

/** A CRL of about 3,000 entries fits. */
const MAX_INPUT = 128 << 10;
