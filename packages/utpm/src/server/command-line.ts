/** What the program `utpm` does with its command line. */
import { spawn } from 'node:child_process';
import { createHash, pbkdf2Sync } from 'node:crypto';
import { appendFileSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { directoryState } from '../directory.js';
import { UtpmError } from '../error.js';
import { memoryState, type UtpmState } from '../state.js';
import {
  type CommandLine,
  type FileTarget,
  type KeySource,
  type LogTarget,
  parseArguments,
  type ServeArguments,
} from './arguments.js';
import { CAPABILITIES, informationText, PROGRAM_VERSION, swtpmJson } from './information.js';
import { addressText } from './listen.js';
import { serve, type UtpmServer } from './serve.js';
import type { BlobKeys } from './state-blob.js';
import { encryptedState, type StateKey, stateKey } from './state-key.js';

const HELP = `utpm: a TPM 2.0 on sockets, with the command line of swtpm

usage: utpm socket --tpm2 [--server ADDRESS] [--ctrl ADDRESS] [options]

  --server ADDRESS   where TPM commands come in: type=tcp,port=N[,bindaddr=A[,ifname=I]][,disconnect]
                     or type=unixio,path=P[,mode=M][,uid=U][,gid=G] or fd=N, which is one connection
                     swtpm's raw protocol and the simulator protocol (mssim) are told apart by what a client sends
  --ctrl ADDRESS     where control comes in: the same, or fd=N, a listening socket, or clientfd=N, one connection
                     [,terminate]: end when the control connection ends
                     (tpm2-tools expect it at the data port plus 1, or at the data path plus ".ctrl"; QEMU needs
                     type=unixio and no --server)
  -p, --port N       the same as --server type=tcp,port=N,disconnect
  -f, --fd N         the same as --server fd=N
  --tpmstate dir=D   keep the state in D (or in $TPM_PATH); without it the state is gone when the program ends
                     with ,durability=process-crash a write that was answered outlives the program, but not a power
                     failure: what swtpm gives, and faster; without it it outlives both
                     ,mode= is taken for swtpm's sake: the files are always readable by their owner only
  --flags FLAGS      not-need-init: run commands without INIT on the control channel; startup-clear, startup-state: and
                     start the TPM; disable-auto-shutdown: run no TPM2_Shutdown that the client has left out
  --key SOURCE       encrypt the state files: file=F or fd=N with a key, in hexadecimal or ,format=binary;
                     or pwdfile=F or pwdfd=N with a passphrase [,kdf=pbkdf2|sha512];
                     [,mode=aes-cbc|aes-256-cbc][,remove]
  --migration-key SOURCE
                     encrypt the state blobs of the control channel
  --locality reject-locality-4
  -r, --runas USER   become this user (a name or a number) first
  -d, --daemon       go to the background once the sockets are open
  -t, --terminate    end when the data connection ends
  --pid file=F       write the process id to F (or fd=N)
  --log file=F       write messages to F (or fd=N; "-" for none) [,prefix=P][,truncate]
  --print-capabilities, --print-states, --print-info FLAGS
  -h, --help         this text
  -v, --version      the version

example: utpm socket --tpm2 --tpmstate dir=/tmp/tpm --server type=tcp,port=2321 --ctrl type=tcp,port=2322 \\
           --flags not-need-init,startup-clear
         TPM2TOOLS_TCTI=swtpm:host=127.0.0.1,port=2321 tpm2_getrandom --hex 8
`;

/** Runs the program; returns its exit code: 0, or 1 for a failure and for a command line that is wrong, as swtpm has it. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    return await run(parseArguments(args, process.env), args);
  } catch (error) {
    if (!(error instanceof UtpmError)) throw error;
    await complain(`utpm: ${error.message}\n`);
    return 1;
  }
}

/** In the background there is no standard error; the parent, which still waits there, says it. */
function complain(text: string): Promise<void> {
  return new Promise((resolve) => {
    if (process.send) process.send({ complaint: text }, () => resolve());
    else process.stderr.write(text, () => resolve());
  });
}

async function run(command: CommandLine, args: readonly string[]): Promise<number> {
  switch (command.action) {
    case 'help':
      return print(HELP);
    case 'version':
      return print(`utpm ${PROGRAM_VERSION}\n`);
    case 'print-capabilities':
      return print(`${swtpmJson(CAPABILITIES)}\n`);
    case 'print-info':
      return print(`${informationText(command.flags)}\n`);
    case 'print-states':
      return print(`${swtpmJson({ type: 'swtpm', states: statesIn(command.stateDirectory) })}\n`);
    default:
      return command.isDaemon ? daemonize(command, args) : serveUntilEnd(command);
  }
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

function statesIn(directory: string): readonly { readonly name: string; readonly size: number }[] {
  const names = new Map([
    ['utpm.state', 'permall'],
    ['utpm.volatile', 'volatilestate'],
  ]);
  return readdirSync(directory).flatMap((file) => {
    const name = names.get(file);
    return name === undefined ? [] : [{ name, size: statSync(join(directory, file)).size }];
  });
}

async function serveUntilEnd(command: ServeArguments): Promise<number> {
  if (command.user !== undefined) becomeUser(command.user);
  const log = openLog(command.log);
  const server = await openServer(command);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void server.close());
  if (command.pid !== undefined) write(command.pid, `${process.pid}\n`, false);
  log(`listening for ${places(server)}`);
  // A parent that put this process into the background waits for the word that the sockets are open.
  if (process.send) {
    process.send('listening');
    process.disconnect();
  }
  await server.ended;
  log('ended');
  if (command.pid !== undefined && 'file' in command.pid) rmSync(command.pid.file, { force: true });
  return 0;
}

function openServer(command: ServeArguments): Promise<UtpmServer> {
  const { stateDirectory, durability, data, control, ...options } = command;
  const keys: BlobKeys = {
    ...(command.key && { file: readKey(command.key) }),
    ...(command.migrationKey && { migration: readKey(command.migrationKey) }),
  };
  const plain: UtpmState =
    stateDirectory === undefined ? memoryState() : directoryState(stateDirectory, { durability });
  const state = keys.file === undefined ? plain : encryptedState(plain, keys.file);
  return serve({ ...options, state, keys, oneClient: true, ...(data && { data }), ...(control && { control }) });
}

function places({ data, control }: UtpmServer): string {
  const commands = data === undefined ? [] : [`commands on ${addressText(data)}`];
  return [...commands, ...(control === undefined ? [] : [`control on ${addressText(control)}`])].join(', for ');
}

function becomeUser(user: string): void {
  try {
    const group = groupOf(user);
    process.setgroups?.([group]);
    process.setgid?.(group);
    process.setuid?.(/^\d+$/.test(user) ? Number(user) : user);
  } catch (cause) {
    throw new UtpmError('bad-option', `become the user ${user}: expected to be allowed to, got ${String(cause)}`, {
      cause,
    });
  }
}

// passwd(5): name, password, user id, group id.
function groupOf(user: string): number {
  const entries = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  const entry = entries.find(([name, , id]) => name === user || id === user);
  if (entry === undefined) throw new UtpmError('bad-option', `become the user ${user}: expected one of this machine`);
  return Number(entry[3]);
}

// A log file that was asked for replaces the message on standard output.
function openLog(log: LogTarget | undefined): (message: string) => void {
  if (log === undefined) return (message) => void (process.send === undefined && process.stdout.write(`${message}\n`));
  const { target, prefix } = log;
  if (target === undefined) return () => undefined;
  if (log.truncate) write(target, '', false);
  return (message) => write(target, `${prefix}${message}\n`, true);
}

function write(target: FileTarget, text: string, isAppended: boolean): void {
  try {
    if ('fd' in target) writeSync(target.fd, text);
    else if (isAppended) appendFileSync(target.file, text);
    else writeFileSync(target.file, text);
  } catch (cause) {
    const where = 'fd' in target ? `file descriptor ${target.fd}` : target.file;
    throw new UtpmError('bad-option', `write to ${where}: expected a file that can be written, got ${String(cause)}`, {
      cause,
    });
  }
}

// swtpm derives without a salt of its own for each state, and so must this: the same passphrase gives the same key.
const KDF_SALT = 'casemate utpm';
const KDF_ROUNDS = 210_000;

function readKey({ source, kind, length, remove }: KeySource): StateKey {
  const where = 'fd' in source ? source.fd : source.file;
  let bytes: Buffer;
  try {
    bytes = readFileSync(where);
    if (remove && 'file' in source) rmSync(source.file);
  } catch (cause) {
    throw new UtpmError('bad-option', `read the key in ${where}: expected a file, got ${String(cause)}`, { cause });
  }
  const key = keyFrom(bytes, kind, length);
  bytes.fill(0);
  if (key.length !== length) {
    throw new UtpmError('bad-option', `read the key in ${where}: expected ${length} bytes, got ${key.length}`);
  }
  return stateKey(key);
}

function keyFrom(bytes: Buffer, kind: KeySource['kind'], length: number): Uint8Array {
  switch (kind) {
    case 'binary':
      return new Uint8Array(bytes);
    case 'hex':
      return new Uint8Array(Buffer.from(bytes.toString('latin1').trim().replace(/^0x/, ''), 'hex'));
    case 'sha512':
      return new Uint8Array(createHash('sha512').update(bytes).digest().subarray(0, length));
    default:
      return new Uint8Array(pbkdf2Sync(bytes, KDF_SALT, KDF_ROUNDS, length, 'sha512'));
  }
}

function daemonize(command: ServeArguments, args: readonly string[]): Promise<number> {
  const inner = args.filter((argument) => argument !== '-d' && argument !== '--daemon');
  const [, program = ''] = process.argv;
  const child = spawn(process.execPath, [...process.execArgv, program, ...inner], {
    detached: true,
    stdio: inherited(command),
  });
  return new Promise((resolve) => {
    child.on('message', (message) => {
      if (isComplaint(message)) return void process.stderr.write(message.complaint);
      child.disconnect();
      child.unref();
      resolve(0);
    });
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

function isComplaint(message: unknown): message is { readonly complaint: string } {
  return typeof message === 'object' && message !== null && 'complaint' in message;
}

// Standard error goes too: whoever reads the parent's would wait for the end of a pipe. The descriptors that the command line names keep their numbers in the background.
function inherited(command: ServeArguments): ('ignore' | 'inherit' | 'ipc' | number)[] {
  const sources = [command.data, command.control, command.pid, command.log?.target, command.key?.source];
  const named = [...sources, command.migrationKey?.source].flatMap((one) => (one && 'fd' in one ? [one.fd] : []));
  const last = Math.max(2, ...named);
  const stdio = Array.from({ length: last + 1 }, (_, fd) => (named.includes(fd) ? fd : ('ignore' as const)));
  return [...stdio, 'ipc'];
}
