/** A point whose x coordinate came without its leading zero, as tpm2-tools sends one in 256 times: both TPMs take it as it was sent. */
import {
  activateCredential,
  akTemplate,
  createPrimary,
  ekTemplate,
  makeCredential,
  Tpm,
  type TpmCrypto,
  type TpmTransport,
} from '@casemate/tpm';
import { nodeCrypto } from '@casemate/tpm/node-crypto';
import { describe, expect } from 'vitest';
import { openUtpm } from '../src/index-node.js';
import { startSwtpm } from './raw.js';
import { itWith } from './requirement.js';

const it = itWith('swtpm');
const secret = new TextEncoder().encode('a credential');

describe('a credential whose ephemeral point has a short x coordinate', () => {
  it('opens here and in swtpm, whether the leading zero was sent or not', async () => {
    for (const crypto of [shortPoints(false), shortPoints(true)]) {
      expect(await opens(await startSwtpm(), crypto)).toEqual(secret);
      expect(await opens(await openUtpm({ startup: true }), crypto)).toEqual(secret);
    }
  });
});

async function opens(transport: TpmTransport, crypto: TpmCrypto): Promise<Uint8Array> {
  await using tpm = new Tpm(transport);
  await using ek = await createPrimary(tpm, { template: ekTemplate('ecc-p256'), hierarchy: 'endorsement' });
  await using ak = await createPrimary(tpm, { template: akTemplate('ecc-p256'), hierarchy: 'endorsement' });
  return await activateCredential(tpm, { ek, ak, credential: makeCredential(ek.public, ak.name, secret, crypto) });
}

/** Ephemeral points with a leading zero byte in x, which is left out or not: one in 256, so OpenSSL draws them. */
function shortPoints(isCut: boolean): TpmCrypto {
  return {
    ...nodeCrypto,
    ecdh(key) {
      for (;;) {
        const point = nodeCrypto.ecdh(key);
        if (point.x[0] === 0) return isCut ? { ...point, x: point.x.subarray(1) } : point;
      }
    },
  };
}
