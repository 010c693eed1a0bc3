/** swtpm's command line: options with sub-options, parsed into what to do. */
import type { Durability } from '../directory.js';
import { UtpmError } from '../error.js';
import type { ListenAddress } from './listen.js';

/** What a command line asks for. */
export type CommandLine =
  | { readonly action: 'help' | 'version' | 'print-capabilities' }
  | { readonly action: 'print-info'; readonly flags: bigint }
  | { readonly action: 'print-states'; readonly stateDirectory: string }
  | ({ readonly action: 'serve' } & ServeArguments);

/** The options of `utpm socket`. */
export interface ServeArguments {
  /** The data channel; undefined where it comes over the control channel. */
  readonly data: ListenAddress | undefined;
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
  /** End when the control connection ends. */
  readonly endOnControlDisconnect: boolean;
  /** End the data connection after each answer. */
  readonly endAfterAnswer: boolean;
  /** Must INIT come through the control channel first? */
  readonly waitForInit: boolean;
  /** Run TPM2_Startup at once. */
  readonly startup: boolean;
  /** Which TPM2_Startup. */
  readonly startupType: 'clear' | 'state';
  /** Take the power away without TPM2_Shutdown. */
  readonly disableAutoShutdown: boolean;
  /** Refuse locality 4. */
  readonly rejectLocality4: boolean;
  /** Where the process id goes. */
  readonly pid: FileTarget | undefined;
  /** Where messages go. */
  readonly log: LogTarget | undefined;
  /** The user to become. */
  readonly user: string | undefined;
  /** The key of the state files. */
  readonly key: KeySource | undefined;
  /** The key of state blobs. */
  readonly migrationKey: KeySource | undefined;
}

/** A file to write, or a descriptor that is open already. */
export type FileTarget = { readonly file: string } | { readonly fd: number };

/** Where messages go, and how. */
export interface LogTarget {
  /** The file; undefined for no messages at all. */
  readonly target: FileTarget | undefined;
  /** What each line starts with. */
  readonly prefix: string;
  /** Empty the file first. */
  readonly truncate: boolean;
}

/** Where a key comes from. */
export interface KeySource {
  /** The file or descriptor. */
  readonly source: FileTarget;
  /** Is it a key, in hexadecimal or as it is, or a passphrase? */
  readonly kind: 'hex' | 'binary' | 'pbkdf2' | 'sha512';
  /** The length of the key in bytes. */
  readonly length: 16 | 32;
  /** Remove the file once it is read. */
  readonly remove: boolean;
}

/** Names of options that take a value, by their short form. */
const SHORT: Readonly<Record<string, string>> = {
  '-p': '--port',
  '-f': '--fd',
  '-t': '--terminate',
  '-d': '--daemon',
  '-h': '--help',
  '-v': '--version',
  '-r': '--runas',
};
const FLAGS = new Set([
  '--terminate',
  '--daemon',
  '--help',
  '--version',
  '--tpm2',
  '--print-capabilities',
  '--print-states',
  '--print-profiles',
]);
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
  '--key',
  '--migration-key',
  '--migration',
  '--print-info',
  '--profile',
  '--chroot',
  '--pcap',
]);

/** Options of swtpm that are refused, and what to do instead. */
const REFUSED: Readonly<Record<string, string>> = {
  '--migration': 'the state is locked from start to end; let the receiving server have a state directory of its own',
  '--profile': 'there is one profile, whose algorithms and commands are in the README',
  '--print-profiles': 'there is one profile, whose algorithms and commands are in the README',
  '--chroot': 'start the program inside the root directory that it is to have',
  '--pcap': 'record the socket with a proxy',
};

