/** Landlock rules to the operation that the launcher performs: linux/landlock.h. */
import type {
  LandlockFileRight,
  LandlockPortRight,
  LandlockRight,
  LandlockScope,
  LandlockSpec,
} from './confinement-spec.js';
import { bad } from './error.js';
import type { Operation } from './operations.js';

/** Rights by groups, to be spread into lists: all of files, those of reading, of executing, of writing, and everything. */
export const LANDLOCK_RIGHTS = {
  read: ['read-file', 'read-dir'],
  execute: ['execute', 'read-file', 'read-dir'],
  write: [
    'write-file',
    'remove-dir',
    'remove-file',
    'make-dir',
    'make-reg',
    'make-sock',
    'make-fifo',
    'make-sym',
    'refer',
    'truncate',
  ],
  devices: ['make-char', 'make-block', 'ioctl-dev'],
  network: ['bind-tcp', 'connect-tcp'],
  scopes: ['abstract-unix-socket', 'signal'],
} as const satisfies Readonly<Record<string, readonly LandlockRight[]>>;

/** The rights that a version of Landlock can handle. */
export function landlockRights(abi: number): readonly LandlockRight[] {
  const since = (right: string): number => SINCE[right] ?? 1;
  const all = [...Object.keys(FILE_RIGHTS), ...Object.keys(PORT_RIGHTS), ...Object.keys(SCOPES)] as LandlockRight[]; // the three tables have them all
  return all.filter((right) => since(right) <= abi);
}

/** The operation for `spec`. Throws `NamespaceError` `bad-spec`. */
export function planLandlock(spec: LandlockSpec): Operation {
  const { required, ifSupported = [], paths = [], ports = [] } = spec;
  const unknown = [...required, ...ifSupported].find((right) => !isFile(right) && !isPort(right) && !isScope(right));
  if (unknown !== undefined) throw bad(`expected a right that Landlock has, got ${JSON.stringify(unknown)}`);
  if (required.length + ifSupported.length === 0)
    throw bad('expected at least one right for Landlock to handle, got none');
  return {
    op: 'landlock',
    requiredFiles: bits(FILE_RIGHTS, required),
    optionalFiles: bits(FILE_RIGHTS, ifSupported),
    requiredPorts: Number(bits(PORT_RIGHTS, required)),
    optionalPorts: Number(bits(PORT_RIGHTS, ifSupported)),
    requiredScopes: Number(bits(SCOPES, required)),
    optionalScopes: Number(bits(SCOPES, ifSupported)),
    paths: paths.map(({ path, allow, ifPresent = false }) => {
      if (!path.startsWith('/')) throw bad(`expected an absolute path in a Landlock rule, got ${JSON.stringify(path)}`);
      refuseUnhandled(allow, spec);
      return { access: bits(FILE_RIGHTS, allow), optional: ifPresent ? 1 : 0, path };
    }),
    ports: ports.map(({ port, allow }) => {
      if (!Number.isInteger(port) || port < 0 || port > 65_535)
        throw bad(`expected a port 0 … 65535 in a Landlock rule, got ${port}`);
      refuseUnhandled(allow, spec);
      return { access: Number(bits(PORT_RIGHTS, allow)), port };
    }),
  };
}

// To allow what is not refused anyhow is a rule that does not do what its author thinks.
function refuseUnhandled(allow: readonly LandlockRight[], { required, ifSupported = [] }: LandlockSpec): void {
  const stray = allow.find((right) => !required.includes(right) && !ifSupported.includes(right));
  if (stray !== undefined)
    throw bad(`expected Landlock rules to allow rights that are required or ifSupported, got "${stray}"`);
}

function bits(table: Readonly<Record<string, number>>, rights: readonly LandlockRight[]): bigint {
  return rights.reduce((sum, right) => {
    const bit = Object.hasOwn(table, right) ? table[right] : undefined;
    return bit === undefined ? sum : sum | (1n << BigInt(bit));
  }, 0n);
}

const isFile = (right: string): boolean => Object.hasOwn(FILE_RIGHTS, right);
const isPort = (right: string): boolean => Object.hasOwn(PORT_RIGHTS, right);
const isScope = (right: string): boolean => Object.hasOwn(SCOPES, right);

const FILE_RIGHTS: Readonly<Record<LandlockFileRight, number>> = {
  execute: 0,
  'write-file': 1,
  'read-file': 2,
  'read-dir': 3,
  'remove-dir': 4,
  'remove-file': 5,
  'make-char': 6,
  'make-dir': 7,
  'make-reg': 8,
  'make-sock': 9,
  'make-fifo': 10,
  'make-block': 11,
  'make-sym': 12,
  refer: 13,
  truncate: 14,
  'ioctl-dev': 15,
};
// The version that brought it, where it is not the first.
const SINCE: Readonly<Record<string, number>> = {
  refer: 2,
  truncate: 3,
  'bind-tcp': 4,
  'connect-tcp': 4,
  'ioctl-dev': 5,
  'abstract-unix-socket': 6,
  signal: 6,
};
const PORT_RIGHTS: Readonly<Record<LandlockPortRight, number>> = { 'bind-tcp': 0, 'connect-tcp': 1 };
const SCOPES: Readonly<Record<LandlockScope, number>> = { 'abstract-unix-socket': 0, signal: 1 };
