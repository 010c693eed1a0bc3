/** The command line of the main job. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

/** The attacks that the program can make on its own artefacts; the verdict names the one that was made. */
export const attacks = [
  'image',
  'config',
  'signature',
  'pal',
  'sealed-state',
  'replay',
  'quote',
  'event-log',
  'certificate',
] as const;

/** One of {@link attacks}. */
export type Attack = (typeof attacks)[number];

/** Where the device's TPM is. */
export type TpmChoice =
  | { readonly kind: 'embedded' }
  | { readonly kind: 'swtpm'; readonly host: string; readonly port: number }
  | { readonly kind: 'swtpm-path'; readonly path: string }
  | { readonly kind: 'device'; readonly path: string };

/** What one run is asked to do. */
export interface Options {
  readonly rootfs: string | undefined;
  readonly tpm: TpmChoice;
  readonly engine: 'wasm';
  readonly state: string;
  readonly json: boolean;
  readonly tamper: Attack | undefined;
  readonly command: readonly string[];
}

/** A command line that cannot be obeyed; the message is for the person who typed it. */
export class UsageError extends Error {}

/** The text of `--help`. */
export const help = `Builds a device from its certificates to a judged proof of what it runs.

usage: npm run demo -- [options] [-- CMD…]

  --rootfs DIR|TAR   the GuestOS's root filesystem (default: one made from busybox)
  --tpm WHERE        embedded (default), swtpm:host=H,port=P, swtpm:path=SOCKET or device:/dev/tpmrm0
  --engine NAME      wasm (default); the PAL of this program is WebAssembly
  --state DIR        where keys, images and sealed state are kept
                     (default: ${defaultState().replace(homedir(), '~')})
  --json             one JSON object a line instead of text
  --tamper WHAT      attack one of its own artefacts, which must be caught:
                     ${attacks.slice(0, 5).join(' ')}
                     ${attacks.slice(5).join(' ')}
  --help             this text
  -- CMD…            run CMD in the container instead of the image's init

The last line is the verdict. Exit status: 0 TRUSTED, 3 UNTRUSTED, others: the program itself could not run.
`;

/** Parses the arguments after the program's name. Returns `help` where that was asked for; throws {@link UsageError}. */
export function parseOptions(args: readonly string[]): Options | 'help' {
  const { own, command } = split(args);
  const values = parse(own);
  if (values.help) return 'help';
  return {
    rootfs: values.rootfs,
    tpm: parseTpm(values.tpm ?? 'embedded'),
    engine: parseEngine(values.engine ?? 'wasm'),
    state: values.state ?? defaultState(),
    json: values.json ?? false,
    tamper: values.tamper === undefined ? undefined : parseAttack(values.tamper),
    command,
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        rootfs: { type: 'string' },
        tpm: { type: 'string' },
        engine: { type: 'string' },
        state: { type: 'string' },
        json: { type: 'boolean' },
        tamper: { type: 'string' },
        help: { type: 'boolean' },
      },
    }).values;
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function split(args: readonly string[]): { own: string[]; command: string[] } {
  const at = args.indexOf('--');
  return at === -1 ? { own: [...args], command: [] } : { own: args.slice(0, at), command: args.slice(at + 1) };
}

function parseTpm(text: string): TpmChoice {
  if (text === 'embedded') return { kind: 'embedded' };
  const [scheme, rest = ''] = cut(text, ':');
  if (scheme === 'device' && rest !== '') return { kind: 'device', path: rest };
  const settings = new Map(rest.split(',').map((setting) => cut(setting, '=')));
  const path = settings.get('path');
  if (scheme === 'swtpm' && path) return { kind: 'swtpm-path', path };
  const port = Number(settings.get('port'));
  if (scheme === 'swtpm' && Number.isInteger(port) && port > 0 && port < 65536) {
    return { kind: 'swtpm', host: settings.get('host') || '127.0.0.1', port };
  }
  throw new UsageError(`--tpm: expected embedded, swtpm:host=H,port=P, swtpm:path=S or device:PATH, got ${text}`);
}

function parseEngine(text: string): 'wasm' {
  if (text === 'wasm') return text;
  if (text === 'kvm')
    throw new UsageError('--engine kvm: the PAL of this program is WebAssembly, which the engine wasm runs');
  throw new UsageError(`--engine: expected wasm or kvm, got ${text}`);
}

function parseAttack(text: string): Attack {
  const found = attacks.find((attack) => attack === text);
  if (found) return found;
  throw new UsageError(`--tamper: expected one of ${attacks.join(', ')}, got ${text}`);
}

function cut(text: string, at: string): [string, string] {
  const i = text.indexOf(at);
  return i === -1 ? [text, ''] : [text.slice(0, i), text.slice(i + at.length)];
}

function defaultState(): string {
  const base = process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state');
  return join(base, 'casemate', 'attested-edge');
}