/** Parses the arguments after the program's name. Throws `UtpmError` `bad-option`. */
export function parseArguments(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = {},
): CommandLine {
  const [first, ...rest] = args;
  const isSocket = first === 'socket';
  const isKernel = first === 'chardev' || first === 'cuse';
  const options = collect(isSocket || isKernel ? rest : args);
  if (options.has('--version')) return { action: 'version' };
  if (options.has('--help') || args.length === 0) return { action: 'help' };
  if (options.has('--print-capabilities')) return { action: 'print-capabilities' };
  if (isKernel)
    throw refuse(`expected the subcommand "socket", got "${first}": use sockets, a kernel interface is not there`);
  for (const [name, remedy] of Object.entries(REFUSED))
    if (options.has(name)) throw refuse(`expected no ${name}, got one: ${remedy}`);
  if (!isSocket) throw refuse(`expected the subcommand "socket", got ${JSON.stringify(first)}`);
  const flags = options.get('--print-info');
  if (flags !== undefined) return { action: 'print-info', flags: BigInt(numberOf('--print-info', flags, 0xffff)) };
  if (options.has('--print-states')) return { action: 'print-states', stateDirectory: statesOf(options) };
  return { action: 'serve', ...serveArguments(options, environment) };
}

function collect(args: readonly string[]): Map<string, string> {
  const options = new Map<string, string>();
  for (let i = 0; i < args.length; i++) {
    const [given = '', inline] = split(args[i] ?? '');
    const name = SHORT[given] ?? given;
    if (FLAGS.has(name)) options.set(name, '');
    else if (VALUES.has(name)) options.set(name, inline ?? args[++i] ?? missing(name));
    else throw refuse(`expected an option of swtpm, got ${JSON.stringify(args[i])}`);
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

function statesOf(options: ReadonlyMap<string, string>): string {
  const directory = stateDirectoryOf(subOptions('--tpmstate', options.get('--tpmstate')));
  if (directory === undefined) throw refuse('expected --tpmstate dir=D with --print-states, got none');
  return directory;
}

function serveArguments(
  options: ReadonlyMap<string, string>,
  environment: Readonly<Record<string, string | undefined>>,
): ServeArguments {
  if (!options.has('--tpm2')) throw refuse('expected --tpm2, got none: TPM 1.2 is not supported');
  assertSeccomp(subOptions('--seccomp', options.get('--seccomp')).get('action'));
  const state = subOptions('--tpmstate', options.get('--tpmstate'));
  const control = subOptions('--ctrl', options.get('--ctrl'));
  const data = dataAddress(options);
  if (data === undefined && control.size === 0) throw refuse('expected --server, --port, --fd or --ctrl, got neither');
  return {
    data,
    control: addressOf('--ctrl', control),
    stateDirectory: stateDirectoryOf(state) ?? environment.TPM_PATH,
    durability: durabilityOf(state.get('durability')),
    isDaemon: options.has('--daemon'),
    endOnDisconnect: options.has('--terminate'),
    endOnControlDisconnect: isSet(control, 'terminate'),
    endAfterAnswer: options.has('--port') || isSet(subOptions('--server', options.get('--server')), 'disconnect'),
    ...startupOf(subOptions('--flags', options.get('--flags')), control.size > 0),
    rejectLocality4: isSet(subOptions('--locality', options.get('--locality')), 'reject-locality-4'),
    pid: targetOf('--pid', options.get('--pid')),
    log: logOf(options.get('--log')),
    user: options.get('--runas'),
    key: keyOf('--key', options.get('--key')),
    migrationKey: keyOf('--migration-key', options.get('--migration-key')),
  };
}

function assertSeccomp(action: string | undefined): void {
  if (action === undefined || action === 'none') return;
  throw refuse(`expected --seccomp action=none, got ${action}: start the program in a sandbox that filters its calls`);
}

function startupOf(
  flags: ReadonlyMap<string, string>,
  hasControl: boolean,
): Pick<ServeArguments, 'waitForInit' | 'startup' | 'startupType' | 'disableAutoShutdown'> {
  if (isSet(flags, 'startup-deactivated')) throw refuse('expected no startup-deactivated, got one: a TPM 2.0 has none');
  const isClear = isSet(flags, 'startup-clear');
  const startup = isClear || isSet(flags, 'startup-state');
  return {
    waitForInit: hasControl && !startup && !isSet(flags, 'not-need-init'),
    startup,
    startupType: startup && !isClear ? 'state' : 'clear',
    disableAutoShutdown: isSet(flags, 'disable-auto-shutdown'),
  };
}

function dataAddress(options: ReadonlyMap<string, string>): ListenAddress | undefined {
  const fd = options.get('--fd');
  if (fd !== undefined) return { type: 'connection', fd: descriptorOf('--fd', fd) };
  const port = options.get('--port');
  if (port !== undefined) return { type: 'tcp', port: numberOf('--port', port, 65535) };
  const server = subOptions('--server', options.get('--server'));
  const given = server.get('fd');
  // swtpm takes the descriptor of a connection here, and that of a listening socket after --ctrl.
  if (given !== undefined) return { type: 'connection', fd: descriptorOf('--server fd', given) };
  return addressOf('--server', server);
}

// type=tcp,port=N[,bindaddr=A[,ifname=I]] or type=unixio,path=P[,mode=M][,uid=U][,gid=G] or fd=N or clientfd=N, as swtpm has them.
function addressOf(name: string, options: ReadonlyMap<string, string>): ListenAddress | undefined {
  if (options.size === 0) return undefined;
  const fd = options.get('fd');
  if (fd !== undefined) return { type: 'fd', fd: descriptorOf(`${name} fd`, fd) };
  const client = options.get('clientfd');
  if (client !== undefined) return { type: 'connection', fd: descriptorOf(`${name} clientfd`, client) };
  const path = options.get('path');
  if (options.get('type') === 'unixio' && path !== undefined) return unixAddress(name, path, options);
  const port = options.get('port');
  if (options.get('type') === 'unixio' || port === undefined)
    throw refuse(`expected type=tcp,port=N or type=unixio,path=P after ${name}, got ${[...options.keys()].join(',')}`);
  const host = options.get('bindaddr');
  const scope = options.get('ifname');
  return {
    type: 'tcp',
    port: numberOf(`${name} port`, port, 65535),
    ...(host !== undefined && { host: scope === undefined ? host : `${host}%${scope}` }),
  };
}

function unixAddress(name: string, path: string, options: ReadonlyMap<string, string>): ListenAddress {
  const [mode, uid, gid] = [options.get('mode'), options.get('uid'), options.get('gid')];
  return {
    type: 'unix',
    path,
    ...(mode !== undefined && { mode: modeOf(name, mode) }),
    ...(uid !== undefined && { uid: numberOf(`${name} uid`, uid, 0xffff_fffe) }),
    ...(gid !== undefined && { gid: numberOf(`${name} gid`, gid, 0xffff_fffe) }),
  };
}

function stateDirectoryOf(options: ReadonlyMap<string, string>): string | undefined {
  const mode = options.get('mode');
  if (mode !== undefined) modeOf('--tpmstate', mode);
  const uri = options.get('backend-uri');
  if (uri === undefined) return options.get('dir');
  if (!uri.startsWith('dir://')) throw refuse(`expected backend-uri=dir://PATH after --tpmstate, got ${uri}`);
  return uri.slice('dir://'.length);
}

function durabilityOf(text: string | undefined): Durability {
  if (text === undefined || text === 'power-failure') return 'power-failure';
  if (text === 'process-crash') return text;
  throw refuse(`expected durability=power-failure or durability=process-crash, got ${text}`);
}

const SUB_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  '--server': ['type', 'port', 'bindaddr', 'ifname', 'path', 'fd', 'disconnect', 'mode', 'uid', 'gid'],
  '--ctrl': ['type', 'port', 'bindaddr', 'ifname', 'path', 'fd', 'clientfd', 'mode', 'uid', 'gid', 'terminate'],
  '--tpmstate': ['dir', 'mode', 'backend-uri', 'durability'],
  '--pid': ['file', 'fd'],
  '--log': ['file', 'fd', 'level', 'prefix', 'truncate'],
  '--locality': ['reject-locality-4', 'allow-set-locality'],
  '--flags': [
    'not-need-init',
    'startup-none',
    'startup-clear',
    'startup-state',
    'startup-deactivated',
    'disable-auto-shutdown',
  ],
  '--seccomp': ['action'],
  '--key': ['file', 'fd', 'pwdfile', 'pwdfd', 'mode', 'format', 'kdf', 'remove'],
  '--migration-key': ['file', 'fd', 'pwdfile', 'pwdfd', 'mode', 'format', 'kdf', 'remove'],
};

// A name alone is a boolean that is set.
function subOptions(name: string, text: string | undefined): Map<string, string> {
  const known = SUB_OPTIONS[name] ?? [];
  const pairs = (text ?? '').split(',').filter((part) => part !== '');
  if (text !== undefined && pairs.length === 0)
    throw refuse(`expected one of ${known.join(', ')} after ${name}, got none`);
  return new Map(
    pairs.map((part) => {
      const at = part.indexOf('=');
      const [key, value] = at < 0 ? [part, 'true'] : [part.slice(0, at), part.slice(at + 1)];
      if (!known.includes(key)) throw refuse(`expected one of ${known.join(', ')} after ${name}, got ${part}`);
      return [key, value] as const;
    }),
  );
}

function isSet(options: ReadonlyMap<string, string>, name: string): boolean {
  const value = options.get(name)?.toLowerCase();
  return value === 'true' || value === '1';
}

function targetOf(name: string, text: string | undefined): FileTarget | undefined {
  if (text === undefined) return undefined;
  return fileOrFd(name, subOptions(name, text), 'file', 'fd') ?? missing(`${name} file`);
}

function fileOrFd(
  name: string,
  options: ReadonlyMap<string, string>,
  fileOption: string,
  fdOption: string,
): FileTarget | undefined {
  const file = options.get(fileOption);
  if (file !== undefined) return { file };
  const fd = options.get(fdOption);
  return fd === undefined ? undefined : { fd: descriptorOf(`${name} ${fdOption}`, fd) };
}

function logOf(text: string | undefined): LogTarget | undefined {
  if (text === undefined) return undefined;
  const options = subOptions('--log', text);
  const target = fileOrFd('--log', options, 'file', 'fd');
  const isNone = target !== undefined && 'file' in target && target.file === '-';
  return {
    target: isNone ? undefined : target,
    prefix: options.get('prefix') ?? '',
    truncate: isSet(options, 'truncate'),
  };
}

function keyOf(name: string, text: string | undefined): KeySource | undefined {
  if (text === undefined) return undefined;
  const options = subOptions(name, text);
  const key = fileOrFd(name, options, 'file', 'fd');
  const source = key ?? fileOrFd(name, options, 'pwdfile', 'pwdfd');
  if (source === undefined) throw refuse(`expected file=, fd=, pwdfile= or pwdfd= after ${name}, got ${text}`);
  const kind = key === undefined ? (options.get('kdf') ?? 'pbkdf2') : (options.get('format') ?? 'hex');
  const kinds = key === undefined ? (['pbkdf2', 'sha512'] as const) : (['hex', 'binary'] as const);
  const found = kinds.find((one) => one === kind);
  if (found === undefined) throw refuse(`expected ${kinds.join(' or ')} for the key of ${name}, got ${kind}`);
  return { source, kind: found, length: keyLengthOf(name, options.get('mode')), remove: isSet(options, 'remove') };
}

function keyLengthOf(name: string, mode: string | undefined): 16 | 32 {
  if (mode === undefined || mode === 'aes-cbc' || mode === 'aes-128-cbc') return 16;
  if (mode === 'aes-256-cbc') return 32;
  throw refuse(`expected mode=aes-cbc or mode=aes-256-cbc after ${name}, got ${mode}`);
}

function modeOf(name: string, text: string): number {
  const value = Number.parseInt(text, 8);
  if (!/^[0-7]{1,4}$/.test(text) || value > 0o777)
    throw refuse(`expected an octal mode up to 0777 for ${name}, got ${text}`);
  return value;
}

function descriptorOf(name: string, text: string): number {
  const fd = numberOf(name, text, 65535);
  if (fd < 3) throw refuse(`expected a descriptor from 3 on for ${name}, got ${text}`);
  return fd;
}

function numberOf(name: string, text: string, max: number): number {
  const value = Number(text);
  if (!/^(\d+|0x[0-9a-fA-F]+)$/.test(text) || value > max)
    throw refuse(`expected a number from 0 to ${max} for ${name}, got ${text}`);
  return value;
}

function refuse(problem: string): UtpmError {
  return new UtpmError('bad-option', `read the command line: ${problem}`);
}
