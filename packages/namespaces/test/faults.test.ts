import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { createCgroup } from '@casemate/cgroups';
import { afterAll, describe, expect, vi } from 'vitest';
import { planSandbox, readCaller, type SandboxSpec } from '../src/index.js';
import type { Operation } from '../src/operations.js';
import { EVENT, EventReader, encodeRequest, type LauncherEvent } from '../src/protocol.js';
import { remedyFor } from '../src/remedies.js';
import { cleanUp, makeRoot, obstacle, releaseLauncher, sanitizedLauncher, workspace } from './fixtures.js';
import { itNeeds } from './requirement.js';

// Only the launcher that is built for tests can be asked for a failure (native/report.c).
process.env.CASEMATE_LAUNCHER = releaseLauncher();
const hindrance = await obstacle();
const launcher = sanitizedLauncher();
const isRoot = process.geteuid?.() === 0;
const image = hindrance ? '' : makeRoot('faults');
const itRuns = itNeeds(!hindrance && launcher !== undefined, hindrance ?? 'the compiler has no sanitizers');
const itRoot = itNeeds(!hindrance && launcher !== undefined && isRoot, hindrance ?? 'it needs root');

afterAll(cleanUp);

const FIVE_SECONDS = { timeout: 5000, interval: 2 };
const EIO = 5;
const FAULT = 9;

describe('a call that fails', () => {
  const changes = `${workspace}/changes`;
  const rich: SandboxSpec = {
    root: { type: 'overlay', lower: [image], changes: { type: 'memory' } },
    mounts: [
      { type: 'bind', source: image, target: '/data/bound' },
      { type: 'tmpfs', target: '/data/memory' },
    ],
    maskedPaths: ['/etc/greeting'],
    readOnlyPaths: ['/tmp'],
    hostname: 'faulty',
    clockOffsets: { boottime: 5n },
    capabilities: ['CAP_CHOWN'],
    rlimits: { nofile: { soft: 30, hard: 30 } },
    oomScoreAdj: 100,
    init: true,
    command: ['/bin/true'],
  };

  const inside = ['namespaces', 'oom-score', 'overlay', 'mount', 'devices', 'mask', 'read-only-path', 'pivot-root'];

  itRuns('at any place ends the start with its operation and error number, and leaves nothing', async () => {
    await failEverywhere(rich, inside, { spare: false });
  });

  itRuns('does so in namespaces that were made ahead', async () => {
    await failEverywhere(rich, inside, { spare: true });
  });

  itRoot('does so in a cgroup with trees and a directory for changes too', async () => {
    mkdirSync(`${changes}/upper`, { recursive: true });
    mkdirSync(`${changes}/work`);
    await using cgroup = await createCgroup({ limits: { pidsMax: 20 } });
    const root = { type: 'overlay', lower: [image], changes: { type: 'directory', path: changes } } as const;
    const spec = { ...rich, root, cgroup, init: false, user: { uid: 7, gid: 8, groups: [9] } };
    await failEverywhere(spec, ['cgroup', 'tree', 'overlay', 'groups', 'ids'], { spare: false });
    expect(await cgroup.members()).toEqual([]);
    rmSync(changes, { recursive: true });
  });
});

/** Lets each checked call fail once, until a start has so few of them that it succeeds. `covered` are operations that must be among them. */
async function failEverywhere(
  spec: SandboxSpec,
  covered: readonly string[],
  { spare }: { readonly spare: boolean },
): Promise<void> {
  const { operations } = planSandbox(spec, await readCaller());
  const names = new Set<string>();
  const server = new RawServer(launcher ?? '', spare);
  const before = residue();
  let at = 1;
  for (; at < 2000; at++) {
    const events = await server.start(operations, at);
    const failures = events.filter((e) => e.type === EVENT.failed);
    if (failures.length === 0) {
      expect(events.map((e) => e.type)).toEqual([EVENT.running, EVENT.exited]);
      break;
    }
    expect(
      failures.map((e) => e.b),
      `call ${at}`,
    ).toEqual([EIO]);
    expect(events.at(-1), `call ${at}`).toMatchObject({ type: EVENT.gone, a: 0, b: 125 });
    expect(events.filter((e) => e.type === EVENT.exited)).toEqual([]);
    names.add(operations[failures[0]?.a ?? 0]?.op ?? 'start');
    await server.isLeftWith(spare ? 'casemate-spare' : '', `call ${at}`);
  }
  expect(at).toBeGreaterThan(100);
  expect([...names]).toEqual(expect.arrayContaining([...covered]));
  await server.end();
  expect(residue()).toEqual(before);
  for (const name of names) expect(remedyFor(name as Operation['op'], 'EIO')).not.toBe('');
}

function residue(): unknown {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(workspace));
  return {
    mounts,
    descriptors: readdirSync('/proc/self/fd').length > 0,
    links: readdirSync('/sys/class/net').filter((n) => n.startsWith('ve')),
  };
}

/** A server of our own, so that a plan can hold what no plan of the package does. */
class RawServer {
  readonly #child;
  readonly #control: Duplex;
  readonly #reader = new EventReader();
  readonly #waiting = new Map<number, { events: LauncherEvent[]; done: (events: readonly LauncherEvent[]) => void }>();
  #next = 1;

  constructor(path: string, spare: boolean) {
    this.#child = spawn(path, [], { stdio: ['ignore', 'ignore', 'inherit', 'pipe'], env: {} });
    this.#control = this.#child.stdio[3] as Duplex;
    this.#control.on('data', (chunk: Uint8Array) => {
      for (const event of this.#reader.push(chunk)) this.#take(event);
    });
    this.#control.write(encodeRequest(0, { verb: 'spare', isWanted: spare }));
  }

  start(operations: readonly Operation[], failingCheck: number): Promise<readonly LauncherEvent[]> {
    const id = this.#next++;
    const streams = ['ignore', 'ignore', 'ignore'] as const;
    this.#control.write(withFault(encodeRequest(id, { verb: 'start', streams, operations }), failingCheck));
    return new Promise((done) => this.#waiting.set(id, { events: [], done }));
  }

  /** Expects these children alone, by their names; one that has just been forked has yet to take its own. */
  async isLeftWith(names: string, what: string): Promise<void> {
    const { pid } = this.#child;
    await vi.waitFor(() => {
      const pids = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
      expect(pids.map((child) => readFileSync(`/proc/${child}/comm`, 'utf8').trim()).join(' '), what).toBe(names);
    }, FIVE_SECONDS);
  }

  async end(): Promise<void> {
    const left = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#control.end();
    expect(await left).toBe(0); // and no sanitizer has complained
  }

  #take(event: LauncherEvent): void {
    const waiting = this.#waiting.get(event.id);
    waiting?.events.push(event);
    if (event.type === EVENT.gone || event.type === EVENT.exited) waiting?.done(waiting.events);
  }
}

/** Appends the operation that asks for the failure: frame length, count of operations, code, length, which call, which error. */
function withFault(request: Uint8Array, failingCheck: number): Uint8Array {
  const bytes = new Uint8Array(request.length + 14);
  const view = new DataView(bytes.buffer);
  bytes.set(request);
  view.setUint32(0, view.getUint32(0, true) + 14, true);
  view.setUint32(28, view.getUint32(28, true) + 1, true);
  view.setUint16(request.length, FAULT, true);
  view.setUint32(request.length + 2, 8, true);
  view.setUint32(request.length + 6, failingCheck, true);
  view.setUint32(request.length + 10, EIO, true);
  return bytes;
}
