/** Starts Debian's swtpm as a TPM 1.2 for one test file. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectSwtpm, type SwtpmTransport } from '../../src/swtpm.js';
import { createEndorsementKey, enable12, passwordSecret, startup12, Tpm12 } from '../../src/tpm12.js';
import type { TpmTransport } from '../../src/transport.js';

/** A running swtpm without `--tpm2`. */
export interface Swtpm12 {
  /** The Unix socket of the data channel; the control channel is beside it. */
  readonly path: string;
  /** A directory for the test's own files; it goes with the server. */
  readonly directory: string;
  /** Ends it by its process id. */
  stop(): Promise<void>;
}

/** The owner's secret in tests that take ownership. */
export const OWNER = passwordSecret('owner password');

/** Starts swtpm with fresh state on a Unix socket, and waits until it answers. Nothing has been sent to the TPM then. */
export async function startSwtpm12(): Promise<Swtpm12> {
  const directory = mkdtempSync(join(tmpdir(), 'casemate-tpm12-'));
  const path = join(directory, 'data');
  const channels = ['--server', `type=unixio,path=${path}`, '--ctrl', `type=unixio,path=${path}.ctrl`];
  const state = ['--tpmstate', `dir=${directory}`, '--flags', 'not-need-init'];
  const child = spawn('swtpm', ['socket', ...state, ...channels], { stdio: 'ignore' });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await exited;
    rmSync(directory, { recursive: true, force: true });
  };
  for (let wait = 0; wait < 200 && child.exitCode === null; wait++) {
    const transport = await connectSwtpm({ path }).catch(() => undefined);
    if (transport) {
      await transport.close();
      return { path, directory, stop };
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await stop();
  throw new Error('swtpm did not start');
}

/** Starts the TPM up, enables it, and gives it an endorsement key. */
export async function prepare(transport: SwtpmTransport): Promise<Tpm12> {
  const tpm = new Tpm12(transport);
  await startup12(tpm);
  await enable12(tpm);
  await transport.control.initialize();
  await startup12(tpm);
  await createEndorsementKey(tpm);
  return tpm;
}

/** A transport that lets a test look at commands and change responses. */
export function intercepted(
  inner: TpmTransport,
  change: (response: Uint8Array, ordinal: number) => Uint8Array,
): TpmTransport {
  return {
    async send(command, options) {
      const ordinal = new DataView(command.buffer, command.byteOffset).getUint32(6);
      return change(await inner.send(command, options), ordinal);
    },
    close: () => inner.close(),
  };
}
