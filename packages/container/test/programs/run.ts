/** Starts the GuestOS of a store: `run.mjs STORE ANCHOR PORT [insecure]`. Prints one JSON line when it runs and one when it has ended. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type LogStore, openMeasurementLog } from '@casemate/attestation';
import { Tpm } from '@casemate/tpm';
import { connectSwtpm } from '@casemate/tpm/swtpm';
import { openGuestOsStore, startContainer } from '../../src/index.js';

const [directory = '', anchor = '', port = '', insecure] = process.argv.slice(2);
// The TPM outlives this program, so the log must too.
const logFile = `${directory}/log`;
const store: LogStore = {
  read: async () => (existsSync(logFile) ? new Uint8Array(readFileSync(logFile)) : undefined),
  write: async (bytes) => {
    writeFileSync(`${logFile}.new`, bytes);
    renameSync(`${logFile}.new`, logFile);
  },
};
const tpm = new Tpm(await connectSwtpm({ host: '127.0.0.1', port: Number(port) }));
try {
  const container = await startContainer({
    guestOs: { store: await openGuestOsStore(directory), name: 'program', version: 3 },
    trust: { anchors: [new Uint8Array(readFileSync(anchor))] },
    tpm,
    log: await openMeasurementLog(tpm, { store }),
    insecureAllowMissingLimits: insecure === 'insecure',
  });
  const output = text(container.stdout ?? Readable.from([]));
  console.log(JSON.stringify({ running: container.pid }));
  const exit = await container.wait();
  console.log(JSON.stringify({ exit, text: await output, records: container.runLog.records }));
} catch (error) {
  const { code, message, remedy } = error as { code?: string; message: string; remedy?: string };
  console.log(JSON.stringify({ refused: { code, message, remedy } }));
} finally {
  await tpm.close();
}
