import { expect, it } from 'vitest';
import { nodeUtpmCrypto } from '../src/node.js';

it('the pool of the provider on node:crypto gives as many bytes as are asked for, never the same ones twice, and nothing from where it was wiped', () => {
  const seen = new Set<string>();
  for (let i = 0; i < 1000; i++) {
    for (const length of [16, 32, 33, 255, 256, 257]) {
      const drawn = nodeUtpmCrypto.random(length);
      expect(drawn.length).toBe(length);
      // Wiped bytes would come as a run of zeros: 16 of them come by chance once in 2^128 draws.
      for (let at = 0; at + 16 <= length; at += 16) {
        seen.add(Buffer.from(drawn.subarray(at, at + 16)).toString('latin1'));
      }
    }
  }
  expect(seen.size).toBe(1000 * (1 + 2 + 2 + 15 + 16 + 16));
  expect(nodeUtpmCrypto.random(0)).toEqual(new Uint8Array(0));
  expect(nodeUtpmCrypto.random(4096).length).toBe(4096);
});
