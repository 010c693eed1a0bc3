import { createHash, hkdfSync, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BlobSecret,
  DATA_BLOB_OVERHEAD,
  DATA_MAGIC,
  DataBlob,
  deriveKey,
  deterministicRandom,
  openBlob,
  parseBlob,
  SealingKeys,
  sealBlob,
} from '../src/seal.js';

const key = new Uint8Array(32).fill(7);
const header = () =>
  ({
    magic: DATA_MAGIC,
    mask: 1,
    release: new Uint8Array(32).fill(1),
    creation: new Uint8Array(32).fill(2),
    salt: new Uint8Array(randomBytes(32)),
  }) as const;

describe('derived keys', () => {
  it('are the HKDF-SHA-256 of RFC 5869 over label and context, so that they can be derived elsewhere', () => {
    const info = Buffer.concat([Buffer.from('state\0'), Buffer.alloc(32, 5)]);
    const expected = new Uint8Array(hkdfSync('sha256', key, 'casemate trustvisor 1', info, 32));
    expect(deriveKey(key, 'state', new Uint8Array(32).fill(5))).toEqual(expected);
  });

  it('differ by label, context and secret', () => {
    const zero = new Uint8Array(32);
    const keys = [
      deriveKey(key, 'state', zero),
      deriveKey(key, 'registry', zero),
      deriveKey(key, 'state', key),
      deriveKey(zero, 'state', zero),
    ];
    expect(new Set(keys.map((each) => Buffer.from(each).toString('hex'))).size).toBe(4);
  });
});

/** HKDF as Node has it, from the root to the key of a blob. */
function blobKeyByNode(root: Uint8Array, label: string, context: Uint8Array, salt: Uint8Array): string {
  const derive = (from: Uint8Array, name: string, info: Uint8Array) =>
    Buffer.from(hkdfSync('sha256', from, 'casemate trustvisor 1', Buffer.concat([Buffer.from(`${name}\0`), info]), 32));
  const digest = createHash('sha256').update(context).digest();
  return derive(derive(root, label, digest), 'blob', salt).toString('hex');
}

describe('the keys of blobs', () => {
  const labels = ['sealed data', 'sealed data of a signer', 'classic data of a PAL'] as const;
  const salt = fc.uint8Array({ minLength: 32, maxLength: 32 });

  it('are those of HKDF', () => {
    fc.assert(
      fc.property(salt, salt, (from, each) => {
        const info = Buffer.concat([Buffer.from('blob\0'), each]);
        const made = hkdfSync('sha256', from, 'casemate trustvisor 1', info, 32);
        expect(new Uint8Array(new BlobSecret(from).keyOf(each))).toEqual(new Uint8Array(made));
      }),
    );
  });

  it('are the same whichever policies were used before them, more of them than are kept included', () => {
    const use = fc.tuple(fc.constantFrom(...labels), fc.integer({ min: 0, max: 11 }), salt);
    fc.assert(
      fc.property(fc.array(use, { minLength: 1, maxLength: 40 }), (uses) => {
        const keys = new SealingKeys(key.slice());
        for (const [label, index, each] of uses) {
          const got = keys.under(label, Uint8Array.of(index), new Uint8Array(32).fill(index)).keyOf(each);
          const context = Uint8Array.of(index, ...new Uint8Array(32).fill(index));
          expect(Buffer.from(got).toString('hex')).toBe(blobKeyByNode(key, label, context, each));
        }
      }),
    );
  });

  it('differ where the same bytes are parts of other lengths only if the whole differs', () => {
    const keys = new SealingKeys(key.slice());
    const each = new Uint8Array(32);
    const [whole, parts] = [[Uint8Array.of(1, 2, 3)], [Uint8Array.of(1), Uint8Array.of(2, 3)]] as const;
    const first = Buffer.from(keys.under('sealed data', ...whole).keyOf(each)).toString('hex');
    expect(Buffer.from(keys.under('sealed data', ...parts).keyOf(each)).toString('hex')).toBe(first);
    expect(Buffer.from(keys.under('state', ...parts).keyOf(each)).toString('hex')).not.toBe(first);
  });

  it('are gone when they are wiped', () => {
    const root = key.slice();
    const keys = new SealingKeys(root);
    const each = new Uint8Array(32).fill(4);
    const before = Buffer.from(keys.under('sealed data', each).keyOf(each)).toString('hex');
    const kept = keys.under('sealed data', each);
    keys.wipe();
    expect(root).toEqual(new Uint8Array(32));
    expect(Buffer.from(kept.keyOf(each)).toString('hex')).not.toBe(before);
    expect(Buffer.from(keys.under('sealed data', each).keyOf(each)).toString('hex')).not.toBe(before);
  });
});

describe('a sealed blob', () => {
  it('opens to what was sealed, for every length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (content) => {
        const blob = sealBlob(DataBlob, key, header(), content);
        expect(blob.length).toBe(content.length + DATA_BLOB_OVERHEAD);
        expect(openBlob(DataBlob, key, parseBlob(DataBlob, blob))).toEqual(content);
      }),
    );
  });

  it('is refused when any byte of it is changed, header included, and when it is cut at any byte', () => {
    const blob = sealBlob(DataBlob, key, header(), new TextEncoder().encode('a secret'));
    for (let at = 0; at < blob.length; at++) {
      const changed = blob.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => openBlob(DataBlob, key, parseBlob(DataBlob, changed)), `byte ${at}`).toThrowError(
        expect.objectContaining({ code: 'sealed-state' }),
      );
      expect(() => openBlob(DataBlob, key, parseBlob(DataBlob, blob.subarray(0, at))), `cut at ${at}`).toThrowError(
        expect.objectContaining({ code: 'sealed-state' }),
      );
    }
  });

  it('does not contain what was sealed, and is another one each time', () => {
    const content = new TextEncoder().encode('a secret that is long enough to be found');
    const blobs = [sealBlob(DataBlob, key, header(), content), sealBlob(DataBlob, key, header(), content)];
    expect(Buffer.from(blobs[0] ?? []).includes('a secret')).toBe(false);
    expect(blobs[0]).not.toEqual(blobs[1]);
  });
});

describe('deterministic randomness', () => {
  it('gives the same bytes for the same key and context, and others for others', () => {
    const bytes = (seed: number, context: number) =>
      Buffer.from(deterministicRandom(new Uint8Array(32).fill(seed), Uint8Array.of(context))(100)).toString('hex');
    expect(bytes(1, 1)).toBe(bytes(1, 1));
    expect(new Set([bytes(1, 1), bytes(1, 2), bytes(2, 1)]).size).toBe(3);
  });

  it('goes on instead of repeating itself', () => {
    const random = deterministicRandom(key, key);
    expect(random(32)).not.toEqual(random(32));
    expect(random(0)).toEqual(new Uint8Array(0));
  });
});
