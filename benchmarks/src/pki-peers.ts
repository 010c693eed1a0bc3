/** The peers of `@casemate/pki`, each doing with its own API what ours does: the same key types, names and extensions. */
import { webcrypto } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { loadPeer, peerDirectory } from './peers.js';

/** A peer's functions have no types of ours: what is used of them is checked by what comes out. */
// biome-ignore lint/suspicious/noExplicitAny: the peers are loaded at run time
export type Loose = any;

/** The peers' names with their versions. */
export const names = { pkijs: 'pkijs 4.0.0', peculiar: '@peculiar/x509 2.2.0', forge: 'node-forge 1.4.3' } as const;

/** Loads all of them. */
export async function loadPeers(): Promise<{ pkijs: Loose; asn1: Loose; x509: Loose; forge: Loose }> {
  const pkijsHome = createRequire(join(peerDirectory('pkijs', '4.0.0'), 'package.json'));
  const peculiar = createRequire(join(peerDirectory('@peculiar/x509', '2.2.0'), 'package.json'));
  peerDirectory('reflect-metadata', '0.2.2');
  loadPeer('reflect-metadata', '0.2.2');
  const load = (require: NodeJS.Require, name: string): Promise<Loose> =>
    import(pathToFileURL(require.resolve(name)).href);
  const pkijs = await load(pkijsHome, 'pkijs');
  pkijs.setEngine('node', new pkijs.CryptoEngine({ name: 'node', crypto: webcrypto, subtle: webcrypto.subtle }));
  const x509 = await load(peculiar, '@peculiar/x509');
  x509.cryptoProvider.set(webcrypto);
  return { pkijs, asn1: await load(pkijsHome, 'asn1js'), x509, forge: loadPeer('node-forge', '1.4.3') };
}
