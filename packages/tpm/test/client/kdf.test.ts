import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { kdfA, kdfE } from '../../src/index.js';
import { nodeCrypto } from '../../src/node-crypto.js';

interface Vector {
  readonly name: string;
  readonly hash: number;
  readonly label: string;
  readonly bits: number;
  readonly result: string;
  readonly [field: string]: unknown;
}

const vectors: { readonly kdfA: readonly Vector[]; readonly kdfE: readonly Vector[] } = JSON.parse(
  readFileSync(new URL('vectors/kdf.json', import.meta.url), 'utf8'),
);
const hex = (value: unknown): Uint8Array => new Uint8Array(Buffer.from(String(value), 'hex'));

describe('key derivation', () => {
  it.each(vectors.kdfA.map((v) => [v.name, v] as const))('KDFa gives the result of vector %s', (_, v) => {
    const input = { hash: v.hash, key: hex(v.key), label: v.label, bits: v.bits };
    const contexts = { contextU: hex(v.contextU), contextV: hex(v.contextV) };
    expect(kdfA({ ...input, ...contexts })).toEqual(hex(v.result));
    expect(kdfA({ ...input, ...contexts }, nodeCrypto)).toEqual(hex(v.result));
  });

  it.each(vectors.kdfE.map((v) => [v.name, v] as const))('KDFe gives the result of vector %s', (_, v) => {
    const parties = { partyUInfo: hex(v.partyUInfo), partyVInfo: hex(v.partyVInfo) };
    const input = { hash: v.hash, z: hex(v.z), label: v.label, bits: v.bits, ...parties };
    expect(kdfE(input)).toEqual(hex(v.result));
    expect(kdfE(input, nodeCrypto)).toEqual(hex(v.result));
  });

  it('refuses a hash that it does not have', () => {
    expect(() => kdfA({ hash: 0x12, key: new Uint8Array(1), label: 'CFB', bits: 8 })).toThrow(/0x12/);
  });
});
