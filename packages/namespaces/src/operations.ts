/** The operations of a plan and their encoding for the launcher (native/launcher.h has the same list). */
import {
  array,
  type Codec,
  encode,
  type Infer,
  sized,
  sizedBytes,
  struct,
  u16le,
  u32le,
  u64le,
  WireError,
} from '@casemate/wire';

const MAX_TEXT = 1 << 17; // the kernel's bound for one argument, MAX_ARG_STRLEN
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const cBytes = sizedBytes('cText', u32le, { min: 1, max: MAX_TEXT });

/** Text for C: its length, the bytes, and a zero byte that the length counts; a zero inside is refused. */
export const cText: Codec<string> = {
  name: 'cText',
  read(r) {
    const at = r.offset;
    const raw = cBytes.read(r);
    if (raw.indexOf(0) === raw.length - 1) return decoder.decode(raw.subarray(0, -1));
    throw new WireError('bad-value', 'decode cText', 'expected one zero byte, at the end, got another place', at);
  },
  write(w, value) {
    const plain = asPlain(value);
    if (!plain && value.includes('\0')) throw w.refuse('cText', 'expected no zero byte, got one');
    cBytes.write(w, plain ?? encoder.encode(`${value}\0`));
  },
};

// Nearly every text is short and of ASCII, for which a TextEncoder takes many times as long. The next call reuses the bytes.
function asPlain(value: string): Uint8Array | undefined {
  if (value.length >= scratch.length) return undefined;
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code === 0 || code > 0x7f) return undefined;
    scratch[i] = code;
  }
  scratch[value.length] = 0;
  return scratch.subarray(0, value.length + 1);
}

const scratch = new Uint8Array(256);

/** A tree that was made outside, or the path of one; `below` leads from there, confined to it. */
const Layer = struct('Layer', { slot: u32le, source: cText, below: cText });
const IdRanges = array('IdRanges', u32le, struct('IdRange', { inside: u32le, outside: u32le, count: u32le }), {
  max: 340,
});
const Options = array('Options', u32le, struct('Option', { key: cText, value: cText }), { max: 32 });
/** Whose owners a tree shows: 0 those on disk, 1 by the sandbox's id maps, 2 by these ranges. */
const owners = { idMap: u32le, uids: IdRanges, gids: IdRanges };
const Netlink = {
  what: cText,
  references: array('references', u32le, struct('Reference', { at: u32le, link: cText }), { max: 8 }),
  message: sizedBytes('message', u32le, { min: 16, max: 2048 }),
};
const Nothing = struct('Nothing', {});

