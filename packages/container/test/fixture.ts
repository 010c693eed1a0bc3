import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Authority, createHierarchy, deviceMakerTemplate } from '@casemate/pki';
import {
  type BuildOptions,
  type BuiltGuestOs,
  buildGuestOs,
  type GuestOsStore,
  openGuestOsStore,
} from '../src/index.js';

/** A signing hierarchy, another one that nobody trusts, and the anchors. */
export interface Signing {
  readonly authority: Authority;
  readonly stranger: Authority;
  readonly anchors: readonly Uint8Array[];
}

export async function makeSigning(): Promise<Signing> {
  const make = async (organization: string) =>
    (await createHierarchy(deviceMakerTemplate({ organizationName: organization }))).get('software-signing');
  const authority = await make('Casemate Tests');
  return { authority, stranger: await make('Somebody Else'), anchors: [authority.root] };
}

/** A directory of its own for one test. */
export function workDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'container-'));
  chmodSync(directory, 0o755);
  return directory;
}

/** A root filesystem of busybox. */
export function makeRoot(directory: string, init: string): string {
  const busybox = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path));
  if (!busybox) throw new Error('busybox is missing: apt-get install busybox-static');
  for (const name of ['bin', 'dev', 'etc', 'proc', 'sys', 'tmp']) mkdirSync(join(directory, name), { recursive: true });
  cpSync(busybox, join(directory, 'bin/busybox'), { dereference: true });
  for (const applet of [
    'sh',
    'cat',
    'echo',
    'id',
    'ls',
    'sleep',
    'touch',
    'hostname',
    'grep',
    'wc',
    'mount',
    'dd',
    'stat',
  ]) {
    symlinkSync('busybox', join(directory, 'bin', applet));
  }
  writeFileSync(join(directory, 'init'), `#!/bin/sh\n${init}\n`, { mode: 0o755 });
  writeFileSync(join(directory, 'etc/os-release'), 'ID=test\n');
  return directory;
}

/** A store with one GuestOS in it, edge version 3. */
export async function makeGuestOs(
  directory: string,
  signing: Signing,
  init: string,
  more: Partial<BuildOptions> = {},
): Promise<{ readonly store: GuestOsStore; readonly built: BuiltGuestOs }> {
  const store = await openGuestOsStore(join(directory, 'store'));
  const built = await buildGuestOs({
    name: 'edge',
    version: 3,
    rootfs: makeRoot(join(directory, 'rootfs'), init),
    init: { path: '/init' },
    signer: signing.authority.signer,
    chain: signing.authority.chain,
    store,
    ...more,
  });
  return { store, built };
}
