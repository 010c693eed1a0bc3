/** What cgroups need of the launcher beside a sandbox: device programs and pressure triggers (native/devices.c does both). */
import { errnoName } from './errno.js';
import { NamespaceError } from './error.js';
import { serverProcess } from './launcher.js';
import { EVENT, type LauncherEvent } from './protocol.js';

/**
 * Loads an eBPF program of type CGROUP_DEVICE and attaches it to the v2 cgroup at `path`, in place of one that this function attached
 * before; it stays as long as the cgroup does. For `attachDevices` of `createCgroup`. Root only.
 *
 * Throws {@link NamespaceError} `operation-failed` with the error number, `launcher-missing`, `launcher-failed`.
 */
export async function attachDeviceProgram(path: string, program: Uint8Array): Promise<void> {
  let answer: LauncherEvent | undefined;
  const server = await serverProcess();
  await new Promise<void>((resolve, reject) => {
    server.request(
      { verb: 'devices', path, program },
      {
        event: (event) => {
          answer = event;
        },
        gone: (how) => (how instanceof NamespaceError ? reject(how) : resolve()),
      },
    );
  });
  if (answer?.type === EVENT.probe && answer.a === 0) return;
  throw refused('attach device program', path, answer);
}

/**
 * Arms a pressure trigger of the kernel, such as `some 150000 1000000`, on a pressure file, and yields each time that it fires, until
 * `signal` is aborted, the loop is left or the cgroup is removed. For `trigger` of `watchPressure`. Without CAP_SYS_RESOURCE windows
 * are whole multiples of two seconds (Linux 6.5).
 *
 * Throws {@link NamespaceError} as {@link attachDeviceProgram} does.
 */
export async function* pressureTrigger(
  path: string,
  trigger: string,
  signal?: AbortSignal,
): AsyncIterableIterator<void> {
  const queue = new EventQueue();
  const server = await serverProcess();
  const served = server.request(
    { verb: 'pressure', path, trigger },
    { event: (event) => queue.push(event), gone: (how) => queue.end(how) },
  );
  const stop = (): void => served.tell('signal', 0);
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();
  try {
    for (let event = await queue.next(); event !== undefined; event = await queue.next()) {
      if (event.type !== EVENT.probe || event.a !== 0) throw refused('arm pressure trigger', path, event);
      if (event.b === 1 && !signal?.aborted) yield;
    }
  } finally {
    signal?.removeEventListener('abort', stop);
    stop();
  }
}

/** Events in the order in which they came. Triggers that fire while nobody listens are one. */
class EventQueue {
  readonly #events: LauncherEvent[] = [];
  #end: { readonly error?: NamespaceError } | undefined;
  #wake: () => void = () => undefined;

  push(event: LauncherEvent): void {
    if (this.#events.length < 2) this.#events.push(event);
    this.#wake();
  }

  end(how: LauncherEvent | NamespaceError): void {
    this.#end = how instanceof NamespaceError ? { error: how } : {};
    this.#wake();
  }

  async next(): Promise<LauncherEvent | undefined> {
    while (this.#events.length === 0 && !this.#end) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const event = this.#events.shift();
    if (!event && this.#end?.error) throw this.#end.error;
    return event;
  }
}

function refused(verb: string, path: string, answer: LauncherEvent | undefined): NamespaceError {
  if (!answer)
    return new NamespaceError('launcher-failed', `${verb} at ${path}: expected an answer of the launcher, got none`);
  const errno = errnoName(answer.type === EVENT.probe ? answer.a : answer.b);
  const remedy = REMEDIES[errno];
  return new NamespaceError(
    'operation-failed',
    `${verb} at ${path}: expected the kernel to ${answer.text} it, got ${errno}`,
    {
      errno,
      ...(remedy !== undefined && { remedy }),
    },
  );
}

const REMEDIES: Readonly<Record<string, string>> = {
  EPERM: 'run as root of the first user namespace, or detach the program of a cgroup above that allows no other',
  EINVAL:
    'use a kernel with CONFIG_CGROUP_BPF, a cgroup of v2, and for triggers a window of 500 ms … 10 s, or whole multiples of 2 s',
  EBADF: 'name a directory of a cgroup v2 hierarchy',
  EOPNOTSUPP: 'boot with psi=1',
};