/** Every operation: the number that names it on the wire, and its fields. The launcher performs them in plan order. */
const OPERATIONS = {
  // performed outside, before the sandbox exists
  namespaces: { code: 1, body: struct('namespaces', { flags: u32le }) },
  cgroup: { code: 2, body: struct('cgroup', { version: u32le, path: cText }) },
  join: { code: 3, body: struct('join', { flags: u32le, named: u32le, pid: u32le, path: cText }) },
  // performed outside, on the sandbox that now waits
  'deny-setgroups': { code: 10, body: Nothing },
  'uid-map': { code: 11, body: struct('uid-map', { helper: cText, ranges: IdRanges }) },
  'gid-map': { code: 12, body: struct('gid-map', { helper: cText, ranges: IdRanges }) },
  'oom-score': { code: 13, body: struct('oom-score', { value: cText }) },
  tree: {
    code: 14,
    body: struct('tree', { slot: u32le, recursive: u32le, propagation: u32le, source: cText, below: cText, ...owners }),
  },
  image: {
    code: 15,
    body: struct('image', {
      slot: u32le,
      source: cText,
      fileSystem: cText,
      writable: u32le,
      directIo: u32le,
      offset: u64le,
      size: u64le,
      options: Options,
      ...owners,
    }),
  },
  scheduling: {
    code: 17,
    body: struct('scheduling', {
      wants: u32le,
      nice: u32le,
      io: u32le,
      policy: u32le,
      flags: u64le,
      priority: u32le,
      runtime: u64le,
      deadline: u64le,
      period: u64le,
      processors: sizedBytes('processors', u32le, { max: 1024 }),
    }),
  },
  'netlink-outside': { code: 16, body: struct('netlink-outside', { ...Netlink, link: cText }) },
  // performed inside
  'cgroup-namespace': { code: 20, body: Nothing },
  'time-namespace': { code: 21, body: struct('time-namespace', { offsets: cText }) },
  'private-mounts': { code: 22, body: struct('private-mounts', { propagation: u32le }) },
  stage: { code: 23, body: Nothing },
  bind: {
    code: 24,
    body: struct('bind', {
      target: cText,
      from: Layer,
      recursive: u32le,
      attributes: u64le,
      clear: u64le,
      propagation: u32le,
    }),
  },
  overlay: {
    code: 25,
    body: struct('overlay', {
      target: cText,
      lower: array('lower', u32le, Layer, { max: 128 }),
      changes: u32le,
      upper: Layer,
      memory: Options,
      attributes: u64le,
      propagation: u32le,
      userXattr: u32le,
    }),
  },
  mount: {
    code: 26,
    body: struct('mount', {
      target: cText,
      fileSystem: cText,
      options: Options,
      attributes: u64le,
      propagation: u32le,
      owners: u32le,
    }),
  },
  mask: { code: 29, body: struct('mask', { path: cText }) },
  'read-only-path': { code: 30, body: struct('read-only-path', { path: cText }) },
  'pivot-root': { code: 31, body: Nothing },
  become: { code: 32, body: struct('become', { uid: u32le, gid: u32le }) },
  file: {
    code: 33,
    body: struct('file', { target: cText, mode: u32le, content: sizedBytes('content', u32le, { max: 1 << 20 }) }),
  },
  devices: {
    code: 38,
    body: struct('devices', {
      target: cText,
      attributes: u64le,
      names: array('names', u32le, cText, { max: 64 }),
      directories: array('directories', u32le, cText, { max: 64 }),
      links: array('links', u32le, struct('link', { name: cText, content: cText }), { max: 64 }),
    }),
  },
  netlink: { code: 34, body: struct('netlink', Netlink) },
  owners: { code: 37, body: struct('owners', { uids: IdRanges, gids: IdRanges }) },
  'domain-name': { code: 35, body: struct('domain-name', { name: cText }) },
  sysctl: { code: 36, body: struct('sysctl', { name: cText, value: cText }) },
  hostname: { code: 40, body: struct('hostname', { name: cText }) },
  'loopback-up': { code: 41, body: Nothing },
  rlimit: { code: 42, body: struct('rlimit', { resource: u32le, soft: u64le, hard: u64le }) },
  'new-session': { code: 43, body: Nothing },
  umask: { code: 44, body: struct('umask', { mask: u32le }) },
  'bounding-set': { code: 45, body: struct('bounding-set', { keep: u64le }) },
  groups: { code: 46, body: struct('groups', { groups: array('groups', u32le, u32le, { max: 65_536 }) }) },
  ids: { code: 47, body: struct('ids', { uid: u32le, gid: u32le }) },
  capabilities: {
    code: 48,
    body: struct('capabilities', { permitted: u64le, effective: u64le, inheritable: u64le, ambient: u64le }),
  },
  'no-new-privileges': { code: 49, body: Nothing },
  'change-directory': { code: 50, body: struct('change-directory', { path: cText }) },
  init: { code: 51, body: Nothing },
  seccomp: {
    code: 52,
    body: struct('seccomp', {
      flags: u32le,
      optionalFlags: u32le,
      program: sizedBytes('program', u32le, { max: 32_768 }),
    }),
  },
  'secure-bits': { code: 54, body: struct('secure-bits', { bits: u32le }) },
  'session-keyring': { code: 55, body: Nothing },
  landlock: {
    code: 56,
    body: struct('landlock', {
      requiredFiles: u64le,
      optionalFiles: u64le,
      requiredPorts: u32le,
      optionalPorts: u32le,
      requiredScopes: u32le,
      optionalScopes: u32le,
      paths: array('paths', u32le, struct('path', { access: u64le, optional: u32le, path: cText }), { max: 4096 }),
      ports: array('ports', u32le, struct('port', { access: u32le, port: u32le }), { max: 65_536 }),
    }),
  },
  terminal: { code: 60, body: struct('terminal', { columns: u32le, rows: u32le }) },
  exec: {
    code: 53,
    body: struct('exec', {
      argv: array('argv', u32le, cText, { max: 65_536 }),
      env: array('env', u32le, cText, { max: 65_536 }),
    }),
  },
} as const;

