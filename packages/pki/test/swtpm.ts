/** Debian's swtpm for these tests: a manufactured TPM with an EK certificate, or an empty one, each with its process. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tpm, type TpmTransport } from '@casemate/tpm';
import { connectSwtpm } from '@casemate/tpm/swtpm';
import { decodePem } from '../src/index.js';

/** Why swtpm cannot be asked; undefined where it can. MUST_RUN turns the reason into an error. */
export function swtpmMissing(): string | undefined {
  const missing = ['swtpm', 'swtpm_setup', 'swtpm_localca'].filter((name) => spawnSync('which', [name]).status !== 0);
  if (missing.length === 0) return undefined;
  const reason = `${missing.join(', ')} not installed`;
  if (process.env.MUST_RUN === '1') throw new Error(`${reason}, and MUST_RUN=1`);
  return reason;
}

/** The maker of TPMs: swtpm_localca with a root of its own. */
export interface Manufacturer extends Disposable {
  /** The root that a verifier trusts, DER. */
  readonly root: Uint8Array;
  /** The intermediate that signs EK certificates, DER. */
  readonly intermediate: Uint8Array;
  /** Makes a TPM with an EK certificate and starts it. */
  startTpm(): Promise<RunningTpm>;
}

/** A running TPM; disposing of it ends its process. */
export interface RunningTpm extends AsyncDisposable {
  readonly tpm: Tpm;
}

/** Sets the maker up in a directory of its own; the first TPM makes its certificates. */
export function openManufacturer(): Manufacturer {
  const path = mkdtempSync(join(tmpdir(), 'casemate-ek-'));
  const ca = join(path, 'ca');
  mkdirSync(ca);
  const settings = ['signkey.pem', 'issuercert.pem', 'certserial'].map((name) => join(ca, name));
  const [signingkey, issuercert, certserial] = settings;
  writeFileSync(
    join(path, 'localca.conf'),
    `statedir = ${ca}\nsigningkey = ${signingkey}\nissuercert = ${issuercert}\ncertserial = ${certserial}\n`,
  );
  writeFileSync(
    join(path, 'localca.options'),
    '--platform-manufacturer Casemate\n--platform-version 1\n--platform-model T1\n',
  );
  writeFileSync(
    join(path, 'setup.conf'),
    `create_certs_tool = ${execFileSync('which', ['swtpm_localca'], { encoding: 'utf8' }).trim()}\n` +
      `create_certs_tool_config = ${join(path, 'localca.conf')}\ncreate_certs_tool_options = ${join(path, 'localca.options')}\n`,
  );
  const certificate = (name: string) => decodePem('CERTIFICATE', readFileSync(join(ca, name), 'utf8'));
  return {
    get root() {
      return certificate('swtpm-localca-rootca-cert.pem');
    },
    get intermediate() {
      return certificate('issuercert.pem');
    },
    async startTpm() {
      const state = mkdtempSync(join(path, 'tpm-'));
      const config = ['--config', join(path, 'setup.conf'), '--create-ek-cert', '--pcr-banks', 'sha256'];
      execFileSync('swtpm_setup', ['--tpm2', '--tpmstate', state, ...config], { stdio: 'pipe' });
      return startSwtpm(state);
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

async function startSwtpm(state: string): Promise<RunningTpm> {
  const path = join(state, 'socket');
  const sockets = ['--server', `type=unixio,path=${path}`, '--ctrl', `type=unixio,path=${path}.ctrl`];
  const flags = ['--flags', 'not-need-init,startup-clear'];
  const child = spawn('swtpm', ['socket', '--tpm2', '--tpmstate', `dir=${state}`, ...sockets, ...flags], {
    stdio: 'ignore',
  });
  const tpm = new Tpm(await connected(path, child));
  return {
    tpm,
    async [Symbol.asyncDispose]() {
      await tpm.close();
      const ended = child.exitCode === null ? once(child, 'exit') : undefined;
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** The socket is there a moment before swtpm listens on it. */
async function connected(path: string, child: ChildProcess): Promise<TpmTransport> {
  for (let i = 0; i < 400; i++) {
    if (child.exitCode !== null) throw new Error(`swtpm ended with ${child.exitCode}`);
    const transport = existsSync(path) ? await connectSwtpm({ path }).catch(() => undefined) : undefined;
    if (transport !== undefined) return transport;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  child.kill('SIGKILL');
  throw new Error(`swtpm did not open ${path}`);
}
