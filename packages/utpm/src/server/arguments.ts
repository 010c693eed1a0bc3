/** swtpm's command line: options with sub-options, parsed into what to do. */
import type { Durability } from '../directory.js';
import { UtpmError } from '../error.js';
import type { ListenAddress } from './serve.js';

/** What a command line asks for. */
export type CommandLine =
  | { readonly action: 'help' | 'version' | 'print-capabilities' }
  | ({ readonly action: 'serve' } & ServeArguments);

/** The options of `utpm socket`. */
export interface ServeArguments {
  /** The data channel. */
  readonly data: ListenAddress;
  /** The control channel. */
  readonly control: ListenAddress | undefined;
  /** The directory of the state; undefined keeps it in memory. */
  readonly stateDirectory: string | undefined;
  /** What a write of the state survives. */
  readonly durability: Durability;
  /** Run in the background once the sockets are open. */
  readonly isDaemon: boolean;
  /** End when the data connection ends. */
  readonly endOnDisconnect: boolean;
  /** Must INIT come through the control channel first? */
  readonly waitForInit: boolean;
  /** Run TPM2_Startup(CLEAR) at once. */
  readonly startup: boolean;
  /** Refuse locality 4. */
  readonly rejectLocality4: boolean;
  /** The file that gets the process id. */
  readonly pidFile: string | undefined;
  /** The file that gets messages. */
  readonly logFile: string | undefined;
}

/** Names of options that take a value, by their short form. */
const SHORT: Readonly<Record<string, string>> = {
  '-p': '--port',
  '-f': '--fd',
  '-t': '--terminate',
  '-d': '--daemon',
  '-h': '--help',
  '-v': '--version',
};
const FLAGS = new Set(['--terminate', '--daemon', '--help', '--version', '--tpm2', '--print-capabilities', '--mssim']);
const VALUES = new Set([
  '--port',
  '--ctrl',
  '--server',
  '--tpmstate',
  '--flags',
  '--pid',
  '--log',
  '--locality',
  '--seccomp',
  '--runas',
  '--fd',
]);

/** Parses the arguments after the program's name. Throws `UtpmError` `bad-option`. */
export function parseArguments(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = {},
): CommandLine {
  const [first, ...rest] = args;
  const isSocket = first === 'socket';
  const options = collect(isSocket ? rest : args);
  if (options.has('--version')) return { action: 'version' };
  if (options.has('--help') || args.length === 0) return { action: 'help' };
  if (options.has('--print-capabilities')) return { action: 'print-capabilities' };
  if (!isSocket) throw refuse(`expected the subcommand "socket", got ${JSON.stringify(first)}`);
  return { action: 'serve', ...serveArguments(options, environment) };
}

function collect(args: readonly string[]): Map<string, string> {
  const options = new Map<string, string>();
  for (let i = 0; i < args.length; i++) {
    const [given = '', inline] = split(args[i] ?? '');
    const name = SHORT[given] ?? given;
    if (FLAGS.has(name)) options.set(name, '');
    else if (VALUES.has(name)) options.set(name, inline ?? args[++i] ?? missing(name));
    else throw refuse(`expected an option of swtpm that is supported, got ${JSON.stringify(args[i])}`);
  }
  return options;
}

function split(argument: string): readonly [string, string?] {
  const at = argument.startsWith('--') ? argument.indexOf('=') : -1;
  return at < 0 ? [argument] : [argument.slice(0, at), argument.slice(at + 1)];
}

function missing(name: string): never {
  throw refuse(`expected a value after ${name}, got the end`);
}

function serveArguments(
  options: ReadonlyMap<string, string>,
  environment: Readonly<Record<string, string | undefined>>,
): ServeArguments {
  if (!options.has('--tpm2')) throw refuse('expected --tpm2, got none: TPM 1.2 is not supported');
  if (options.has('--runas'))
    throw refuse('expected no --runas, got one: start the program as the user it is to run as');
  const flags = new Set((options.get('--flags') ?? '').split(',').filter((flag) => flag !== ''));
  for (const flag of flags) {
    if (!['not-need-init', 'startup-clear', 'startup-none'].includes(flag))
      throw refuse(`expected a flag that is supported, got ${flag}`);
  }
  const startup = flags.has('startup-clear');
  return {
    data: dataAddress(options),
    control: addressOf('--ctrl', options.get('--ctrl')),
    stateDirectory: subOptions('--tpmstate', options.get('--tpmstate')).get('dir') ?? environment.TPM_PATH,
    durability: durabilityOf(subOptions('--tpmstate', options.get('--tpmstate')).get('durability')),
    isDaemon: options.has('--daemon'),
    endOnDisconnect: options.has('--terminate'),
    waitForInit: options.has('--ctrl') && !flags.has('not-need-init') && !startup,
    startup,
    rejectLocality4: (options.get('--locality') ?? '').split(',').includes('reject-locality-4'),
    pidFile: fileOf('--pid', options.get('--pid')),
    logFile: fileOf('--log', options.get('--log')),
  };
}

function dataAddress(options: ReadonlyMap<string, string>): ListenAddress {
  const port = options.get('--port');
  if (port !== undefined) return { type: 'tcp', port: numberOf('--port', port) };
  const address = addressOf('--server', options.get('--server'));
  if (address === undefined) throw refuse('expected --server or --port, got neither');
  return address;
}

// type=tcp,port=N[,bindaddr=A] or type=unixio,path=P or fd=N, as swtpm has them.
function addressOf(name: string, text: string | undefined): ListenAddress | undefined {
  if (text === undefined) return undefined;
  const options = subOptions(name, text);
  const fd = options.get('fd');
  if (fd !== undefined) return { type: 'fd', fd: numberOf(`${name} fd`, fd) };
  const path = options.get('path');
  if (options.get('type') === 'unixio' && path !== undefined) return { type: 'unix', path };
  const port = options.get('port');
  if (options.get('type') === 'unixio' || port === undefined)
    throw refuse(`expected type=tcp,port=N or type=unixio,path=P after ${name}, got ${text}`);
  const host = options.get('bindaddr');
  return { type: 'tcp', port: numberOf(`${name} port`, port), ...(host !== undefined && { host }) };
}

function durabilityOf(text: string | undefined): Durability {
  if (text === undefined || text === 'power-failure') return 'power-failure';
  if (text === 'process-crash') return text;
  throw refuse(`expected durability=power-failure or durability=process-crash, got ${text}`);
}

const SUB_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  '--server': ['type', 'port', 'bindaddr', 'path', 'fd'],
  '--ctrl': ['type', 'port', 'bindaddr', 'path', 'fd'],
  '--tpmstate': ['dir', 'durability'],
  '--pid': ['file'],
  '--log': ['file', 'level', 'prefix', 'truncate'],
};

function subOptions(name: string, text: string | undefined): Map<string, string> {
  const known = SUB_OPTIONS[name] ?? [];
  const pairs = (text ?? '').split(',').filter((part) => part !== '');
  return new Map(
    pairs.map((part) => {
      const at = part.indexOf('=');
      const [key, value] = at < 0 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)];
      if (!known.includes(key)) throw refuse(`expected one of ${known.join(', ')} after ${name}, got ${part}`);
      return [key, value] as const;
    }),
  );
}

function fileOf(name: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  return subOptions(name, text).get('file') ?? missing(`${name} file`);
}

function numberOf(name: string, text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 65535) throw refuse(`expected a number from 0 to 65535 for ${name}, got ${text}`);
  return value;
}

function refuse(problem: string): UtpmError {
  return new UtpmError('bad-option', `read the command line: ${problem}`);
}
