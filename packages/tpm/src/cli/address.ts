/** Which TPM to talk to: a device, a simulator, a uTPM; TCTI strings of tpm2-tools are understood too. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT, Failure, usage } from '@casemate/command-line';
import { openDevice } from '../device.js';
import { connectMssim } from '../mssim.js';
import { TpmError } from '../response-code.js';
import { connectSwtpm } from '../swtpm.js';
import type { TpmTransport } from '../transport.js';

/** Where a TPM is. */
export type TpmAddress =
  | { readonly type: 'device'; readonly path: string }
  | { readonly type: 'swtpm'; readonly path: string }
  | { readonly type: 'swtpm' | 'mssim'; readonly host: string; readonly port: number }
  | { readonly type: 'utpm'; readonly directory: string };

/** Reads an address: `device:PATH`, a bare path of a device, `swtpm:…`, `mssim:…`, `utpm:DIRECTORY`, or a TCTI string. */
export function parseAddress(text: string): TpmAddress {
  const colon = text.indexOf(':');
  const [word, rest] = colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)];
  if (text.startsWith('/')) return { type: 'device', path: text };
  const name = /^(?:libtss2-tcti-)?([a-z]+)(?:\.so(?:\.\d+)*)?$/.exec(word)?.[1] ?? word;
  switch (name) {
    case 'device':
      return { type: 'device', path: rest || DEFAULT_DEVICE };
    case 'swtpm':
    case 'mssim':
      return parseServer(name, rest);
    case 'utpm':
      if (rest !== '') return { type: 'utpm', directory: rest };
      throw usage('--tpm utpm: expected a directory for its state', 'Give it as in utpm:/var/lib/my-tpm.');
    case 'tabrmd':
      throw usage(
        'the resource manager tpm2-abrmd speaks D-Bus, which this program does not',
        'The kernel has one of its own: --tpm /dev/tpmrm0.',
      );
    default:
      throw usage(
        `"${text}" is no address of a TPM`,
        'Give one of device:/dev/tpmrm0, swtpm:port=2321, swtpm:path=/run/swtpm.sock, mssim:port=2321, utpm:DIRECTORY.',
      );
  }
}

function parseServer(type: 'swtpm' | 'mssim', rest: string): TpmAddress {
  const pairs = rest === '' ? [] : rest.split(',').map((pair) => pair.split('=', 2));
  const given = Object.fromEntries(pairs.map(([key, value]) => [key, value ?? '']));
  const unknown = Object.keys(given).find((key) => !['host', 'port', 'path'].includes(key));
  if (unknown !== undefined) throw usage(`${type}: "${unknown}" is none of host, port and path`);
  if (given.path) {
    if (type === 'swtpm') return { type, path: given.path };
    throw usage('mssim: the simulator protocol has two connections and runs over TCP only', 'Give host= and port=.');
  }
  const port = Number(given.port ?? 2321);
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw usage(`${type}: "${given.port}" is no port`);
  return { type, host: given.host || '127.0.0.1', port };
}

/** An address as text. */
function addressText(address: TpmAddress): string {
  if (address.type === 'device') return address.path;
  if (address.type === 'utpm') return `utpm:${address.directory}`;
  return 'path' in address ? `swtpm:path=${address.path}` : `${address.type}:host=${address.host},port=${address.port}`;
}

/** Connects. Throws `Failure` with a remedy where nobody is there. */
export async function connectTpm(address: TpmAddress): Promise<TpmTransport> {
  try {
    return await connected(address);
  } catch (error) {
    if (!(error instanceof TpmError)) throw error;
    throw unreachable(address, error);
  }
}

async function connected(address: TpmAddress): Promise<TpmTransport> {
  switch (address.type) {
    case 'device':
      return await openDevice(address.path);
    case 'swtpm':
      return await connectSwtpm(
        'path' in address ? { path: address.path } : { host: address.host, port: address.port },
      );
    case 'mssim':
      return await connectMssim({ host: address.host, port: address.port });
    case 'utpm':
      return await startUtpm(address.directory);
  }
}

function unreachable(address: TpmAddress, error: TpmError): Failure {
  const cause = error.cause;
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : '';
  const remedy = address.type === 'device' ? DEVICE_REMEDIES[code] : SERVER_REMEDIES[code];
  const problem = PROBLEMS[code] ?? error.message;
  return new Failure(EXIT.UNREACHABLE, `no TPM at ${addressText(address)}: ${problem}`, remedy, error);
}

/** Runs `utpm`, of the package @casemate/utpm, for the time of one connection; its state stays in the directory. */
async function startUtpm(directory: string): Promise<TpmTransport> {
  const place = await mkdtemp(join(tmpdir(), 'casemate-tpm-'));
  const path = join(place, 'tpm');
  const args = ['--tpm2', '--tpmstate', `dir=${directory}`, '--server', `type=unixio,path=${path}`];
  const child = spawn('utpm', ['socket', ...args, '--flags', 'not-need-init,startup-clear'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const end = async (): Promise<void> => {
    await ended(child);
    await rm(place, { recursive: true, force: true });
  };
  try {
    await listening(child, directory);
    const transport = await connectSwtpm({ path });
    return {
      send: (command, options) => transport.send(command, options),
      async close() {
        await transport.close();
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Waits for the line that says that the sockets are open. */
function listening(child: ChildProcess, directory: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let complaint = '';
    child.stdout?.once('data', () => resolve());
    child.stderr?.on('data', (text) => {
      complaint += String(text);
    });
    child.once('error', (cause) =>
      reject(
        new Failure(
          EXIT.UNREACHABLE,
          `cannot run utpm: ${cause.message}`,
          'Install @casemate/utpm, so that "utpm" is on the PATH.',
          cause,
        ),
      ),
    );
    child.once('exit', () => reject(new Failure(EXIT.UNREACHABLE, `utpm ended: ${complaint.trim() || directory}`)));
  });
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exit;
}

const DEFAULT_DEVICE = '/dev/tpmrm0';

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EBUSY: 'somebody else has it open',
  ECONNREFUSED: 'nobody listens there',
  ENOTFOUND: 'the host is not known',
  ENODEV: 'the kernel has no driver for it',
};

const DEVICE_REMEDIES: Readonly<Record<string, string>> = {
  ENOENT:
    'Turn the TPM on in the firmware, or use a software TPM: start "utpm socket --tpm2 --server type=tcp,port=2321 --flags not-need-init,startup-clear", then give --tpm swtpm:port=2321.',
  EACCES: 'Join the group that owns it, "sudo usermod -aG tss $USER", and log in again; or run this as root.',
  EBUSY: '/dev/tpm0 admits one program at a time; /dev/tpmrm0 shares the TPM.',
};

const SERVER_REMEDIES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'Start the server, or give its address with --tpm; TPM2TOOLS_TCTI is looked at too.',
  ENOENT: 'Start the server, or give its address with --tpm; TPM2TOOLS_TCTI is looked at too.',
};
