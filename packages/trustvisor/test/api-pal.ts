/** The PAL of `programs/api.c` as seen by its caller: what goes in and what comes out of each service. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pal } from '../src/index.js';

/** Commands. */
export const API = {
  ...{
    parameters: 0,
    pcrRead: 1,
    pcrExtend: 2,
    seal: 3,
    unseal: 4,
    quote: 5,
    random: 6,
    identity: 7,
    time: 8,
    print: 9,
  },
  ...{ tvPcrRead: 10, tvPcrExtend: 11, tvSeal: 12, tvUnseal: 13, tvQuote: 14, tvIdentity: 15 },
  ...{
    counterRead: 16,
    counterIncrement: 17,
    nvSize: 18,
    nvRead: 19,
    nvWrite: 20,
    sealData: 21,
    unsealData: 22,
    both: 23,
  },
} as const;

/** What a service gave: its status, and its outputs. */
export interface ApiResult {
  readonly status: number;
  readonly outputs: readonly Uint8Array[];
}

/** Calls a service with its arguments one after another. */
export async function callApi(pal: Pal, command: number, ...input: readonly Uint8Array[]): Promise<ApiResult> {
  const { returnCode, output } = await pal.invoke(command, joined(...input));
  const outputs: Uint8Array[] = [];
  const view = new DataView(output.buffer, output.byteOffset, output.byteLength);
  for (let at = 0; at < output.length; at += 4 + view.getUint32(at, true)) {
    outputs.push(output.slice(at + 4, at + 4 + view.getUint32(at, true)));
  }
  return { status: returnCode, outputs };
}

/** A u32 as a PAL reads it. */
export function word(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

/** Bytes one after another. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** The output at a place; fails where there is none. */
export function outputOf(result: ApiResult, index = 0): Uint8Array {
  const output = result.outputs[index];
  if (output === undefined) throw new Error(`expected an output ${index}, got status ${result.status}`);
  return output;
}

/** Whether OpenSSL's program accepts the signature; the key is SubjectPublicKeyInfo, or RSAPublicKey. */
export function opensslAccepts(signed: {
  readonly key: Uint8Array;
  readonly keyKind: 'spki' | 'rsa';
  readonly hash: 'sha1' | 'sha256';
  readonly data: Uint8Array;
  readonly signature: Uint8Array;
}): boolean {
  const place = mkdtempSync(join(tmpdir(), 'trustvisor-openssl-'));
  const [key, pem, data, signature] = ['key', 'pem', 'data', 'signature'].map((name) => join(place, name));
  try {
    writeFileSync(key ?? '', signed.key);
    writeFileSync(data ?? '', signed.data);
    writeFileSync(signature ?? '', signed.signature);
    const convert =
      signed.keyKind === 'rsa'
        ? ['rsa', '-RSAPublicKey_in', '-inform', 'DER', '-in', key ?? '', '-pubout', '-out', pem ?? '']
        : ['pkey', '-pubin', '-inform', 'DER', '-in', key ?? '', '-pubout', '-out', pem ?? ''];
    const converted = spawnSync('openssl', convert, { encoding: 'utf8' });
    if (converted.status !== 0) throw new Error(`openssl: ${converted.stderr}`);
    const verify = ['dgst', `-${signed.hash}`, '-verify', pem ?? '', '-signature', signature ?? '', data ?? ''];
    const { stdout } = spawnSync('openssl', verify, { encoding: 'utf8' });
    return stdout.includes('Verified OK');
  } finally {
    rmSync(place, { recursive: true });
  }
}
