/** What the program `utpm` does with its command line. */
import { spawn } from 'node:child_process';
import { appendFile, writeFile } from 'node:fs/promises';
import { directoryState } from '../directory.js';
import { UtpmError } from '../error.js';
import { memoryState } from '../state.js';
import { type CommandLine, parseArguments, type ServeArguments } from './arguments.js';
import { type ListenAddress, serve } from './serve.js';

const HELP = `utpm: a TPM 2.0 on sockets, with the command line of swtpm

usage: utpm socket --tpm2 --server ADDRESS [--ctrl ADDRESS] [options]

  --server ADDRESS   where TPM commands come in: type=tcp,port=N[,bindaddr=A] or type=unixio,path=P or fd=N
                     swtpm's raw protocol and the simulator protocol (mssim) are told apart by what a client sends
  --ctrl ADDRESS     where control comes in: swtpm's control channel, or the simulator's platform port
                     (tpm2-tools expect it at the data port plus 1, or at the data path plus ".ctrl")
  -p, --port N       the same as --server type=tcp,port=N
  --tpmstate dir=D   keep the state in D (or in $TPM_PATH); without it the state is gone when the program ends
                     with ,durability=process-crash a write that was answered outlives the program, but not a power
                     failure: what swtpm gives, and faster; without it it outlives both
  --flags FLAGS      not-need-init: run commands without INIT on the control channel; startup-clear: and start the TPM
  --locality reject-locality-4
  -d, --daemon       go to the background once the sockets are open
  -t, --terminate    end when the data connection ends
  --pid file=F       write the process id to F
  --log file=F       write messages to F
  -h, --help         this text
  -v, --version      the version

example: utpm socket --tpm2 --tpmstate dir=/tmp/tpm --server type=tcp,port=2321 --ctrl type=tcp,port=2322 \\
           --flags not-need-init,startup-clear
         TPM2TOOLS_TCTI=swtpm:host=127.0.0.1,port=2321 tpm2_getrandom --hex 8
`;

const CAPABILITIES = {
  type: 'swtpm',
  features: ['tpm-2.0', 'flags-opt-startup', 'rsa-keysize-1024', 'rsa-keysize-2048', 'rsa-keysize-3072'],
  version: '0.1.0',
};

/** Runs the program; returns its exit code: 0, 1 for a failure, 2 for a command line that is wrong. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    return await run(parseArguments(args, process.env), args);
  } catch (error) {
    if (!(error instanceof UtpmError)) throw error;
    process.stderr.write(`utpm: ${error.message}\n`);
    return error.code === 'bad-option' ? 2 : 1;
  }
}

async function run(command: CommandLine, args: readonly string[]): Promise<number> {
  switch (command.action) {
    case 'help':
      process.stdout.write(HELP);
      return 0;
    case 'version':
      process.stdout.write(`utpm ${CAPABILITIES.version}\n`);
      return 0;
    case 'print-capabilities':
      process.stdout.write(`${JSON.stringify(CAPABILITIES)}\n`);
      return 0;
    default:
      return command.isDaemon ? daemonize(args) : serveUntilEnd(command);
  }
}

async function serveUntilEnd(command: ServeArguments): Promise<number> {
  const { stateDirectory, durability, control, ...options } = command;
  const state = stateDirectory === undefined ? memoryState() : directoryState(stateDirectory, { durability });
  const server = await serve({ ...options, state, ...(control && { control }) });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void server.close());
  if (command.pidFile !== undefined) await writeFile(command.pidFile, `${process.pid}\n`);
  const message = `listening for commands on ${describe(server.data)}${server.control ? `, for control on ${describe(server.control)}` : ''}\n`;
  if (command.logFile !== undefined) await appendFile(command.logFile, message);
  // A parent that put this process into the background waits for the word that the sockets are open.
  if (process.send) {
    process.send('listening');
    process.disconnect();
  } else if (command.logFile === undefined) process.stdout.write(message);
  await server.ended;
  return 0;
}

function describe(address: ListenAddress): string {
  if (address.type === 'tcp') return `${address.host ?? '127.0.0.1'}:${address.port}`;
  return address.type === 'unix' ? address.path : `file descriptor ${address.fd}`;
}

function daemonize(args: readonly string[]): Promise<number> {
  const inner = args.filter((argument) => argument !== '-d' && argument !== '--daemon');
  const [, program = ''] = process.argv;
  const child = spawn(process.execPath, [...process.execArgv, program, ...inner], {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  return new Promise((resolve) => {
    child.once('message', () => {
      child.disconnect();
      child.unref();
      resolve(0);
    });
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