/** The name of an operation. */
export type OperationName = keyof typeof OPERATIONS;

/** One step of a plan: `op` names it, the other fields are its arguments. */
export type Operation = {
  [K in OperationName]: { readonly op: K } & Infer<(typeof OPERATIONS)[K]['body']>;
}[OperationName];

/** The operation of one name. */
export type OperationOf<K extends OperationName> = Extract<Operation, { readonly op: K }>;

/** The `slot` of a layer that has none: its `source` is a path. */
export const NO_SLOT = 0xffff_ffff;

const NAMES = new Map<number, OperationName>(
  (Object.keys(OPERATIONS) as OperationName[]).map((name) => [OPERATIONS[name].code, name]), // keys of this very object
);

/**
 * Says that plans have this very object in common, so that it is written once and copied from then on: most of a plan is the same for
 * every sandbox. It must never change.
 */
export function shared<T extends Operation>(operation: T): T {
  SHARED.set(operation, undefined);
  return Object.freeze(operation);
}

const SHARED = new WeakMap<Operation, Uint8Array | undefined>();

/** The operations as the launcher reads them, in pieces that follow one another. Throws `WireError`. */
export function planPieces(operations: readonly Operation[]): readonly Uint8Array[] {
  if (operations.length > MAX_OPERATIONS) return [encode(PlanBytes, operations)]; // which refuses it
  return [encode(u32le, operations.length), ...operations.map(pieceOf)];
}

function pieceOf(operation: Operation): Uint8Array {
  const known = SHARED.get(operation);
  if (known) return known;
  const bytes = encode(OperationCodec, operation);
  if (SHARED.has(operation)) SHARED.set(operation, bytes);
  return bytes;
}

const OperationCodec: Codec<Operation> = {
  name: 'Operation',
  read(r) {
    const at = r.offset;
    const code = u16le.read(r);
    const name = NAMES.get(code);
    if (!name) throw new WireError('bad-value', 'decode Operation', `expected an operation's number, got ${code}`, at);
    const value = bodyOf(name).read(r);
    return { op: name, ...value } as Operation; // the body of this name, by the table
  },
  write(w, operation) {
    const entry = OPERATIONS[operation.op];
    if (!entry) throw w.refuse('Operation', `expected the name of an operation, got ${operation.op}`);
    u16le.write(w, entry.code);
    bodyOf(operation.op).write(w, operation);
  },
};

// The bodies have different types; the table pairs each with its name. Each is made once: a plan has a hundred of them.
function bodyOf(name: OperationName): Codec<object> {
  const known = SIZED.get(name);
  if (known) return known;
  const made = sized(name, u32le, OPERATIONS[name].body as unknown as Codec<object>);
  SIZED.set(name, made);
  return made;
}

const SIZED = new Map<OperationName, Codec<object>>();

const MAX_OPERATIONS = 4096;

/** A whole plan as the launcher reads it, at most 4 MiB. */
export const PlanBytes: Codec<readonly Operation[]> = array('Plan', u32le, OperationCodec, { max: MAX_OPERATIONS });
