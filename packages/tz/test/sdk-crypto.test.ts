/** Cryptographic libraries as Debian has them compiled, with the SDK's C library beneath them, on kvm; OpenSSL is the judge. */
import { createHash, createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryStore, openTrustvisor, type Trustvisor } from '@casemate/trustvisor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Device, openDevice, type Session, type TzInput } from '../src/index.js';
import { type BuiltSdk, buildPal, makeSdk, run, SDK, whatIsMissing, whyNotKvm } from './sdk-build.js';

const LIBRARIES = '/usr/lib/x86_64-linux-gnu';
const missing = whatIsMissing('gcc', 'make') || missingLibrary() || whyNotKvm();
if (missing !== '' && missing !== whyNotKvm() && process.env.MUST_RUN === '1') throw new Error(missing);

function missingLibrary(): string {
  const names = ['libmbedcrypto.a', 'libsodium.a'].filter((name) => !existsSync(join(LIBRARIES, name)));
  return names.length === 0 ? '' : `${names.join(' and ')} missing`;
}

describe.skipIf(missing !== '')(`cryptographic libraries in a PAL${missing === '' ? '' : ` (${missing})`}`, () => {
  let place: string;
  let sdk: BuiltSdk;
  let trustvisor: Trustvisor;
  let device: Device;
  const printed: string[] = [];

  beforeAll(async () => {
    place = mkdtempSync(join(tmpdir(), 'casemate-sdk-crypto-'));
    sdk = makeSdk(place, 'gcc');
    trustvisor = await openTrustvisor({
      store: memoryStore(),
      insecureAllowEphemeral: true,
      engine: 'kvm',
      onPrint: (_, line) => printed.push(line),
    });
    device = await openDevice({ trustvisor });
  }, 120_000);
  afterAll(async () => {
    await device?.close();
    await trustvisor?.close();
    rmSync(place, { recursive: true, force: true });
  });

  async function open(source: string, archive: string): Promise<Session> {
    const compilerLibrary = run('gcc', ['-print-libgcc-file-name']).trim();
    const image = buildPal(sdk, {
      sources: [join(SDK, 'test', source)],
      entry: 'keys',
      version: archive,
      includes: ['/usr/include'],
      archives: [join(LIBRARIES, archive), compilerLibrary],
      heapBytes: 1 << 20,
    });
    const manager = await device.openManager();
    const session = await device.openSession(await manager.downloadService(image));
    await manager.close();
    return session;
  }

  const ask = async (session: Session, command: number, values: readonly TzInput[] = []) =>
    (await session.invoke(command, values)).map((value) => {
      if (value instanceof Uint8Array) return Buffer.from(value);
      throw new Error(`expected bytes, got ${value}`);
    });
  const raw = (key: KeyObject) => Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url');
  const publicKey = (crv: string, x: Buffer | undefined) =>
    createPublicKey({ key: { kty: 'OKP', crv, x: x?.toString('base64url') ?? '' }, format: 'jwk' });

  it('mbedTLS signs with P-256, and exchanges with X25519', async () => {
    await using session = await open('keys-mbedtls.c', 'libmbedcrypto.a');
    const [point = Buffer.alloc(65)] = await ask(session, 0);
    const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((half) => half.toString('base64url'));
    const key = createPublicKey({ key: { kty: 'EC', crv: 'P-256', x: `${x}`, y: `${y}` }, format: 'jwk' });
    const message = Buffer.from('signed inside');
    const digest = new Uint8Array(createHash('sha256').update(message).digest());
    const [signature = Buffer.alloc(0)] = await ask(session, 1, [digest]);
    expect(verify('sha256', message, key, signature)).toBe(true);
    expect(verify('sha256', Buffer.from('another'), key, signature)).toBe(false);
    const own = generateKeyPairSync('x25519');
    const [share, secret] = await ask(session, 2, [Uint8Array.of(32, ...raw(own.publicKey))]);
    const peer = publicKey('X25519', share?.subarray(1));
    expect(secret).toEqual(diffieHellman({ privateKey: own.privateKey, publicKey: peer }));
    expect(printed).toEqual([]);
  });

  it('libsodium signs with Ed25519, and exchanges with X25519', async () => {
    await using session = await open('keys-sodium.c', 'libsodium.a');
    const [signing, exchange] = await ask(session, 0);
    const message = new Uint8Array(Buffer.from('signed inside'));
    const [signature = Buffer.alloc(0)] = await ask(session, 1, [message]);
    expect(verify(null, message, publicKey('Ed25519', signing), signature)).toBe(true);
    expect(verify(null, Buffer.from('another'), publicKey('Ed25519', signing), signature)).toBe(false);
    const own = generateKeyPairSync('x25519');
    const [secret] = await ask(session, 2, [new Uint8Array(raw(own.publicKey))]);
    expect(secret).toEqual(diffieHellman({ privateKey: own.privateKey, publicKey: publicKey('X25519', exchange) }));
  });
});
