/** Steps 2, 4 and 5: the GuestOS is built and signed, then verified, measured and run. */
import { existsSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { MeasurementLog } from '@casemate/attestation';
import {
  type BuiltGuestOs,
  buildGuestOs,
  type Container,
  type GuestOsStore,
  type RunLog,
  startContainer,
} from '@casemate/container';
import type { Authority } from '@casemate/pki';
import type { Tpm } from '@casemate/tpm';
import { makeBusyboxRoot } from './rootfs.js';

/** The GuestOS of this example; its version never changes, so that a run replaces the one before. */
export const EDGE = { name: 'edge', version: 1 } as const;

/** Builds and signs the GuestOS: from `rootfs`, or from busybox. `scratch` is a directory that the next run empties. */
export async function buildEdge(
  store: GuestOsStore,
  signer: Authority,
  rootfs: string | undefined,
  scratch: string,
): Promise<BuiltGuestOs> {
  const signing = { signer: signer.signer, chain: signer.chain, store, replace: true };
  if (rootfs !== undefined) return buildGuestOs({ ...EDGE, ...signing, rootfs, init: initOf(rootfs) });
  const root = join(scratch, 'busybox');
  try {
    await makeBusyboxRoot(root);
    return await buildGuestOs({ ...EDGE, ...signing, rootfs: root, init: { path: '/init' } });
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** A root with an init of its own is started by that; any other shows who it is and ends. */
function initOf(rootfs: string): { path: string; args?: readonly string[] } {
  if (statSync(rootfs).isDirectory() && existsSync(join(rootfs, 'init'))) return { path: '/init' };
  return { path: '/bin/sh', args: ['-c', 'cat /etc/os-release; id'] };
}

/** What a run needs besides the GuestOS. */
export interface RunOptions {
  readonly store: GuestOsStore;
  readonly anchor: Uint8Array;
  readonly tpm: Tpm;
  readonly log: MeasurementLog;
  readonly runLog: RunLog;
  readonly command: readonly string[];
}

/** Verifies, measures and starts the GuestOS. An ordinary user gets it without the limits that the machine does not delegate. */
export function startEdge(options: RunOptions): Promise<Container> {
  const { store, anchor, tpm, log, runLog } = options;
  const [program, ...args] = options.command;
  return startContainer({
    guestOs: { ...EDGE, store },
    trust: { anchors: [anchor] },
    tpm,
    log,
    runLog,
    insecureAllowMissingLimits: process.getuid?.() !== 0,
    ...(program === undefined ? {} : { command: [program, ...args] }),
  });
}

/** The container's output line by line, and how it ended. At most 64 KiB are kept. */
export async function follow(container: Container, onLine: (line: string) => void): Promise<string> {
  let kept = '';
  const take = async (stream: NodeJS.ReadableStream | null): Promise<void> => {
    let rest = '';
    for await (const chunk of stream ?? []) {
      const text = String(chunk);
      kept = (kept + text).slice(0, 65_536);
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      lines.forEach(onLine);
    }
    if (rest !== '') onLine(rest);
  };
  container.stdin?.end();
  await Promise.all([take(container.stdout), take(container.stderr)]);
  return kept;
}
