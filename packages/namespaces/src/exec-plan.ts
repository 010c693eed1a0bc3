/** A process into a running sandbox, as operations: the namespaces are joined, and all of the confinement is put on once more. */
import { bad } from './error.js';
import { checkIdNumbers } from './id-maps.js';
import type { Operation } from './operations.js';
import type { Plan } from './plan.js';
import type { ExecSpec, TerminalSize } from './sandbox.js';

/**
 * Plans a process beside the first one of the sandbox that `plan` made: in the same namespaces and cgroups, with the same
 * capabilities, filters, limits and scheduling. Throws `NamespaceError` `bad-spec`.
 */
export function planExec(plan: Plan, spec: ExecSpec): Plan {
  if (!spec.command[0].startsWith('/')) throw bad(`expected an absolute path as command, got "${spec.command[0]}"`);
  if (spec.cwd !== undefined && !spec.cwd.startsWith('/')) throw bad(`expected an absolute cwd, got "${spec.cwd}"`);
  if (spec.user) checkUser(plan, spec.user);
  const kinds = joinedKinds(plan);
  const join = { op: 'join', flags: kinds, named: JOIN_BY.target, pid: 0, path: '' } as const;
  const kept = plan.operations.filter(({ op }) => !MADE_ONCE.has(op)).map((operation) => adapt(operation, spec));
  return { operations: [{ op: 'namespaces', flags: 0 }, ...(kinds ? [join] : []), ...kept] };
}

function checkUser({ operations }: Plan, user: NonNullable<ExecSpec['user']>): void {
  checkIdNumbers(user);
  if (user.groups?.length && !operations.some(({ op }) => op === 'groups')) {
    throw bad('expected no groups where the id map of the sandbox has a single id, got some');
  }
}

/** The same plan for a command on a terminal of its own. */
export function withTerminal(plan: Plan, size: TerminalSize): Plan {
  const { columns, rows } = checkTerminalSize(size);
  // After init has split off, since the command must lead the terminal's session; before a rule could forbid to open it.
  const operations = plan.operations.map(withConsole);
  const at = operations.findIndex(({ op }) => LAST_STEPS.has(op));
  return { ...plan, operations: operations.toSpliced(at, 0, { op: 'terminal', columns, rows }) };
}

/** The size as it is. Throws `NamespaceError` `bad-spec` for one that the kernel cannot hold. */
export function checkTerminalSize(size: TerminalSize): TerminalSize {
  const { columns, rows } = size;
  if ([columns, rows].every((n) => Number.isInteger(n) && n > 0 && n < 0x1_0000)) return size;
  throw bad(`expected a terminal of 1 to 65535 columns and rows, got ${columns} and ${rows}`);
}

// The devpts of a sandbox is new, so its first terminal, which is ours, has the number 0.
function withConsole(operation: Operation): Operation {
  if (operation.op !== 'devices') return operation;
  return { ...operation, links: [...operation.links, { name: 'console', content: 'pts/0' }] };
}

/** How the launcher finds a namespace that it is to join. */
export const JOIN_BY = { target: 0, pid: 1, path: 2 } as const;

function joinedKinds({ operations }: Plan): number {
  return operations.reduce((all, o) => (o.op === 'namespaces' || o.op === 'join' ? all | o.flags : all), 0) >>> 0;
}

function adapt(operation: Operation, { command, env, cwd, user }: ExecSpec): Operation {
  switch (operation.op) {
    case 'exec':
      return { op: 'exec', argv: command, env: env ? Object.entries(env).map(variable) : operation.env };
    case 'change-directory':
      return cwd === undefined ? operation : { op: 'change-directory', path: cwd };
    case 'ids':
      return user ? { op: 'ids', uid: user.uid, gid: user.gid } : operation;
    case 'groups':
      return user ? { op: 'groups', groups: user.groups ?? [] } : operation;
    default:
      return operation;
  }
}

function variable([name, value]: readonly [string, string]): string {
  if (name === '' || name.includes('=')) throw bad(`expected the name of an environment variable, got "${name}"`);
  return `${name}=${value}`;
}

const LAST_STEPS: ReadonlySet<string> = new Set(['landlock', 'seccomp', 'exec']);

// What makes the sandbox, and so is there already. Everything else is confinement: what is not known here is repeated.
const MADE_ONCE: ReadonlySet<string> = new Set([
  'namespaces',
  'join',
  'deny-setgroups',
  'uid-map',
  'gid-map',
  'tree',
  'image',
  'netlink-outside',
  'cgroup-namespace',
  'time-namespace',
  'private-mounts',
  'stage',
  'bind',
  'overlay',
  'mount',
  'devices',
  'mask',
  'read-only-path',
  'pivot-root',
  'become',
  'file',
  'owners',
  'netlink',
  'domain-name',
  'sysctl',
  'hostname',
  'loopback-up',
  'init',
  'terminal',
]);
