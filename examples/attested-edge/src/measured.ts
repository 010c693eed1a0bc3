/** Every configuration that was measured since the TPM was reset, kept for the evidence: the event log holds only digests. */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { GuestOsEvidence, MeasurementLog } from '@casemate/attestation';
import type { GuestOsStore } from '@casemate/container';
import { EDGE } from './guest-os.js';
import { readIfThere, replaceFile, type State } from './state.js';

/** Keeps what the store has now, and finds configuration and signature of each GuestOS in the log. */
export async function measuredConfigurations(
  log: MeasurementLog,
  store: GuestOsStore,
  state: State,
): Promise<readonly GuestOsEvidence[]> {
  const directory = join(state.device, 'measured');
  await mkdir(directory, { recursive: true });
  const now = await store.read(EDGE);
  const file = (digest: Uint8Array, kind: string): string =>
    join(directory, `${Buffer.from(digest).toString('hex')}.${kind}`);
  const own = createHash('sha256').update(now.config).digest();
  await replaceFile(file(own, 'conf'), now.config, 0o644);
  await replaceFile(file(own, 'sig'), now.signature, 0o644);
  const digests = log.measurements.flatMap(({ statement }) =>
    statement.type === 'guestos' ? [statement.configDigest] : [],
  );
  const distinct = new Map(digests.map((digest) => [Buffer.from(digest).toString('hex'), digest]));
  const found = [...distinct.values()].map(async (digest) => {
    const configuration = await readIfThere(file(digest, 'conf'));
    const signature = await readIfThere(file(digest, 'sig'));
    return configuration && signature ? [{ configuration, signature }] : [];
  });
  return (await Promise.all(found)).flat();
}
